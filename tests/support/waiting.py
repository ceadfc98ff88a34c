"""Waiting for what happens by itself, in a thread, a process or a cluster."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_POLL_S: Final = 0.05


def eventually(condition: Callable[[], T], seconds: float = 120.0) -> T:
    """Return what a condition gives as soon as it is true of it, or what it gives when the time is over."""
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return found
