"""Jupyter in a container of the cluster, and a port of this machine that leads to it.

An ordinary application of one task. What is special is its near side: while it is followed, a tunnel stands, and the
first Ctrl-C ends the session in order.
"""

import datetime as dt
import getpass
import secrets
import shlex
from collections.abc import Callable
from typing import Final

from tony_py.application import Application, Environment, Retries, TaskType, Timeouts
from tony_py.tunnel import LOOPBACK, Tunnel
from tony_py.viewing import Decision, Glance, Lines, Progress
from yarnmill import fs
from yarnmill.config import Config
from yarnmill.records import Record
from yarnmill.units import Mebibytes, Seconds

TASK: Final = "notebook"
_GRACE: Final = Seconds(20.0)
"""The last version of the files is kept in this time."""


class Notebook(Record, frozen=True, kw_only=True):
    """What a person wants to work with.

    Parameters
    ----------
    gpus, memory, vcores
        What the container is given.
    environment
        A Python on the nodes, or an archive with one, that has Jupyter; empty: the training environment.
    queue
        YARN's; empty: the platform's.
    source
        Local files and folders to start with.
    folder
        Where the session's files are kept, on HDFS; empty: one of the user's own below the platform's runs.
    idle
        How long a session goes on with nobody connected; 0: for ever.
    """

    gpus: int = 1
    memory: Mebibytes = Mebibytes(4096)
    vcores: int = 2
    environment: str = ""
    queue: str = ""
    source: tuple[str, ...] = ()
    folder: str = ""
    idle: Seconds = Seconds(3600.0)


def notebook_application(notebook: Notebook, config: Config, now: dt.datetime) -> Application:
    """Return the application of a session; each has an output of its own, and the files stand beside those."""
    folder = notebook.folder or fs.join(config.storage.runs, "notebooks", getpass.getuser())
    session = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    versions = shlex.quote(fs.join(folder, "files"))
    return Application(
        name="notebook",
        framework="standalone",
        types={
            TASK: TaskType(
                command=f"python -m tony_task.notebook --folder {versions} --idle {float(notebook.idle):g}",
                gpus=notebook.gpus,
                memory=notebook.memory,
                vcores=notebook.vcores,
            )
        },
        output=fs.join(folder, "sessions", session),
        queue=notebook.queue,
        source=notebook.source,
        environment=_environment(notebook.environment),
        timeouts=Timeouts(grace=_GRACE),
        retries=Retries(oom=3),
    )


def _environment(text: str) -> Environment:
    is_python = "://" not in text and text.rpartition("/")[2].startswith("python")
    return Environment(python=text) if is_python else Environment(archive=text)


class NotebookView:
    """Follows a session: leads the tunnel to its container, and says where it can be opened.

    Parameters
    ----------
    tunnel
        The near end.
    progress
        Takes a line.
    opened
        Takes the address, token and all, whenever there is a new one.
    """

    wants_status = False

    def __init__(self, tunnel: Tunnel, progress: Progress, opened: Callable[[str], None]) -> None:
        self._tunnel = tunnel
        self._lines = Lines(progress)
        self._opened = opened
        self._endpoint = ""
        self._is_open = False
        self._was_stopped = False

    def say(self, line: str) -> None:
        """Say the line."""
        self._lines.say(line)

    def show(self, glance: Glance) -> None:
        """Say what has changed, and find the way to the container of now."""
        self._lines.show(glance)
        registered = [event.detail.partition(" ")[0] for event in glance.events if event.event == "registered"]
        if registered and registered[-1] != self._endpoint:
            self._endpoint, self._is_open = registered[-1], False
            host, _, port = self._endpoint.rpartition(":")
            self._tunnel.lead_to(host, int(port))
        if self._endpoint and not self._is_open and not self._was_stopped:
            self._greet()

    def _greet(self) -> None:
        hello = self._tunnel.hello()
        if hello is not None and hello.ready:
            self._is_open = True
            self._opened(f"http://{LOOPBACK}:{self._tunnel.port}/{hello.page}?token={hello.token}")

    def interrupted(self) -> Decision:
        """End the session in order, the second time at once."""
        if self._was_stopped or not self._tunnel.stop():
            return "kill"
        self._was_stopped = True
        self.say("the session's files are being kept, then it ends; Ctrl-C once more kills it")
        return "stay"
