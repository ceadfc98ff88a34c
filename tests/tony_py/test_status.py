from typing import Any

import pytest

from tony_py.application import Budget, Retries
from tony_py.driver.tasks import Usage
from tony_py.history import Event, application_of
from tony_py.replay import replay, status_of_history
from tony_py.status import allowances, budgets_of, phase_of
from yarnmill.units import Seconds


def event(at: float, name: str, task: str = "", **facts: Any) -> Event:
    return Event(at=at, event=name, task=task, **facts)


def names(*words: str) -> list[Event]:
    return [event(at, *(word.split(" ") if ":" in word else [word])) for at, word in enumerate(words)]


@pytest.mark.parametrize(
    ("words", "phase"),
    [
        (["submitted"], "preparing"),
        (["submitted", "requested worker:0"], "gathering"),
        (["submitted", "requested worker:0", "given back"], "gathering"),
        (["submitted", "requested worker:0", "barrier"], "running"),
        (["submitted", "barrier", "restart worker:0", "requested worker:0"], "restarting"),
        (["submitted", "barrier", "restart worker:0", "barrier"], "running"),
        (["submitted", "barrier", "restart worker:0", "started worker:1"], "restarting"),
        (["submitted", "barrier", "restart worker:0", "started worker:0"], "running"),
        (["submitted", "barrier", "requested ps:0"], "running"),  # the next stage
        (["submitted", "barrier", "resumed"], "preparing"),
        (["submitted", "barrier", "succeeded"], "succeeded"),
        (["submitted", "barrier", "failed worker:0"], "failed"),
        (["submitted", "barrier", "killed"], "killed"),
    ],
)
def test_how_far_a_run_is(words: list[str], phase: str) -> None:
    assert phase_of(names(*words)) == phase


def test_budgets_stand_in_the_first_event_and_are_spent_by_class() -> None:
    retries = Retries(user=2, infra=Budget(retries=5, window=Seconds(60.0)))
    events = [
        event(0, "submitted", numbers=allowances(retries)),
        event(10, "restart", "worker:0", kind="user"),
        event(20, "restart", "worker:1", kind="infra"),
        event(90, "restart", "worker:1", kind="infra"),
        event(91, "given back", kind="gang"),
    ]
    found = {budget.kind: (budget.spent, budget.retries) for budget in budgets_of(events, 100.0)}
    assert found["user"] == (1, 2)
    assert found["infra"] == (1, 5)  # the first is older than the window
    assert found["gang"] == (1, 3)
    assert found["oom"] == (0, 0)
    resumed = [*events, event(95, "resumed")]
    assert all(budget.spent == 0 for budget in budgets_of(resumed, 100.0))  # a new driver has full ones
    assert budgets_of([], 0.0) == ()


def test_a_history_tells_its_tasks() -> None:
    where = {"attempt": 1, "container_id": "c1", "host": "node-7"}
    events = [
        event(0, "submitted", detail="application_1_0001"),
        event(1, "requested", "worker:0", attempt=1),
        event(2, "registered", "worker:0", **where),
        event(3, "barrier"),
        event(4, "started", "worker:0", attempt=1),
        event(5, "progress", "worker:0", detail="loss 0.5", numbers={"step": 10, "share": 0.5, "checkpoint": 8}),
    ]
    (running,) = replay(events)
    assert (running.state, running.since, running.host, running.container_id) == ("running", 4, "node-7", "c1")
    assert (running.step, running.share, running.checkpoint, running.message) == (10, 0.5, 8, "loss 0.5")
    assert running.generation == 1
    end = event(6, "finished", "worker:0", **where, numbers={"exit_code": 3, "peak_memory_mib": 99.5, "cpu_s": 2.0})
    (failed,) = replay([*events, end])
    assert (failed.state, failed.exit_code) == ("failed", 3)
    assert failed.usage == Usage(peak_memory_mib=99.5, cpu_s=2.0)
    again = [*events, end, event(7, "restart", "worker:0"), event(8, "registered", "worker:0", **where)]
    (registered,) = replay(again)
    assert (registered.state, registered.exit_code, registered.step) == ("registered", None, None)
    assert registered.usage.peak_memory_mib == 99.5
    assert application_of(events) == "application_1_0001"


def test_what_was_given_back_waits() -> None:
    events = names("submitted", "requested worker:0", "allocated worker:0", "requested worker:1", "given back")
    assert [task.state for task in replay(events)] == ["waiting", "waiting"]


def test_nothing_of_a_run_that_is_over_runs() -> None:
    events = names("submitted", "requested worker:0", "barrier", "started worker:0", "killed")
    run = status_of_history(events, None, now=100.0)
    assert (run.phase, run.at) == ("killed", 4.0)
    assert [task.state for task in run.tasks] == ["stopped"]
    going_on = status_of_history(events[:-1], None, now=100.0)
    assert (going_on.phase, going_on.at, going_on.tasks[0].state) == ("running", 100.0, "running")
