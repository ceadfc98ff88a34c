"""Elastic Horovod: which processes make up the next round, and when it begins.

A round is what Horovod's processes are connected in. It ends when one of its workers is lost (the others fail
in their next operation) or when a new one waits to be let in (the others hear of it and come at their next
commit). They then ask for their places in the next round, and their processes live on. Knows no sockets.
"""

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple

from tony_py.application import Application
from tony_py.driver.horovod import Slot, Worker, assign, worker_name
from tony_py.driver.tasks import TaskId
from yarnmill.errors import BadDataError, ConflictError

_LOOK_S: Final = 1.0


class Place(NamedTuple):
    """A round and the slots that one worker has in it, by local rank."""

    round: int
    slots: tuple[Slot, ...]


class _Member(NamedTuple):
    task: TaskId
    worker: Worker


class Rounds:
    """The rounds of one application; all methods may be called from any thread.

    Parameters
    ----------
    application
        The resolved application: a round needs the least workers of each type, and waits up to
        ``timeouts.elastic`` for those that are missing to ``instances``.
    clock
        Monotonic seconds.
    record
        Called when a round begins, with what there is to say of it.
    """

    def __init__(self, application: Application, *, clock: Callable[[], float], record: Callable[[str], None]) -> None:
        self._kinds = {name: kind for name, kind in application.types.items() if kind.is_tracked}
        self._patience_s = float(application.timeouts.elastic)
        self._clock = clock
        self._record = record
        self._changed = threading.Condition()
        self._round = 0
        self._members: dict[str, _Member] = {}
        self._places: dict[str, tuple[Slot, ...]] = {}
        self._joined: dict[str, _Member] = {}
        self._ready: dict[str, set[int]] = {}
        self._ready_at: float | None = None
        self._running: dict[str, TaskId] = {}
        self._done: set[TaskId] = set()

    # ---- what the supervisor says ------------------------------------------------------------------------------

    def see(self, running: Mapping[TaskId, int], done: Collection[TaskId]) -> None:
        """Take note of the tasks whose programs run or are about to, with their generations, and of those done well."""
        with self._changed:
            tracked = {task: generation for task, generation in running.items() if task.type in self._kinds}
            self._running = {worker_name(task, generation): task for task, generation in tracked.items()}
            self._done = {task for task in done if task.type in self._kinds}
            self._turn()

    # ---- what executors ask ------------------------------------------------------------------------------------

    def join(self, task: TaskId, generation: int, host: str, wait_s: float) -> Place | None:
        """Return the place of a worker that is about to start, once a round has taken it in; None to ask again.

        A place in round 0 without slots means that it comes too late: the others have done the work.

        Raises
        ------
        BadDataError
            If the task can have no rank.
        """
        if task.type not in self._kinds:
            raise BadDataError(f"{task}: no task with ranks", expected=f"one of the types {', '.join(self._kinds)}")
        name = worker_name(task, generation)
        with self._changed:
            if name not in self._members:
                processes = self._kinds[task.type].processes
                self._joined[name] = _Member(task, Worker(name=name, host=host, processes=processes))
                self._turn()
                self._wait(lambda: name in self._members or self._is_over(), wait_s)
            if name in self._members:
                return self._place(name)
            return Place(0, ()) if self._is_over() else None

    def ready(self, task: TaskId, generation: int, local_rank: int, round_: int, wait_s: float) -> Place | None:
        """Return the place of a process that has left ``round_`` in the next one; None to ask again.

        Raises
        ------
        ConflictError
            If the next round began without its worker.
        BadDataError
            If the worker has no such process.
        """
        name = worker_name(task, generation)
        with self._changed:
            if name in self._places and local_rank not in range(len(self._places[name])):
                raise BadDataError(f"{name}: has no process {local_rank}")
            if round_ == self._round and name in self._members:
                self._ready.setdefault(name, set()).add(local_rank)
                self._turn()
                self._wait(lambda: self._round > round_, wait_s)
            if name not in self._members:
                raise ConflictError(f"{name}: round {self._round} began without it")
            return self._place(name) if self._round > round_ else None

    def is_pending(self, round_: int, wait_s: float) -> bool:
        """Return whether the processes of ``round_`` should come, because somebody waits to be let in."""

        def pending() -> bool:
            return self._round == round_ and not self._done and bool(self._newcomers())

        with self._changed:
            self._wait(lambda: self._round > round_ or pending(), wait_s)
            return pending()

    def refuse_broken(self, round_: int) -> None:
        """Raise if a worker of the round is gone: who is not connected with it yet would wait in vain.

        Raises
        ------
        ConflictError
            Naming the worker.
        """
        with self._changed:
            for name, member in self._members.items():
                if self._round == round_ and name not in self._running and member.task not in self._done:
                    raise ConflictError(f"round {round_} is broken: {name} was lost before all were connected")

    # ---- the next round ----------------------------------------------------------------------------------------

    def _wait(self, condition: Callable[[], bool], wait_s: float) -> None:
        deadline = self._clock() + wait_s
        while not condition() and (left := deadline - self._clock()) > 0:
            self._changed.wait(min(left, _LOOK_S))
            self._turn()  # patience may have ended meanwhile

    def _is_over(self) -> bool:
        """Whether the work is done: who ended well had the state, and nobody who runs has it."""
        return bool(self._done) and not any(name in self._running for name in self._members)

    def _place(self, name: str) -> Place:
        return Place(self._round, self._places[name])

    def _newcomers(self) -> dict[str, _Member]:
        order = list(self._kinds)
        found = [(name, member) for name, member in self._joined.items() if name in self._running]
        return dict(sorted(found, key=lambda each: (order.index(each[1].task.type), each[1].task.index)))

    def _turn(self) -> None:
        """Begin the next round if all have come who can be waited for."""
        survivors = {name: member for name, member in self._members.items() if name in self._running}
        newcomers = {} if self._done else self._newcomers()
        if any(len(self._ready.get(name, ())) < member.worker.processes for name, member in survivors.items()):
            if newcomers:
                self._changed.notify_all()  # for whoever waits in `is_pending`
            return
        # Survivors come first: rank 0, whose state the others take over, is never a newcomer.
        together = {**survivors, **newcomers}
        if together and self._is_enough(together, had_any=bool(survivors)):
            self._begin(together)

    def _is_enough(self, together: Mapping[str, _Member], *, had_any: bool) -> bool:
        if not had_any and set(self._running) - set(together):
            return False  # nobody has anything to go on with: all who have passed the barrier start together
        present = {member.task for member in together.values()} | self._done
        counts = {name: sum(task.type == name for task in present) for name in self._kinds}
        if any(counts[name] < kind.least - kind.tolerate for name, kind in self._kinds.items()):
            return False
        if self._round == 0 or all(counts[name] >= kind.instances for name, kind in self._kinds.items()):
            return True
        self._ready_at = self._clock() if self._ready_at is None else self._ready_at
        return self._clock() - self._ready_at >= self._patience_s

    def _begin(self, together: dict[str, _Member]) -> None:
        slots = assign([member.worker for member in together.values()])
        kept, new = set(together) & set(self._members), set(together) - set(self._members)
        self._round += 1
        self._members = together
        self._places = {name: tuple(slot for slot in slots if slot.worker == name) for name in together}
        self._joined = {name: member for name, member in self._joined.items() if name not in together}
        self._ready, self._ready_at = {}, None
        self._record(f"round {self._round}: {len(slots)} processes; {len(kept)} workers stayed, {len(new)} are new")
        self._changed.notify_all()
