"""The stacks of all processes of a program that makes no step: what they were doing, for whoever reads the log.

Python prints the stacks of all its threads when it gets SIGABRT and its fault handler is on, which
the executor sees to (PYTHONFAULTHANDLER); of other processes the kernel tells where they wait.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from tony_py.executor import descendants

_PRINTING_S = 2.0


def dump() -> None:
    """Write the stacks to standard error; Python processes end by it."""
    pids = descendants.alive()
    for pid in pids:
        _say(f"tony_py: process {pid} ({_command(pid)}) waits in {_read(pid, 'wchan') or 'user code'}")
    pythons = [pid for pid in pids if "python" in _read(pid, "comm").lower()]
    for pid in pythons:
        with suppress(OSError, ValueError):
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))  # no core file for a death on order
        with suppress(OSError):
            os.kill(pid, signal.SIGABRT)
    deadline = time.monotonic() + _PRINTING_S
    while set(pythons) & set(descendants.alive()) and time.monotonic() < deadline:
        time.sleep(0.05)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _command(pid: int) -> str:
    return _read(pid, "cmdline").replace("\0", " ").strip()[:200]


def _read(pid: int, name: str) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace").strip().strip("\0")
    return ""
