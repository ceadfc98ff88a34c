"""Metrics of the order of scores, as sums that add up over ranges of scores.

Rows are first collapsed to one record a distinct score (:class:`Ties`), so ties are exact and a score that
a billion rows share is one record. A *range* is an interval of scores with whole ties. What a metric
needs from outside its range is the sum of what lies above (:class:`Above`), known after one pass over
the totals of all ranges: so :mod:`photon.spark.evaluation` computes every metric here with one small
record a range and no global sort at one place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from photon.rows import Floats, sums_by

POSITIVE_THRESHOLD: Final = 0.5
"""A label above it is a positive, as in Photon ML."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of rows with their labels and weights, all of shape ``(rows,)``; weight 0 counts nothing."""

    scores: Floats
    labels: Floats
    weights: Floats

    @classmethod
    def unweighted(cls, scores: Floats, labels: Floats) -> Self:
        """Return rows that count one each."""
        return cls(scores, labels, np.ones(len(scores)))

    def take(self, rows: npt.NDArray[Any]) -> "Scored":
        """Return the rows of a mask or of positions."""
        return Scored(self.scores[rows], self.labels[rows], self.weights[rows])


@dataclass(frozen=True, slots=True)
class Ties:
    """Rows by distinct score, ascending: ``Σ w``, ``Σ w`` of the positives, and ``Σ w·y`` of each.

    All arrays have shape ``(scores,)``; rows of weight 0 are gone.
    """

    scores: Floats
    weights: Floats
    positives: Floats
    labels: Floats


def collapse(rows: Scored) -> Ties:
    """Return rows in any order by distinct score."""
    positive = np.where(rows.labels > POSITIVE_THRESHOLD, rows.weights, 0.0)
    return _collapsed(rows.scores, rows.weights, positive, rows.weights * rows.labels)


def joined(parts: Sequence[Ties]) -> Ties:
    """Return ties of several places as ties of all their rows."""
    columns = [[part.scores, part.weights, part.positives, part.labels] for part in parts]
    if not columns:
        return _collapsed(*(np.zeros(0),) * 4)
    return _collapsed(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def add_ties(parts: list[Ties], own: Ties) -> None:
    """Add ties to parts of falling size, joining those of like size: every score is sorted ``O(log parts)`` times."""
    parts.append(own)
    while len(parts) > 1 and 2 * len(parts[-1].scores) > len(parts[-2].scores):
        parts[-2:] = [joined(parts[-2:])]


def _collapsed(scores: Floats, weights: Floats, positives: Floats, labels: Floats) -> Ties:
    kept = weights > 0.0
    distinct, tie = np.unique(scores[kept], return_inverse=True)
    sums = [sums_by(tie, each[kept], len(distinct)) for each in (weights, positives, labels)]
    # -0.0 sorts before 0.0 in Spark and would be torn from its ties.
    return Ties(distinct + 0.0, *sums)


@dataclass(frozen=True, slots=True)
class PairCounts:
    """Weight of the positives and negatives in a range of scores, and of its ordered pairs.

    ``ordered`` is ``Σ w⁺·w⁻`` over pairs with the positive above the negative, ties counting half.
    """

    positives: float
    negatives: float
    ordered: float

    def then(self, higher: "PairCounts") -> "PairCounts":
        """Return the counts of this range and one whose every score is higher."""
        return PairCounts(
            self.positives + higher.positives,
            self.negatives + higher.negatives,
            self.ordered + higher.ordered + self.negatives * higher.positives,
        )

    @property
    def auc(self) -> float:
        """The area under the ROC curve; NaN where one class is missing."""
        pairs = self.positives * self.negatives
        return self.ordered / pairs if pairs > 0.0 else float("nan")


NO_PAIRS: Final = PairCounts(0.0, 0.0, 0.0)


def counts_of(ties: Ties) -> PairCounts:
    """Return the counts of a range."""
    negatives = ties.weights - ties.positives
    below = np.cumsum(negatives) - negatives
    ordered = float(np.sum(ties.positives * (below + 0.5 * negatives)))
    return PairCounts(float(ties.positives.sum()), float(negatives.sum()), ordered)


def in_order(ranges: Sequence[PairCounts]) -> PairCounts:
    """Return the counts of ranges given from the lowest scores to the highest."""
    total = NO_PAIRS
    for counts in ranges:
        total = total.then(counts)
    return total


@dataclass(frozen=True, slots=True)
class Above:
    """Sums over the rows that score higher than a range: ``Σ w``, ``Σ w`` of the positives, ``Σ w·y``."""

    weight: float = 0.0
    positives: float = 0.0
    labels: float = 0.0

    def __add__(self, other: "Above") -> "Above":
        return Above(self.weight + other.weight, self.positives + other.positives, self.labels + other.labels)


NOTHING_ABOVE: Final = Above()


def sums_of(ties: Ties) -> Above:
    """Return a range's own sums: what it is to the ranges below."""
    return Above(float(ties.weights.sum()), float(ties.positives.sum()), float(ties.labels.sum()))


def above_each(ranges: Sequence[Above]) -> list[Above]:
    """Return what lies above each of the ranges, given from the lowest scores to the highest."""
    found = [NOTHING_ABOVE]
    for own in reversed(ranges[1:]):
        found.append(found[-1] + own)
    return found[::-1]


def precision_sum(ties: Ties, above: Above) -> float:
    """Return the range's part of ``Σ w⁺·precision``, which divided by all positives is the AUPR.

    The AUPR is average precision, ``Σₙ (Rₙ - Rₙ₋₁) Pₙ`` over the distinct scores from the highest down
    [1]_: a step function, never a straight line between points of the curve, which would be too optimistic.

    References
    ----------
    .. [1] J. Davis, M. Goadrich, "The Relationship Between Precision-Recall and ROC Curves", ICML 2006;
       the same interpolation as scikit-learn's ``average_precision_score``.
    """
    positives = above.positives + np.cumsum(ties.positives[::-1])
    weight = above.weight + np.cumsum(ties.weights[::-1])
    return float(np.sum(ties.positives[::-1] * positives / weight))


def labels_within(ties: Ties, above: Above, limit: float) -> float:
    """Return ``Σ w·y`` of the range's part of the topmost rows of weight ``limit`` in all.

    A tie across the limit counts in proportion: the expectation over the random order of its rows.
    """
    before = above.weight + np.cumsum(ties.weights[::-1]) - ties.weights[::-1]
    share = np.clip((limit - before) / ties.weights[::-1], 0.0, 1.0)
    return float(share @ ties.labels[::-1])
