"""How far a version is in an environment: every legal move, and the reason for every refused one."""

import pytest
from registered import Let, bundle

from yarnmill.errors import ConflictError, NotFoundError
from yarnmill.registry import Candidate, Registry, Rule


@pytest.fixture(autouse=True)
def _two_versions(registry: Registry, candidate: Candidate) -> None:
    registry.versions.register(bundle(candidate, 1))
    registry.versions.register(bundle(candidate, 2))


def status(registry: Registry, version: int, environment: str | None = None) -> str:
    return registry.deployments.get("rater", version, environment).status


def test_a_deployment_runs_from_pending_to_serving_and_out(registry: Registry) -> None:
    deployment = registry.deployments.begin("rater", 1)
    assert (deployment.status, deployment.environment, deployment.bundle_id) == ("pending", "production", f"{1:064x}")
    assert status(registry, 1) == "pending"
    assert registry.deployments.started(deployment).status == "running"
    registry.endpoints.route("rater", Rule.only(1))
    assert status(registry, 1) == "serving"
    registry.endpoints.stop("rater")
    assert status(registry, 1) == "running"
    assert registry.deployments.undeploy("rater", 1).status == "terminated"
    trace = [entry.action for entry in registry.audit("rater")][-7:]
    assert trace == ["deploy", "running", "serving", "route", "running", "route", "terminated"]
    again = registry.deployments.begin("rater", 1)
    assert registry.deployments.started(again).status == "running"
    assert [one.status for one in registry.deployments.history("rater")] == ["running", "running"]


def test_a_failed_deployment_says_why_and_may_be_tried_again(registry: Registry) -> None:
    endpoint = registry.deployments.failed(registry.deployments.begin("rater", 1), "the graph has no input user_id")
    assert (endpoint.status, endpoint.message) == ("failed", "the graph has no input user_id")
    with pytest.raises(ConflictError, match="rater/1 is failed there: the graph has no input user_id"):
        registry.endpoints.route("rater", Rule.only(1))
    assert registry.deployments.started(registry.deployments.begin("rater", 1)).message == ""


def test_a_failed_redeployment_leaves_what_serves(registry: Registry, answer: Let) -> None:
    answer("rater", 1)
    before = registry.endpoints.get("rater")
    again = registry.deployments.begin("rater", 1)
    assert status(registry, 1) == "serving"
    assert registry.deployments.failed(again, "no such blob").status == "serving"
    assert registry.endpoints.get("rater") == before
    other = registry.deployments.begin("rater", 2)
    registry.deployments.failed(other, "no such blob")
    assert registry.endpoints.get("rater") == before
    assert [one.message for one in registry.deployments.history("rater")] == ["no such blob", "no such blob", ""]


def test_a_version_that_serves_cannot_be_undeployed(registry: Registry, answer: Let, run: Let) -> None:
    answer("rater", 1)
    with pytest.raises(ConflictError, match="rater/1 in production serves"):
        registry.deployments.undeploy("rater", 1)
    run("rater", 2)
    registry.endpoints.route("rater", Rule(destinations=Rule.only(2).destinations, mirror=1))
    with pytest.raises(ConflictError, match="serves"):
        registry.deployments.undeploy("rater", 1)
    registry.endpoints.route("rater", Rule.only(2))
    assert registry.deployments.undeploy("rater", 1).status == "terminated"
    assert registry.deployments.undeploy("rater", 1).revision == registry.deployments.get("rater", 1).revision


def test_a_deployment_ends_once(registry: Registry) -> None:
    deployment = registry.deployments.begin("rater", 1)
    registry.deployments.started(deployment)
    for end in (registry.deployments.started, lambda one: registry.deployments.failed(one, "late")):
        with pytest.raises(ConflictError, match="has ended already"):
            end(deployment)
    assert status(registry, 1) == "running"


def test_a_second_deployment_takes_over_from_one_whose_process_died(registry: Registry) -> None:
    dead = registry.deployments.begin("rater", 1)
    alive = registry.deployments.begin("rater", 1)
    with pytest.raises(ConflictError, match="another deployment of the same version began"):
        registry.deployments.started(dead)
    assert registry.deployments.started(alive).status == "running"


def test_undeploying_gives_up_what_is_being_deployed(registry: Registry) -> None:
    deployment = registry.deployments.begin("rater", 1)
    assert registry.deployments.undeploy("rater", 1).status == "terminated"
    with pytest.raises(ConflictError, match="has ended already"):
        registry.deployments.started(deployment)


def test_environments_are_apart(registry: Registry, answer: Let) -> None:
    registry.environments.create("staging", "http://staging:8500")
    answer("rater", 1)
    answer("rater", 2, "staging")
    assert [one.rule for one in registry.endpoints.find()] == [Rule.only(1)]
    assert [one.rule for one in registry.endpoints.find("staging")] == [Rule.only(2)]
    with pytest.raises(NotFoundError, match="rater/1 was never deployed to staging"):
        registry.deployments.get("rater", 1, "staging")
    with pytest.raises(ConflictError, match="rater/1 was never deployed there"):
        registry.endpoints.route("rater", Rule.only(1), "staging")
    assert len(registry.deployments.find("rater")) == 2
    assert [one.version for one in registry.deployments.find("rater", "staging")] == [2]


def test_an_environment_never_changes_under_an_endpoint(registry: Registry, answer: Let) -> None:
    registry.environments.create("staging", "http://one:8500")
    answer("rater", 1, "staging")
    with pytest.raises(ConflictError, match="1 versions are live there"):
        registry.environments.update("staging", target="http://two:8500")
    registry.endpoints.stop("rater", "staging")
    registry.deployments.undeploy("rater", 1, "staging")
    assert registry.environments.update("staging", target="http://two:8500").target == "http://two:8500"


def test_there_is_always_one_default_environment(registry: Registry) -> None:
    assert [(one.name, one.is_default) for one in registry.environments.find()] == [("production", True)]
    registry.environments.create("staging", "")
    with pytest.raises(ConflictError, match="is there already"):
        registry.environments.create("staging", "http://x")
    registry.environments.update("staging", is_default=True, expected=1)
    assert [(one.name, one.is_default) for one in registry.environments.find()] == [
        ("production", False),
        ("staging", True),
    ]
    assert registry.environments.get().name == "staging"
    with pytest.raises(ConflictError, match="revision 2, not 1"):
        registry.environments.update("staging", target="http://y", expected=1)
    with pytest.raises(NotFoundError, match="nowhere: no such environment"):
        registry.deployments.begin("rater", 1, "nowhere")


def test_what_is_not_there_cannot_be_deployed(registry: Registry) -> None:
    with pytest.raises(NotFoundError, match="nobody: no such model"):
        registry.deployments.begin("nobody", 1)
    with pytest.raises(NotFoundError, match="rater has no version 5"):
        registry.deployments.begin("rater", 5)
    for number in (1, 10**30):
        with pytest.raises(NotFoundError, match="was never deployed"):
            registry.deployments.undeploy("rater", number)
    assert registry.deployments.history("rater", version=10**30) == registry.verdicts.find("rater", 10**30) == []


def test_a_stale_view_is_a_conflict(registry: Registry, run: Let) -> None:
    run("rater", 1)
    seen = registry.deployments.get("rater", 1)
    with pytest.raises(ConflictError, match=f"revision {seen.revision}, not {seen.revision - 1}"):
        registry.deployments.undeploy("rater", 1, expected=seen.revision - 1)
    assert registry.deployments.undeploy("rater", 1, expected=seen.revision).status == "terminated"
