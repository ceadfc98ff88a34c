"""The heartbeat: tells the driver of this task and its program's progress, and hears what to do."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tony_py.executor.channel import Channel, RefusedError

HEARTBEAT_S = 1.0
_RETRY_S = 0.2
_MOST_METRICS = 100


class Pulse:
    """A thread that talks to the driver once a second, and keeps what it ordered.

    Parameters
    ----------
    channel
        The way to the driver, its own.
    task, attempt
        The slot, such as ``worker:0``, and which of its containers this is.
    timeout_s
        How long the driver may stay silent before it counts as lost.
    progress_file
        What the program may write its progress to: a number from 0 to 1, or JSON with any of ``step``,
        ``progress`` (0 to 1), ``checkpoint`` (the last step that was saved), ``message`` and ``metrics`` (an object
        of numbers).
    usage
        Returns what the program uses.
    """

    def __init__(
        self,
        channel: Channel,
        task: str,
        attempt: int,
        *,
        timeout_s: float,
        progress_file: Path,
        usage: Callable[[], dict[str, float]],
    ) -> None:
        self._channel = channel
        self._task = task
        self._attempt = attempt
        self._timeout_s = timeout_s
        self._progress_file = progress_file
        self._usage = usage
        self._quit = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._generation = 0
        self._restart_from = 0
        self.has_started = False
        self.must_stop = False
        self.wants_stacks = False
        self.is_lost = False

    def enter(self, generation: int) -> None:
        """Speak for this generation from here on; the first time starts the beat."""
        self.has_started = False
        with suppress(OSError):
            self._progress_file.unlink()
        self._generation = generation
        if not self._thread.is_alive():
            self._thread.start()

    @property
    def must_restart(self) -> bool:
        """Whether the present generation is over for everybody."""
        return self._restart_from == self._generation

    @property
    def is_over(self) -> bool:
        """Whether there is a reason to end the program."""
        return self.must_stop or self.must_restart or self.is_lost

    def finish(self) -> None:
        """Stop beating; what is under way is left to its answer."""
        self._quit.set()

    def _beat(self) -> None:
        answered_at = time.monotonic()
        while not self._quit.is_set():
            generation = self._generation
            try:
                # The driver answers after this time, or at once when there is an order.
                answer = self._channel.post("/v1/heartbeat", {**self._message(generation), "wait_s": HEARTBEAT_S})
            except RefusedError:
                self.is_lost = True
                return
            except OSError:
                self.is_lost = time.monotonic() - answered_at > self._timeout_s
                self._quit.wait(_RETRY_S)
                continue
            answered_at = time.monotonic()
            self.wants_stacks = bool(answer.get("stacks"))
            self.must_stop = self.must_stop or answer.get("order") == "stop"
            if answer.get("order") == "restart":
                self._restart_from = generation
                self._quit.wait(_RETRY_S)  # the program needs a moment to end
            elif self.must_stop:
                self._quit.wait(HEARTBEAT_S)  # it would be answered at once

    def _message(self, generation: int) -> dict[str, Any]:
        message: dict[str, Any] = {
            "task": self._task,
            "attempt": self._attempt,
            "generation": generation,
            "has_started": self.has_started,
        }
        usage = self._usage()
        if usage:
            message["usage"] = usage
        with suppress(OSError, ValueError, TypeError):  # absent, or being written right now
            message.update(read_progress(self._progress_file))
        return message


def read_progress(path: Path) -> dict[str, Any]:
    """Return what a progress file says; ValueError or TypeError if it says nothing that can be used."""
    said = json.loads(path.read_text())
    if not isinstance(said, dict):
        said = {"progress": said}
    numbers = {"step": int, "checkpoint": int, "progress": float}
    found: dict[str, Any] = {name: read(said[name]) for name, read in numbers.items() if said.get(name) is not None}
    if not math.isfinite(found.get("progress", 0.0)):
        raise ValueError("progress is no number")
    if isinstance(said.get("metrics"), dict):
        # JSON knows no infinity, and the driver would refuse the whole message.
        numbers_said = {str(name)[:250]: float(value) for name, value in list(said["metrics"].items())[:_MOST_METRICS]}
        found["metrics"] = {name: value for name, value in numbers_said.items() if math.isfinite(value)}
    if found:
        found["message"] = str(said.get("message", ""))[:500]
    return found
