"""The serving tier as a child of the demo: started, found again after a kill, stopped."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import requests

from yarnmill.config import Config
from yarnmill.errors import JobFailedError

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0


def free_port() -> int:
    """Return a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class DemoServer:
    """``yarnmill serve`` of one home folder, in a session of its own.

    Parameters
    ----------
    config
        The configuration whose home, registry and blob store it serves.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._record = config.home_path / "serve.pid"
        self._log = config.home_path / "serve.log"
        self.url = ""

    def start(self) -> str:
        """Start the tier on the configuration's port and return its URL once every endpoint is loaded.

        Raises
        ------
        JobFailedError
            If it ends or does not become ready: with the end of its log.
        """
        self.stop()
        port = self._config.serving.port
        self.url = f"http://127.0.0.1:{port}"
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "yarnmill.cli.main", "serve", "--home", self._config.home, "--port", str(port)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._record.write_text(f"{process.pid} {port}\n")
        self._await_ready(process)
        return self.url

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            try:
                if requests.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                    return
            except requests.RequestException:  # refused at first; then accepted, and silent while models load
                pass
            time.sleep(0.2)
        lines = self._log.read_text(errors="replace").splitlines()
        raise JobFailedError(f"the server did not become ready: {' | '.join(lines[-5:])}", mend=f"see {self._log}")

    def stop(self) -> None:
        """Stop the tier that this home's record names, if it is still ours; wait until it is gone."""
        if not self._record.is_file():
            return
        pid = int(self._record.read_text().split()[0])
        deadline = time.monotonic() + STOP_TIMEOUT_S
        sent = signal.SIGTERM
        while _is_our_server(pid, self._config.home):
            os.kill(pid, sent)
            time.sleep(0.2)
            if time.monotonic() > deadline:
                sent = signal.SIGKILL
        self._record.unlink()


def _is_our_server(pid: int, home: str) -> bool:
    """Return whether the process is alive and serves this home: a pid alone may have become somebody else's."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return False
    return state != "Z" and "serve" in command and home in command
