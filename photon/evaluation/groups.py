"""Metrics within groups of rows that share an id, all groups of a block at once.

Everything is a running sum within (group, distinct score), from the highest score down. So ties do not hang
on the order of rows: a tie that a cut at K goes through counts in proportion, which is the
expectation over the random order of its rows. A weight counts as that many rows with the same score.

A group without an answer (one class only, say) has NaN: it is left out of the mean and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from photon.entities import Keys
from photon.evaluation.costs import ScoreKind, row_costs
from photon.evaluation.evaluators import Evaluator
from photon.evaluation.ranking import POSITIVE_THRESHOLD, Scored
from photon.rows import Floats, Longs, sums_by


@dataclass(frozen=True, slots=True)
class GroupTable:
    """The metrics of each group.

    Parameters
    ----------
    keys
        ``(groups,)`` ids, ascending; a group whose rows have no weight is gone.
    rows, weights
        ``(groups,)`` number of rows with weight, and the sum of their weights.
    values
        ``(groups, evaluators)``; NaN where a group has no answer.
    """

    keys: Keys
    rows: Longs
    weights: Floats
    values: Floats


@dataclass(frozen=True, slots=True)
class GroupMean:
    """Sum of one metric over the groups that have an answer, their number, and the number of the others."""

    total: float
    groups: int
    unanswered: int = 0

    def __add__(self, other: "GroupMean") -> "GroupMean":
        return GroupMean(self.total + other.total, self.groups + other.groups, self.unanswered + other.unanswered)

    @property
    def mean(self) -> float:
        """Plain mean over the groups that have an answer; NaN where there is none."""
        return self.total / self.groups if self.groups else float("nan")


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Ties of all groups: by group, and from the highest score down within each.

    ``*_after`` are running sums within the group, the tie included.
    """

    group: Longs
    groups: int
    weights: Floats
    positives: Floats
    labels: Floats
    weight_after: Floats
    positives_after: Floats

    def sums(self, values: Floats) -> Floats:
        """Return the sum of the values of each group's ties."""
        return sums_by(self.group, values, self.groups)


def group_table(
    keys: Keys,
    rows: Scored,
    evaluators: Sequence[Evaluator],
    *,
    task: str = "logistic",
    kind: ScoreKind = "margin",
) -> GroupTable:
    """Return the metrics within each group of rows, given in any order."""
    kept = rows.weights > 0.0
    ids, codes = np.unique(keys[kept], return_inverse=True)
    rows = rows.take(kept)
    ranked = _ranked(codes, len(ids), rows)
    values = np.full((len(ids), len(evaluators)), np.nan)
    for place, evaluator in enumerate(evaluators):
        match evaluator.metric:
            case "AUC":
                values[:, place] = _auc(ranked)
            case "AUPR":
                values[:, place] = _average_precision(ranked)
            case "PRECISION":
                values[:, place] = _precision(ranked, evaluator.k or 1)
            case "NDCG":
                ideal = _ranked(codes, len(ids), Scored(rows.labels, rows.labels, rows.weights))
                values[:, place] = _ndcg(ranked, ideal, evaluator.k or 1)
            case metric:
                costs = row_costs(metric, rows.scores, rows.labels, task, kind)
                means = _ratio(sums_by(codes, rows.weights * costs, len(ids)), ranked.sums(ranked.weights))
                values[:, place] = np.sqrt(means) if metric == "RMSE" else means
    return GroupTable(ids, np.bincount(codes, minlength=len(ids)), ranked.sums(ranked.weights), values)


def means_of(table: GroupTable) -> tuple[GroupMean, ...]:
    """Return the sums of each evaluator over the groups."""
    answered = ~np.isnan(table.values)
    totals = np.where(answered, table.values, 0.0).sum(axis=0)
    counts = answered.sum(axis=0)
    return tuple(
        GroupMean(float(total), int(count), len(table.keys) - int(count))
        for total, count in zip(totals, counts, strict=True)
    )


def _ranked(codes: Longs, groups: int, rows: Scored) -> _Ranked:
    order = np.lexsort((-rows.scores, codes))
    own, ranked = codes[order], rows.scores[order]
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = (own[1:] != own[:-1]) | (ranked[1:] != ranked[:-1])
    firsts = np.flatnonzero(is_first)
    tie, group = np.cumsum(is_first) - 1, own[firsts]
    weights, positive = rows.weights, np.where(rows.labels > POSITIVE_THRESHOLD, rows.weights, 0.0)
    sums = [sums_by(tie, each[order], len(firsts)) for each in (weights, positive, weights * rows.labels)]
    starts = np.searchsorted(group, np.arange(groups))
    running = (_running(sums[0], starts), _running(sums[1], starts))
    return _Ranked(group, groups, sums[0], sums[1], sums[2], *running)


def _running(values: Floats, starts: Longs) -> Floats:
    """Return running sums that begin anew at each start.

    The sum of a group is taken off where the next begins, and then what rounding left over: so a group's sums
    are exact to its own size, however many and heavy the groups before it are.
    """
    if not len(starts):
        return np.zeros(0)
    steps = values.copy()
    steps[starts[1:]] -= np.add.reduceat(values, starts)[:-1]
    running = np.cumsum(steps)
    left_over = running[starts] - values[starts]
    return running - np.repeat(left_over, np.diff(np.append(starts, len(values))))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return the quotient; NaN where there is nothing to divide by."""
    quotient = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0.0)
    return quotient


def _auc(ranked: _Ranked) -> Floats:
    negatives = ranked.weights - ranked.positives
    all_positives, all_negatives = ranked.sums(ranked.positives), ranked.sums(negatives)
    above = ranked.positives_after - ranked.positives
    return _ratio(ranked.sums(negatives * (above + 0.5 * ranked.positives)), all_positives * all_negatives)


def _average_precision(ranked: _Ranked) -> Floats:
    precision = ranked.positives_after / ranked.weight_after
    return _ratio(ranked.sums(ranked.positives * precision), ranked.sums(ranked.positives))


def _precision(ranked: _Ranked, k: int) -> Floats:
    """Return the positives among the first ``k`` over ``k``, as Photon does for groups of fewer rows too."""
    before = ranked.weight_after - ranked.weights
    share = np.clip((k - before) / ranked.weights, 0.0, 1.0)
    return ranked.sums(share * ranked.positives) / k


def _ndcg(ranked: _Ranked, ideal: _Ranked, k: int) -> Floats:
    """Return ``DCG@k / ideal DCG@k`` with gains ``y`` and discounts ``1/log₂(1 + position)`` [1]_.

    References
    ----------
    .. [1] K. Järvelin, J. Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002; ties as in
       F. McSherry, M. Najork, "Computing Information Retrieval Performance Measures Efficiently in the
       Presence of Tied Scores", ECIR 2008.
    """
    return _ratio(_gain(ranked, k), _gain(ideal, k))


def _gain(ranked: _Ranked, k: int) -> Floats:
    positions = np.arange(1, k + 1)
    cumulated = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(1.0 + positions))])
    places = np.arange(k + 1, dtype=np.float64)
    until = np.interp(ranked.weight_after, places, cumulated)
    since = np.interp(ranked.weight_after - ranked.weights, places, cumulated)
    return ranked.sums((until - since) * ranked.labels / ranked.weights)
