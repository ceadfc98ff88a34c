"""How what is asked and answered is distributed: counted beside the requests, kept for all workers to add up.

A request leaves its columns and outputs in a queue with two bounds, requests and bytes; what does not fit is dropped
and counted. One thread a process counts what has gathered, many requests at once, and every few seconds writes all of
its counts to a file of its own (:mod:`serving.profilefiles`). Counts are of windows of time, of which the current and
the one before it are kept, so that they tell of now and not of last month.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from serving.dialect import Outputs, PredictCall
from serving.metrics import Metrics
from serving.models import one_line
from serving.profilefiles import Counted, ProfileFiles, VersionKey
from serving.slots import ServedModel
from yarnmill.drift.counts import VersionCounts, drift_of
from yarnmill.drift.profile import Profile
from yarnmill.drift.reference import Reference
from yarnmill.drift.rules import Rules
from yarnmill.drift.series import Column
from yarnmill.errors import YarnMillError

_MOST_WAITING: Final = 4096
_MOST_WAITING_BYTES: Final = 32 << 20
_GATHER_S: Final = 0.5
"""Requests of so long are counted together: to count one by itself costs about as much as to count a hundred."""

_LARGEST_COUNTING: Final = 0.2
"""Part of its time that a worker spends on counting at most: rather some requests are dropped than all are slow."""

_SAVE_S: Final = 3.0
_SHOW_S: Final = 15.0
_LARGEST_PART: Final = 0.05
"""Part of its time that a worker spends on writing counts, and on comparing them, at most, however many there are."""

_BREATH_S: Final = 0.005
"""Between two models that are compared: requests wait for the interpreter meanwhile."""

_log = logging.getLogger(__name__)


class _Sample(NamedTuple):
    served: ServedModel
    call: PredictCall
    outputs: Outputs
    size_bytes: int


class Profiles:
    """Counts of what a worker's models are asked and answer. To be made after the fork: its thread is a process's own.

    Parameters
    ----------
    metrics
        Where what was counted and dropped is counted, and drift is shown.
    folder
        What all workers share; None: there is only this one.
    clock
        Seconds since 1970.
    window_s
        Length of a window.
    """

    def __init__(
        self,
        metrics: Metrics,
        folder: Path | None = None,
        clock: Callable[[], float] = time.time,
        window_s: float = 3600.0,
    ) -> None:
        self._metrics = metrics
        self._files = None if folder is None else ProfileFiles(folder, stale_s=3 * window_s)
        self._clock = clock
        self._window_s = window_s
        # What requests touch, under a lock that nobody holds for long.
        self._lock = threading.Lock()
        self._waiting: deque[_Sample] = deque()
        self._waiting_bytes = 0
        self._thread: threading.Thread | None = None
        self._arrived = threading.Event()
        self._stopping = threading.Event()
        # What is counted, under another one.
        self._counting = threading.Lock()
        self._counts: dict[VersionKey, Counted] = {}
        self._references: dict[VersionKey, Reference] = {}
        self._uncountable: set[VersionKey] = set()
        self._is_saved = True

    def offer(self, served: ServedModel, call: PredictCall, outputs: Outputs, size_bytes: int) -> None:
        """Leave a request with its answer; returns at once.

        Parameters
        ----------
        served
            The version that answered; nothing happens if it has no reference.
        call, outputs
            What it was asked and answered; nobody may change them any more.
        size_bytes
            About what they take.
        """
        if served.reference is None:
            return
        with self._lock:
            fits = len(self._waiting) < _MOST_WAITING and self._waiting_bytes + size_bytes <= _MOST_WAITING_BYTES
            if fits:
                self._waiting.append(_Sample(served, call, outputs, size_bytes))
                self._waiting_bytes += size_bytes
                if self._thread is None and not self._stopping.is_set():
                    self._thread = threading.Thread(target=self._work, name="profiles", daemon=True)
                    self._thread.start()
        if not fits:
            self._metrics.count_profiled(1, "dropped")
        elif not self._arrived.is_set():
            self._arrived.set()

    def of_version(self, served: ServedModel) -> VersionCounts:
        """Return the counts of a version over all workers, those of the others a few seconds old.

        What waits in this worker is counted first.
        """
        self.count()
        key = _key(served)
        counted = self._everywhere({key}).get(key, Counted(**key._asdict()))
        return counted.beside(served.reference)

    def count(self) -> None:
        """Count what waits, and forget what is of earlier windows."""
        with self._counting:
            with self._lock:
                samples, self._waiting, self._waiting_bytes = self._waiting, deque(), 0
            for group in _grouped(samples):
                self._count_group(group)
            recent = {key: counted.since(self._oldest()) for key, counted in self._counts.items()}
            self._counts = {key: counted for key, counted in recent.items() if counted.windows}
            self._references = {key: self._references[key] for key in self._counts}

    def save(self) -> None:
        """Write the counts to this worker's file, if there are others since it was last written."""
        with self._counting:
            if self._files is None or self._is_saved:
                return
            everything, self._is_saved = tuple(self._counts.values()), True
        try:
            self._files.save(everything)
        except (OSError, YarnMillError) as problem:  # a full disk must not hold up anything
            _log.warning("the counts of inputs and scores cannot be kept: %s", one_line(problem))

    def show(self) -> None:
        """Set the gauges from the counts of all workers, of every version that this one was asked for lately."""
        with self._counting:
            references = self._references
        drifts = []
        for key, counted in self._everywhere(references).items():
            drifts.append((key.model, drift_of(counted.beside(references[key]), Rules())))
            self._stopping.wait(_BREATH_S)
        self._metrics.show_drift(drifts)

    def stop(self) -> None:
        """Count what waits, keep it, and end the thread."""
        self._stopping.set()
        self._arrived.set()
        if self._thread is not None:
            self._thread.join(timeout=2.0)
        self.count()
        self.save()

    def _work(self) -> None:
        save, show = _Paced(self.save, _SAVE_S), _Paced(self.show, _SHOW_S)
        took_s = 0.0
        while not self._stopping.is_set():
            self._arrived.wait(show.left_s() if self._is_saved else min(save.left_s(), show.left_s()))
            self._arrived.clear()
            self._stopping.wait(max(_GATHER_S, took_s / _LARGEST_COUNTING))
            started = time.monotonic()
            try:
                self.count()
                took_s = time.monotonic() - started
                save.run_if_due()
                show.run_if_due()
            except Exception:  # noqa: BLE001  # whatever is wrong with counts, those of tomorrow are wanted
                _log.exception("inputs and scores: unexpected error")

    def _count_group(self, samples: Sequence[_Sample]) -> None:
        served = samples[0].served
        reference, key = served.reference, _key(served)
        if reference is None:  # then nobody offers it
            return
        try:
            profiles = _profiles_of(reference, samples)
        except Exception as problem:  # noqa: BLE001  # whatever a model answers, it is only not counted
            if key not in self._uncountable:  # else there would be a line twice a second
                self._uncountable.add(key)
                _log.warning("model %s version %d is not counted: %s", served.model, served.version, one_line(problem))
            self._metrics.count_profiled(len(samples), "failed")
            return
        before = self._counts.get(key) or Counted(**key._asdict())
        self._counts[key] = before.more(self._window(), profiles)
        self._references[key] = reference
        self._is_saved = False
        self._metrics.count_profiled(len(samples), "counted")

    def _everywhere(self, keys: Collection[VersionKey]) -> dict[VersionKey, Counted]:
        """Return the counts of some versions over all workers: of those that have any."""
        with self._counting:
            counts = list(self._counts.values())
        if self._files is not None:
            counts += self._files.of_others()
        found: dict[VersionKey, Counted] = {}
        for one in counts:
            if one.key in keys and (recent := one.since(self._oldest())).windows:
                found[one.key] = found[one.key].merge(recent) if one.key in found else recent
        return found

    def _window(self) -> float:
        return self._clock() // self._window_s * self._window_s

    def _oldest(self) -> float:
        return self._window() - self._window_s


class _Paced:
    """Something done again and again: after a pause, and never for more than a small part of the time."""

    def __init__(self, act: Callable[[], None], pause_s: float) -> None:
        self._act = act
        self._pause_s = pause_s
        self._due_at = 0.0

    def left_s(self) -> float:
        return max(self._due_at - time.monotonic(), 0.0)

    def run_if_due(self) -> None:
        started = time.monotonic()
        if started < self._due_at:
            return
        self._due_at = started + self._pause_s
        self._act()
        self._due_at = started + max(self._pause_s, (time.monotonic() - started) / _LARGEST_PART)


def _key(served: ServedModel) -> VersionKey:
    return VersionKey(served.model, served.version, served.bundle_id)


def _grouped(samples: Iterable[_Sample]) -> list[list[_Sample]]:
    """Return samples that can be counted together: of one version, with the same inputs."""
    groups: dict[tuple[int, frozenset[str]], list[_Sample]] = {}
    for sample in samples:
        groups.setdefault((id(sample.served), frozenset(sample.call.columns)), []).append(sample)
    return list(groups.values())


def _profiles_of(reference: Reference, samples: Sequence[_Sample]) -> tuple[Profile, ...]:
    inputs = {name: _joined([one.call.columns[name] for one in samples]) for name in samples[0].call.columns}
    outputs = {name: _joined([one.outputs[name] for one in samples]) for name in samples[0].outputs}
    rows = sum(one.call.rows for one in samples)
    return reference.count(samples[0].served.predictor.signature, inputs, outputs, rows)


def _joined(columns: Sequence[Column]) -> Column:
    if len(columns) == 1:
        return columns[0]
    arrays = [column for column in columns if isinstance(column, np.ndarray)]
    return np.concatenate(arrays) if arrays else [bag for column in columns for bag in column]
