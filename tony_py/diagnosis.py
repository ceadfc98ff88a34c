"""Why a run ended as it did, on one page: from its report and its history. Pure functions."""

from collections.abc import Sequence
from typing import Final

from tony_py.history import Event
from tony_py.lookup import Found
from tony_py.status import BudgetStatus, RunStatus, TaskStatus
from tony_py.timeline import TaskTimes
from yarnmill.records import Record

_LONGEST: Final = 3
_WAITS: Final = {
    "queue_s": "waited for a container",
    "register_s": "container took to start",
    "barrier_s": "waited for the others",
    "restart_s": "took to start over",
}
_WORTH_S: Final = 1.0
_TIGHT_SHARE: Final = 0.85


class Wait(Record, frozen=True, kw_only=True):
    """Time that a task did not spend in its program."""

    task: str
    what: str
    seconds: float


class Diagnosis(Record, frozen=True, kw_only=True):
    """What is to be known of a run to act on it.

    Parameters
    ----------
    application_id, name, state
        The run, and how it ended: ``succeeded``, ``failed``, ``killed``, or how far it is.
    cause
        Why it failed, in one line.
    task, kind, exit_code, container_id, host
        The task that failed first, the class of its failure, and where.
    traceback
        The first traceback, or the last words of the program.
    restarts_by_class
        How often it was started over, and why.
    budgets
        What was spent of each budget.
    waits
        The longest waits.
    stragglers, hangs
        Tasks that fell behind, and those that made no step.
    tightest
        The task that came closest to its limit of memory, if any did.
    advice
        What to do next.
    """

    application_id: str
    name: str
    state: str
    cause: str = ""
    task: str = ""
    kind: str = ""
    exit_code: int | None = None
    container_id: str = ""
    host: str = ""
    traceback: str = ""
    restarts_by_class: dict[str, int] = {}
    budgets: tuple[BudgetStatus, ...] = ()
    waits: tuple[Wait, ...] = ()
    stragglers: tuple[str, ...] = ()
    hangs: tuple[str, ...] = ()
    tightest: TaskStatus | None = None
    advice: tuple[str, ...] = ()
    schema_version: int = 1


def diagnose(found: Found) -> Diagnosis:
    """Return what is to be known of a run; what to do next is added by :func:`tony_py.advice.advise`."""
    run = found.run
    events = found.events or list(run.events)
    state = _state(found, run)
    is_bad = state in {"failed", "killed"}
    failure = next((each for each in reversed(events) if is_bad and each.event == "failed" and each.task), None)
    cause, _, words = _reason(found, run, failure).partition("\n") if is_bad else ("", "", "")
    last = next((each for each in run.tasks if failure is not None and each.task == failure.task), None)
    return Diagnosis(
        application_id=found.application_id,
        name=run.name or (found.report.job if found.report else ""),
        state=state,
        cause=cause,
        task=failure.task if failure else "",
        kind=failure.kind if failure else "",
        exit_code=last.exit_code if last else None,
        container_id=failure.container_id if failure else "",
        host=failure.host if failure else "",
        traceback=words,
        restarts_by_class=run.timeline.restarts_by_class,
        budgets=run.budgets,
        waits=_longest_waits(run.timeline.tasks),
        stragglers=_named(events, "straggler"),
        hangs=_named(events, "hang"),
        tightest=_tightest(run.tasks),
    )


def _state(found: Found, run: RunStatus) -> str:
    killed = (found.application and found.application.state) == "KILLED" or (
        found.entry and found.entry.state
    ) == "killed"
    if killed:
        return "killed"
    if found.report is not None:
        return found.report.state
    if found.application is not None and found.application.is_finished:
        return found.application.final_status.lower()
    return run.phase


def _reason(found: Found, run: RunStatus, failure: Event | None) -> str:
    """Return why it failed, from whoever says most of it."""
    if found.report is not None and found.report.exit_reason:
        return found.report.exit_reason
    if failure is not None:
        return failure.detail
    return run.exit_reason or (found.application.diagnostics if found.application else "")


def _longest_waits(tasks: Sequence[TaskTimes]) -> tuple[Wait, ...]:
    waits = [
        Wait(task=task.task, what=what, seconds=seconds)
        for task in tasks
        for name, what in _WAITS.items()
        if (seconds := float(getattr(task, name))) >= _WORTH_S
    ]
    return tuple(sorted(waits, key=lambda wait: -wait.seconds)[:_LONGEST])


def _named(events: Sequence[Event], name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.task for each in events if each.event == name))


def _tightest(tasks: Sequence[TaskStatus]) -> TaskStatus | None:
    limited = [task for task in tasks if task.memory_limit_mib and task.usage.peak_memory_mib]
    found = max(limited, key=_share, default=None)
    return found if found is not None and _share(found) >= _TIGHT_SHARE else None


def _share(task: TaskStatus) -> float:
    return task.usage.peak_memory_mib / task.memory_limit_mib
