"""From the driver's events to the history's: with what is known of their tasks at that moment."""

import msgspec

from tony_py.driver.gang import Gang
from tony_py.driver.members import Member
from tony_py.driver.tasks import TaskId
from tony_py.history import Facts, History

_WITH_NUMBERS = frozenset({"finished", "stopped", "lost"})
_WITHOUT_CONTAINER = frozenset({"requested", "started", "progress"})


class Recording:
    """Takes events, as a :class:`~tony_py.driver.gang.Recorder`.

    Parameters
    ----------
    history
        Where they go.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._gang: Gang | None = None

    def know(self, gang: Gang) -> None:
        """Ask this gang about the tasks of events from here on."""
        self._gang = gang

    def __call__(self, event: str, task: TaskId | None, detail: str, kind: str = "", /) -> None:
        """Note an event."""
        facts = Facts(kind=kind)
        if task is not None and self._gang is not None:
            facts |= facts_of(event, self._gang.member(task))
        self._history.record(event, str(task or ""), detail, **facts)


def facts_of(event: str, member: Member) -> Facts:
    """Return what an event says of its task beside its words."""
    facts = Facts(attempt=member.attempt)
    if event not in _WITHOUT_CONTAINER:
        facts["container_id"] = member.container_id
        facts["host"] = member.endpoint.host if member.endpoint else ""
    if event in _WITH_NUMBERS:
        facts["numbers"] = _numbers_of_end(member)
    if event in {"progress", "straggler"}:
        facts["numbers"] = _numbers_of_progress(member)
    return facts


def _numbers_of_end(member: Member) -> dict[str, float]:
    numbers = {name: value for name, value in msgspec.to_builtins(member.usage).items() if value}
    numbers.pop("memory_mib", None)  # of the last moment; the peaks and means tell of the run
    numbers.pop("gpu_memory_mib", None)
    numbers.pop("gpu_share", None)
    if member.end is not None:
        numbers["exit_code"] = member.end.exit_code
        if member.end.memory_limit_mib:
            numbers["memory_limit_mib"] = member.end.memory_limit_mib
    return numbers | _numbers_of_progress(member)


def _numbers_of_progress(member: Member) -> dict[str, float]:
    progress = member.progress
    found = {"step": progress.step, "share": progress.share, "checkpoint": progress.checkpoint}
    return {name: value for name, value in found.items() if value is not None}
