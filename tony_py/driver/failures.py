"""What went wrong: the class of a failure, and which of several is the cause of the others. Pure functions.

When one task dies, its peers fail too, within milliseconds and often before anybody noticed the first: a
broken connection is an error of their own. So the loss of a task outweighs the errors of the others, and
an error that only tells of a lost peer never outweighs one that does not.
"""

import re
from dataclasses import dataclass
from typing import Final

from tony_py.application import FailureClass
from tony_py.driver.tasks import TaskEnd, TaskId

_OOM_SHARE: Final = 0.85
"""Share of the container's memory above which a program that was killed is taken to have been killed for it."""

_KILLED: Final = 137
_TEXTS_OF_PORT: Final = re.compile(
    r"address already in use|EADDRINUSE|errno:? ?98\b|could not (start|bind).*(address|port)|failed to bind",
    re.IGNORECASE,
)
_TEXTS_OF_A_FULL_DISK: Final = re.compile(r"no space left on device|ENOSPC|disk quota exceeded", re.IGNORECASE)
_TEXTS_OF_OOM: Final = re.compile(
    r"^(MemoryError|numpy.*ArrayMemoryError|torch.*OutOfMemoryError)|CUDA out of memory|ResourceExhaustedError.*OOM|"
    r"std::bad_alloc|Cannot allocate memory",
    re.MULTILINE,
)
_TEXTS_OF_A_LOST_PEER: Final = re.compile(
    r"connection (reset|refused|closed)|closed by (remote )?peer|connect timeout|broken pipe|socket closed|"
    r"UnavailableError|HorovodInternalError|NCCL (error|timeout|communicator was aborted)|gloo.*(timed out|timeout)|"
    r"collective ops.*aborted|heartbeat timeout|peer.*(unreachable|is down)|what\(\): +HTTP request failed|"
    r"op\.preamble\.\w+ <= op\.nbytes",  # gloo: a message of the collective that broke off, read as one of the next
    re.IGNORECASE,
)
_TEXTS_OF_MEMORY_LIMIT: Final = re.compile(r"memory (limit|used)|(physical|virtual) memory", re.IGNORECASE)
_TEXT_WITHOUT_REASON: Final = "Container failed during execution"

_WEIGHTS: Final[dict[str, int]] = {"infra": 0, "oom": 1, "hang": 2, "port": 3, "user": 4}


@dataclass(frozen=True)
class Incident:
    """Something that went wrong with one task in one generation."""

    task: TaskId
    generation: int
    kind: FailureClass
    cause: str
    at: float
    is_secondhand: bool = False

    @property
    def is_aftermath(self) -> bool:
        """Whether the task was lost by the loss of a peer, and by nothing else."""
        return self.is_secondhand and self.kind == "infra"


def incident_of_end(task: TaskId, message: TaskEnd, at: float, *, outlives_peers: bool = False) -> Incident:
    """Return the incident that a program's failing end is.

    A program that ``outlives_peers`` (elastic Horovod) and fails for the loss of one was lost with it: Horovod
    aborts all who are not connected with it yet.
    """
    words = message.traceback or "\n".join(message.last_lines)
    signal = f" ({message.signal})" if message.signal else ""
    kind = _class_of_end(message)
    is_secondhand = kind == "user" and _TEXTS_OF_A_LOST_PEER.search(_all_words(message)) is not None
    return Incident(
        task=task,
        generation=message.generation,
        kind="infra" if is_secondhand and outlives_peers else kind,
        cause=f"{task}: exit code {message.exit_code}{signal}{_memory(message, kind)}\n{words}".rstrip("\n"),
        at=at,
        is_secondhand=is_secondhand,
    )


def class_of_container(message: str, *, ever_registered: bool) -> FailureClass:
    """Return the class of a container that ended before its program did.

    YARN gives a reason for what it did itself. A container without one whose kind never got as far as its
    executor's first word cannot start at all, and asking again cannot help.
    """
    if _TEXTS_OF_MEMORY_LIMIT.search(message):
        return "oom"
    return "user" if _TEXT_WITHOUT_REASON in message and not ever_registered else "infra"


def root_of(incidents: list[Incident]) -> Incident:
    """Return the incident that the others follow from."""
    return min(incidents, key=lambda each: (_WEIGHTS[each.kind], each.is_secondhand, each.at))


def _class_of_end(message: TaskEnd) -> FailureClass:
    words = _all_words(message)
    if message.exit_code == _KILLED:  # no program kills itself like this: the kernel did, or somebody
        limit = message.memory_limit_mib
        return "oom" if limit and message.usage.peak_memory_mib >= _OOM_SHARE * limit else "infra"
    if _TEXTS_OF_OOM.search(words):
        return "oom"
    if _TEXTS_OF_A_FULL_DISK.search(words):
        return "infra"
    return "port" if _TEXTS_OF_PORT.search(words) else "user"


def _all_words(message: TaskEnd) -> str:
    return "\n".join([message.traceback, *message.last_lines])


def _memory(message: TaskEnd, kind: FailureClass) -> str:
    if kind != "oom" or not message.memory_limit_mib:
        return ""
    return f" with {message.usage.peak_memory_mib:.0f} of {message.memory_limit_mib:.0f} MiB in use"
