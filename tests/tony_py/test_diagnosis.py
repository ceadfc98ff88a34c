"""Why runs ended as they did: from real failing runs of this machine, and from histories of what is hard to provoke."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tony_py.advice import advise
from tony_py.application import Application, Environment, Retries, Timeouts
from tony_py.diagnosis import Diagnosis
from tony_py.history import Event
from tony_py.index import RunEntry
from tony_py.local import local_folder, run_local
from tony_py.lookup import Found, find
from yarnmill.cli.tony_history import render_diagnosis
from yarnmill.config import Config, load_config
from yarnmill.units import Seconds
from yarnmill.yarn import ApplicationStatus

Make = Callable[..., Application]
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Return the configuration of a home of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return load_config(home=str(tmp_path / "home"))


def diagnosed(application: Application, config: Config) -> Diagnosis:
    report = run_local(application, config, local_folder(config), overwrite=True)
    return advise(find(report.application_id, config))


@pytest.mark.programs
def test_a_program_that_fails_again(application: Make, machine: Config) -> None:
    program = """[ $TONY_RANK = 0 ] || exec python3 -c 'raise ValueError("no such film")'; sleep 30"""
    app = application(program, retries=Retries(user=1), restart="gang", timeouts=Timeouts(grace=Seconds(1.0)))
    found = diagnosed(app, machine)
    assert (found.state, found.task, found.kind, found.exit_code) == ("failed", "worker:1", "user", 1)
    assert found.cause == "worker:1: exit code 1; user: 1 retries spent (retries.user)"
    assert found.traceback.startswith("Traceback (most recent call last):")
    assert found.traceback.endswith("ValueError: no such film")
    assert found.restarts_by_class == {"user": 1}
    assert {each.kind: (each.spent, each.retries) for each in found.budgets}["user"] == (1, 1)
    assert (found.container_id, found.host) == ("container_000002_worker_1", "127.0.0.1")
    assert f"tony_py logs --task worker:1 {found.application_id}" in found.advice[0]
    text = render_diagnosis(found)
    assert "failing task   worker:1, class user, exit code 1" in text
    assert "ValueError: no such film" in text


@pytest.mark.programs
def test_a_program_without_a_step(application: Make, machine: Config) -> None:
    program = """echo '{"step": 3, "checkpoint": 2}' > $TONY_PROGRESS_FILE; exec sleep 60"""
    timeouts = Timeouts(progress=Seconds(2.5), grace=Seconds(1.0))
    found = diagnosed(application(program, instances=1, retries=Retries(hang=0), timeouts=timeouts), machine)
    assert (found.state, found.kind, found.hangs) == ("failed", "hang", ("worker:0",))
    assert "timeouts.progress" in found.cause
    assert "stacks" in found.advice[0]
    assert found.advice[-1].endswith("(step 2)")


@pytest.mark.programs
def test_a_container_that_cannot_start(application: Make, machine: Config, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    found = diagnosed(application(environment=Environment(python=str(broken)), instances=1), machine)
    assert found.state == "failed"
    assert "ended before its program did" in found.cause
    assert "environment.python" in found.advice[1]


@pytest.mark.programs
def test_a_run_that_ended_well_has_no_cause(application: Make, machine: Config) -> None:
    found = diagnosed(application("true"), machine)
    assert (found.state, found.cause, found.task, found.advice) == ("succeeded", "", "", ())


def found_by(*events: Event, state: str = "failed", **changes: Any) -> Found:
    at = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)
    entry = RunEntry(
        application_id="application_1_0001",
        name="rater",
        framework="torch",
        queue="gpu",
        user="ada",
        output="hdfs:///o",
        work="hdfs:///.o",
        fingerprint="f",
        submitted_at=at,
        state=state,  # type: ignore[arg-type]
    )
    return Found("application_1_0001", **{"entry": entry, "events": list(events), **changes})


def failed(kind: str, cause: str, **facts: Any) -> Event:
    return Event(at=99.0, event="failed", task="worker:1", kind=kind, detail=cause, **facts)


BEGIN = Event(at=0.0, event="submitted", detail="application_1_0001", numbers={"retries.user": 0, "retries.oom": 1})


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("oom", ["900 of 1024 MiB", "types.worker.memory"]),
        ("infra", ["retries.infra", "node-7", "yarn node -list"]),
        ("port", ["TONY_PORT"]),
        ("gang", ["timeouts.gang", "min_instances"]),
    ],
)
def test_each_class_has_its_advice(kind: str, words: list[str]) -> None:
    numbers = {"exit_code": 137, "peak_memory_mib": 900, "memory_limit_mib": 1024}
    end = Event(at=98.0, event="finished", task="worker:1", numbers=numbers)
    found = advise(found_by(BEGIN, end, failed(kind, "worker:1: exit code 137", host="node-7")))
    assert found.kind == kind
    advice = "\n".join(found.advice)
    assert all(word in advice for word in words)


def test_of_a_killed_run_the_killer_is_the_cause() -> None:
    application = ApplicationStatus(
        application_id="application_1_0001",
        name="rater",
        kind="skein",
        queue="gpu",
        state="KILLED",
        final_status="KILLED",
        diagnostics="Application application_1_0001 was killed by user ada at 10.0.0.1",
        progress=0.5,
        tags=(),
        started_ms=0,
        finished_ms=1,
    )
    found = advise(found_by(BEGIN, state="running", application=application))
    assert (found.state, found.cause) == ("killed", application.diagnostics)


def test_a_running_run_tells_what_it_waits_for_and_who_is_slow() -> None:
    events = [
        Event(at=1.0, event="requested", task="worker:0"),
        Event(at=2.0, event="started", task="worker:1"),
        Event(at=3.0, event="straggler", task="worker:1"),
    ]
    found = advise(found_by(BEGIN, *events, state="running"))
    assert found.state == "gathering"
    assert found.advice[0] == "not started yet: worker:0 (requested)"
    assert "--task worker:1" in found.advice[1]


def test_the_page_of_text_is_stable() -> None:
    started = Event(at=30.0, event="started", task="worker:1")
    events = [
        BEGIN,
        Event(at=1.0, event="requested", task="worker:1", attempt=1),
        Event(at=20.0, event="allocated", task="worker:1", container_id="c_02", host="node-7", attempt=1),
        started,
        Event(at=40.0, event="restart", task="worker:1", kind="oom", detail="retry 1 of 1"),
        Event(
            at=90.0,
            event="finished",
            task="worker:1",
            numbers={"exit_code": 137, "peak_memory_mib": 1000, "memory_limit_mib": 1024},
        ),
        failed(
            "oom",
            "worker:1: exit code 137 with 1000 of 1024 MiB in use\nTraceback:\nMemoryError",
            container_id="c_02",
            host="node-7",
        ),
    ]
    assert render_diagnosis(advise(found_by(*events))) == (GOLDEN / "diagnosis.txt").read_text()
