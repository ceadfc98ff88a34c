"""Mirrored requests: a version gets a copy of what another one answered, and nobody waits for it.

One thread a process asks the mirrored versions, from a queue with two bounds: requests, and bytes of their bodies.
What does not fit is dropped and counted, so a slow mirror costs the live version nothing but the drawing of breath.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from serving.decoding import SignatureDecoder
from serving.dialect import Outputs, PredictCall
from serving.metrics import Metrics
from serving.models import one_line
from serving.profiles import Profiles
from serving.slots import ServedModel

_MOST_WAITING: Final = 64
_MOST_WAITING_BYTES: Final = 16 << 20
_log = logging.getLogger(__name__)


Decode = Callable[[bytes, SignatureDecoder], PredictCall]


Answered = Callable[[ServedModel, PredictCall, Outputs, float], None]
"""Gets what a mirror was asked, what it answered, and how many seconds that took."""


class _Copy(NamedTuple):
    mirror: ServedModel
    body: bytes
    decode: Decode
    outputs: Outputs
    answered: Answered | None


class Shadow:
    """Asks mirrored versions beside the requests. To be made after the fork: its thread belongs to a process.

    Parameters
    ----------
    metrics
        Where answers, failures, drops, times and differences are counted.
    profiles
        What counts how inputs and scores are distributed.
    """

    def __init__(self, metrics: Metrics, profiles: Profiles) -> None:
        self._metrics = metrics
        self._profiles = profiles
        self._waiting: queue.Queue[_Copy] = queue.Queue(_MOST_WAITING)
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._thread: threading.Thread | None = None

    def offer(
        self, mirror: ServedModel, body: bytes, decode: Decode, outputs: Outputs, answered: Answered | None = None
    ) -> None:
        """Leave a request for the mirror, with what the live version answered; returns at once.

        Parameters
        ----------
        mirror
            The version to ask.
        body
            The request as it came.
        decode
            Reads it by a version's signature, which may be another one's.
        outputs
            The live version's answer.
        answered
            Told of the mirror's answer.
        """
        with self._lock:
            fits = self._waiting_bytes + len(body) <= _MOST_WAITING_BYTES
            if fits:
                try:
                    self._waiting.put_nowait(_Copy(mirror, body, decode, outputs, answered))
                except queue.Full:
                    fits = False
                else:
                    self._waiting_bytes += len(body)
            if fits and self._thread is None:
                self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)
                self._thread.start()
        if not fits:
            self._metrics.count_mirror(mirror.model, "dropped")

    def wait(self) -> None:
        """Return when everything that was left has been asked."""
        self._waiting.join()

    def _work(self) -> None:
        while True:
            copy = self._waiting.get()
            try:
                self._ask(copy)
            finally:
                with self._lock:
                    self._waiting_bytes -= len(copy.body)
                self._waiting.task_done()

    def _ask(self, copy: _Copy) -> None:
        mirror, started = copy.mirror, time.perf_counter()
        try:
            call = copy.decode(copy.body, mirror.decoder)
            outputs = mirror.predictor.predict(call.columns)
            difference = largest_difference(copy.outputs, outputs)
        except Exception as problem:  # noqa: BLE001  # whatever a mirror does, it is only counted
            _log.warning("mirror %s version %d failed: %s", mirror.model, mirror.version, one_line(problem))
            self._metrics.count_mirror(mirror.model, "failed")
            return
        seconds = time.perf_counter() - started
        self._metrics.count_mirror(mirror.model, "answered", seconds, difference)
        self._profiles.offer(mirror, call, outputs, len(copy.body))
        if copy.answered is not None:
            copy.answered(mirror, call, outputs, seconds)


def largest_difference(one: Outputs, other: Outputs) -> float | None:
    """Return by how much two answers differ at most in the numbers that both have; None if they have none in common."""
    largest = None
    for name, values in one.items():
        beside = other.get(name)
        if beside is None or values.dtype.kind not in "fiu" or beside.dtype.kind not in "fiu":
            continue
        if values.shape == beside.shape and values.size:
            difference = float(np.abs(np.subtract(values, beside, dtype=np.float64)).max())
            largest = difference if largest is None else max(largest, difference)
    return largest
