"""The gang: the state of every task, and the barrier that they pass together. Knows no sockets and no YARN.

All methods may be called from any thread. Nobody starts before everybody has registered; the first
failure is kept, and what fails because of it afterwards does not replace it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tony_py.application import Application
from tony_py.driver.frameworks import task_environment
from tony_py.driver.tasks import (
    Endpoint,
    Heartbeat,
    Order,
    Registration,
    TaskEnd,
    TaskId,
    TaskSpecification,
    TaskState,
    slots,
)
from yarnmill.errors import BadDataError, ConflictError

_LONGEST_WAIT_S: Final = 5.0

Clock = Callable[[], float]
Recorder = Callable[[str, TaskId | None, str], None]
"""Takes the name of an event, the task it is about, and what there is to say of it."""


@dataclass
class Member:
    """What is known of one task; guarded by the gang's lock."""

    state: TaskState = "requested"
    endpoint: Endpoint | None = None
    container_id: str = ""
    seen_at: float = 0.0
    progress: float = 0.0
    end: TaskEnd | None = None


@dataclass(frozen=True)
class Failure:
    """The first thing that went wrong: the task and a cause that a person can act on."""

    task: TaskId
    cause: str


class Gang:
    """All tasks of one application.

    Parameters
    ----------
    application
        The resolved application.
    program_environment
        Variables that every program gets beside its own (where to write, where checkpoints are).
    clock
        Monotonic seconds.
    record
        Called with every event; quick, for it is called with the lock held.
    """

    def __init__(
        self, application: Application, program_environment: dict[str, str], *, clock: Clock, record: Recorder
    ) -> None:
        self._application = application
        self._program_environment = program_environment
        self._clock = clock
        self._record = record
        self._changed = threading.Condition()
        self._members = {task: Member() for task in slots(application)}
        self._failure: Failure | None = None
        self._stopping = False

    @contextmanager
    def _member(self, name: str) -> Iterator[tuple[TaskId, Member]]:
        task = TaskId.parse(name)
        with self._changed:
            if task not in self._members:
                raise BadDataError(f"{task}: no such task in this application")
            member = self._members[task]
            member.seen_at = self._clock()
            yield task, member
            self._changed.notify_all()

    # ---- what executors say ------------------------------------------------------------------------------------

    def register(self, message: Registration) -> None:
        """Take an executor in; the same one may say it twice, another one for the same slot is refused."""
        with self._member(message.task) as (task, member):
            endpoint = Endpoint(message.host, message.port)
            if member.endpoint == endpoint and member.container_id == message.container_id:
                return
            if member.state != "requested":
                raise ConflictError(f"{task}: {member.container_id or 'another executor'} holds this slot")
            member.state, member.endpoint, member.container_id = "registered", endpoint, message.container_id
            self._record("registered", task, f"{endpoint.host}:{endpoint.port} {message.container_id}")
            if not self._missing():
                self._record("barrier", None, f"all {len(self._members)} tasks have registered")

    def specification(self, name: str, wait_s: float) -> TaskSpecification | None:
        """Return what the task is to run, waiting for the last registration; None when it takes longer."""
        task = TaskId.parse(name)
        with self._changed:
            self._changed.wait_for(lambda: not self._missing() or self._stopping, wait_s)
            if self._missing() or self._stopping:
                return None
            endpoints = {each: member.endpoint for each, member in self._members.items() if member.endpoint}
        return TaskSpecification(
            command=self._application.types[task.type].command,
            env=self._program_environment | task_environment(self._application, task, endpoints),
            grace_s=self._application.timeouts.grace,
            heartbeat_timeout_s=self._application.timeouts.heartbeat,
        )

    def heartbeat(self, message: Heartbeat) -> Order:
        """Note that the executor is alive, and tell it whether to go on."""
        with self._member(message.task) as (task, member):
            if message.has_started and member.state == "registered":
                member.state = "started"
                self._record("started", task, "")
            if message.progress is not None and message.progress != member.progress:
                member.progress = message.progress
                self._record("progress", task, message.message or f"{message.progress:.0%}")

        def must_stop() -> bool:
            return self._stopping or member.state == "lost"

        with self._changed:
            self._changed.wait_for(must_stop, min(message.wait_s, _LONGEST_WAIT_S))
            return Order(order="stop" if must_stop() else "continue")

    def finish(self, message: TaskEnd) -> None:
        """Note how a program ended; the first one to fail becomes the application's failure."""
        with self._member(message.task) as (task, member):
            if member.end is not None:
                return
            member.state, member.end = "finished", message
            self._record("finished", task, f"exit code {message.exit_code}{_named(message.signal)}")
            if message.exit_code != 0 and not (message.was_told or self._stopping):
                self._fail(task, _cause(task, message))

    # ---- what the driver asks and tells ------------------------------------------------------------------------

    def lose(self, task: TaskId, cause: str) -> None:
        """Count a task as lost: its container ended without a word, or nobody heard of it for too long."""
        with self._changed:
            member = self._members[task]
            if member.end is not None or member.state == "lost":
                return
            member.state = "lost"
            self._record("lost", task, cause)
            if not self._stopping:
                self._fail(task, f"{task}: {cause}")
            self._changed.notify_all()

    def lose_silent(self, timeout_s: float) -> None:
        """Count every registered task as lost that was not heard of for ``timeout_s``."""
        now = self._clock()
        with self._changed:
            alive = [(t, m) for t, m in self._members.items() if m.state in {"registered", "started"}]
            silent = [(task, now - member.seen_at) for task, member in alive if now - member.seen_at > timeout_s]
        for task, silence in silent:
            self.lose(task, f"no heartbeat for {silence:.0f} s: its node or its executor is gone")

    def stop(self) -> None:
        """Tell every executor, at its next heartbeat, to end its program."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until ``condition`` holds, checking after every message; return whether it does."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    def missing(self) -> list[TaskId]:
        """Return the tasks that have not registered yet."""
        with self._changed:
            return self._missing()

    def failure(self) -> Failure | None:
        """Return the first failure, if there is one."""
        with self._changed:
            return self._failure

    def has_succeeded(self) -> bool:
        """Return whether every tracked task has ended well."""
        with self._changed:
            types = self._application.types
            tracked = [member for task, member in self._members.items() if types[task.type].is_tracked]
            return all(member.end is not None and member.end.exit_code == 0 for member in tracked)

    def all_ended(self) -> bool:
        """Return whether no task can say anything more."""
        with self._changed:
            return all(
                member.end is not None or member.state in {"requested", "lost"} for member in self._members.values()
            )

    def progress(self) -> float:
        """Return how far the tasks are on average, 0 to 1."""
        with self._changed:
            shares = [1.0 if member.end else member.progress for member in self._members.values()]
            return min(1.0, max(0.0, sum(shares) / len(shares)))

    def members(self) -> dict[TaskId, Member]:
        """Return the tasks in order of rank."""
        with self._changed:
            return dict(self._members)

    def _missing(self) -> list[TaskId]:
        return [task for task, member in self._members.items() if member.endpoint is None]

    def _fail(self, task: TaskId, cause: str) -> None:
        if self._failure is None:
            self._failure = Failure(task, cause)
            self._record("failed", task, cause)


def _named(signal: str) -> str:
    return f" ({signal})" if signal else ""


def _cause(task: TaskId, message: TaskEnd) -> str:
    """Return exit code, signal and the first traceback, or the last lines if there is none."""
    words = message.traceback or "\n".join(message.last_lines)
    return f"{task}: exit code {message.exit_code}{_named(message.signal)}" + (f"\n{words}" if words else "")
