"""The gang: the state of every task, and the barrier that they pass together. Knows no sockets and no YARN.

Executors speak through :meth:`~Gang.register`, :meth:`~Gang.specification`, :meth:`~Gang.heartbeat` and
:meth:`~Gang.finish`; the supervisor decides, and acts through the other methods. All may be called from any thread.

A *generation* is one run of the programs. Nobody starts before the supervisor has released the generation,
and what an executor says of an older one is not taken for the present one.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

from tony_py.application import Application, FailureClass
from tony_py.driver.compatibility import variables_of_run
from tony_py.driver.failures import Incident, incident_of_end
from tony_py.driver.frameworks import task_environments
from tony_py.driver.horovod import is_elastic
from tony_py.driver.members import Member
from tony_py.driver.tasks import (
    Endpoint,
    Heartbeat,
    Joined,
    Order,
    Registration,
    TaskEnd,
    TaskId,
    TaskSpecification,
    slots,
)
from yarnmill.errors import BadDataError, ConflictError

_LONGEST_WAIT_S: Final = 5.0

Clock = Callable[[], float]


class Recorder(Protocol):
    """Takes the name of an event, the task it is about, what there is to say of it, and the class of a failure."""

    def __call__(self, event: str, task: TaskId | None, detail: str, kind: str = "", /) -> None:
        """Take one event."""


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
    generation
        The one that programs were in last, when the application goes on after the loss of its driver.
    """

    def __init__(
        self,
        application: Application,
        program_environment: dict[str, str],
        *,
        clock: Clock,
        record: Recorder,
        generation: int = 0,
    ) -> None:
        self._application = application
        self._program_environment = dict(program_environment)
        self._clock = clock
        self._record = record
        self._changed = threading.Condition()
        self._members = {task: Member() for task in slots(application)}
        self._incidents: list[Incident] = []
        self._generation = generation + 1
        self._checkpoint: int | None = None
        self._version = 0
        self._stopping = False
        self._wants_stacks = False
        self._listeners: list[Callable[[Mapping[TaskId, Member]], None]] = []

    @property
    def generation(self) -> int:
        """The newest generation."""
        return self._generation

    @property
    def version(self) -> int:
        """A number that changes whenever something happened that the supervisor may have to act on."""
        return self._version

    def listen(self, listener: Callable[[Mapping[TaskId, Member]], None]) -> None:
        """Have a function called at every change, with the lock held: it must be quick and change nothing."""
        self._listeners.append(listener)

    def _tell(self) -> None:
        self._version += 1
        for listener in self._listeners:
            listener(self._members)
        self._changed.notify_all()

    @contextmanager
    def _heard(self, name: str, attempt: int) -> Iterator[tuple[TaskId, Member]]:
        """Hold the lock for a message: from the slot's present container, or it is refused."""
        task = TaskId.parse(name)
        with self._changed:
            if task not in self._members:
                raise BadDataError(f"{task}: no such task in this application")
            member = self._members[task]
            if attempt != member.attempt:
                raise ConflictError(f"{task}: attempt {attempt} was given up, attempt {member.attempt} holds this slot")
            member.seen_at, member.hung_up_at = self._clock(), None
            yield task, member

    # ---- what executors say ------------------------------------------------------------------------------------

    def register(self, message: Registration) -> Joined:
        """Take an executor in, ports at hand; the same one may say it twice, another one for its slot is refused."""
        with self._heard(message.task, message.attempt) as (task, member):
            endpoint = Endpoint(message.host, message.port, message.spare_port)
            if member.state == "registered" and member.container_id == message.container_id:
                member.endpoint = endpoint
                return Joined(generation=member.generation)
            if member.state not in {"requested", "allocated"} or (
                member.has_executor and member.container_id != message.container_id
            ):
                raise ConflictError(f"{task}: {member.container_id or 'another executor'} holds this slot")
            member.endpoint, member.container_id, member.gpus = endpoint, message.container_id, message.gpus
            member.has_executor = True
            if member.state == "requested":  # its word came before YARN's
                self._record("allocated", task, message.container_id)
            member.enter("registered", self._clock())
            self._record("registered", task, f"{endpoint.host}:{endpoint.port} {message.container_id}")
            self._tell()
            return Joined(generation=member.generation)

    def specification(self, name: str, attempt: int, generation: int, wait_s: float) -> TaskSpecification | None:
        """Return what the task is to run, waiting for the barrier; None when it takes longer or there is an order."""
        with self._heard(name, attempt) as (task, member):
            pass
        with self._changed:
            self._changed.wait_for(
                lambda: member.is_released or self._stopping or member.generation != generation, wait_s
            )
            if not member.is_released or self._stopping or member.generation != generation:
                return None
            endpoints = self._endpoints()
        kind = self._application.types[task.type]
        common = {**self._program_environment, "TONY_GENERATION": str(generation)}
        if self._checkpoint is not None:
            common["TONY_CHECKPOINT_STEP"] = str(self._checkpoint)
        common |= variables_of_run(common)
        return TaskSpecification(
            generation=generation,
            command=kind.command,
            env=common,
            processes=tuple(task_environments(self._application, task, endpoints)),
            holds_ports=member.holds_ports,
            grace_s=self._application.timeouts.grace,
            heartbeat_timeout_s=self._application.timeouts.heartbeat,
        )

    def heartbeat(self, message: Heartbeat) -> Order:
        """Note that the executor is alive, and tell it whether to go on."""
        with self._heard(message.task, message.attempt) as (task, member):
            is_current = message.generation == member.generation
            if is_current and message.has_started and member.state == "registered":
                member.enter("started", self._clock())
                self._record("started", task, "")
                self._tell()
            if message.usage is not None:
                member.usage = message.usage
            said = member.progress.hear(message, self._clock()) if is_current and member.is_released else ""
            if said:
                self._record("progress", task, said)

        def must_stop() -> bool:
            return self._stopping or member.is_out or member.attempt != message.attempt or self._is_done(task)

        def must_restart() -> bool:
            return message.generation not in {0, member.generation}

        with self._changed:
            self._changed.wait_for(lambda: must_stop() or must_restart(), min(message.wait_s, _LONGEST_WAIT_S))
            if must_stop():
                return Order(order="stop", stacks=self._wants_stacks)
            return Order(order="restart" if must_restart() else "continue", stacks=self._wants_stacks)

    def finish(self, message: TaskEnd) -> None:
        """Note how a program ended; a bad end that nobody ordered is an incident."""
        with self._heard(message.task, message.attempt) as (task, member):
            signal = f" ({message.signal})" if message.signal else ""
            if message.was_told:
                was_running = message.generation and member.end is None
                member.end = member.end or message
                member.enter("finished", self._clock())
                if was_running:
                    member.usage = message.usage
                    self._record("stopped", task, f"exit code {message.exit_code}{signal}")
                self._tell()
                return
            if message.generation != member.generation or member.end is not None or not member.is_released:
                return
            member.end, member.usage = message, message.usage
            member.enter("finished", self._clock())
            self._record("finished", task, f"exit code {message.exit_code}{signal}")
            if message.exit_code != 0 and not self._stopping:
                outlives_peers = is_elastic(self._application)
                self._incidents.append(incident_of_end(task, message, self._clock(), outlives_peers=outlives_peers))
            self._tell()

    def hang_up(self, name: str, attempt: int) -> None:
        """Note that an executor's connection broke: it may come back within a moment, or is gone."""
        with self._changed:
            member = self._members.get(TaskId.parse(name))
            if member is not None and member.attempt == attempt and member.has_executor and member.hung_up_at is None:
                member.hung_up_at = self._clock()
                self._tell()

    # ---- what the supervisor does ------------------------------------------------------------------------------

    def request(self, task: TaskId) -> int:
        """Note that a container is asked for, and return the number of the attempt."""
        with self._changed:
            member = self._members[task]
            member.attempt += 1
            member.container_id, member.has_executor = "", False
            member.generation = member.generation or self._generation
            member.enter("requested", self._clock())
            self._record("requested", task, f"attempt {member.attempt}")
            return member.attempt

    def allocate(self, task: TaskId, container_id: str) -> None:
        """Note that YARN has given a container."""
        with self._changed:
            member = self._members[task]
            if member.state == "requested":
                member.container_id = container_id
                member.enter("allocated", self._clock())
                self._record("allocated", task, container_id)

    def withhold(self, tasks: Iterable[TaskId]) -> None:
        """Take back what was asked for: these tasks have no container now."""
        with self._changed:
            generation = self._next_generation()
            for task in tasks:
                member = self._members[task]
                member.attempt += 1  # whoever is still up in an old container is refused from here on
                member.has_executor = False
                member.start_over(generation, self._clock())
            self._tell()

    def start_over(self, tasks: Iterable[TaskId]) -> None:
        """Send tasks back before the barrier, in a new generation; executors end their programs and register again."""
        with self._changed:
            generation = self._next_generation()
            for task in tasks:
                member = self._members[task]
                if member.state in {"requested", "withheld"}:
                    member.generation = generation  # on its way already
                else:
                    member.start_over(generation, self._clock())
            self._tell()

    def release(self, tasks: Iterable[TaskId]) -> None:
        """Let registered tasks pass the barrier together, and know of one checkpoint, whatever is saved meanwhile."""
        with self._changed:
            known = [member.progress.checkpoint for member in self._members.values()]
            self._checkpoint = max((step for step in known if step is not None), default=None)
            for task in tasks:
                self._members[task].is_released = True
                self._members[task].since = self._clock()
            self._tell()

    def lose(self, task: TaskId, kind: FailureClass, cause: str) -> None:
        """Count a task's container as gone; an incident unless its program had ended before."""
        with self._changed:
            member = self._members[task]
            had_ended = member.end is not None
            member.lose_executor(self._clock())
            if had_ended or self._stopping:
                return
            self._record("lost", task, cause, kind)
            self._incidents.append(Incident(task, member.generation, kind, f"{task}: {cause}", self._clock()))
            self._tell()

    def blame(self, task: TaskId, kind: FailureClass, cause: str) -> None:
        """Add an incident that the supervisor found."""
        with self._changed:
            generation = self._members[task].generation
            self._incidents.append(Incident(task, generation, kind, f"{task}: {cause}", self._clock()))

    def give_up(self, task: TaskId) -> None:
        """Go on without a task for good."""
        with self._changed:
            self._members[task].is_out = True
            self._tell()

    def dismiss(self, tasks: Iterable[TaskId]) -> None:
        """Let the executors of tasks leave whose work is done for good."""
        with self._changed:
            for task in tasks:
                self._members[task].is_dismissed = True
            self._tell()

    def let_go_of_ports(self, task: TaskId) -> None:
        """Let a task's executor free its ports before its program starts: the program does not share them."""
        with self._changed:
            self._members[task].holds_ports = False

    def want_stacks(self, *, wanted: bool) -> None:
        """Have executors log the stacks of all processes before they end them."""
        with self._changed:
            self._wants_stacks = wanted

    def stop(self) -> None:
        """Tell every executor, at its next heartbeat, to end its program."""
        with self._changed:
            self._stopping = True
            self._tell()

    # ---- what the supervisor asks ------------------------------------------------------------------------------

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until ``condition`` holds, checking after every message; return whether it does."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    def incidents(self) -> list[Incident]:
        """Return what went wrong in the present runs of the programs, in order."""
        with self._changed:
            return [each for each in self._incidents if self._is_present(each)]

    def forget(self, incidents: Iterable[Incident]) -> None:
        """Drop incidents that were dealt with."""
        gone = list(incidents)
        with self._changed:
            self._incidents = [each for each in self._incidents if each not in gone]

    def member(self, task: TaskId) -> Member:
        """Return what is known of one task: a copy."""
        with self._changed:
            return self._members[task].copy()

    def members(self) -> dict[TaskId, Member]:
        """Return what is known of all tasks, in order of rank: copies."""
        with self._changed:
            return {task: member.copy() for task, member in self._members.items()}

    def all_ended(self) -> bool:
        """Return whether no task can say anything more."""
        with self._changed:
            return not any(member.has_executor and member.end is None for member in self._members.values())

    def progress(self) -> float:
        """Return how far the tasks that the application waits for are on average, 0 to 1."""
        with self._changed:
            shares = [
                1.0 if member.has_succeeded else member.progress.share or 0.0
                for task, member in self._members.items()
                if self._application.types[task.type].is_tracked and not member.is_out
            ]
            return min(1.0, max(0.0, sum(shares) / len(shares))) if shares else 0.0

    def _is_done(self, task: TaskId) -> bool:
        """Whether a task's executor is not needed again: its program ended well and restarts of others pass it by."""
        member = self._members[task]
        return member.is_dismissed or (not self._application.restarts_gang and member.has_succeeded)

    def _is_present(self, incident: Incident) -> bool:
        member = self._members[incident.task]
        return incident.generation == member.generation and not member.is_out

    def _next_generation(self) -> int:
        self._generation += 1
        return self._generation

    def _endpoints(self) -> dict[TaskId, Endpoint]:
        return {
            task: member.endpoint
            for task, member in self._members.items()
            if member.endpoint is not None and member.is_released and not (member.is_out or member.is_dismissed)
        }
