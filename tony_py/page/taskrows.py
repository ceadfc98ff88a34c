"""One task as a row of the status page's table; on a narrow screen each cell names itself."""

from tony_py.page.markup import Markup, tag
from tony_py.status import TaskStatus
from tony_py.wording import cpu_in_words, gpu_in_words, memory_in_words, peak_in_words, steps_in_words
from yarnmill.units import render_seconds


def task_row(task: TaskStatus, now: float) -> Markup:
    """Return the row of a task at a moment (seconds since the epoch)."""
    role = task.role if task.role != "worker" else ""
    return tag(
        "tr",
        tag("td", task.task, _below(role), class_="name"),
        _cell("state", _state(task), _below(_since(task, now))),
        _cell("container", _host(task), _below(_container(task)), class_="container"),
        _cell("progress", steps_in_words(task), _bar(task), _below(_said(task))),
        _number("memory", memory_in_words(task), _below(peak_in_words(task))),
        _number("CPU", cpu_in_words(task)),
        _number("GPU", gpu_in_words(task), _below(f"device {', '.join(task.gpus)}" if task.gpus else "")),
    )


def _cell(label: str, *children: str, class_: str | None = None) -> Markup:
    is_empty = not any(children)
    names = " ".join(name for name in (class_, "empty" if is_empty else None) if name)
    return tag("td", tag("div", *children), data_label=label, class_=names or None)


def _number(label: str, *children: str) -> Markup:
    return _cell(label, *children, class_="number")


def _below(text: str) -> Markup:
    return tag("span", text, class_="below") if text else Markup()


def _state(task: TaskStatus) -> Markup:
    return tag("span", task.state, class_=f"word {task.state.replace(' ', '-')}")


def _since(task: TaskStatus, now: float) -> str:
    words = []
    if task.exit_code:
        words.append(f"exit code {task.exit_code}")
    if task.since and task.state != "waiting":
        words.append(f"for {render_seconds(max(0.0, now - task.since))}")
    return ", ".join(words)


def _host(task: TaskStatus) -> Markup:
    return tag("span", task.host) if task.host else Markup()


def _container(task: TaskStatus) -> str:
    if not task.container_id:
        return ""
    again = f", the {task.attempt}. asked for" if task.attempt > 1 else ""
    return f"{task.container_id}{again}"


def _said(task: TaskStatus) -> str:
    words = [task.message] if task.message else []
    if task.checkpoint is not None:
        words.append(f"checkpoint {task.checkpoint}")
    if task.is_straggler:
        words.append("far behind the others")
    return ", ".join(words)


def _bar(task: TaskStatus) -> Markup:
    if task.share is None:
        return Markup()
    return tag("progress", value=f"{min(1.0, max(0.0, task.share)):.4f}", max=1, aria_label=f"progress of {task.task}")
