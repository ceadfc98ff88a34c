"""What tasks have written: of containers that are over, and followed while they write.

YARN gathers the logs of a finished application on HDFS, where only its own command reads them. Those of a running
one lie with the NodeManagers, which give out any part of a file over HTTP.
"""

import codecs
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from tony_py.client import yarn_command
from yarnmill import yarn
from yarnmill.errors import JobFailedError, NotFoundError

DRIVER: Final = "driver"
"""How the driver is called among the tasks whose logs are asked for."""

_TIMEOUT_S: Final = 300.0
_GATHERING_S: Final = 60.0
_POLL_S: Final = 0.5
_FILES: Final = r".*\.log"
_HEAD: Final = re.compile(
    rb"^Container: (?P<container>\S+) on \S+\n(?:LogAggregationType:.*\n)?=+\n"
    rb"LogType:(?P<name>.*)\n(?:LogLastModifiedTime:.*\n)?LogLength:(?P<length>\d+)\nLogContents:\n",
    re.MULTILINE,
)


class LogFile(NamedTuple):
    """A part of one file of one container: where the part begins, and its bytes."""

    container_id: str
    name: str
    begin: int
    data: bytes


def await_logs(application_id: str, say: Callable[[str], None]) -> None:
    """Wait until every node has brought its logs of a finished application to HDFS, a minute at most.

    Until then the command ``yarn logs`` leaves out the containers of the nodes that have not, and says nothing.

    Parameters
    ----------
    say
        Takes a line for the person who waits.
    """
    deadline = time.monotonic() + _GATHERING_S
    has_told = False
    while _are_logs_under_way(application_id):
        if time.monotonic() > deadline:
            say(f"{application_id}: some nodes have not brought their logs yet; once more, later, shows the rest")
            return
        if not has_told:
            say(f"{application_id}: YARN is still gathering its logs")
            has_told = True
        time.sleep(_POLL_S)


def _are_logs_under_way(application_id: str) -> bool:
    try:
        return yarn.application(application_id).has_logs_under_way
    except NotFoundError:  # YARN has forgotten it; its logs may lie on HDFS all the same
        return False


def finished_logs(application_id: str, container_id: str = "") -> list[LogFile]:
    """Return the logs of one container or of all, as the command ``yarn logs`` has them: see `await_logs`.

    Raises
    ------
    JobFailedError
        If YARN cannot give them.
    """
    only = ["-containerId", container_id] if container_id else []
    return list(parse_logs(_yarn_logs(application_id, "-log_files_pattern", _FILES, *only)))


def ends_of_logs(application_id: str, most: int) -> list[LogFile]:
    """Return the last ``most`` bytes of every file of every container: which ones YARN has gathered shows too.

    Raises
    ------
    JobFailedError
        If YARN cannot give them.
    """
    return list(parse_logs(_yarn_logs(application_id, "-size", str(-most)), most))


def _yarn_logs(application_id: str, *options: str) -> bytes:
    command = [yarn_command(), "logs", "-applicationId", application_id, *options]
    done = subprocess.run(command, capture_output=True, check=False, timeout=_TIMEOUT_S)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise JobFailedError(f"{application_id}: no logs: {said[-1000:]}")
    return done.stdout


def parse_logs(text: bytes, most: int | None = None) -> Iterator[LogFile]:
    """Yield the files that YARN wrote one after the other.

    Parameters
    ----------
    text
        What it wrote: of each file its whole length, and its bytes.
    most
        How many of the last bytes were asked for; None: all.
    """
    at = 0
    while (head := _HEAD.search(text, at)) is not None:
        length = int(head["length"])
        given = length if most is None else min(most, length)
        data = text[head.end() : head.end() + given]
        yield LogFile(head["container"].decode(), head["name"].decode(), length - len(data), data)
        at = head.end() + len(data)


def is_of_task(task: str, wanted: Iterable[str]) -> bool:
    """Return whether a task is asked for: by its name, by its type, or because none is named."""
    names = set(wanted)
    return not names or task in names or task.partition(":")[0] in names


class Lines:
    """Makes lines of what a file grew by: each is given out once, when its end has come.

    Parameters
    ----------
    emit
        Takes a line without its end.
    """

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""

    def take(self, data: bytes) -> None:
        """Take the next bytes."""
        *whole, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        for line in whole:
            self._emit(line.removesuffix("\r"))

    def finish(self) -> None:
        """Give out what has no end of a line."""
        if self._rest:
            self._emit(self._rest)
            self._rest = ""
