"""What a history alone says of a run: for one whose driver cannot be asked, and for one that is long over."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from tony_py.driver.tasks import Usage
from tony_py.history import Event, application_of
from tony_py.index import RunEntry
from tony_py.status import EVENTS_SHOWN, RunStatus, TaskStatus, TaskWord, budgets_of, phase_of
from tony_py.timeline import timeline

_WORDS: Final[dict[str, TaskWord]] = {
    "requested": "requested",
    "allocated": "allocated",
    "registered": "registered",
    "started": "running",
    "stopped": "stopped",
    "lost": "lost",
    "tolerated": "given up",
    "sidecar failed": "given up",
}
_ENDS: Final = frozenset({"finished", "failed", "stopped", "lost", "given up"})
_OVER: Final = frozenset({"succeeded", "failed", "killed"})


def replay(events: Sequence[Event]) -> tuple[TaskStatus, ...]:
    """Return the tasks as the last event left them."""
    tasks: dict[str, TaskStatus] = {}
    generation = 0
    for each in events:
        generation += each.event == "barrier"
        if each.task:
            before = tasks.get(each.task) or TaskStatus(task=each.task)
            tasks[each.task] = _after(before, each, generation)
        elif each.event == "given back":
            tasks = {name: _given_back(task, each) for name, task in tasks.items()}
    return tuple(tasks.values())


def status_of_history(events: Sequence[Event], entry: RunEntry | None, now: float) -> RunStatus:
    """Return a run as its history tells it; ``entry`` adds what only the index knows."""
    phase = entry.state if entry is not None and entry.state != "running" else phase_of(events)
    is_over = phase in _OVER
    end = events[-1].at if events and is_over else now
    tasks = tuple(_at_the_end(task, end) if is_over else task for task in replay(events))
    shares = [1.0 if task.state == "finished" else task.share or 0.0 for task in tasks]
    return RunStatus(
        application_id=entry.application_id if entry else application_of(list(events)),
        name=entry.name if entry else "",
        framework=entry.framework if entry else "",
        queue=entry.queue if entry else "",
        phase=phase,
        started_at=events[0].at if events else end,
        at=end,
        output=entry.output if entry else "",
        work=entry.work if entry else "",
        fingerprint=entry.fingerprint if entry else "",
        generation=sum(each.event == "barrier" for each in events),
        progress=sum(shares) / len(shares) if shares else 0.0,
        exit_reason=(entry.exit_reason if entry else "") or _reason(events),
        tasks=tasks,
        budgets=budgets_of(events, end),
        timeline=timeline(events, end),
        events=tuple(events[-EVENTS_SHOWN:]),
    )


def _at_the_end(task: TaskStatus, end: float) -> TaskStatus:
    """Return a task of a run that is over: whatever it was doing, it was stopped."""
    return task if task.state in _ENDS else replace(task, state="stopped", since=end)


def _reason(events: Sequence[Event]) -> str:
    return events[-1].detail if events and events[-1].event in _OVER else ""


def _after(task: TaskStatus, each: Event, generation: int) -> TaskStatus:
    changes: dict[str, object] = {"attempt": each.attempt or task.attempt}
    if each.event == "finished":
        changes |= {"state": "finished" if each.numbers.get("exit_code") == 0 else "failed", "since": each.at}
    elif each.event in _WORDS:
        changes |= {"state": _WORDS[each.event], "since": each.at}
    if each.container_id:
        changes |= {"container_id": each.container_id, "host": each.host or task.host}
    if each.event in {"registered", "requested"}:
        changes |= {"exit_code": None, "step": None, "share": None, "message": ""}
    if each.event == "started":
        changes["generation"] = generation
    if each.event == "progress":
        changes["message"] = each.detail
    return replace(task, **(changes | _measured(task, each)))


def _measured(task: TaskStatus, each: Event) -> dict[str, object]:
    numbers = dict(each.numbers)
    found: dict[str, object] = {
        name: int(numbers[name]) for name in ("step", "checkpoint", "exit_code") if name in numbers
    }
    if "share" in numbers:
        found["share"] = numbers["share"]
    if "memory_limit_mib" in numbers:
        found["memory_limit_mib"] = numbers["memory_limit_mib"]
    usage = {name: numbers[name] for name in Usage.__struct_fields__ if name in numbers}
    if usage:
        found["usage"] = msgspec.structs.replace(task.usage, **usage)
    return found


def _given_back(task: TaskStatus, each: Event) -> TaskStatus:
    if task.state in {"requested", "allocated", "registered"}:
        return replace(task, state="waiting", since=each.at, container_id="")
    return task
