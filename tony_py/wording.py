"""How quantities of a run are put in words, the same on the page and in the terminal: pure functions."""

from collections import Counter
from collections.abc import Iterable

from tony_py.history import Event
from tony_py.status import TaskStatus
from tony_py.timeline import Timeline


def steps_in_words(task: TaskStatus) -> str:
    """Return ``step 40, 20%``."""
    words = [f"step {task.step}"] if task.step is not None else []
    if task.share is not None:
        words.append(f"{task.share:.0%}")
    return ", ".join(words)


def memory_in_words(task: TaskStatus) -> str:
    """Return ``412 of 1024 MiB``."""
    used = task.usage.memory_mib
    if not used:
        return ""
    limit = f" of {task.memory_limit_mib:.0f}" if task.memory_limit_mib else ""
    return f"{used:.0f}{limit} MiB"


def peak_in_words(task: TaskStatus) -> str:
    """Return ``peak 512 MiB``."""
    peak = task.usage.peak_memory_mib
    if not peak:
        return ""
    limit = f" of {task.memory_limit_mib:.0f}" if task.memory_limit_mib and not task.usage.memory_mib else ""
    return f"peak {peak:.0f}{limit} MiB"


def cpu_in_words(task: TaskStatus) -> str:
    """Return processor time in seconds."""
    seconds = task.usage.cpu_s
    return f"{seconds:.1f} s" if 0 < seconds < 10 else f"{seconds:.0f} s" if seconds else ""


def gpu_in_words(task: TaskStatus) -> str:
    """Return ``87%, 5120 MiB``: of the moment, or the mean and the peak once it is over."""
    usage = task.usage
    share, memory = usage.gpu_share or usage.mean_gpu_share, usage.gpu_memory_mib or usage.peak_gpu_memory_mib
    return f"{share:.0%}, {memory:.0f} MiB" if share or memory else ""


def counts_of(tasks: Iterable[TaskStatus]) -> str:
    """Return ``3 running, 1 registered``."""
    counts = Counter(str(task.state) for task in tasks)
    return ", ".join(f"{count} {state}" for state, count in counts.most_common())


def restarts_in_words(times: Timeline) -> str:
    """Return ``2 (infra 1, user 1)``."""
    by_class = ", ".join(f"{kind} {count}" for kind, count in sorted(times.restarts_by_class.items()))
    return f"{times.restarts} ({by_class})" if by_class else str(times.restarts)


def event_in_words(event: Event) -> str:
    """Return an event as one line: its name, its task, the first line of its words."""
    first_line = event.detail.partition("\n")[0]  # a traceback comes whole with the error
    return " ".join(part for part in (event.event, event.task, first_line) if part)
