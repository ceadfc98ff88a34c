"""How good scores are: AUC and mean loss, weighted and exact over ties.

AUC is the probability that a positive row scores above a negative one, ties counting one half. Its
numerator is a sum of pair weights, so it can be added up over ranges of scores
(:class:`PairCounts`), which is how :mod:`photon.spark.evaluation` computes it without a global sort at one place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from photon.entities import Keys
from photon.loss import LOGISTIC, RowLoss
from photon.objective import data_loss
from photon.rows import Floats


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
        """The area under the curve; NaN where one class is missing."""
        pairs = self.positives * self.negatives
        return self.ordered / pairs if pairs > 0.0 else float("nan")


NO_PAIRS = PairCounts(0.0, 0.0, 0.0)


def pair_counts(scores: Floats, labels: Floats, weights: Floats) -> PairCounts:
    """Return the counts of rows in any order; a label above 0.5 is a positive."""
    if not len(scores):
        return NO_PAIRS
    order = np.argsort(scores, kind="stable")
    ordered_scores = scores[order]
    is_first = np.concatenate([[True], ordered_scores[1:] != ordered_scores[:-1]])
    tie = np.cumsum(is_first) - 1
    positive = np.where(labels[order] > 0.5, weights[order], 0.0)
    negative = np.where(labels[order] > 0.5, 0.0, weights[order])
    positives = np.bincount(tie, weights=positive)
    negatives = np.bincount(tie, weights=negative)
    below = np.cumsum(negatives) - negatives
    ordered = float(np.sum(positives * (below + 0.5 * negatives)))
    return PairCounts(float(positives.sum()), float(negatives.sum()), ordered)


def in_order(ranges: Sequence[PairCounts]) -> PairCounts:
    """Return the counts of ranges given from the lowest scores to the highest."""
    total = NO_PAIRS
    for counts in ranges:
        total = total.then(counts)
    return total


def auc(scores: Floats, labels: Floats, weights: Floats | None = None) -> float:
    """Return the weighted area under the ROC curve, exact over ties; NaN where one class is missing."""
    return pair_counts(scores, labels, np.ones(len(scores)) if weights is None else weights).auc


@dataclass(frozen=True, slots=True)
class EntityMean:
    """Sum and number of one figure over entities: an entity with many rows counts as much as one with few."""

    total: float
    entities: int

    def __add__(self, other: "EntityMean") -> "EntityMean":
        return EntityMean(self.total + other.total, self.entities + other.entities)

    @property
    def mean(self) -> float:
        """Plain mean over the entities; NaN where there is none."""
        return self.total / self.entities if self.entities else float("nan")


def entity_auc(keys: Keys, scores: Floats, labels: Floats, weights: Floats) -> EntityMean:
    """Return the AUC within each entity, summed over the entities that have both classes."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    total, entities = 0.0, 0
    for rows in np.split(order, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1):
        value = pair_counts(scores[rows], labels[rows], weights[rows]).auc
        if not np.isnan(value):
            total, entities = total + value, entities + 1
    return EntityMean(total, entities)


def entity_mean(keys: Keys, values: Floats, weights: Floats) -> EntityMean:
    """Return the weighted mean of ``values`` within each entity, summed over the entities that have weight."""
    _, codes = np.unique(keys, return_inverse=True)
    total_weights = np.bincount(codes, weights)
    known = total_weights > 0.0
    means = np.bincount(codes, weights * values)[known] / total_weights[known]
    return EntityMean(float(means.sum()), int(known.sum()))


def mean_loss(margins: Floats, labels: Floats, weights: Floats, loss: RowLoss = LOGISTIC) -> float:
    """Return the weighted mean loss of margins: the log loss, for the logistic task."""
    return data_loss(loss, margins, labels, weights) / float(np.sum(weights))
