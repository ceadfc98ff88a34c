"""The mark of a run at work, and whether the run behind a mark still lives."""

import os
import re
import socket
from typing import Final

from yarnmill import fs, yarn
from yarnmill.errors import NotFoundError, YarnMillError
from yarnmill.records import Record, canonical_json, parse_json

RUNNING_NAME: Final = "_running.json"

_CONTAINER: Final = re.compile(r"^container_(?:e\d+_)?(?P<cluster>\d+)_(?P<application>\d+)_\d+_\d+$")


class Running(Record, frozen=True, kw_only=True):
    """Which run is at work in a folder, and where to ask whether it lives."""

    job: str
    run_id: str
    host: str = ""
    pid: int = 0
    application_id: str = ""

    @property
    def place(self) -> str:
        """Where the run works, for people."""
        return self.application_id or f"process {self.pid} on {self.host}"


def running_here(job: str, run_id: str) -> Running:
    """Return the mark of a run of this process."""
    match = _CONTAINER.match(os.environ.get("CONTAINER_ID", ""))
    application_id = f"application_{match['cluster']}_{match['application']}" if match else ""
    return Running(job=job, run_id=run_id, host=socket.gethostname(), pid=os.getpid(), application_id=application_id)


def write_mark(folder: str, mark: Running) -> None:
    """Write the mark into its folder, making the folder."""
    fs.write_bytes(fs.join(folder, RUNNING_NAME), canonical_json(mark))


def read_mark(folder: str) -> Running | None:
    """Return a folder's mark, or None if it has none."""
    url = fs.join(folder, RUNNING_NAME)
    try:
        return parse_json(fs.read_bytes(url), Running, source=url)
    except NotFoundError:
        return None


def is_alive(mark: Running, asking: Running) -> bool:
    """Return whether the marked run may still be at work; one that cannot be asked after counts as alive.

    Parameters
    ----------
    mark
        The run in question.
    asking
        The run that asks: an earlier attempt of its own application is over.
    """
    if mark.application_id:
        return mark.application_id != asking.application_id and not _is_finished(mark.application_id)
    if mark.host != asking.host:
        return True
    try:
        os.kill(mark.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_finished(application_id: str) -> bool:
    try:
        return yarn.application(application_id).is_finished
    except NotFoundError:  # so old that YARN has forgotten it
        return True
    except YarnMillError:
        return False
