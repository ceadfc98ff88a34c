"""What the registry knows of predictions in batches."""

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from registered import bundle

from yarnmill.errors import ConflictError, JobFailedError
from yarnmill.lifecycle import predicting
from yarnmill.lifecycle.predicting import Say, noted_predictions, see_through
from yarnmill.registry import Candidate, Registry
from yarnmill.report import RunReport

MOMENT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
REPORT = RunReport(
    job="score",
    run_id="one",
    fingerprint="0" * 64,
    state="succeeded",
    started_at=MOMENT,
    finished_at=MOMENT,
    exit_reason="finished",
    application_id="application_1_0001",
    inputs=(),
    parameters={},
    metrics={},
)
WHERE = {"output": "hdfs:///scores"}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(f"sqlite:///{tmp_path}/registry.db")
    first = Candidate(model="rank", bundle_id="0" * 64, blobs_url="file:///blobs", flavour="onnx", run_id="one")
    registry.versions.register(bundle(first, 1))
    registry.versions.register(bundle(first, 2))
    registry.versions.register(bundle(first, 2, "rerank"))
    return registry


def test_every_version_that_predicts_has_a_job_that_ends_with_it(registry: Registry) -> None:
    said: list[str] = []
    bundles = [f"{number:064x}" for number in (2, 7)]
    with noted_predictions(lambda: registry, bundles, "score", WHERE, said.append) as tell:
        assert [one.status for one in registry.jobs.find()] == ["running", "running"]
        tell(REPORT)
    found = registry.jobs.find()
    assert sorted((one.model, one.version, one.status) for one in found) == [
        ("rank", 2, "completed"),
        ("rerank", 1, "completed"),
    ]
    assert {one.application_id for one in found} == {"application_1_0001"}
    assert found[0].configuration == WHERE
    assert said == []


@pytest.mark.parametrize(
    ("problem", "status", "message"),
    [
        (JobFailedError("no memory", mend="give it more"), "failed", "no memory"),
        (ZeroDivisionError("none"), "failed", "ZeroDivisionError: none"),
        (KeyboardInterrupt(), "terminated", "interrupted"),
    ],
)
def test_a_job_that_does_not_finish_says_why(
    registry: Registry, problem: BaseException, status: str, message: str
) -> None:
    with (
        pytest.raises(type(problem)),
        noted_predictions(lambda: registry, [f"{1:064x}"], "score", WHERE, print),
    ):
        raise problem
    (found,) = registry.jobs.find()
    assert (found.status, found.message) == (status, message)


def test_a_registry_that_is_away_costs_the_note_alone() -> None:
    said: list[str] = []

    def away() -> Registry:
        return Registry("postgresql+psycopg://nobody@127.0.0.1:1/none")

    with noted_predictions(away, [f"{1:064x}"], "score", WHERE, said.append) as tell:
        tell(REPORT)
    assert len(said) == 1
    assert said[0].startswith("the registry does not know of these predictions: ")


@pytest.mark.parametrize("line", ["score: application_1_0001 ACCEPTED (3 s)", ""])
def test_a_job_that_is_seen_through_runs_once_yarn_has_it(registry: Registry, line: str) -> None:
    job = registry.jobs.create("rank", 1, "nightly", {})

    def predict(follow: Say) -> RunReport:
        follow("score: 3 containers")
        assert registry.jobs.get(job.id).status == "pending"
        follow(line)
        if line:
            found = registry.jobs.get(job.id)
            assert (found.status, found.application_id) == ("running", "application_1_0001")
        return REPORT

    assert see_through(registry, job, predict) == REPORT
    found = registry.jobs.get(job.id)
    assert (found.status, found.application_id) == ("completed", "application_1_0001")
    with pytest.raises(ConflictError, match="is completed"):
        see_through(registry, found, predict)


def seen(registry: Registry, predict: Callable[[Say], RunReport]) -> None:
    see_through(registry, registry.jobs.create("rank", 1, "nightly", {}), predict)


def noted(registry: Registry, predict: Callable[[Say], RunReport]) -> None:
    with noted_predictions(lambda: registry, [f"{1:064x}"], "score", WHERE, print):
        predict(print)


@pytest.mark.parametrize("carry_out", [seen, noted])
def test_what_somebody_stops_is_interrupted_while_it_waits(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, carry_out: Callable[..., None]
) -> None:
    monkeypatch.setattr(predicting, "_LOOK_S", 0.02)  # two seconds a look would only make the test long
    reader, writer = os.pipe()

    def predict(_follow: Say) -> RunReport:
        (job,) = registry.jobs.find()
        registry.jobs.move(job.id, "terminated", message="stopped")
        os.read(reader, 1)  # as it reads what spark-submit says; nothing ever comes
        return REPORT

    with pytest.raises(KeyboardInterrupt):
        carry_out(registry, predict)
    os.close(reader)
    os.close(writer)
    (job,) = registry.jobs.find()
    assert (job.status, job.message) == ("terminated", "stopped")


def test_jobs_are_found_by_version_and_project_in_pages(registry: Registry) -> None:
    made = [registry.jobs.create("rank", 1 + number % 2, f"job {number}", {}) for number in range(5)]
    newest_first = [one.id for one in reversed(made)]
    assert [one.id for one in registry.jobs.find(project="default")] == newest_first
    assert [one.id for one in registry.jobs.find("rank", offset=1, most=2)] == newest_first[1:3]
    assert [one.id for one in registry.jobs.find("rank", version=2)] == [made[3].id, made[1].id]
    assert registry.jobs.count("rank") == 5
    assert registry.jobs.count("rank", version=2) == 2
    assert registry.jobs.count(project="films") == 0
    assert registry.jobs.get(made[0].id) == made[0]
