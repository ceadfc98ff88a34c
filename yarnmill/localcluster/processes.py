"""Processes of the cluster, found by what they are instead of by files that go stale.

A daemon is a process of this user whose command line carries the cluster's two marks; a container is
one whose environment names a local folder of one of the cluster's NodeManagers. So a recycled pid is
never taken for ours, and what a killed NodeManager left behind is still found.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from yarnmill.localcluster.daemons import CLUSTER_MARK, DAEMON_MARK
from yarnmill.localcluster.layout import Layout

_PROC: Final = Path("/proc")
_PAGE_KIB: Final = os.sysconf("SC_PAGE_SIZE") // 1024
_POLL_S: Final = 0.05
_EXEC_ATTEMPTS: Final = 50
_EXEC_POLL_S: Final = 0.002
_ENDED: Final = frozenset("ZX")
_KERNEL_THREADS: Final = 2
"""Pid of their parent: they never have a command line."""


class DaemonProcess(msgspec.Struct, frozen=True, order=True):
    """A running daemon."""

    name: str
    pid: int


def _own_pids() -> Iterator[int]:
    user = os.getuid()
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                if entry.stat().st_uid == user:
                    yield int(entry.name)


def _strings(pid: int, name: str) -> list[str]:
    """Return the NUL-separated strings of ``cmdline`` or ``environ``; none for a process that ended."""
    try:
        return (_PROC / str(pid) / name).read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _command_line(pid: int) -> list[str]:
    """Return a process's arguments; one that is just changing from the shell to Java shows none for a moment."""
    for _attempt in range(_EXEC_ATTEMPTS):
        arguments = _strings(pid, "cmdline")
        if any(arguments) or not _may_be_in_exec(pid):
            return arguments
        time.sleep(_EXEC_POLL_S)
    return []


def _may_be_in_exec(pid: int) -> bool:
    state, parent = _state_and_parent(pid)
    return state not in _ENDED and _KERNEL_THREADS not in {pid, parent}


def _state_and_parent(pid: int) -> tuple[str, int]:
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "X", 0
    return fields[0], int(fields[1])


def find_daemons(layout: Layout) -> list[DaemonProcess]:
    """Return the running daemons of this cluster, by name.

    A child that a daemon has just forked shows the daemon's command line until it runs its own program: it is none.
    """
    mark = f"{CLUSTER_MARK}{layout.root}"
    found: list[DaemonProcess] = []
    for pid in _own_pids():
        arguments = _command_line(pid)
        if mark in arguments:
            names = [text.removeprefix(DAEMON_MARK) for text in arguments if text.startswith(DAEMON_MARK)]
            found.extend(DaemonProcess(name, pid) for name in names)
    pids = {daemon.pid for daemon in found}
    return sorted(daemon for daemon in found if _state_and_parent(daemon.pid)[1] not in pids)


def find_containers(layout: Layout) -> list[int]:
    """Return the pids of containers of this cluster, with all that they started."""
    mark = f"LOCAL_DIRS={layout.root}/nodemanager-"
    return [pid for pid in _own_pids() if any(text.startswith(mark) for text in _strings(pid, "environ"))]


def is_running(pid: int) -> bool:
    """Return whether the process lives; a child of ours that ended is reaped first."""
    with suppress(OSError):
        os.waitpid(pid, os.WNOHANG)
    return _state_and_parent(pid)[0] not in _ENDED


def rss_mib(pid: int) -> int:
    """Return the resident memory of a process in MiB, 0 if it ended."""
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE_KIB // 1024
    except OSError:
        return 0


def spawn(command: Sequence[str], *, folder: Path, out: Path, environment: Mapping[str, str]) -> int:
    """Start a process in a session of its own, out of reach of the terminal's Ctrl-C, and return its pid."""
    # The shell only changes the folder: a daemon must not hold on to the one the user happens to be in.
    shell = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(folder), *command]
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        shell[0],
        shell,
        dict(environment),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(out), append, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def stop(find: Callable[[], Sequence[int]], *, grace_s: float) -> int:
    """End what ``find`` returns, politely first; return how many had to be killed.

    ``find`` is asked again before each signal, so that a pid which meanwhile belongs to somebody
    else is left alone and a process that was just started is not missed.
    """
    _signal(find(), signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while left := [pid for pid in find() if is_running(pid)]:
        if time.monotonic() >= deadline:
            break
        time.sleep(_POLL_S)
    killed = len(left)
    while left := [pid for pid in find() if is_running(pid)]:
        _signal(left, signal.SIGKILL)
        time.sleep(_POLL_S)
    return killed


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
