"""Rows in order of their prediction, in bins of equal weight: what calibration and lift are drawn from.

Sums of a bin add up over partitions, so a backend needs only the edges in common.
"""

from collections.abc import Sequence

import numpy as np

from photon.rows import Floats
from yarnmill.records import Record


class Bin(Record, frozen=True, kw_only=True):
    """Rows with neighbouring predictions: their weight, and sums weighted by it."""

    weight: float
    predicted: float
    observed: float

    @property
    def mean_predicted(self) -> float:
        """Mean prediction."""
        return self.predicted / self.weight

    @property
    def mean_observed(self) -> float:
        """Mean response."""
        return self.observed / self.weight


def bins(predicted: Floats, observed: Floats, weights: Floats, *, number: int = 20) -> tuple[Bin, ...]:
    """Return rows by prediction, from the lowest to the highest, in about ``number`` bins of equal weight.

    Rows of one prediction stay together, so fewer bins may come out.
    """
    order = np.argsort(predicted, kind="stable")
    order = order[weights[order] > 0.0]
    if not len(order):
        return ()
    values, tie = np.unique(predicted[order], return_inverse=True)
    ends = np.cumsum(np.bincount(tie, weights[order]))
    # A tie belongs to the bin that its middle falls into.
    middle = ends - 0.5 * np.bincount(tie, weights[order])
    place = np.minimum((middle / ends[-1] * number).astype(np.int64), number - 1)[tie]
    sums = [
        np.bincount(place, weights[order] * what, minlength=number)
        for what in (np.ones(len(order)), predicted[order], observed[order])
    ]
    del values
    return tuple(
        Bin(weight=float(weight), predicted=float(total), observed=float(seen))
        for weight, total, seen in zip(*sums, strict=True)
        if weight > 0.0
    )


def calibration_error(found: Sequence[Bin]) -> float:
    """Return ``Σ weight·|observed - predicted| / Σ weight`` over bins: the expected calibration error."""
    weight = sum(one.weight for one in found)
    return sum(abs(one.observed - one.predicted) for one in found) / weight if weight > 0.0 else float("nan")
