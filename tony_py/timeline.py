"""What a run's history says of its times: how long it queued, gathered, trained, and mended.

Pure functions; times are seconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from tony_py.history import Event
from yarnmill.records import Record

Phase = Literal["queue", "register", "barrier", "run", "restart"]

_ENTERED_BY: Final[dict[str, Phase]] = {
    "requested": "queue",
    "allocated": "register",
    "registered": "barrier",
    "started": "run",
}
_LEFT_BY: Final = frozenset({"finished", "stopped", "lost"})
_BEGINS_OVER: Final = frozenset({"restart", "grow"})


class TaskTimes(Record, frozen=True, kw_only=True):
    """How one task spent its time, over all its containers.

    Parameters
    ----------
    queue_s
        From the request of a container to its allocation.
    register_s
        From allocation to the executor's first word: localisation of files counts here.
    barrier_s
        From there to the start of the program: the wait for the others.
    run_s
        The program itself.
    restart_s
        From an order to start over to the executor's return.
    containers, runs
        How many containers were asked for, and how often the program was started.
    """

    task: str
    queue_s: float = 0.0
    register_s: float = 0.0
    barrier_s: float = 0.0
    run_s: float = 0.0
    restart_s: float = 0.0
    containers: int = 0
    runs: int = 0


class Timeline(Record, frozen=True, kw_only=True):
    """Durations in seconds, and how often programs were started over.

    Parameters
    ----------
    queue_s
        From the driver's start to the first container.
    gang_s
        From the driver's start to the first barrier.
    programs_s
        From the first barrier to the last event.
    restarting_s
        Of these, the time between failures and the starts after them.
    restarts
        How often the gang, or one task of it, was started over.
    restarts_by_class
        The same by the class of the failure; ``grow`` stands for latecomers that were taken in.
    tasks
        Each task's own times.
    """

    queue_s: float = 0.0
    gang_s: float = 0.0
    programs_s: float = 0.0
    restarting_s: float = 0.0
    restarts: int = 0
    restarts_by_class: dict[str, int] = {}
    tasks: tuple[TaskTimes, ...] = ()


def timeline(events: Sequence[Event], now: float | None = None) -> Timeline:
    """Return the times of a history: up to its last event, or to ``now`` while it goes on."""
    if not events:
        return Timeline()
    start, end = events[0].at, max(events[-1].at, now or 0.0)
    allocated = next((each.at for each in events if each.event in {"allocated", "registered"}), end)
    opened = next((each.at for each in events if each.event == "barrier"), end)
    restarts = [(at, each) for at, each in enumerate(events) if each.event in _BEGINS_OVER]
    by_class: dict[str, int] = {}
    for _, each in restarts:
        kind = each.kind or each.event
        by_class[kind] = by_class.get(kind, 0) + 1
    return Timeline(
        queue_s=round(allocated - start, 3),
        gang_s=round(opened - start, 3),
        programs_s=round(end - opened, 3),
        restarting_s=round(sum(_back_at(events[at:], end) - each.at for at, each in restarts), 3),
        restarts=len(restarts),
        restarts_by_class=by_class,
        tasks=tuple(_TaskClock(task).read(events, end) for task in _tasks_of(events)),
    )


def _back_at(events: Sequence[Event], end: float) -> float:
    """Return when the programs ran again after the restart that ``events`` begin with, or when the next one began.

    A gang that starts over passes a barrier; a task that starts over alone is only started.
    """
    restart = events[0]
    for each in events[1:]:
        if each.event in {"barrier", *_BEGINS_OVER} or (each.event == "started" and each.task == restart.task):
            return each.at
    return end


def _tasks_of(events: Iterable[Event]) -> list[str]:
    return list(dict.fromkeys(each.task for each in events if each.task and each.event in _ENTERED_BY))


@dataclass
class _TaskClock:
    """Adds up the phases of one task."""

    task: str
    spent: dict[Phase, float] = field(default_factory=dict)
    phase: Phase | None = None
    since: float = 0.0
    over_at: float = 0.0
    containers: int = 0
    runs: int = 0

    def read(self, events: Iterable[Event], end: float) -> TaskTimes:
        for each in events:
            self._hear(each)
        self._enter(None, end)
        seconds = {f"{phase}_s": round(spent, 3) for phase, spent in self.spent.items()}
        return TaskTimes(task=self.task, containers=self.containers, runs=self.runs, **seconds)

    def _hear(self, each: Event) -> None:
        if each.event == "given back" and self.phase in {"queue", "register", "barrier"}:
            self._enter(None, each.at)
        elif each.event in _BEGINS_OVER:
            self.over_at = each.at  # whether for this task too shows when it registers again
        elif each.task != self.task:
            return
        elif each.event in _LEFT_BY:
            self._enter(None, each.at)
        elif each.event in _ENTERED_BY:
            if self.phase in {"run", None} and self.over_at > self.since:
                self._enter("restart", self.over_at)
            self.containers += each.event == "requested"
            self.runs += each.event == "started"
            self._enter(_ENTERED_BY[each.event], each.at)

    def _enter(self, phase: Phase | None, at: float) -> None:
        if self.phase is not None:
            self.spent[self.phase] = self.spent.get(self.phase, 0.0) + at - self.since
        self.phase, self.since = phase, at
