"""The history of a run: every event as one line of JSON on HDFS, readable while it runs and long after."""

import threading
from collections.abc import Callable
from typing import TypedDict, Unpack

import msgspec

from yarnmill import fs
from yarnmill.records import Record, parse_json

HISTORY_NAME = "history.jsonl"


class Event(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Something that happened.

    Parameters
    ----------
    at
        Seconds since the epoch.
    event
        Its name: ``submitted``, ``requested``, ``allocated``, ``registered``, ``barrier``, ``started``, ``restart``,
        ``hang``, ``straggler``, ``finished``, ``lost``, ``failed`` and more.
    task
        The task it is about.
    detail
        What there is to say, for a person.
    kind
        Class of the failure that it tells of.
    attempt, container_id, host
        Which of the task's containers, and where.
    numbers
        What was measured: ``exit_code``, ``peak_memory_mib``, ``cpu_s``, ``mean_gpu_share`` and the like.
    """

    at: float
    event: str
    task: str = ""
    detail: str = ""
    kind: str = ""
    attempt: int = 0
    container_id: str = ""
    host: str = ""
    numbers: dict[str, float] = {}


class Facts(TypedDict, total=False):
    """What an event may say beside its name, its task and its words; as in :class:`Event`."""

    kind: str
    attempt: int
    container_id: str
    host: str
    numbers: dict[str, float]


class History:
    """Events of this run, gathered in memory and written whole when :meth:`flush` is called.

    A run has tens of events a task at most, so the file is small, and one that is replaced by an atomic
    rename is never half a line. ``events`` are those of a driver that was lost before this one.
    """

    def __init__(self, url: str, clock: Callable[[], float], events: list[Event] | None = None) -> None:
        self._url = url
        self._clock = clock
        self._events = list(events or [])
        self._written = 0
        self._lock = threading.Lock()

    def record(self, event: str, task: str = "", detail: str = "", **facts: Unpack[Facts]) -> None:
        """Note an event; quick."""
        with self._lock:
            self._events.append(Event(at=self._clock(), event=event, task=task, detail=detail, **facts))

    def flush(self) -> None:
        """Write what happened since the last time."""
        with self._lock:
            events = list(self._events)
        if len(events) > self._written:
            fs.write_bytes(self._url, render_events(events), overwrite=True)
            self._written = len(events)

    def render(self) -> bytes:
        """Return all events as JSON lines."""
        with self._lock:
            return render_events(self._events)

    @property
    def events(self) -> list[Event]:
        """All events so far."""
        with self._lock:
            return list(self._events)


def render_events(events: list[Event]) -> bytes:
    """Return events as JSON lines."""
    return b"".join(msgspec.json.encode(event) + b"\n" for event in events)


def read_history(url: str) -> list[Event]:
    """Return the events of a run; NotFoundError if it has none."""
    return [parse_json(line, Event, source=url) for line in fs.read_bytes(url).splitlines()]


def application_of(events: list[Event]) -> str:
    """Return the application that a history is of; empty if it does not say."""
    return events[0].detail if events and events[0].event == "submitted" else ""
