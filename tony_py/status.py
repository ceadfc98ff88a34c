"""What a run looks like at one moment: one record for the page, the terminal and scripts."""

from collections.abc import Sequence
from typing import Final, Literal

from tony_py.application import Retries
from tony_py.driver.tasks import Usage
from tony_py.history import Event
from tony_py.timeline import Timeline
from yarnmill.records import Record

TaskWord = Literal[
    "waiting", "requested", "allocated", "registered", "running", "finished", "failed", "stopped", "lost", "given up"
]
Phase = Literal["preparing", "gathering", "running", "restarting", "succeeded", "failed", "killed"]

EVENTS_SHOWN: Final = 200
"""How many of the newest events a status carries."""

_PHASES: Final[dict[str, Phase]] = {
    "submitted": "preparing",
    "resumed": "preparing",
    "requested": "gathering",
    "given back": "gathering",
    "barrier": "running",
    "restart": "restarting",
    "grow": "restarting",
    "succeeded": "succeeded",
    "failed": "failed",
    "killed": "killed",
}
_KINDS: Final = ("user", "oom", "infra", "port", "hang", "gang")


class TaskStatus(Record, frozen=True, kw_only=True):
    """One task.

    Parameters
    ----------
    task, role, state, since
        Which one, what it counts for, how it is, and from when (seconds since the epoch).
    attempt, generation
        Which of its containers, and which run of the programs.
    container_id, host, port, gpus
        Where it is, and the devices that it may use.
    step, share, checkpoint, message
        How far its program is, as it says itself.
    exit_code
        How its program ended, if it has.
    usage, memory_limit_mib
        What it uses, and the memory that its container was given.
    is_straggler
        Whether it has made less than half the steps of the others.
    """

    task: str
    role: str = "worker"
    state: TaskWord = "waiting"
    since: float = 0.0
    attempt: int = 0
    generation: int = 0
    container_id: str = ""
    host: str = ""
    port: int = 0
    gpus: tuple[str, ...] = ()
    step: int | None = None
    share: float | None = None
    checkpoint: int | None = None
    message: str = ""
    exit_code: int | None = None
    usage: Usage = Usage()
    memory_limit_mib: float = 0.0
    is_straggler: bool = False


class BudgetStatus(Record, frozen=True, kw_only=True):
    """One class of failures: how many were mended, how many may be, within which time (0: ever)."""

    kind: str
    spent: int
    retries: int
    window_s: float = 0.0


class PageLink(Record, frozen=True, kw_only=True):
    """A page of the application: its title, and its address relative to the status page or absolute."""

    title: str
    url: str


class RunStatus(Record, frozen=True, kw_only=True):
    """An application at the moment ``at`` (seconds since the epoch)."""

    application_id: str
    name: str
    framework: str
    queue: str
    phase: Phase
    started_at: float
    at: float
    output: str
    work: str = ""
    fingerprint: str = ""
    generation: int = 0
    progress: float = 0.0
    exit_reason: str = ""
    tasks: tuple[TaskStatus, ...] = ()
    budgets: tuple[BudgetStatus, ...] = ()
    timeline: Timeline = Timeline()
    pages: tuple[PageLink, ...] = ()
    events: tuple[Event, ...] = ()
    schema_version: Literal[1] = 1


def phase_of(events: Sequence[Event]) -> Phase:
    """Return how far a run is.

    A restart of one task alone is over when that task has started; it passes no barrier.
    """
    phase: Phase = "preparing"
    restarting = ""
    was_open = False
    for each in events:
        entered = _PHASES.get(each.event)
        if each.event == "started" and each.task == restarting and was_open and phase == "restarting":
            entered = "running"
        if entered == "gathering" and was_open and each.event == "requested":
            continue  # a replacement, or the next stage, while others run
        if entered is not None:
            phase, restarting = entered, each.task
        was_open = was_open or each.event == "barrier"
    return phase


def allowances(retries: Retries) -> dict[str, float]:
    """Return what an application allows of each class of failures, as the numbers of its first event."""
    numbers: dict[str, float] = {}
    for kind in _KINDS:
        budget = retries.of(kind)
        numbers[f"retries.{kind}"] = budget.retries
        if budget.window:
            numbers[f"window_s.{kind}"] = float(budget.window)
    return numbers


def budgets_of(events: Sequence[Event], now: float) -> tuple[BudgetStatus, ...]:
    """Return how the budgets of a run stand: a driver that took over from a lost one began with full ones."""
    if not events:
        return ()
    allowed = events[0].numbers
    taken_over = max((at for at, each in enumerate(events) if each.event == "resumed"), default=0)
    mended = [each for each in events[taken_over:] if each.event in {"restart", "given back"}]
    found = []
    for kind in _KINDS:
        if f"retries.{kind}" not in allowed:
            continue
        window_s = allowed.get(f"window_s.{kind}", 0.0)
        spent = sum(each.kind == kind and (not window_s or now - each.at <= window_s) for each in mended)
        found.append(BudgetStatus(kind=kind, spent=spent, retries=int(allowed[f"retries.{kind}"]), window_s=window_s))
    return tuple(found)
