"""What the tier's counters were, every few seconds of the last quarter of an hour: what charts and rates are made of.

Counters of all workers are in files that each of them can read, so one sample is enough for all: the worker that is
first in a slot of time takes it, and the file that it leaves is never changed. A worker that comes later, or comes
again, has what the others took. Memory and disk are bounded by the slots and by the labels that
:class:`serving.metrics.Metrics` gives to models.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from serving.metrics import Metrics

SLOT_S: Final = 5
KEPT_SLOTS: Final = 180
_REQUESTS: Final = "yarnmill_requests_total"
_BUCKETS: Final = "yarnmill_request_seconds_bucket"
_DRIFTED: Final = "yarnmill_drifted_series"
_PSI: Final = "yarnmill_drift_psi_max"
_ENDING: Final = ".sample"
_log = logging.getLogger(__name__)


class ModelSample(msgspec.Struct, frozen=True, array_like=True):
    """What was counted of a model since the tier was started.

    Parameters
    ----------
    answered, refused, failed
        Requests with a prediction, with a status of 4xx, with another one.
    buckets
        Predictions by the time that they took, each bucket alone; its bound in seconds is in the sample.
    drifted, psi
        Series that have drifted, and the largest PSI over chance; None: nothing is watched.
    """

    answered: float = 0.0
    refused: float = 0.0
    failed: float = 0.0
    buckets: tuple[float, ...] = ()
    drifted: float | None = None
    psi: float | None = None

    @property
    def requests(self) -> float:
        """All of them."""
        return self.answered + self.refused + self.failed


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """All models at one moment (seconds since 1970), together and one by one."""

    at_s: float
    bounds: tuple[float, ...] = ()
    total: ModelSample = ModelSample()
    models: dict[str, ModelSample] = {}


class Samples:
    """Takes samples beside the requests. To be made after the fork: its thread is a process's own.

    Parameters
    ----------
    metrics
        What is sampled.
    folder
        What all workers share; None: there is only this one.
    clock
        Seconds since 1970.
    """

    def __init__(self, metrics: Metrics, folder: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._totals = metrics.totals((_REQUESTS, _BUCKETS, _DRIFTED, _PSI))
        self._folder = folder
        self._clock = clock
        self._known: dict[int, Sample] = {}
        self._looking = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="samples", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def take(self) -> bool:
        """Take the sample of this slot, unless another worker does; return whether this one did."""
        slot = int(self._clock() // SLOT_S)
        if self._folder is None:
            with self._looking:
                self._known[slot] = self._sample()
            return True
        path = self._folder / f"{slot}{_ENDING}"
        claimed = path.with_suffix(".claimed")
        if path.exists():
            return False
        try:
            with claimed.open("xb") as file:  # whoever makes it takes the sample; if it dies here, there is one less
                file.write(msgspec.msgpack.encode(self._sample()))
        except FileExistsError:
            return False
        claimed.rename(path)
        self._remove_before(self._folder, slot - KEPT_SLOTS)
        return True

    def recent(self) -> list[Sample]:
        """Return the samples of the last quarter of an hour, oldest first."""
        newest = int(self._clock() // SLOT_S)
        with self._looking:
            self._known = {slot: one for slot, one in self._known.items() if slot > newest - KEPT_SLOTS}
            for path in [] if self._folder is None else self._folder.glob(f"*{_ENDING}"):
                slot = int(path.stem)
                if slot not in self._known and slot > newest - KEPT_SLOTS:
                    with suppress(FileNotFoundError):  # it has become too old
                        self._known[slot] = msgspec.msgpack.decode(path.read_bytes(), type=Sample)
            return [self._known[slot] for slot in sorted(self._known)]

    def _sample(self) -> Sample:
        counts: defaultdict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        buckets: defaultdict[str, dict[float, float]] = defaultdict(dict)
        gauges: dict[tuple[str, str], float] = {}
        for (name, labels), value in self._totals.read().items():
            of = dict(labels)
            model = of["model"]
            if name == _REQUESTS:
                counts[model][_kind(of["status"])] += value
            elif name == _BUCKETS:
                buckets[model][float(of["le"])] = value
            else:
                gauges[model, name] = value
        bounds = tuple(sorted({bound for each in buckets.values() for bound in each}))
        models = {
            model: ModelSample(
                **counts[model],
                buckets=tuple(buckets[model].get(bound, 0.0) for bound in bounds),
                drifted=gauges.get((model, _DRIFTED)),
                psi=gauges.get((model, _PSI)),
            )
            for model in counts.keys() | buckets.keys() | {model for model, _ in gauges}
        }
        return Sample(at_s=self._clock(), bounds=bounds, total=_total(models.values()), models=models)

    @staticmethod
    def _remove_before(folder: Path, oldest: int) -> None:
        for path in folder.iterdir():
            if int(path.stem) < oldest:
                path.unlink(missing_ok=True)

    def _work(self) -> None:
        trouble = ""
        while not self._stopping.is_set():
            try:
                self.take()
                trouble = ""
            except OSError as problem:  # a full disk, say: the next sample may be kept
                if str(problem) != trouble:
                    _log.warning("the tier's rates cannot be kept: %s", problem)
                trouble = str(problem)
            self._stopping.wait(SLOT_S - self._clock() % SLOT_S)


def _total(models: Collection[ModelSample]) -> ModelSample:
    return ModelSample(
        answered=sum(one.answered for one in models),
        refused=sum(one.refused for one in models),
        failed=sum(one.failed for one in models),
        buckets=tuple(map(sum, zip(*(one.buckets for one in models), strict=True))),
        drifted=sum(one.drifted or 0.0 for one in models),
    )


def _kind(status: str) -> str:
    if status.startswith("2"):
        return "answered"
    return "refused" if status.startswith("4") else "failed"
