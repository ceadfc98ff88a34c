"""Log lines as Merlin's clients read them: deployments with reasons, what the tier said, a prediction job's driver."""

import logging
from typing import TYPE_CHECKING, Any

import pytest
from registered import let_answer, let_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Guarded, Merlin, Platform

    from serving.control.control import Control
    from serving.models import ModelTable

pytestmark = pytest.mark.slow

ASKED = {"cluster": "production", "namespace": "default", "component_type": "model", "model_name": "rater"}


@pytest.fixture
def journalled(control: "Control") -> "Iterator[None]":
    """Keep what the tier's models say, as a worker does."""
    log = logging.getLogger("serving.models")
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(control.journal)
    yield
    log.removeHandler(control.journal)
    log.setLevel(level)


def read(merlin: "Merlin", status: int = 200, **more: object) -> str:
    asked: dict[str, Any] = {key: value for key, value in {**ASKED, **more}.items() if value is not None}
    answer = merlin.client.get("/merlin/v1/logs", query_string=asked)
    assert answer.status_code == status, answer.text
    assert answer.content_type == ("text/plain; charset=utf-8" if status == 200 else "application/json")
    return answer.text


def texts(lines: str) -> list[str]:
    return [line.partition(" ")[2] for line in lines.splitlines()]


@pytest.mark.usefixtures("journalled")
def test_a_versions_log_has_its_deployments_and_what_the_tier_said(
    merlin: "Merlin", platform: "Platform", table: "ModelTable"
) -> None:
    table.refresh()
    let_answer(platform.registry, "rater", 1)
    table.refresh()
    registry = platform.registry
    registry.deployments.failed(registry.deployments.begin("rater", 2), "no blob of it\nwhich is bad")
    lines = read(merlin, version_id=1)
    assert texts(lines)[-1] == "model rater version 1 answers"
    (first,) = registry.deployments.history("rater", version=1)
    assert texts(lines)[:2] == [
        f"deployment {first.id} of rater/1 asked for by tests",
        f"deployment {first.id} of rater/1 running",
    ]
    assert lines.startswith(f"{first.created_at:%Y-%m-%dT%H:%M:%S.%f}Z ")
    assert texts(read(merlin, version_id=2))[-1].endswith("of rater/2 failed: no blob of it which is bad")
    assert read(merlin, version_id=3) == ""
    assert texts(read(merlin, version_id=1, model_name=None, model_id=merlin.model_id())) == texts(lines)


@pytest.mark.usefixtures("journalled")
def test_a_version_that_is_refused_says_why(merlin: "Merlin", platform: "Platform", table: "ModelTable") -> None:
    platform.blob_of_model(3.0, "rater").unlink()
    let_answer(platform.registry, "rater", 3)
    table.refresh()
    said = texts(read(merlin, version_id=3, container_name="tier"))
    assert len(said) == 1
    assert said[0].startswith("model rater version 3 refused: ")
    assert "no blob" in said[0]


def test_which_lines_are_wanted_is_said_as_to_kubernetes(merlin: "Merlin", platform: "Platform") -> None:
    let_run(platform.registry, "rater", 1)
    whole = read(merlin, version_id=1)
    assert len(whole.splitlines()) == 2
    assert read(merlin, version_id=1, tail_lines=1) == whole.splitlines(keepends=True)[-1]
    assert read(merlin, version_id=1, tail_lines=0, follow="true", timestamps="true") == whole
    assert read(merlin, version_id=1, limit_bytes=10) == whole[:10]
    asked, last = (line.partition(" ")[0] for line in whole.splitlines())
    assert read(merlin, version_id=1, since_time=asked) == whole.splitlines(keepends=True)[1]
    assert read(merlin, version_id=1, since_time=last) == ""
    assert read(merlin, version_id=1, since_seconds=3600) == whole
    assert read(merlin, version_id=1, container_name="tier") == ""
    prefixed = read(merlin, version_id=1, prefix="pod_and_container").splitlines()
    assert prefixed == [f"registry deployments {line}" for line in whole.splitlines()]


def test_containers_say_what_there_is_to_read(merlin: "Merlin", platform: "Platform") -> None:
    platform.registry.environments.create("staging", "http://staging.example.com:8500")
    let_run(platform.registry, "rater", 1)
    let_run(platform.registry, "rater", 1, "staging")
    names = {}
    for endpoint in merlin.send("GET", merlin.path(1)):
        found = merlin.send("GET", f"{merlin.path(1)}/{endpoint['id']}/containers")
        names[endpoint["environment_name"]] = [one["name"] for one in found]
        for one in found:
            asked = {key: one[key] for key in ("cluster", "namespace", "component_type")}
            shown = read(merlin, version_id=1, container_name=one["name"], **asked)
            assert bool(shown) == (one["name"] == "deployments")
    assert names == {"production": ["deployments", "tier"], "staging": ["deployments"]}
    assert read(merlin, version_id=1, cluster="http://staging.example.com:8500")


def test_a_prediction_jobs_log_is_its_drivers(merlin: "Merlin") -> None:
    job = merlin.registry.jobs.create("rater", 1, "nightly", {})
    address = f"{merlin.path()}/versions/1/jobs/{job.id}/containers"
    asked = {"component_type": "batch_job_driver", "version_id": 1, "prediction_job_id": job.id}
    assert merlin.send("GET", address) == []
    assert read(merlin, **asked) == ""
    merlin.registry.jobs.move(job.id, "running", application_id="application_1_0001")
    (container,) = merlin.send("GET", address)
    assert (container["component_type"], container["pod_name"]) == ("batch_job_driver", "application_1_0001")
    assert "INFO application_1_0001 began\n" in read(merlin, **asked)
    assert read(merlin, **asked, tail_lines=1) == "INFO it ended\n"
    assert "no prediction job" in read(merlin, 404, **{**asked, "version_id": 2})


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({"cluster": None}, 400, "cluster: missing key"),
        ({"cluster": "moon"}, 404, "no environment moon"),
        ({"namespace": "films"}, 404, "has no such model"),
        ({"model_name": None}, 400, "model_id: missing key"),
        ({"model_name": "nobody"}, 404, "nobody: no such model"),
        ({"version_id": None}, 400, "version_id: missing key"),
        ({"version_id": 9}, 404, "rater has no version 9"),
        ({"version_id": "one"}, 400, "version_id: Expected `int"),
        ({"component_type": "mood"}, 400, "component_type: Invalid enum value 'mood'"),
        ({"component_type": "batch_job_executor"}, 501, "yarn logs -applicationId"),
        ({"component_type": "batch_job_driver"}, 400, "prediction_job_id: missing key"),
        ({"since_time": "yesterday"}, 400, "since_time: Invalid RFC3339"),
        ({"tail_lines": -1}, 400, "tail_lines: Expected `int"),
    ],
)
def test_what_cannot_be_read_is_told(asked: "Merlin", query: dict[str, object], status: int, said: str) -> None:
    assert said in read(asked, status, **{"version_id": 1, **query})


def test_a_token_reads_the_logs_of_its_projects(guarded: "Guarded") -> None:
    path = "/logs?cluster=production&namespace=default&component_type=model&model_name=rater&version_id=1"
    assert guarded.ask("GET", path, None).status_code == 401
    assert guarded.ask("GET", path, guarded.new("reader", "films")).status_code == 403
    assert guarded.ask("GET", path, guarded.new("reader", "default")).status_code == 200
