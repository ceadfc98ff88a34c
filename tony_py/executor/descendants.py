"""All processes below this one, found through /proc: what a program started, and what those left behind."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_GONE = {"Z", "X"}


def adopt_orphans() -> None:
    """Make this process the parent of whatever its descendants leave behind, so that it can end it."""
    with suppress(OSError, AttributeError):  # another system than Linux
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def alive() -> list[int]:
    """Return the ids of all descendants that still run."""
    children: dict[int, list[int]] = {}
    running: set[int] = set()
    for pid, parent, state in _processes():
        children.setdefault(parent, []).append(pid)
        if state not in _GONE:
            running.add(pid)
    found: list[int] = []
    unseen = [os.getpid()]
    while unseen:
        below = children.get(unseen.pop(), [])
        found += [pid for pid in below if pid in running]
        unseen += below
    return found


def send_signal(number: int) -> None:
    """Send a signal to every descendant."""
    for pid in alive():
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def reap_adopted(programs: set[int]) -> None:
    """Take leave of dead adopted processes; ``programs`` are left to whoever started them."""
    for pid, parent, state in _processes():
        if parent == os.getpid() and pid not in programs and state in _GONE:
            with suppress(OSError):
                os.waitpid(pid, os.WNOHANG)


def _processes() -> list[tuple[int, int, str]]:
    """Return id, parent and state of every process that can be seen."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):  # it ended while we looked
                # The name in parentheses may hold anything, so fields count from its last parenthesis.
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                found.append((int(entry.name), int(parent), state))
    return found
