"""The sections of the status page: each a function from the record to HTML, empty where there is nothing to show."""

import datetime as dt
from typing import Final

from tony_py.history import Event
from tony_py.page.markup import Markup, tag
from tony_py.page.taskrows import task_row
from tony_py.status import RunStatus
from tony_py.timeline import TaskTimes
from tony_py.wording import counts_of, restarts_in_words
from yarnmill.units import render_seconds

_PHASES: Final = {
    "queue": "queued",
    "register": "container starts",
    "barrier": "waits for the others",
    "run": "runs",
    "restart": "starts over",
}
_COLUMNS: Final = ("task", "state", "container", "progress", "memory", "CPU", "GPU")
_ALARMING: Final = frozenset({"failed", "lost", "hang", "killed", "sidecar failed"})
_NOTABLE: Final = frozenset({"restart", "straggler", "given back", "tolerated", "grow", "resumed"})
_SHOWN_ABOVE: Final = frozenset({"progress"})
_MOST_TIMES: Final = 64


def title(status: RunStatus) -> Markup:
    """Return name, state, progress, the cause of a failure, and the pages of tasks."""
    over = f"{status.application_id} · {status.framework} · queue {status.queue}"
    parts = [
        tag("p", over, class_="over"),
        tag("div", tag("h1", status.name), tag("span", status.phase, class_=f"word {status.phase}"), class_="title"),
        tag("progress", value=f"{status.progress:.4f}", max=1, aria_label="progress"),
    ]
    if status.exit_reason and status.phase in {"failed", "killed"}:
        parts.append(tag("p", status.exit_reason, class_="reason"))
    if status.pages:
        parts.append(tag("nav", *(tag("a", page.title, href=page.url) for page in status.pages)))
    return tag("header", *parts)


def facts(status: RunStatus) -> Markup:
    """Return the numbers of the run as a whole."""
    times = status.timeline
    rows = [
        ("progress", f"{status.progress:.0%}"),
        ("elapsed", render_seconds(max(0.0, status.at - status.started_at))),
        ("in the queue", render_seconds(times.queue_s)),
        ("to the barrier", render_seconds(times.gang_s)),
        ("programs", render_seconds(times.programs_s)),
        ("restarts", restarts_in_words(times)),
        ("generation", str(status.generation)),
    ]
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in rows), class_="facts")


def tasks(status: RunStatus) -> Markup:
    """Return the table of tasks."""
    numeric = {"memory", "CPU", "GPU"}
    head = tag("tr", *(tag("th", name, class_="number" if name in numeric else None) for name in _COLUMNS))
    rows = [task_row(task, status.at) for task in status.tasks]
    if not rows:
        return tag("section", tag("h2", "Tasks"), tag("p", "None has been asked for yet.", class_="soft"))
    table = tag("table", tag("thead", head), tag("tbody", *rows))
    return tag("section", tag("h2", f"Tasks: {counts_of(status.tasks)}"), tag("div", table, class_="sheet"))


def times(status: RunStatus) -> Markup:
    """Return where each task's time went: one bar a task, to one scale."""
    shown = status.timeline.tasks[:_MOST_TIMES]
    longest = max((_total(task) for task in shown), default=0.0)
    if not longest:
        return Markup()
    rows = [
        tag(
            "div",
            tag("span", task.task, class_="name"),
            _bar(task, longest),
            tag("span", render_seconds(_total(task)), class_="number"),
        )
        for task in shown
    ]
    key = [tag("span", _swatch(phase), words) for phase, words in _PHASES.items()]
    bars = tag("div", tag("div", *rows, class_="times"), class_="sheet")
    return tag("section", tag("h2", "Where the time went"), bars, tag("p", *key, class_="key"))


def budgets(status: RunStatus) -> Markup:
    """Return what was spent of each budget."""
    if not status.budgets:
        return Markup()
    rows = []
    for budget in status.budgets:
        line = tag("p", tag("span", budget.kind), tag("span", f"{budget.spent} of {budget.retries}", class_="soft"))
        bar = tag("progress", value=budget.spent, max=max(1, budget.retries), aria_label=budget.kind)
        within = f"within {render_seconds(budget.window_s)}" if budget.window_s else ""
        below = tag("p", within, class_="within") if within else Markup()
        rows.append(tag("div", line, bar, below, class_="spent" if budget.spent else None))
    return tag("section", tag("h2", "Failures that were mended"), tag("div", *rows, class_="sheet budgets"))


def events(status: RunStatus) -> Markup:
    """Return the newest events, the newest first."""
    rows = [_event(each) for each in reversed(status.events) if each.event not in _SHOWN_ABOVE]
    return tag("section", tag("h2", "Events"), tag("ol", *rows, class_="sheet events")) if rows else Markup()


def _event(each: Event) -> Markup:
    at = dt.datetime.fromtimestamp(each.at, dt.UTC)
    tone = "bad" if each.event in _ALARMING else "warn" if each.event in _NOTABLE else None
    first, newline, rest = each.detail.partition("\n")
    said: Markup = tag("span", first)
    if newline:
        name = f"event-{int(each.at * 1000)}-{each.task.replace(':', '-')}"
        said = tag("details", tag("summary", first), tag("pre", rest), id=name)
    return tag(
        "li",
        tag("time", f"{at:%H:%M:%S}", datetime=at.isoformat(), title=f"{at:%Y-%m-%d %H:%M:%S} UTC"),
        tag("span", tag("span", each.event, class_=tone), tag("span", each.task, class_="soft"), class_="what"),
        said,
    )


def _total(task: TaskTimes) -> float:
    return sum(float(getattr(task, f"{phase}_s")) for phase in _PHASES)


def _bar(task: TaskTimes, longest: float) -> Markup:
    pieces, left = [], 0.0
    for phase, words in _PHASES.items():
        seconds = float(getattr(task, f"{phase}_s"))
        if seconds:
            width = 100 * seconds / longest
            told = tag("title", f"{words}: {render_seconds(seconds)}")
            pieces.append(tag("rect", told, x=f"{left:.3f}", y=0, width=f"{width:.3f}", height=1, class_=phase))
            left += width
    return tag(
        "svg", *pieces, viewBox="0 0 100 1", preserveAspectRatio="none", role="img", aria_label=f"times of {task.task}"
    )


def _swatch(phase: str) -> Markup:
    return tag("svg", tag("rect", width=1, height=1, class_=phase), viewBox="0 0 1 1", aria_hidden="true")
