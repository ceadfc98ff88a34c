"""Which GPUs are this container's: those that YARN leaves visible, or as many as were asked for by a lock a device.

YARN isolates devices only with cgroups or Docker. Where it does not, every container sees all of its host's
GPUs, so executors take one lock file a device; the lock goes with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

_QUERY = ["nvidia-smi", "--query-gpu=index,memory.used,utilization.gpu", "--format=csv,noheader,nounits"]
_QUERY_TIMEOUT_S = 10.0


class Gpus:
    """The devices of this container.

    Parameters
    ----------
    asked
        How many the container was given.
    environ
        The container's variables: ``TONY_GPU_DEVICES`` (``0,1``) names the host's devices where ``nvidia-smi``
        is not at hand, ``TONY_GPU_LOCKS`` the folder of the lock files.
    """

    def __init__(self, asked: int, environ: dict[str, str]) -> None:
        self._locks: list[IO[bytes]] = []
        self._folder = Path(environ.get("TONY_GPU_LOCKS") or Path(tempfile.gettempdir()) / "tony_py-gpus")
        self.can_be_seen = "TONY_GPU_DEVICES" not in environ
        found = _on_this_host() if self.can_be_seen else environ["TONY_GPU_DEVICES"].split(",")
        self.devices: list[str] = []
        self.is_limited = asked == 0 or bool(found)
        if asked and found:
            self.devices = found if len(found) <= asked else self._lock(found, asked)

    def _lock(self, found: list[str], asked: int) -> list[str]:
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._folder.chmod(0o1777)  # every user's containers meet here, and none removes another's files
        taken: list[str] = []
        for device in found:
            if len(taken) == asked:
                break
            try:
                stream = open(os.open(self._folder / f"{device}.lock", os.O_RDWR | os.O_CREAT, 0o666), "r+b")  # noqa: PTH123, SIM115  # held until the process ends
            except OSError:
                continue
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                stream.close()
                continue
            self._locks.append(stream)
            taken.append(device)
        return taken

    def let_go(self) -> None:
        """Leave the devices to others."""
        while self._locks:
            self._locks.pop().close()

    def environment(self) -> dict[str, str]:
        """Return the variable that keeps a program to its devices; none where devices cannot be told apart."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(self.devices)} if self.is_limited else {}

    def usage(self) -> tuple[float, float]:
        """Return memory in use (MiB) and the share of time in use (0 to 1) over this container's devices."""
        if not self.devices or not self.can_be_seen:
            return 0.0, 0.0
        rows = [row for row in _ask() if row[0] in self.devices]
        if not rows:
            return 0.0, 0.0
        return sum(_number(row[1]) for row in rows), sum(_number(row[2]) for row in rows) / 100 / len(rows)


def _number(field: str) -> float:
    # A device that is cut into instances (MIG) has no use of its own: [N/A].
    try:
        return float(field)
    except ValueError:
        return 0.0


def _on_this_host() -> list[str]:
    return [row[0] for row in _ask()]


def _ask() -> list[list[str]]:
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, check=True, timeout=_QUERY_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return []
    return [[field.strip() for field in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
