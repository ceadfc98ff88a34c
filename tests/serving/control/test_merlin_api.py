"""What merlin-sdk asks, in its order and its words; what comes back is what its generated client can read.

The SDK itself, whose dependencies cannot live beside the platform's, drives the tier in `test_sdk.py`.
"""

import json
from typing import TYPE_CHECKING, Any

import pytest
from flask.testing import FlaskClient

from serving.models import ModelTable
from yarnmill.registry.retention import Policy

if TYPE_CHECKING:
    from conftest import Merlin, Platform

pytestmark = pytest.mark.slow

# As merlin-sdk 0.50.0 sends it for `deploy(version)`.
DEPLOY: dict[str, Any] = {
    "environment_name": "production",
    "resource_request": {"min_replica": 2, "max_replica": 2, "memory_request": "4096Mi"},
    "env_vars": [],
    "secrets": [],
    "deployment_mode": "serverless",
    "autoscaling_policy": {"metrics_type": "concurrency", "target_value": 1},
    "protocol": "HTTP_JSON",
    "enable_model_observability": False,
}
ROW: dict[str, Any] = {"user_id": 7, "features": [1.0, 2.0]}


def deployed(merlin: "Merlin", version: int, environment: str = "production") -> Any:
    begun = merlin.send("POST", merlin.path(version), {**DEPLOY, "environment_name": environment}, status=201)
    return merlin.wait(version, begun["id"])


def rule_of(*destinations: tuple[Any, int]) -> dict[str, Any]:
    return {"destinations": [{"version_endpoint_id": one["id"], "weight": weight} for one, weight in destinations]}


def serve(merlin: "Merlin", endpoint: Any, environment: str = "production") -> Any:
    body = {"model_id": merlin.model_id(), "environment_name": environment, "rule": rule_of((endpoint, 100))}
    return merlin.send("POST", f"{merlin.path()}/endpoints", body, status=201)


def test_environments_projects_and_models_are_listed(merlin: "Merlin") -> None:
    merlin.registry.environments.create("staging", "http://staging.example.com:8500/")
    production, staging = merlin.send("GET", "/environments")
    assert (production["name"], production["is_default"], production["cluster"]) == ("production", True, "")
    assert (staging["name"], staging["is_default"], staging["cluster"]) == (
        "staging",
        False,
        "http://staging.example.com:8500/",
    )
    assert staging["default_resource_request"] == {"min_replica": 2, "max_replica": 2, "memory_request": "4096Mi"}
    assert merlin.send("GET", "/environments?name=staging") == [staging]
    merlin.registry.projects.ensure("films")
    merlin.registry.projects.update("films", team="recommenders", labels={"tier": "1"}, readers=("ana",))
    projects = merlin.send("GET", "/projects")
    assert [one["name"] for one in projects] == ["default", "films"]
    assert (projects[1]["team"], projects[1]["readers"]) == ("recommenders", ["ana"])
    assert projects[1]["labels"] == [{"key": "tier", "value": "1"}]
    assert merlin.send("GET", "/projects?name=films") == [projects[1]] == [merlin.send("GET", "/projects/2")]
    assert merlin.send("GET", "/projects?name=film") == merlin.send("GET", "/projects/2/models") == []
    models = merlin.send("GET", "/projects/1/models")
    assert [(one["name"], one["type"], one["project_id"]) for one in models] == [
        ("other", "custom", 1),
        ("rater", "custom", 1),
    ]
    assert merlin.send("GET", "/projects/1/models?name=rater") == [models[1]]
    assert merlin.send("GET", f"/projects/1/models/{models[1]['id']}") == models[1]
    assert "films has no model" in merlin.refused("GET", f"/projects/2/models/{models[1]['id']}", status=404)


def test_versions_come_by_pages_newest_first(merlin: "Merlin") -> None:
    merlin.registry.versions.label("rater", 2, {"stage": "final", "team": "a"})
    address = f"{merlin.path()}/versions"
    versions = merlin.send("GET", address)
    assert [one["id"] for one in versions] == [3, 2, 1]
    assert versions[1]["labels"] == {"stage": "final", "team": "a"}
    assert versions[1]["properties"]["bundle_id"] == merlin.registry.versions.get("rater", 2).bundle_id
    assert (versions[1]["endpoints"], versions[1]["model_id"]) == ([], merlin.model_id())
    first = merlin.client.get(f"/merlin/v1{address}?limit=2&cursor=&search=")
    assert first.json == versions[:2]
    last = merlin.client.get(f"/merlin/v1{address}?limit=2&cursor={first.headers['Next-Cursor']}")
    assert (last.json, last.headers.get("Next-Cursor")) == (versions[2:], None)
    for search, found in (
        ("labels:stage in (trial,final)", [2]),
        ("labels: stage in ( final ) , team in (a, b)", [2]),
        ("labels:stage in (final),team in (b)", []),
        ("labels:", [3, 2, 1]),
    ):
        answer = merlin.client.get(f"/merlin/v1{address}", query_string={"search": search})
        assert [one["id"] for one in answer.json] == found
    assert merlin.send("GET", f"{address}/2") == versions[1]


def test_a_deployment_begins_at_once_and_the_registry_tells_how_it_ends(merlin: "Merlin", platform: "Platform") -> None:
    platform.blob_of_model(3.0, "rater").unlink()
    begun = merlin.send("POST", merlin.path(3), DEPLOY, status=201)
    assert (begun["version_id"], begun["status"], begun["message"]) == (3, "pending", "")
    failed = merlin.wait(3, begun["id"])
    assert failed["status"] == "failed"
    assert "no blob" in failed["message"]
    assert merlin.registry.deployments.get("rater", 3).status == "failed"
    running = deployed(merlin, 1)
    assert (running["status"], running["message"], running["environment_name"]) == ("running", "", "production")
    assert "url" not in running
    assert merlin.send("GET", f"{merlin.path()}/versions/1")["endpoints"] == [running]
    assert merlin.send("GET", merlin.path(1)) == [running]
    again = merlin.send("PUT", f"{merlin.path(1)}/{running['id']}", {**DEPLOY, "status": "running"})
    assert (again["id"], merlin.wait(1, again["id"])["status"]) == (running["id"], "running")


def test_traffic_goes_where_the_rule_says(merlin: "Merlin", table: ModelTable) -> None:
    one, two = deployed(merlin, 1), deployed(merlin, 2)
    assert merlin.send("GET", f"{merlin.path()}/endpoints") == []
    endpoint = serve(merlin, one)
    assert (endpoint["status"], endpoint["environment"]["is_default"]) == ("serving", True)
    assert endpoint["model"]["name"] == "rater"
    destination = endpoint["rule"]["destinations"][0]
    assert (destination["version_endpoint_id"], destination["weight"]) == (one["id"], 100)
    assert destination["version_endpoint"]["status"] == "serving"
    address = f"{merlin.path()}/endpoints/{endpoint['id']}"
    assert merlin.send("GET", f"{merlin.path()}/endpoints") == [endpoint] == [merlin.send("GET", address)]
    # The SDK gets the endpoint, changes the id beside the old object, and puts all of it.
    destination["version_endpoint_id"] = two["id"]
    changed = merlin.send("PUT", address, endpoint)
    assert merlin.registry.endpoints.get("rater").rule.versions == (2,)
    assert changed["rule"]["destinations"][0]["version_endpoint"]["version_id"] == 2
    assert merlin.send("GET", "/projects/1/model_endpoints") == [changed]
    table.refresh()
    for url in (f"{changed['url']}/v1/predict", f"{merlin.send('GET', merlin.path(2))[0]['url']}:predict"):
        assert merlin.client.post(url, data=json.dumps({"instances": [ROW]})).json == {"predictions": [12.0]}


def test_a_rule_with_shares_and_a_mirror_is_kept_and_shown(merlin: "Merlin") -> None:
    one, two, three = (deployed(merlin, version) for version in (1, 2, 3))
    rule = {**rule_of((one, 90), (two, 10)), "mirror": three}
    made = merlin.send("POST", f"{merlin.path()}/endpoints", {"rule": rule}, status=201)
    assert str(merlin.registry.endpoints.get("rater").rule) == "1: 90 %, 2: 10 %; mirrored to 3"
    assert [one["weight"] for one in made["rule"]["destinations"]] == [90, 10]
    assert made["rule"]["mirror"]["id"] == three["id"]


def test_a_change_of_what_somebody_else_changed_is_a_conflict(merlin: "Merlin") -> None:
    one, two = deployed(merlin, 1), deployed(merlin, 2)
    endpoint = serve(merlin, one)
    address = f"{merlin.path()}/endpoints/{endpoint['id']}"
    merlin.send("PUT", address, {"rule": rule_of((two, 100))})  # no updated_at: over whatever stands there
    error = merlin.refused("PUT", address, {**endpoint, "rule": rule_of((one, 50), (two, 50))}, status=409)
    assert "somebody else changed it" in error
    assert merlin.registry.endpoints.get("rater").rule.versions == (2,)
    body = {"rule": rule_of((one, 100))}
    assert "answered for already" in merlin.refused("POST", f"{merlin.path()}/endpoints", body, status=409)


def test_a_stopped_endpoint_is_in_no_list_and_can_be_made_anew(merlin: "Merlin") -> None:
    one = deployed(merlin, 1)
    endpoint = serve(merlin, one)
    address = f"{merlin.path()}/endpoints/{endpoint['id']}"
    stopped = merlin.send("DELETE", address)
    assert (stopped["status"], stopped["rule"]) == ("terminated", {"destinations": []})
    assert "url" not in stopped
    assert merlin.send("GET", f"{merlin.path()}/endpoints") == merlin.send("GET", "/projects/1/model_endpoints") == []
    assert merlin.send("GET", address) == stopped
    assert serve(merlin, one)["id"] == endpoint["id"]


def test_what_serves_cannot_be_undeployed(merlin: "Merlin") -> None:
    one, two = deployed(merlin, 1), deployed(merlin, 2)
    serve(merlin, one)
    for method, body in (("DELETE", None), ("PUT", {"status": "terminated"})):
        error = merlin.refused(method, f"{merlin.path(1)}/{one['id']}", body, status=409)
        assert "rater/1 in production serves" in error
        assert merlin.send(method, f"{merlin.path(2)}/{two['id']}", body)["status"] == "terminated"
    assert "is terminated there" in merlin.refused(
        "PUT", f"{merlin.path()}/endpoints/1", {"rule": rule_of((two, 100))}, status=409
    )


def test_environments_are_apart(merlin: "Merlin") -> None:
    merlin.registry.environments.create("staging", "https://staging.example.com/")
    here, there = deployed(merlin, 1), deployed(merlin, 1, "staging")
    assert here["id"] != there["id"]
    assert serve(merlin, there, "staging")["url"] == "https://staging.example.com/merlin/models/rater"
    assert merlin.send("GET", merlin.path(1))[0]["status"] == "running"
    error = merlin.refused(
        "POST", f"{merlin.path()}/endpoints", {"rule": rule_of((there, 100))}, status=400
    )  # the default environment
    assert error == (
        f"rule.destinations[0]: {there['id']} is rater/1 in staging; expected a version of rater in production"
    )
    moved = {**DEPLOY, "environment_name": "staging"}
    assert "stays in its environment" in merlin.refused("PUT", f"{merlin.path(1)}/{here['id']}", moved, status=400)


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"env_vars": [{"name": "A", "value": "1"}]}, "env_vars"),
        ({"secrets": [{"mlp_secret_name": "a", "env_var_name": "A"}]}, "secrets"),
        ({"transformer": {"enabled": True, "image": "x"}}, "transformer"),
        ({"logger": {"model": {"enabled": True, "mode": "all"}}}, "logger"),
        ({"protocol": "UPI_V1"}, "protocol UPI_V1"),
        ({"enable_model_observability": True}, "enable_model_observability"),
        ({"resource_request": {"gpu_name": "a100", "gpu_request": "1"}}, "resource_request.gpu_request"),
    ],
)
def test_what_would_make_a_version_answer_otherwise_is_not_offered(
    merlin: "Merlin", asked: dict[str, Any], what: str
) -> None:
    error = merlin.refused("POST", merlin.path(1), {**DEPLOY, **asked}, status=501)
    assert error.startswith(f"{what}: ")
    assert merlin.registry.deployments.find("rater") == []


def test_other_sizes_are_taken_and_answered_with_what_there_is(merlin: "Merlin") -> None:
    asked = {"resource_request": {"min_replica": 1, "max_replica": 9, "cpu_request": "500m", "memory_request": "1Gi"}}
    off = {"transformer": {"enabled": False}, "logger": {"model": {"enabled": False}}}
    begun = merlin.send("POST", merlin.path(1), {**DEPLOY, **asked, **off}, status=201)
    assert begun["resource_request"] == {"min_replica": 2, "max_replica": 2, "memory_request": "4096Mi"}
    assert begun["deployment_mode"] == "raw_deployment"


def test_a_retired_version_is_in_no_list_and_cannot_be_deployed(merlin: "Merlin") -> None:
    policy = Policy(keep=2, served_within_days=0)
    merlin.registry.retention.retire(policy, merlin.registry.retention.plan(policy, "rater"))
    assert [one["id"] for one in merlin.send("GET", f"{merlin.path()}/versions")] == [3, 2]
    assert "retired" in merlin.refused("POST", merlin.path(1), DEPLOY, status=404)


def test_without_its_registry_it_says_so(merlin: "Merlin", platform: "Platform") -> None:
    merlin.send("GET", "/projects")
    database = platform.home / "registry.db"
    database.rename(database.with_name("away.db"))
    database.mkdir()
    assert "registry.url" in merlin.refused("GET", "/projects", status=503)


def test_without_being_asked_for_it_is_not_there(client: FlaskClient) -> None:
    assert client.get("/merlin/v1/projects").status_code == 404
    assert client.get("/v1/models").status_code == 200
