from collections.abc import Sequence
from typing import Any

import pytest

from tony_py.history import Event
from tony_py.timeline import TaskTimes, Timeline, timeline


def history(*lines: tuple[Any, ...]) -> list[Event]:
    """Return events from (at, event, task, kind) with the last two left out where they are empty."""
    return [Event(at=at, event=name, task=task, kind=kind) for at, name, task, kind in (pad(line) for line in lines)]


def pad(line: Sequence[Any]) -> tuple[float, str, str, str]:
    at, event, task, kind = [*line, "", ""][:4]
    return at, event, task, kind


BEGUN = (
    (0, "submitted"),
    (1, "requested", "worker:0"),
    (1, "requested", "worker:1"),
    (3, "allocated", "worker:0"),
    (4, "registered", "worker:0"),
    (6, "allocated", "worker:1"),
    (8, "registered", "worker:1"),
    (8, "barrier"),
    (9, "started", "worker:0"),
    (10, "started", "worker:1"),
)


def of(task: str, times: Timeline) -> TaskTimes:
    return next(each for each in times.tasks if each.task == task)


def test_a_run_without_trouble() -> None:
    times = timeline(history(*BEGUN, (30, "finished", "worker:0"), (31, "finished", "worker:1"), (32, "succeeded")))
    assert (times.queue_s, times.gang_s, times.programs_s) == (3, 8, 24)
    assert (times.restarts, times.restarting_s, times.restarts_by_class) == (0, 0, {})
    assert of("worker:0", times) == TaskTimes(
        task="worker:0", queue_s=2, register_s=1, barrier_s=5, run_s=21, containers=1, runs=1
    )
    assert of("worker:1", times).register_s == 2


def test_a_gang_that_starts_over_in_its_containers() -> None:
    over = (
        (20, "finished", "worker:1"),
        (21, "restart", "worker:1", "user"),
        (23, "registered", "worker:1"),
        (25, "registered", "worker:0"),
        (25, "barrier"),
        (26, "started", "worker:0"),
        (26, "started", "worker:1"),
        (36, "finished", "worker:0"),
        (36, "finished", "worker:1"),
    )
    times = timeline(history(*BEGUN, *over))
    assert (times.restarts, times.restarts_by_class, times.restarting_s) == (1, {"user": 1}, 4)
    survivor, failed = of("worker:0", times), of("worker:1", times)
    assert (survivor.run_s, survivor.restart_s, survivor.runs) == (12 + 10, 4, 2)
    assert (failed.run_s, failed.restart_s, failed.containers) == (10 + 10, 2, 1)


def test_one_task_that_starts_over_alone_leaves_the_clock_of_the_others_running() -> None:
    over = (
        (20, "lost", "worker:1"),
        (21, "restart", "worker:1", "infra"),
        (21, "requested", "worker:1"),
        (24, "allocated", "worker:1"),
        (25, "registered", "worker:1"),
        (26, "started", "worker:1"),
        (40, "finished", "worker:0"),
        (40, "finished", "worker:1"),
    )
    times = timeline(history(*BEGUN, *over))
    assert times.restarting_s == 5  # to the start of that task: no barrier follows
    assert of("worker:0", times).run_s == 31
    assert of("worker:0", times).restart_s == 0
    assert of("worker:1", times) == TaskTimes(
        task="worker:1", queue_s=8, register_s=3, barrier_s=3, run_s=24, containers=2, runs=2
    )


def test_what_a_gang_gave_back_is_nobodys_wait() -> None:
    times = timeline(
        history(
            (0, "submitted"),
            (1, "requested", "worker:0"),
            (1, "requested", "worker:1"),
            (2, "allocated", "worker:0"),
            (3, "registered", "worker:0"),
            (11, "given back", "", "gang"),
            (21, "requested", "worker:0"),
            (21, "requested", "worker:1"),
            (22, "allocated", "worker:0"),
        )
    )
    assert of("worker:1", times) == TaskTimes(task="worker:1", queue_s=11, containers=2)
    assert of("worker:0", times) == TaskTimes(task="worker:0", queue_s=2, register_s=1, barrier_s=8, containers=2)


@pytest.mark.parametrize("now", [None, 5.0, 50.0])
def test_a_run_that_goes_on_is_counted_up_to_now(now: float | None) -> None:
    end = max(now or 0, 10)
    assert of("worker:0", timeline(history(*BEGUN), now)).run_s == end - 9
    assert timeline(history(*BEGUN), now).programs_s == end - 8


def test_latecomers_count_apart_and_nothing_has_no_times() -> None:
    assert timeline(history(*BEGUN, (20, "grow"), (25, "barrier"))).restarts_by_class == {"grow": 1}
    assert timeline([]) == Timeline()
