"""The barrier's rules: when an elastic gang has enough, who passes, who is missing. Pure functions."""

from collections.abc import Callable, Iterable, Mapping

from tony_py.application import Application, TaskType
from tony_py.driver.members import Member
from tony_py.driver.tasks import TaskId
from yarnmill.units import render_seconds


def has_enough(
    application: Application,
    tasks: Iterable[TaskId],
    members: Mapping[TaskId, Member],
    wanted: Callable[[TaskType], int],
) -> bool:
    """Return whether an elastic gang may pass without those that are missing; one of fixed size never may.

    Parameters
    ----------
    application
        Says of each type how many there may be.
    tasks
        The gang.
    members
        What is known of its tasks.
    wanted
        How many of a type are enough.
    """
    counts = {task.type: 0 for task in tasks}
    if not any(application.types[name].is_elastic for name in counts):
        return False
    for task, member in members.items():
        if task.type in counts and (member.state == "registered" or member.is_released):
            counts[task.type] += 1
    return all(count >= wanted(application.types[name]) for name, count in counts.items())


def describe_opening(generation: int, members: Mapping[TaskId, Member]) -> str:
    """Return who passes now, or has passed before, and who is left behind."""
    passing = [task for task, member in members.items() if member.is_released or member.state == "registered"]
    missing = [str(task) for task in members if task not in passing]
    without = f", without {', '.join(missing)}" if missing else ""
    return f"generation {generation}: {len(passing)} tasks start{without}"


def describe_missing(application: Application, missing: Iterable[TaskId], limit_s: float) -> str:
    """Return which tasks got no container, and what was asked for them."""
    lines = [f"the gang was not complete after {render_seconds(limit_s)} (timeouts.gang)"]
    for task in missing:
        kind = application.types[task.type]
        asked = f"{kind.memory} MiB, {kind.vcores} vcores, {kind.gpus} GPUs asked for"
        lines.append(f"{task}: no container yet ({asked}): the queue {application.queue} has no room")
    return "\n".join(lines)
