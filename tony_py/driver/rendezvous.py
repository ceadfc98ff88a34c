"""Horovod's rendezvous in the driver: what executors forward for the processes in their containers.

Horovod's own protocol is plain HTTP without authentication and, when it is elastic, unpickles what it is
sent. Neither comes here: executors speak that protocol on their loopback and send these messages over the
coordinator's channel; values stay bytes that nobody in the driver looks into.
"""

from collections.abc import Callable, Mapping
from typing import Final

from tony_py.application import Application
from tony_py.driver.horovod import is_elastic, render_slot, slot_environment
from tony_py.driver.members import Member
from tony_py.driver.rounds import Place, Rounds
from tony_py.driver.store import Page, RoundStore
from tony_py.driver.tasks import TaskId
from yarnmill.errors import BadDataError
from yarnmill.records import Record, parse_json

PREFIX: Final = "/v1/horovod/"
_LONGEST_WAIT_S: Final = 30.0


class Entry(Record, frozen=True, kw_only=True):
    """A key and its value; JSON holds the bytes in base64."""

    key: str
    value: bytes


class Put(Record, frozen=True, kw_only=True):
    """A process sets a key in a life of a scope."""

    round: int
    scope: str
    life: int
    entry: Entry


class Ask(Record, frozen=True, kw_only=True):
    """A process wants what was set in a life of a scope after the ``known`` first entries."""

    round: int
    scope: str
    life: int
    known: int
    wait_s: float


class Entries(Record, frozen=True, kw_only=True):
    """What was set; nothing when the time was over."""

    entries: tuple[Entry, ...]


class Join(Record, frozen=True, kw_only=True):
    """A container's program is about to start and wants its place."""

    task: str
    generation: int
    host: str
    wait_s: float


class Joined(Record, frozen=True, kw_only=True):
    """The variables of each process in the round; round 0 means to ask again, or that the work is done."""

    round: int = 0
    is_over: bool = False
    processes: tuple[dict[str, str], ...] = ()


class Ready(Record, frozen=True, kw_only=True):
    """A process has left its round and wants its place in the next."""

    task: str
    generation: int
    local_rank: int
    round: int
    wait_s: float


class NextPlace(Record, frozen=True, kw_only=True):
    """The place in the form that Horovod reads; round 0 means to ask again."""

    round: int = 0
    place: str = ""


class Watch(Record, frozen=True, kw_only=True):
    """An executor wants to know when its processes should come for the next round."""

    round: int
    wait_s: float


class Pending(Record, frozen=True, kw_only=True):
    """Whether they should come now."""

    pending: bool


class Rendezvous:
    """The rendezvous of one application, static or elastic; may be used from any thread.

    Parameters
    ----------
    application
        The resolved application.
    clock
        Monotonic seconds.
    record
        Called when an elastic gang's next round begins, with what there is to say of it.
    """

    def __init__(self, application: Application, *, clock: Callable[[], float], record: Callable[[str], None]) -> None:
        self._is_elastic = is_elastic(application)
        self._store = RoundStore()
        self._rounds = Rounds(application, clock=clock, record=record)

    def see(self, members: Mapping[TaskId, Member]) -> None:
        """Take note of how the tasks stand."""
        if self._is_elastic:
            running = {task: member.generation for task, member in members.items() if member.is_running}
            self._rounds.see(running, [task for task, member in members.items() if member.has_succeeded])

    def answer(self, path: str, body: bytes) -> Record | None:
        """Return the answer to what an executor posted to ``path``, which begins with :data:`PREFIX`."""
        match path.removeprefix(PREFIX):
            case "put":
                put = parse_json(body, Put, source=path)
                self._store.put(Page(put.round, put.scope, put.life), put.entry.key, put.entry.value)
                return None
            case "entries":
                return self._entries(parse_json(body, Ask, source=path))
            case "join":
                return self._join(parse_json(body, Join, source=path))
            case "ready":
                return self._ready(parse_json(body, Ready, source=path))
            case "watch":
                watch = parse_json(body, Watch, source=path)
                return Pending(pending=self._rounds.is_pending(watch.round, min(watch.wait_s, _LONGEST_WAIT_S)))
            case _:
                raise BadDataError(f"{path}: no such resource")

    def _entries(self, ask: Ask) -> Entries:
        if self._is_elastic:
            self._rounds.refuse_broken(ask.round)
        page = Page(ask.round, ask.scope, ask.life)
        found = self._store.entries(page, ask.known, min(ask.wait_s, _LONGEST_WAIT_S))
        return Entries(entries=tuple(Entry(key=key, value=value) for key, value in found))

    def _join(self, join: Join) -> Joined:
        task, wait_s = TaskId.parse(join.task), min(join.wait_s, _LONGEST_WAIT_S)
        place = self._rounds.join(task, join.generation, join.host, wait_s)
        if place is None:
            return Joined()
        return Joined(
            round=place.round,
            is_over=not place.slots,
            processes=tuple(slot_environment(slot) for slot in place.slots),
        )

    def _ready(self, ready: Ready) -> NextPlace:
        task, wait_s = TaskId.parse(ready.task), min(ready.wait_s, _LONGEST_WAIT_S)
        place: Place | None = self._rounds.ready(task, ready.generation, ready.local_rank, ready.round, wait_s)
        if place is None:
            return NextPlace()
        return NextPlace(round=place.round, place=render_slot(place.slots[ready.local_rank]))
