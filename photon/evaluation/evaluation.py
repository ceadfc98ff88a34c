"""Evaluation of scores in partial sums that add up, and the same in one process.

Three passes, each skipped where no evaluator needs it: sums over rows (:class:`PointSums`), pair counts of
ranges of scores (:class:`RangeSums`), and what needs the rows above a range (:class:`CurveSums`).
:func:`evaluate` takes them over rows in memory; :mod:`photon.spark.evaluation` over partitions. Groups are
:mod:`photon.evaluation.groups`'.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from photon.entities import Keys
from photon.evaluation.calibration import BINS, Bin, added, bins_of, expected_calibration_error
from photon.evaluation.costs import MEANS, ScoreKind, final, predictions, row_costs
from photon.evaluation.evaluators import Evaluator, Metric
from photon.evaluation.groups import GroupMean, group_table, means_of
from photon.evaluation.ranking import (
    NO_PAIRS,
    NOTHING_ABOVE,
    Above,
    PairCounts,
    Scored,
    Ties,
    collapse,
    counts_of,
    in_order,
    labels_within,
    precision_sum,
    sums_of,
)
from yarnmill.errors import BadDataError


@dataclass(frozen=True, slots=True)
class Question:
    """What to evaluate: the evaluators, the task and kind of the scores, and the bins of the calibration table.

    ``bins`` 0: no table.
    """

    evaluators: tuple[Evaluator, ...]
    task: str = "logistic"
    kind: ScoreKind = "margin"
    bins: int = 0

    @property
    def means(self) -> tuple[Metric, ...]:
        """Metrics over all rows that are means."""
        return tuple(one.metric for one in self.evaluators if one.entity is None and one.metric in MEANS)

    @property
    def entities(self) -> tuple[str, ...]:
        """Ids whose groups are asked for."""
        return tuple(dict.fromkeys(one.entity for one in self.evaluators if one.entity is not None))

    @property
    def is_ranked(self) -> bool:
        """Whether the order of the scores matters."""
        return self.needs_curve or any(one.metric == "AUC" and one.entity is None for one in self.evaluators)

    @property
    def needs_curve(self) -> bool:
        """Whether a range needs to know what lies above it."""
        return self.bins > 0 or any(
            one.metric in ("AUPR", "LIFT", "ECE") and one.entity is None for one in self.evaluators
        )

    @property
    def table_bins(self) -> int:
        """Bins to fill: those asked for, or deciles where the calibration error alone is."""
        return self.bins or BINS

    def within(self, entity: str) -> tuple[Evaluator, ...]:
        """Return the evaluators within the groups of an id."""
        return tuple(one for one in self.evaluators if one.entity == entity)


@dataclass(frozen=True, slots=True)
class Figure:
    """The value of one evaluator; NaN where there is none.

    ``groups`` have an answer and ``unanswered`` have not; both are 0 for an evaluator over all rows.
    """

    evaluator: Evaluator
    value: float
    groups: int = 0
    unanswered: int = 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good the scores of one measure are.

    Parameters
    ----------
    measure
        What was measured.
    rows, weight
        Number of rows and sum of their weights.
    figures
        One an evaluator, in their order.
    bins
        The calibration table, from the lowest scores up; empty unless it was asked for.
    """

    measure: str
    rows: int
    weight: float
    figures: tuple[Figure, ...]
    bins: tuple[Bin, ...] = ()

    def value(self, evaluator: Evaluator) -> float:
        """Return the value of an evaluator; NaN if it was not asked for."""
        return next((one.value for one in self.figures if one.evaluator == evaluator), float("nan"))

    @property
    def metrics(self) -> dict[str, float]:
        """Values by their names in reports; those that are no finite numbers have no place there, nor in JSON."""
        return {one.evaluator.label: one.value for one in self.figures if math.isfinite(one.value)}


@dataclass(frozen=True, slots=True)
class PointSums:
    """Sums over rows: weights, predictions ``Σ w·E[y]``, labels ``Σ w·y``, one cost a metric of the question."""

    rows: int
    weight: float
    predicted: float
    observed: float
    costs: tuple[float, ...]
    unusable: int = 0

    def __add__(self, other: "PointSums") -> "PointSums":
        return PointSums(
            self.rows + other.rows,
            self.weight + other.weight,
            self.predicted + other.predicted,
            self.observed + other.observed,
            tuple(one + another for one, another in zip(self.costs, other.costs, strict=True)),
            self.unusable + other.unusable,
        )


@dataclass(frozen=True, slots=True)
class RangeSums:
    """A range of scores: its pairs, and what it is to the ranges below it."""

    counts: PairCounts
    own: Above


@dataclass(frozen=True, slots=True)
class CurveSums:
    """A range's parts of the AUPR, of each lift asked for, and of the bins."""

    precision: float
    lifted: tuple[float, ...]
    bins: tuple[Bin, ...]


def point_sums(rows: Scored, question: Question) -> PointSums:
    """Return the sums over some rows."""
    usable = np.isfinite(rows.scores)
    unusable = len(usable) - int(usable.sum())
    rows = rows.take(usable) if unusable else rows
    scores, labels, weights = rows.scores, rows.labels, rows.weights
    costs = (row_costs(metric, scores, labels, question.task, question.kind) for metric in question.means)
    return PointSums(
        rows=len(scores) + unusable,
        weight=float(weights.sum()),
        predicted=float(weights @ predictions(scores, question.task, question.kind)),
        observed=float(weights @ labels),
        costs=tuple(float(weights @ cost) for cost in costs),
        unusable=unusable,
    )


def range_sums(ties: Ties) -> RangeSums:
    """Return the sums of a range that need nothing from outside it."""
    return RangeSums(counts_of(ties), sums_of(ties))


def curve_sums(ties: Ties, above: Above, total: Above, question: Question) -> CurveSums:
    """Return the sums of a range that need what lies above it."""
    limits = (total.weight * (one.k or 0) / 100.0 for one in question.evaluators if one.metric == "LIFT")
    means = predictions(ties.scores, question.task, question.kind)
    return CurveSums(
        precision=precision_sum(ties, above),
        lifted=tuple(labels_within(ties, above, limit) for limit in limits),
        bins=tuple(bins_of(ties, means, above, total.weight, question.table_bins)) if len(ties.scores) else (),
    )


def answer(
    measure: str,
    question: Question,
    points: PointSums,
    ranges: Sequence[RangeSums],
    curves: Sequence[CurveSums],
    groups: Mapping[Evaluator, GroupMean],
) -> Evaluation:
    """Return the evaluation that all sums come to.

    Parameters
    ----------
    measure, question
        What was measured and asked.
    points
        Sums of all rows.
    ranges, curves
        Those of each range, from the lowest scores up.
    groups
        The sums of each evaluator within groups.

    Raises
    ------
    BadDataError
        If a score is not finite.
    """
    if points.unusable:
        raise BadDataError(f"{measure or 'scores'}: {points.unusable} of {points.rows} rows have no finite score")
    bins = added([part for curve in curves for part in curve.bins])
    overall = _overall(question, points, ranges, curves, bins)
    figures = tuple(
        _of_groups(one, groups.get(one, GroupMean(0.0, 0))) if one.entity else Figure(one, overall[one])
        for one in question.evaluators
    )
    return Evaluation(measure, points.rows, points.weight, figures, bins if question.bins else ())


def _of_groups(evaluator: Evaluator, found: GroupMean) -> Figure:
    return Figure(evaluator, found.mean, found.groups, found.unanswered)


def _overall(
    question: Question,
    points: PointSums,
    ranges: Sequence[RangeSums],
    curves: Sequence[CurveSums],
    bins: Sequence[Bin],
) -> dict[Evaluator, float]:
    counts = in_order([one.counts for one in ranges]) if ranges else NO_PAIRS
    found, lifts, costs = {}, 0, iter(points.costs)
    for one in (each for each in question.evaluators if each.entity is None):
        match one.metric:
            case "AUC":
                found[one] = counts.auc
            case "AUPR":
                found[one] = _over(sum(curve.precision for curve in curves), counts.positives)
            case "LIFT":
                top = sum(curve.lifted[lifts] for curve in curves)
                found[one], lifts = _over(top / (one.k or 1) * 100.0, points.observed), lifts + 1
            case "ECE":
                found[one] = expected_calibration_error(bins)
            case "CALIBRATION":
                found[one] = _over(points.predicted, points.observed)
            case metric:
                found[one] = final(metric, _over(next(costs), points.weight))
    return found


def _over(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0.0 else float("nan")


def evaluate(
    rows: Scored, question: Question, ids: Mapping[str, Keys] = MappingProxyType({}), *, measure: str = ""
) -> Evaluation:
    """Return the evaluation of rows in memory.

    Parameters
    ----------
    rows
        Scores with labels and weights.
    question
        What to evaluate.
    ids
        The rows' ids by the name an evaluator calls them by.
    measure
        Name of the result.

    Raises
    ------
    BadDataError
        If a score is not finite.
    """
    points = point_sums(rows, question)
    if points.unusable:
        return answer(measure, question, points, (), (), {})
    ranges: list[RangeSums] = []
    curves: list[CurveSums] = []
    if question.is_ranked:
        ties = collapse(rows)
        ranges = [range_sums(ties)]
        curves = [curve_sums(ties, NOTHING_ABOVE, ranges[0].own, question)] if question.needs_curve else []
    groups: dict[Evaluator, GroupMean] = {}
    for entity in question.entities:
        own = question.within(entity)
        table = group_table(ids[entity], rows, own, task=question.task, kind=question.kind)
        groups |= dict(zip(own, means_of(table), strict=True))
    return answer(measure, question, points, ranges, curves, groups)
