"""A run as a table for the terminal: from the record to something that rich prints. Pure functions."""

from collections.abc import Sequence
from typing import Final

from rich.console import Group, JustifyMethod, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tony_py.history import Event
from tony_py.status import RunStatus, TaskStatus
from tony_py.wording import (
    counts_of,
    cpu_in_words,
    event_in_words,
    gpu_in_words,
    memory_in_words,
    peak_in_words,
    restarts_in_words,
    steps_in_words,
)
from yarnmill.units import render_seconds

_STYLES: Final = {
    "running": "green",
    "finished": "green",
    "succeeded": "green",
    "failed": "red",
    "lost": "red",
    "killed": "red",
    "waiting": "dim",
    "stopped": "dim",
    "given up": "dim",
}
_COLUMNS: Final = {
    "task": 0,
    "state": 0,
    "for": 100,
    "where": 124,
    "progress": 0,
    "memory": 0,
    "cpu": 124,
    "gpu": 100,
    "run": 124,
}
"""The columns, and from which width of the terminal on each is shown."""

_NUMERIC: Final = frozenset({"for", "memory", "cpu", "gpu"})
_EVENTS_BELOW: Final = 6
_ROOM_AROUND: Final = 8
"""Lines above and below the tasks: the title, the head of the table, the counts, a blank line each."""

_IMPORTANCE: Final = ("failed", "lost", "requested", "allocated", "registered", "waiting", "given up", "stopped")


def run_table(status: RunStatus, height: int, width: int) -> Group:
    """Return a run in at most ``height`` lines of ``width``: what it is, its tasks, its newest events.

    Of more tasks than fit, those that somebody may have to act on are shown.
    """
    room = max(3, height - _ROOM_AROUND - _EVENTS_BELOW)
    shown = list(status.tasks) if len(status.tasks) <= room else _most_important(status.tasks, room)
    parts: list[RenderableType] = [_title(status), _bar(status), Text(), task_table(shown, status.at, width)]
    if len(shown) < len(status.tasks):
        parts.append(Text(f"and {len(status.tasks) - len(shown)} more: {counts_of(status.tasks)} in all", style="dim"))
    parts += [Text(), *_event_lines(status.events[-_EVENTS_BELOW:])]
    return Group(*parts)


def task_table(tasks: Sequence[TaskStatus], now: float, width: int) -> Table:
    """Return the tasks, one a line: what a terminal of this width has room for."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    names = [name for name, least in _COLUMNS.items() if width >= least]
    for name in names:
        justify: JustifyMethod = "right" if name in _NUMERIC else "left"
        table.add_column(name, no_wrap=True, overflow="ellipsis", justify=justify)
    for task in tasks:
        cells = dict(zip(_COLUMNS, _cells(task, now), strict=True))
        table.add_row(*(cells[name] for name in names))
    return table


def _cells(task: TaskStatus, now: float) -> list[Text]:
    state = Text(task.state, style=_STYLES.get(task.state, "yellow"))
    if task.exit_code:
        state.append(f" {task.exit_code}")
    since = render_seconds(max(0.0, now - task.since)) if task.since else ""
    where = f"{task.host} {_short(task.container_id)}".strip()
    progress = Text(", ".join(part for part in (steps_in_words(task), task.message) if part))
    if task.is_straggler:
        progress.append(" far behind" if progress else "far behind", style="yellow")
    again = f"container {task.attempt}" if task.attempt > 1 else ""
    run = ", ".join(part for part in (str(task.generation or ""), again) if part)
    words = [memory_in_words(task) or peak_in_words(task), cpu_in_words(task), gpu_in_words(task), run]
    return [Text(task.task), state, Text(since, style="dim"), Text(where, style="dim"), progress, *map(Text, words)]


def _short(container_id: str) -> str:
    """Return the last part of a container's id: its number within the application."""
    return (
        container_id.rpartition("_")[2] if container_id.startswith("container_") and container_id[-1:].isdigit() else ""
    )


def _title(status: RunStatus) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(status.name, style="bold")
    text.append(f"  {status.phase}  ", style=_STYLES.get(status.phase, "yellow"))
    elapsed = render_seconds(max(0.0, status.at - status.started_at))
    restarts = f", restarts {restarts_in_words(status.timeline)}" if status.timeline.restarts else ""
    text.append(f"{status.application_id}, queue {status.queue}, {elapsed}{restarts}", style="dim")
    return text


def _bar(status: RunStatus) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_row(
        ProgressBar(total=1.0, completed=status.progress, width=40), Text(f"{status.progress:.0%}", style="dim")
    )
    return grid


def _event_lines(events: Sequence[Event]) -> list[Text]:
    return [Text(event_in_words(each), style="dim", no_wrap=True, overflow="ellipsis") for each in events]


def _most_important(tasks: Sequence[TaskStatus], room: int) -> list[TaskStatus]:
    def rank(entry: tuple[int, TaskStatus]) -> tuple[int, int]:
        at, task = entry
        if task.is_straggler:
            return 2, at
        return _IMPORTANCE.index(task.state) if task.state in _IMPORTANCE else len(_IMPORTANCE), at

    chosen = sorted(sorted(enumerate(tasks), key=rank)[:room])
    return [task for _, task in chosen]
