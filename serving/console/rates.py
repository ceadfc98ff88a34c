"""From samples of counters to what a person reads: requests a second, the part without a prediction, latencies."""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from serving.console.samples import SLOT_S, ModelSample, Sample

_MINUTE_SLOTS: Final = 60 // SLOT_S
_LONGEST_GAP_S: Final = 3 * SLOT_S
"""Between two samples; what is longer is no time of which anything is known."""

Points = tuple[float | None, ...]


class Rates(NamedTuple):
    """What happened in some seconds: requests a second, the parts of them refused and failed, seconds at quantiles.

    None: nobody asked, or nobody knows.
    """

    rate: float | None = None
    refused: float | None = None
    failed: float | None = None
    median_s: float | None = None
    p99_s: float | None = None

    @property
    def errors(self) -> float | None:
        """The part of the requests without a prediction."""
        return None if self.refused is None or self.failed is None else self.refused + self.failed


class History(NamedTuple):
    """The rates of the last quarter of an hour, each over the minute before its moment (seconds since 1970)."""

    times: tuple[float, ...]
    rates: tuple[Rates, ...]

    def points(self, of: Callable[[Rates], float | None]) -> Points:
        """Return one of them at each moment."""
        return tuple(of(one) for one in self.rates)

    @property
    def now(self) -> Rates:
        """The latest."""
        return self.rates[-1] if self.rates else Rates()


def history(samples: Sequence[Sample], model: str | None) -> History:
    """Return the rates of a model, or of all together (None), at each sample but the first."""
    tallies = [_tally(sample, model) for sample in samples]
    found = []
    for at in range(1, len(samples)):
        start = _start(samples, at)
        seconds = samples[at].at_s - samples[start].at_s
        found.append(between(tallies[start], tallies[at], seconds, samples[at].bounds))
    return History(times=tuple(sample.at_s for sample in samples[1:]), rates=tuple(found))


def latest(samples: Sequence[Sample], model: str) -> Rates:
    """Return the rates of a model over the last minute: the last of :func:`history`."""
    if len(samples) < 2:
        return Rates()
    start = _start(samples, len(samples) - 1)
    one, other = samples[start], samples[-1]
    return between(_tally(one, model), _tally(other, model), other.at_s - one.at_s, other.bounds)


def between(before: ModelSample, after: ModelSample, seconds: float, bounds: Sequence[float]) -> Rates:
    """Return what happened between two samples of one model."""
    requests = after.requests - before.requests
    if seconds <= 0 or requests < 0:
        return Rates()
    if not requests:
        return Rates(rate=0.0)
    earlier = before.buckets or (0.0,) * len(after.buckets)
    buckets = [now - was for was, now in zip(earlier, after.buckets, strict=False)]
    return Rates(
        rate=requests / seconds,
        refused=(after.refused - before.refused) / requests,
        failed=(after.failed - before.failed) / requests,
        median_s=quantile(0.5, bounds, buckets),
        p99_s=quantile(0.99, bounds, buckets),
    )


def quantile(q: float, bounds: Sequence[float], buckets: Sequence[float]) -> float | None:
    """Return a quantile of a histogram, values spread evenly within a bucket; None without any.

    As Prometheus' ``histogram_quantile``: of what is beyond the last finite bound, only that bound is known.

    Parameters
    ----------
    q
        From 0 to 1.
    bounds, buckets
        The upper bound of each bucket, growing, the last infinite; how many are in it alone.
    """
    total = math.fsum(buckets)
    if total <= 0:
        return None
    rank, lower = q * total, 0.0
    for bound, count, upto in zip(bounds, buckets, accumulate(buckets), strict=False):
        if upto >= rank and count > 0:
            return lower if math.isinf(bound) else lower + (bound - lower) * (rank - (upto - count)) / count
        lower = bound if math.isfinite(bound) else lower
    return lower


def _start(samples: Sequence[Sample], at: int) -> int:
    """Return the sample that the minute before a sample begins with; the one itself after a gap."""
    start = at
    while start > max(0, at - _MINUTE_SLOTS) and samples[start].at_s - samples[start - 1].at_s <= _LONGEST_GAP_S:
        start -= 1
    return start


def _tally(sample: Sample, model: str | None) -> ModelSample:
    return sample.total if model is None else sample.models.get(model, ModelSample())
