"""Jupyter in a container, and the way to it: ``python -m tony_task.notebook``.

Jupyter listens on a socket file that only its user can open. What reaches it from outside comes over one port with
mutual TLS, both sides showing the user's own certificate pair; each connection begins with a line that says what it is
for. Jupyter's token is made here, stands in a file of the user's alone, and leaves only over such a connection.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import final

from .keeping import Keeper
from .relay import Ends, hang_up, relay

SERVERS = {"jupyterlab": "lab", "notebook": "tree", "jupyter_server": "api"}
"""Modules that serve notebooks, the best first, and the page that each shows."""

_SOCKET = "jupyter.sock"
_FIRST_LINE_S = 10.0
_LOOK_S = 0.5
_SAVE_S = 60.0
_GRACE_S = 10.0


@final
class Jupyter:
    """The server, as a process of its own; a context manager that ends it.

    Parameters
    ----------
    folder
        The container's, of the user alone.
    root
        Where notebooks stand: this process's working folder too.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self._module = next((name for name in SERVERS if find_spec(name)), "")
        if not self._module:
            raise SystemExit(
                f"this environment ({sys.executable}) has no Jupyter\n"
                "expected: one of the packages jupyterlab, notebook, jupyter-server\n"
                "to mend it: add jupyterlab to the environment, or name another one with --environment"
            )
        self.token = secrets.token_hex(24)
        self.page = SERVERS[self._module]
        # A relative path: a socket's full name may have no more than a hundred characters, which YARN's folders have.
        self.socket = os.path.relpath(folder / _SOCKET, root)
        self._folder = folder
        self._root = root

    def __enter__(self) -> Jupyter:
        runtime = self._folder / "jupyter"
        runtime.mkdir(mode=0o700, exist_ok=True)
        token = runtime / "token"
        token.touch(mode=0o600)
        token.write_text(self.token)
        environment = {**os.environ, "JUPYTER_TOKEN_FILE": str(token), "JUPYTER_RUNTIME_DIR": str(runtime)}
        environment.pop("JUPYTER_TOKEN", None)
        if not os.access(environment.get("HOME", "/"), os.W_OK):  # YARN's is /home/
            environment["HOME"] = str(self._folder)
        options = [
            f"--ServerApp.sock={self.socket}",
            "--ServerApp.sock_mode=0600",
            f"--ServerApp.root_dir={self._root}",
        ]
        options += ["--ServerApp.open_browser=False", *(["--allow-root"] if os.geteuid() == 0 else [])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module, *options], cwd=self._root, env=environment, stdin=subprocess.DEVNULL
        )
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    @property
    def exit_code(self) -> int | None:
        """Its status if it has ended."""
        return self._process.poll()

    def is_ready(self) -> bool:
        """Return whether it takes connections."""
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(self.socket)
            return True
        return False


class Door:
    """The one way in: each connection says in its first line what it is for.

    ``hello`` is answered by the token and the page, ``stop`` ends everything in order, and after ``connect`` the
    connection is Jupyter's.

    Parameters
    ----------
    jupyter
        Who is behind it.
    """

    def __init__(self, jupyter: Jupyter) -> None:
        self._jupyter = jupyter
        self._open = 0
        self.used_at = time.monotonic()
        self.stopped = asyncio.Event()

    @property
    def idle_s(self) -> float:
        """For how long no connection has been open."""
        return 0.0 if self._open else time.monotonic() - self.used_at

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self._open += 1
        client = Ends(reader, writer)
        try:
            word = (await asyncio.wait_for(reader.readline(), _FIRST_LINE_S)).strip()
            if word == b"hello":
                known = {"token": self._jupyter.token, "page": self._jupyter.page, "ready": self._jupyter.is_ready()}
                await _say(writer, json.dumps(known))
            elif word == b"stop":
                await _say(writer, "{}")
                self.stopped.set()
            elif word == b"connect":
                near = await asyncio.open_unix_connection(self._jupyter.socket)
                await relay(client, Ends(*near))
        except (OSError, ValueError, asyncio.TimeoutError, asyncio.CancelledError):  # noqa: UP041  # not the same in 3.8
            pass  # whoever it was is gone, or said too much; or all of this ends
        finally:
            self._open -= 1
            self.used_at = time.monotonic()
            await hang_up(client)


async def _say(writer: asyncio.StreamWriter, line: str) -> None:
    writer.write(line.encode() + b"\n")
    await writer.drain()


async def serve(jupyter: Jupyter, keeper: Keeper, *, context: ssl.SSLContext, idle_s: float) -> int:
    """Serve until told to stop, until nobody has come for ``idle_s`` (0: for ever), or until Jupyter ends."""
    loop = asyncio.get_running_loop()
    door = Door(jupyter)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, door.stopped.set)
    server = await asyncio.start_server(door.answer, "", int(os.environ["TONY_PORT"]), ssl=context)
    saved_at = time.monotonic()
    while not door.stopped.is_set() and jupyter.exit_code is None:
        if idle_s and door.idle_s > idle_s:
            _log(f"nobody has been connected for {idle_s:.0f} s")
            break
        if time.monotonic() - saved_at > _SAVE_S:
            await loop.run_in_executor(None, keeper.save)
            saved_at = time.monotonic()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(door.stopped.wait(), _LOOK_S)
    server.close()
    return jupyter.exit_code or 0


def server_context(folder: Path) -> ssl.SSLContext:
    """Return a context that shows the container's pair and accepts only a client who shows the same."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(folder / ".skein.crt", folder / ".skein.pem")
    context.load_verify_locations(folder / ".skein.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _log(line: str) -> None:
    print(f"tony_task.notebook: {line}", file=sys.stderr)  # noqa: T201  # the container's log


def main() -> int:
    """Run Jupyter until it is told to stop; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tony_task.notebook", description=__doc__)
    parser.add_argument("--folder", default="", help="where notebooks are kept, on HDFS or locally")
    parser.add_argument("--idle", type=float, default=0.0, help="end after so many seconds without a connection")
    options = parser.parse_args()
    folder = Path(os.environ["TONY_CONTAINER_DIR"])
    root = Path.cwd()
    keeper = Keeper(root, options.folder, _log)
    keeper.restore()
    with Jupyter(folder, root) as jupyter:
        status = asyncio.run(serve(jupyter, keeper, context=server_context(folder), idle_s=options.idle))
    keeper.save()
    return status


if __name__ == "__main__":
    sys.exit(main())
