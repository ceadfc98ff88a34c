"""The executor's life: reserve a port, register, wait for everybody, run the program, say how it ended.

An executor that has lost its driver ends its program and itself, so that nothing is left on the node.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode

from tony_py.executor.channel import Channel, RefusedError
from tony_py.executor.descendants import adopt_orphans
from tony_py.executor.program import Program

_CERTIFICATE = ".skein.crt"
_KEY = ".skein.pem"
_SOURCE = "tony_source.zip"
_HEARTBEAT_S = 1.0
_POLL_S = 20.0
_LOST_EXIT_CODE = 75  # sysexits.h: a temporary failure
_SECRETS = ("TONY_TOKEN",)


class LostError(Exception):
    """The driver has not answered for too long, or refuses this executor."""


def reserve_port() -> socket.socket:
    """Return a socket that holds a free port on all interfaces without listening on it."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.bind(("", 0))
    return held


def unpack_source(archive: Path, folder: Path) -> None:
    """Unpack the shipped files, executable bits included, into a folder that is this container's own."""
    folder.mkdir(exist_ok=True)
    if not archive.is_file():
        return
    with zipfile.ZipFile(archive) as source:
        for member in source.infolist():
            path = Path(source.extract(member, folder))
            path.chmod(member.external_attr >> 16 or 0o644)


class Pulse:
    """The heartbeat: a thread that tells the driver of this task and hears whether to go on.

    Parameters
    ----------
    channel
        The way to the driver.
    task
        Name of the slot, such as ``worker:0``.
    timeout_s
        How long the driver may stay silent before it counts as lost.
    progress_file
        What the program may write its progress to: a number from 0 to 1, or JSON with ``progress`` and ``message``.
    """

    def __init__(self, channel: Channel, task: str, timeout_s: float, progress_file: Path) -> None:
        self._channel = channel
        self._task = task
        self._timeout_s = timeout_s
        self._progress_file = progress_file
        self._quit = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self.has_started = False
        self.must_stop = False
        self.is_lost = False

    def start(self) -> None:
        """Start beating."""
        self._thread.start()

    def finish(self) -> None:
        """Stop beating; what is under way is left to its answer."""
        self._quit.set()

    def _beat(self) -> None:
        answered_at = time.monotonic()
        while not self._quit.is_set():
            try:
                # The driver answers after this time, or at once when there is an order.
                answer = self._channel.post("/v1/heartbeat", {**self._message(), "wait_s": _HEARTBEAT_S})
            except RefusedError:
                self.is_lost = True
            except OSError:
                self.is_lost = time.monotonic() - answered_at > self._timeout_s
                self._quit.wait(_HEARTBEAT_S)
            else:
                answered_at = time.monotonic()
                self.must_stop = self.must_stop or answer.get("order") == "stop"

    def _message(self) -> dict[str, Any]:
        message: dict[str, Any] = {"task": self._task, "has_started": self.has_started}
        with suppress(OSError, ValueError, TypeError, KeyError):  # absent, or being written right now
            said = json.loads(self._progress_file.read_text())
            if isinstance(said, dict):
                message["message"] = str(said.get("message", ""))
                said = said["progress"]
            message["progress"] = float(said)
        return message


def program_environment(specification: dict[str, str], folder: Path) -> dict[str, str]:
    """Return the program's variables: the container's without its secrets, this Python first on PATH, then its own."""
    env = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    binaries = str(Path(sys.executable).parent)
    env["PATH"] = os.pathsep.join([binaries, env.get("PATH", os.defpath)])
    env["PYTHONUNBUFFERED"] = "1"
    env["TONY_CONTAINER_DIR"] = str(folder)
    env["TONY_PROGRESS_FILE"] = str(folder / "tony_progress.json")
    return {**env, **specification}


def wait_for_specification(channel: Channel, task: str, pulse: Pulse) -> dict[str, Any] | None:
    """Return what to run once all have registered; None when told to stop before."""
    query = urlencode({"task": task, "wait": _POLL_S})
    while not pulse.must_stop:
        if pulse.is_lost:
            raise LostError("the driver is gone")
        try:
            specification = channel.get(f"/v1/specification?{query}")
        except OSError:
            time.sleep(_HEARTBEAT_S)  # the heartbeat decides when it counts as lost
            continue
        if specification is not None:
            return specification
    return None


def run(folder: Path, environ: dict[str, str]) -> int:
    """Run this container's task; return the container's exit status."""
    task, address, token = environ["TONY_TASK"], environ["TONY_COORDINATOR"], environ["TONY_TOKEN"]
    timeout_s = float(environ.get("TONY_HEARTBEAT_TIMEOUT_S", "15"))
    talk, beat = (Channel(address, token, str(folder / _CERTIFICATE), str(folder / _KEY)) for _ in range(2))
    adopt_orphans()
    held = reserve_port()
    pulse = Pulse(beat, task, timeout_s, folder / "tony_progress.json")
    try:
        _say(talk, "/v1/register", _registration(task, environ, talk, held), timeout_s)
        pulse.start()
        specification = wait_for_specification(talk, task, pulse)
        if specification is None:
            _say(talk, "/v1/exit", {"task": task, "exit_code": 0, "was_told": True}, timeout_s)
            return 0
        unpack_source(folder / _SOURCE, folder / "source")
        held.close()  # from here to the program's own bind the port could be taken: keep it short
        return _run_program(specification, task, folder, talk, pulse)
    except (LostError, RefusedError) as problem:
        print(f"executor {task}: {problem}", file=sys.stderr)  # noqa: T201  # the container's log is where it is looked for
        return _LOST_EXIT_CODE
    finally:
        held.close()
        pulse.finish()
        talk.close()


def _registration(task: str, environ: dict[str, str], channel: Channel, held: socket.socket) -> dict[str, Any]:
    host = environ.get("NM_HOST") or channel.own_address()
    return {
        "task": task,
        "host": host,
        "port": held.getsockname()[1],
        "container_id": environ.get("CONTAINER_ID", ""),
        "pid": os.getpid(),
    }


def _run_program(specification: dict[str, Any], task: str, folder: Path, channel: Channel, pulse: Pulse) -> int:
    program = Program(
        specification["command"], program_environment(specification["env"], folder), str(folder / "source")
    )
    pulse.has_started = True
    with suppress(OSError):  # the next heartbeat says it as well
        channel.post("/v1/heartbeat", {"task": task, "has_started": True})
    while not program.wait(0.1):
        if pulse.must_stop or pulse.is_lost:
            program.end(float(specification["grace_s"]))
            program.wait(5.0)
            break
    was_told = pulse.must_stop
    program.kill_leftovers()
    words = program.words()
    if pulse.is_lost:
        raise LostError("the driver is gone; its program was ended")
    end = {
        "task": task,
        "exit_code": program.exit_code,
        "signal": program.signal_name,
        "traceback": words.traceback,
        "last_lines": words.lines,
        "was_told": was_told,
    }
    _say(channel, "/v1/exit", end, float(specification["heartbeat_timeout_s"]))
    return program.exit_code


def _say(channel: Channel, path: str, message: dict[str, Any], timeout_s: float) -> None:
    """Send a message that must arrive, again and again until ``timeout_s`` have passed."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            channel.post(path, message)
        except OSError as problem:
            if time.monotonic() > deadline:
                raise LostError(f"the driver at {path} does not answer: {problem}") from problem
            time.sleep(0.2)
        else:
            return


def main() -> NoReturn:
    """Run the task of this container, named by its environment, and leave with the container's exit status.

    It leaves without Python's own ending: a heartbeat under way would be torn out of its thread there,
    which can abort the process and turn a good end into a bad one.
    """
    status = run(Path.cwd(), dict(os.environ))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
