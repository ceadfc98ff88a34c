"""The logs of a run followed while it goes on: where they lie, and what was seen of them already."""

import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import requests

from tony_py.following import events_of
from tony_py.index import RunEntry
from tony_py.logs import DRIVER, Lines, LogFile, ends_of_logs, is_of_task, parse_logs
from yarnmill import yarn
from yarnmill.errors import ClusterUnavailableError, JobFailedError, NotFoundError

_POLL_S: Final = 1.0
_PLACES_S: Final = 3.0
_FIRST_BYTES: Final = 64 << 10
"""What is shown of a log that is long already."""

_LAST_BYTES: Final = 1 << 20
"""Most that a log may have grown since the last look, when the application ends."""

_SPARE_BYTES: Final = 4 << 10
"""What a log may grow between the look at its size and the look at its end, without a second look."""

_WITHOUT_NATIVE: Final = re.compile(r"Secure ?IO")
"""What a secured NodeManager's error page says of Hadoop's library that it lacks."""

_GATHERING_S: Final = 30.0
"""How long YARN may take to gather the logs of an application that has ended."""


class LogSource(Protocol):
    """Where the logs of a run lie."""

    def containers(self) -> dict[str, str]:
        """Return the containers that there are or were, and the task of each."""

    def after(self, container_id: str, task: str, seen: int | None) -> LogFile | None:
        """Return what a container's log holds beyond ``seen`` bytes (None: its end); None: nothing, or no log."""

    def rest(self, container_id: str, task: str, seen: int | None) -> LogFile | None:
        """Return the same once the run is over."""


class LocalLogs:
    """Logs of a run of this machine: a file in each container's folder.

    Parameters
    ----------
    folder
        The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def containers(self) -> dict[str, str]:
        """Return the folders; their names tell the tasks."""
        found = {}
        for path in sorted(self._folder.glob("container_*_*_*")):
            kind, _, index = path.name.split("_", 2)[2].rpartition("_")
            found[path.name] = f"{kind}:{index}"
        return found

    def after(self, container_id: str, task: str, seen: int | None) -> LogFile | None:  # noqa: ARG002  # the protocol's signature
        """Read on."""
        path = self._folder / container_id / "log"
        try:
            size = path.stat().st_size
            begin = max(0, size - _FIRST_BYTES) if seen is None else seen
            with path.open("rb") as stream:
                stream.seek(begin)
                data = stream.read()
        except OSError:
            return None
        return LogFile(container_id, "log", begin, data) if data else None

    rest = after


class NodeLogs:
    """Logs of a running application: with the NodeManagers, and gathered by YARN in the end.

    Parameters
    ----------
    entry
        The application.
    """

    def __init__(self, entry: RunEntry) -> None:
        self._entry = entry
        self._nodes: dict[str, str] = {}
        self._tasks: dict[str, str] = {}
        self._looked_at = -_PLACES_S
        self._gathered: list[LogFile] = []

    def containers(self) -> dict[str, str]:
        """Return what the ResourceManager and the history tell."""
        now = time.monotonic()
        if now - self._looked_at >= _PLACES_S:
            self._looked_at = now
            places = yarn.containers(self._entry.application_id)
            self._nodes |= {place.container_id: place.node for place in places}
            self._tasks |= {place.container_id: DRIVER for place in places if place.is_master}
            events = events_of(self._entry)
            self._tasks |= {each.container_id: each.task for each in events if each.container_id and each.task}
        return {container: task for container, task in self._tasks.items() if container in self._nodes}

    def after(self, container_id: str, task: str, seen: int | None) -> LogFile | None:
        """Ask the container's NodeManager for the size of the log, then for its end."""
        size = self._size(container_id, _file_of(task))
        if not size or (seen is not None and size <= seen):
            return None
        asked = min(size, _FIRST_BYTES) if seen is None else size - seen + _SPARE_BYTES
        part = self._tail(container_id, _file_of(task), asked)
        if part is not None and seen is not None and part.begin > seen:  # it grew fast meanwhile
            part = self._tail(container_id, _file_of(task), 2 * (part.begin + len(part.data) - seen))
        return part if part is None or seen is None else _beyond(part, seen)

    def rest(self, container_id: str, task: str, seen: int | None) -> LogFile | None:
        """Ask YARN, which gathers the logs of each node when the application has ended."""
        deadline = time.monotonic() + _GATHERING_S
        while container_id not in {each.container_id for each in self._gathered} and time.monotonic() < deadline:
            with suppress(JobFailedError):  # nothing was gathered yet
                self._gathered = ends_of_logs(self._entry.application_id, _LAST_BYTES)
        own = (each for each in self._gathered if each.container_id == container_id)
        part = next((each for each in own if each.name == _file_of(task)), None)
        return _beyond(part, seen or 0) if part is not None else None

    def _size(self, container_id: str, name: str) -> int:
        answer = self._ask(f"containers/{container_id}/logs", container_id)
        if answer is None:
            return 0
        infos = (answer.json().get("containerLogsInfo") or {}).get("containerLogInfo") or []
        return next((int(info["fileSize"]) for info in infos if info["fileName"] == name), 0)

    def _tail(self, container_id: str, name: str, asked: int) -> LogFile | None:
        answer = self._ask(f"containerlogs/{container_id}/{name}?size=-{asked}", container_id)
        return next(parse_logs(answer.content, asked), None) if answer is not None else None

    def _ask(self, path: str, container_id: str) -> requests.Response | None:
        try:
            answer = yarn.fetch(f"{yarn.node_url(self._nodes[container_id])}/ws/v1/node/{path}")
        except requests.RequestException:
            return None
        if answer.status_code in {requests.codes.unauthorized, requests.codes.forbidden}:
            raise ClusterUnavailableError(
                f"the NodeManager at {self._nodes[container_id]} does not show you the logs",
                mend="ask whoever sent the application to name you in its access.view_users; or without -f: "
                f"tony_py logs {self._entry.application_id}",
            )
        if not answer.ok and _WITHOUT_NATIVE.search(answer.text):
            raise ClusterUnavailableError(
                f"the NodeManager at {self._nodes[container_id]} has no native library of Hadoop's, without which a "
                "secured one shows no logs",
                mend="read them on the node, below yarn.nodemanager.log-dirs",
            )
        return answer if answer.ok else None


def follow_logs(
    source: LogSource, wanted: Iterable[str], emit: Callable[[str, str], None], is_over: Callable[[], bool]
) -> None:
    """Give out every new line of the wanted tasks until the run is over.

    Parameters
    ----------
    source
        Where the logs lie.
    wanted
        Tasks (``worker:1``) or types (``worker``); none: all tasks.
    emit
        Takes the task and a line.
    is_over
        Whether the run has ended.
    """
    names = list(wanted)
    seen: dict[str, int] = {}
    lines: dict[str, Lines] = {}

    def read_on(read: Callable[[str, str, int | None], LogFile | None]) -> None:
        for container_id, task in source.containers().items():
            if not is_of_task(task, names) or (task == DRIVER and not names):
                continue
            if container_id not in lines:
                lines[container_id] = Lines(lambda line, task=task: emit(task, line))  # type: ignore[misc]  # bound at once
            part = read(container_id, task, seen.get(container_id))
            if part is not None:
                lines[container_id].take(part.data)
                seen[container_id] = part.begin + len(part.data)

    while not is_over():
        read_on(source.after)
        time.sleep(_POLL_S)
    read_on(source.rest)
    for each in lines.values():
        each.finish()


def _file_of(task: str) -> str:
    """Return the file that Skein lets a container write to: named by the service, which is the type of task."""
    return "application.driver.log" if task == DRIVER else f"{task.partition(':')[0]}.log"


def _beyond(part: LogFile, seen: int) -> LogFile | None:
    data = part.data[max(0, seen - part.begin) :]
    return part._replace(begin=max(seen, part.begin), data=data) if data else None


def source_of(entry: RunEntry, folder: Path) -> LogSource:
    """Return where the logs of a run lie; ``folder`` is that of this machine's runs.

    Raises
    ------
    NotFoundError
        If the run's folder is gone.
    """
    if not entry.application_id.startswith("local_"):
        return NodeLogs(entry)
    if not (folder / entry.application_id).is_dir():
        raise NotFoundError(f"{folder / entry.application_id}: the logs of this run are gone")
    return LocalLogs(folder / entry.application_id)
