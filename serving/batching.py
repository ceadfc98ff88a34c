"""Adaptive batching: requests of one version that come together are answered by one call of its model.

A request that finds the version idle asks it at once. One that comes while it is being asked waits for others: until
that call ends, until the batch has as many rows as it may, or for as long as it may, whichever comes first. So nobody
waits where requests come one by one, batches grow with the load, and a call that hangs holds up no others.

The thread of a batch's first request asks for all of it, so a stop that lets requests finish lets batches finish. One
batch gathers at a time, and goes when it is full: nothing queues beyond it.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serving.metrics import Metrics
from serving.models import one_line
from yarnmill.bundle.manifest import Signature
from yarnmill.config import BatchingSettings
from yarnmill.flavours.predictor import Column, Predictor

Columns = Mapping[str, Column]
Outputs = dict[str, npt.NDArray[np.generic]]

_log = logging.getLogger(__name__)


class BatchingPredictor:
    """A predictor that answers requests of several threads by fewer calls of another one.

    Each version has one of its own, so nothing is mixed that goes to different versions, and what comes here fits the
    signature already. If the call for a batch fails, each of its requests is asked alone: what one of them does to the
    model is no other's failure.

    Parameters
    ----------
    predictor
        The model; what it answers for a row must not depend on the rows beside it.
    settings
        How many rows a batch has at most, and how long the first of them waits for others.
    model, metrics
        Under which name the calls are counted where.
    """

    def __init__(self, predictor: Predictor, settings: BatchingSettings, model: str, metrics: Metrics) -> None:
        self._predictor = predictor
        self._most_rows = settings.rows
        self._wait_s = float(settings.wait)
        self._model = model
        self._metrics = metrics
        self._lock = threading.Lock()
        self._running = 0  # calls of the model, those included that a batch was sent for and has not begun
        self._gathering: _Batch | None = None  # nothing gathers unless something runs

    @property
    def signature(self) -> Signature:
        """Inputs and outputs, in order."""
        return self._predictor.signature

    @property
    def waiting_rows(self) -> int:
        """How many rows wait for others now."""
        with self._lock:
            return 0 if self._gathering is None else self._gathering.rows

    def predict(self, columns: Columns) -> Outputs:
        """Return every output for a request; see :class:`yarnmill.flavours.predictor.Predictor`."""
        rows = len(next(iter(columns.values()), ()))
        with self._lock:
            place = self._place(columns, rows)
        if place is None:
            return self._ask_alone(columns, rows)
        batch, start = place
        if start == 0:
            self._gather(batch)
            if batch.rows == rows:
                return self._ask_alone(columns, rows)
            self._answer(batch)
        batch.answered.wait()
        if batch.outputs is None:
            return self._ask(columns, rows)
        # Copies: what keeps an answer for longer, as the log does, is not to keep its neighbours'.
        return {name: values[start : start + rows].copy() for name, values in batch.outputs.items()}

    def _place(self, columns: Columns, rows: int) -> "_Place | None":
        """Return where a request waits with others; None if it is to ask at once."""
        if self._running == 0 or not 0 < rows < self._most_rows:
            self._running += 1
            return None
        batch = self._gathering
        if batch is None or batch.rows + rows > self._most_rows or batch.names != columns.keys():
            self._send()
            batch = self._gathering = _Batch(columns)
        place = _Place(batch, batch.rows)
        batch.requests.append(columns)
        batch.rows += rows
        if batch.rows == self._most_rows:
            self._send()
        return place

    def _send(self) -> None:
        """Let the batch that gathers be asked for. It runs from now on, so that nobody finds the version idle."""
        if self._gathering is not None:
            self._running += 1
            self._gathering.sent.set()
            self._gathering = None

    def _gather(self, batch: "_Batch") -> None:
        """Wait until a batch is sent, or send it."""
        if not batch.sent.wait(self._wait_s):
            with self._lock:
                if self._gathering is batch:
                    self._send()

    def _answer(self, batch: "_Batch") -> None:
        """Ask for all requests of a batch; whatever comes of it, those that wait are told."""
        try:
            batch.outputs = self._ask_together(batch)
        finally:
            batch.answered.set()
            self._end()

    def _ask_together(self, batch: "_Batch") -> Outputs | None:
        """Return the outputs of a batch; None if its requests have to be asked one by one."""
        try:
            columns = {name: _joined([one[name] for one in batch.requests]) for name in batch.names}
            outputs = self._ask(columns, batch.rows)
        except Exception as problem:  # noqa: BLE001  # libraries that run models raise what they like
            failure = one_line(problem)
        else:
            if all(len(values) == batch.rows for values in outputs.values()):
                return outputs
            failure = f"an output has not the {batch.rows} rows that were asked for"
        _log.warning("model %s: the requests of a batch are asked one by one: %s", self._model, failure)
        self._metrics.count_failed_batch(self._model)
        return None

    def _ask_alone(self, columns: Columns, rows: int) -> Outputs:
        try:
            return self._ask(columns, rows)
        finally:
            self._end()

    def _ask(self, columns: Columns, rows: int) -> Outputs:
        self._metrics.count_batch(self._model, rows)
        return self._predictor.predict(columns)

    def _end(self) -> None:
        """Count a call that ended; what gathered meanwhile goes."""
        with self._lock:
            self._running -= 1
            self._send()


class _Batch:
    """Requests that wait for one call; ``outputs`` stays None if each has to ask for itself."""

    def __init__(self, columns: Columns) -> None:
        self.names = columns.keys()
        self.requests: list[Columns] = []
        self.rows = 0
        self.sent = threading.Event()
        self.answered = threading.Event()
        self.outputs: Outputs | None = None


class _Place(NamedTuple):
    batch: _Batch
    start: int


def _joined(columns: list[Column]) -> Column:
    """Return the column of several requests: arrays one after the other, or the bags of all rows."""
    arrays = [column for column in columns if isinstance(column, np.ndarray)]
    return np.concatenate(arrays) if arrays else [bag for bags in columns for bag in bags]


def batched(settings: Mapping[str, BatchingSettings], metrics: Metrics) -> Callable[[str, Predictor], Predictor]:
    """Return what makes the predictor of a model one that batches if settings say so, and leaves any other as it is."""

    def prepare(model: str, predictor: Predictor) -> Predictor:
        found = settings.get(model)
        return predictor if found is None else BatchingPredictor(predictor, found, model, metrics)

    return prepare
