"""How long tasks may go on when the others have ended (``linger``). Pure functions; times are monotonic seconds."""

from collections.abc import Iterable, Mapping

from tony_py.application import Application
from tony_py.driver.members import Member
from tony_py.driver.tasks import TaskId
from tony_py.driver.watch import Loss
from yarnmill.units import render_seconds


def lingers(application: Application, members: Mapping[TaskId, Member], now: float) -> bool:
    """Return whether a task that the application does not wait for may still go on, and does."""
    kinds = application.types
    deciding = [member for task, member in members.items() if kinds[task.type].role == "chief"] or [
        member for task, member in members.items() if kinds[task.type].is_tracked
    ]
    over_at = _over_at(deciding)
    return over_at is not None and any(
        member.is_running and not kinds[task.type].is_tracked
        for task, member in members.items()
        if now - over_at < kinds[task.type].linger
    )


def overstaying(application: Application, members: Mapping[TaskId, Member], now: float) -> Loss | None:
    """Return a task that the application waits for and that has been alone for too long, if there is one."""
    tracked = {task: member for task, member in members.items() if application.types[task.type].is_tracked}
    for task, member in tracked.items():
        limit_s = application.types[task.type].linger
        over_at = _over_at(other for each, other in tracked.items() if each.type != task.type)
        if limit_s and over_at is not None and member.is_running and now - over_at > limit_s:
            alone = f"{task} was not over {render_seconds(limit_s)} after all others"
            return Loss(task, "user", f"types.{task.type}.linger: {alone}")
    return None


def _over_at(members: Iterable[Member]) -> float | None:
    """Return when the last of these ended well; None if one has not, or there are none."""
    present = [member for member in members if not member.is_out]
    if not present or not all(member.has_succeeded for member in present):
        return None
    return max(member.since for member in present)
