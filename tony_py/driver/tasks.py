"""Tasks of a gang and the messages they send: values without behaviour of their own."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from tony_py.application import Application
from yarnmill.errors import BadDataError
from yarnmill.records import Record

TaskState = Literal["requested", "registered", "started", "finished", "lost"]


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
    """Where a task can be reached once its program has bound its port."""

    host: str
    port: int


def slots(application: Application) -> list[TaskId]:
    """Return all slots in order of rank."""
    return [TaskId(name, index) for name, kind in application.types.items() for index in range(kind.instances)]


class Registration(Record, frozen=True, kw_only=True):
    """An executor is up and has reserved a port."""

    task: str
    host: str
    port: int
    container_id: str = ""
    pid: int = 0


class Heartbeat(Record, frozen=True, kw_only=True):
    """An executor is alive; ``progress`` (0 to 1) and ``message`` are what the program last wrote.

    It is answered after ``wait_s``, or at once when there is an order: so an order arrives without delay.
    """

    task: str
    wait_s: float = 0.0
    has_started: bool = False
    progress: float | None = None
    message: str = ""


class TaskEnd(Record, frozen=True, kw_only=True):
    """A program has ended: the status a shell would see (128 + signal), and its last words."""

    task: str
    exit_code: int
    signal: str = ""
    traceback: str = ""
    last_lines: tuple[str, ...] = ()
    was_told: bool = False


class Order(Record, frozen=True, kw_only=True):
    """What the driver answers to a heartbeat."""

    order: Literal["continue", "stop"]


class TaskSpecification(Record, frozen=True, kw_only=True):
    """All that an executor needs to start its program."""

    command: str
    env: dict[str, str]
    grace_s: float
    heartbeat_timeout_s: float
