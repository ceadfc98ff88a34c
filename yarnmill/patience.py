"""Calls that may never come back, as of a library whose peer has died, made in a thread that can be left behind."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Patience:
    """A thread of its own for calls that are made one after the other.

    Parameters
    ----------
    seconds
        How long a call may take. One that takes longer is given up, and no other is made any more: the thread stays
        with it, and ends with the process at the latest.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.is_over = False
        """Whether a call was given up."""

    def call(self, act: Callable[[], T]) -> T:
        """Return what a call gives, or raise what it raises; TimeoutError if it takes too long, or one before did."""
        if self.is_over:
            raise TimeoutError(f"an earlier call took over {self._seconds:g} s")
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="patience", daemon=True)
            self._thread.start()
        future: Future[T] = Future()
        self._calls.put((future, act))
        try:
            return future.result(self._seconds)
        except TimeoutError:
            if future.done():  # the call's own
                raise
            self.is_over = True
            self.end()
            raise TimeoutError(f"no answer for {self._seconds:g} s") from None
        finally:
            del future, act  # see _make

    def end(self) -> None:
        """Let the thread end after the calls that were made."""
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            _make(*call)
            del call


def _make(future: "Future[Any] | None", act: Callable[[], Any] | None) -> None:
    if future is None or act is None:
        return
    try:
        future.set_result(act())
    except BaseException as problem:  # noqa: BLE001  # whoever waits gets it
        future.set_exception(problem)
    finally:
        # An error knows its frames, and a frame that knows the error's future is a cycle: what the call was about
        # would live until garbage is collected.
        future = act = None
