"""Bringing a file to the disk while it is written, so that the wait at its end is short."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

_EVERY_BYTES: Final = 8 << 20
"""Less than this is not worth a thread, and waits at the end for milliseconds."""


class Writeback:
    """What of a local file is on its way to the disk.

    Parameters
    ----------
    descriptor
        The open file, whose writer buffers nothing.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._written = 0
        self._thread: ThreadPoolExecutor | None = None
        self._under_way: Future[None] | None = None

    def wrote(self, size: int) -> None:
        """Take note of so many further bytes; now and then what is there by then starts its way."""
        self._written += size
        if self._written < _EVERY_BYTES or (self._under_way is not None and not self._under_way.done()):
            return
        self._written = 0
        self._raise_what_went_wrong()
        self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="writeback")
        self._under_way = self._thread.submit(os.fdatasync, self._descriptor)

    def finish(self) -> None:
        """Return when all that was written is on the disk; OSError if any of it is not."""
        try:
            self._raise_what_went_wrong()
            os.fsync(self._descriptor)
        finally:
            self.stop()

    def stop(self) -> None:
        """Wait for what is under way, and leave the rest to the system."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def _raise_what_went_wrong(self) -> None:
        # The kernel tells an error of writing back once: whoever is told must not forget it.
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            under_way.result()
