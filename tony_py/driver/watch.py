"""What the driver looks for between messages: lost containers, silence, overdue states, hangs, stragglers.

Functions from what is known of the tasks to what is wrong with them. Times are monotonic seconds.
"""

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Final, NamedTuple

from tony_py.application import Application, FailureClass
from tony_py.driver.containers import Container
from tony_py.driver.failures import class_of_container
from tony_py.driver.members import Member
from tony_py.driver.tasks import TaskId
from yarnmill.units import render_seconds

_PATIENCE_S: Final = 3.0
"""How long the executor's word may come after YARN's that its container ended, and YARN's after its silence."""

_COME_BACK_S: Final = 30.0
"""What an executor has beyond the grace of its program to register again after an order to restart."""

_STRAGGLER_SHARE: Final = 0.5
_STRAGGLER_STEPS: Final = 10


class Loss(NamedTuple):
    """A task that is gone: the class of the failure, and the cause in words."""

    task: TaskId
    kind: FailureClass
    cause: str


def lost_containers(
    members: Mapping[TaskId, Member], found: Mapping[TaskId, Container], ended_at: dict[TaskId, float], now: float
) -> Iterator[Loss]:
    """Yield tasks whose container ended; ``ended_at`` remembers when that was seen first."""
    ever = {task.type for task, member in members.items() if member.endpoint is not None}
    for task, member in members.items():
        container = found.get(task)
        if container is None or container.state != "ended" or not _is_expected(member):
            ended_at.pop(task, None)
            continue
        since = ended_at.setdefault(task, now)
        if member.hung_up_at is None and now - since < _PATIENCE_S:
            continue  # its last word may be on the way
        ended_at.pop(task, None)
        said = container.message or "no reason was given"
        kind = class_of_container(said, ever_registered=task.type in ever)
        yield Loss(task, kind, f"container {container.container_id} ended before its program did: {said}")


def silent_executors(application: Application, members: Mapping[TaskId, Member], now: float) -> Iterator[Loss]:
    """Yield tasks whose executor hung up and did not come back, or was not heard of for too long."""
    limit_s = float(application.timeouts.heartbeat)
    for task, member in members.items():
        if not member.has_executor:
            continue
        if member.hung_up_at is not None and now - member.hung_up_at > _PATIENCE_S:
            yield Loss(task, "infra", f"its executor in {member.container_id or 'its container'} is gone")
        elif member.end is None and now - member.seen_at > limit_s:
            silence = f"no heartbeat for {now - member.seen_at:.0f} s (timeouts.heartbeat)"
            yield Loss(task, "infra", f"{silence}: its node or its executor is gone")


def overdue(application: Application, members: Mapping[TaskId, Member], now: float) -> Iterator[Loss]:
    """Yield tasks that have been in a state for longer than the application allows."""
    timeouts = application.timeouts
    for task, member in members.items():
        waited = now - member.since
        if member.state == "allocated" and member.has_executor:
            if waited > timeouts.grace + _COME_BACK_S:
                yield Loss(task, "infra", "did not come back after an order to restart")
        elif member.state == "allocated" and 0 < timeouts.register < waited:
            cause = f"container {member.container_id} runs but did not register within"
            yield Loss(task, "infra", f"{cause} {render_seconds(timeouts.register)} (timeouts.register)")
        elif member.state == "registered" and member.is_released and 0 < timeouts.start < waited:
            yield Loss(
                task, "infra", f"did not start its program within {render_seconds(timeouts.start)} (timeouts.start)"
            )


def hanging(application: Application, members: Mapping[TaskId, Member], now: float) -> Loss | None:
    """Return the task that has made no step for longest, if that is longer than ``timeouts.progress``."""
    limit_s = float(application.timeouts.progress)
    if not limit_s:
        return None
    running = {
        task: member
        for task, member in members.items()
        if member.state == "started" and member.is_running and application.types[task.type].is_tracked
    }
    reporting = {task: member for task, member in running.items() if member.progress.moved_at is not None}
    if not reporting:
        if running and all(now - member.since > limit_s for member in running.values()):
            return Loss(next(iter(running)), "hang", _no_step(limit_s, "none was ever told in TONY_PROGRESS_FILE"))
        return None
    task, member = min(reporting.items(), key=lambda entry: (entry[1].progress.step or 0, entry[1].progress.moved_at))
    if now - (member.progress.moved_at or now) <= limit_s:
        return None
    last = f"step {member.progress.step}" if member.progress.step is not None else f"{member.progress.share or 0:.0%}"
    return Loss(task, "hang", _no_step(limit_s, f"the last one was {last}"))


def stragglers(members: Mapping[TaskId, Member]) -> list[TaskId]:
    """Return running tasks that have made less than half the steps of the median of their type."""
    steps: dict[str, dict[TaskId, int]] = {}
    for task, member in members.items():
        if member.is_running and member.progress.step is not None:
            steps.setdefault(task.type, {})[task] = member.progress.step
    found = []
    for of_type in steps.values():
        middle = median(of_type.values())
        found += [t for t, step in of_type.items() if middle >= _STRAGGLER_STEPS and step < _STRAGGLER_SHARE * middle]
    return found


def _is_expected(member: Member) -> bool:
    return member.has_executor or member.state in {"requested", "allocated", "registered", "started"}


def _no_step(limit_s: float, last: str) -> str:
    return f"no further step for {render_seconds(limit_s)} (timeouts.progress); {last}"
