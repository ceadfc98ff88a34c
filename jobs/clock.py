"""How long the parts of a job take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds that each named part of a job took."""

    def __init__(self) -> None:
        self.timings_s: dict[str, float] = {}

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the time that the block takes."""
        started = time.monotonic()
        yield
        self.timings_s[name] = self.timings_s.get(name, 0.0) + time.monotonic() - started
