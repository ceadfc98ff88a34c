"""Tasks of a gang and the messages they send: values without behaviour of their own.

A message names its task, the task's ``attempt`` (which of the containers that were asked for this slot sends
it) and its ``generation`` (which run of the programs it is about), so that whatever comes late is known as late.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from tony_py.application import Application
from yarnmill.errors import BadDataError
from yarnmill.records import Record

TaskState = Literal["withheld", "requested", "allocated", "registered", "started", "finished", "lost"]


@dataclass(frozen=True, order=True)
class TaskId:
    """A slot of the gang: its type and its place among the type's instances."""

    type: str
    index: int

    def __str__(self) -> str:
        """Return ``worker:0``."""
        return f"{self.type}:{self.index}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the slot that ``worker:0`` names; BadDataError if it names none."""
        kind, colon, index = text.rpartition(":")
        if not colon or not index.isdigit():
            raise BadDataError(f"{text!r} is no task", expected="type:index, such as worker:0")
        return cls(kind, int(index))


class Endpoint(NamedTuple):
    """Where a task can be reached once its program has bound its ports."""

    host: str
    port: int
    spare_port: int = 0


def slots(application: Application) -> list[TaskId]:
    """Return all slots in order of rank, those that an elastic gang may do without included."""
    return [TaskId(name, index) for name, kind in application.types.items() for index in range(kind.most)]


class Registration(Record, frozen=True, kw_only=True):
    """An executor is up, holds its ports, and waits for the others."""

    task: str
    attempt: int
    host: str
    port: int
    spare_port: int = 0
    container_id: str = ""
    pid: int = 0
    gpus: tuple[str, ...] = ()


class Joined(Record, frozen=True, kw_only=True):
    """The answer to a registration: the generation that the executor is to run."""

    generation: int


class Usage(Record, frozen=True, kw_only=True):
    """What a task's processes use: memory in MiB, processor time in seconds, GPUs in MiB and as a share of time.

    Peaks, means and processor time are of all that the executor has run so far.
    """

    memory_mib: float = 0.0
    peak_memory_mib: float = 0.0
    cpu_s: float = 0.0
    gpu_memory_mib: float = 0.0
    gpu_share: float = 0.0
    peak_gpu_memory_mib: float = 0.0
    mean_gpu_share: float = 0.0


class Heartbeat(Record, frozen=True, kw_only=True):
    """An executor is alive; from ``step`` on it says what the program last wrote to its progress file.

    It is answered after ``wait_s``, or at once when there is an order: so an order arrives without delay.
    """

    task: str
    attempt: int
    generation: int
    wait_s: float = 0.0
    has_started: bool = False
    step: int | None = None
    progress: float | None = None
    checkpoint: int | None = None
    message: str = ""
    metrics: dict[str, float] = {}
    usage: Usage | None = None


class TaskEnd(Record, frozen=True, kw_only=True):
    """A program has ended: the status a shell would see (128 + signal), and its last words."""

    task: str
    attempt: int
    generation: int
    exit_code: int
    signal: str = ""
    traceback: str = ""
    last_lines: tuple[str, ...] = ()
    was_told: bool = False
    usage: Usage = Usage()
    memory_limit_mib: float = 0.0


class Order(Record, frozen=True, kw_only=True):
    """What the driver answers to a heartbeat; with ``stacks``, those of all processes are to be logged first."""

    order: Literal["continue", "restart", "stop"]
    stacks: bool = False


class TaskSpecification(Record, frozen=True, kw_only=True):
    """All that an executor needs to start its program: ``processes`` are the variables of each copy of the command."""

    generation: int
    command: str
    env: dict[str, str]
    processes: tuple[dict[str, str], ...]
    holds_ports: bool
    grace_s: float
    heartbeat_timeout_s: float
