"""Evaluation in jobs: which evaluators, what the report shows of them, and what is written beside it.

Below a job's output, where it is asked for::

    evaluation.json                 every figure, with the number of groups, calibration and lift tables
    groups/<measure>/<id>/part-*    per group: rows, weight and one column a metric, by the executors
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from photon.evaluation import (
    Evaluation,
    Evaluator,
    Figure,
    Metric,
    Question,
    ScoreKind,
    lift_table,
    parse_evaluators,
)
from photon.spark.evaluation import group_results
from yarnmill import fs
from yarnmill.errors import ConfigurationError
from yarnmill.records import Record, canonical_json

EVALUATION_NAME: Final = "evaluation.json"
GROUPS_NAME: Final = "groups"

_DEFAULTS: Final[dict[str, tuple[Metric, ...]]] = {
    "logistic": ("AUC", "LOGISTIC_LOSS"),
    "linear": ("MSE",),
    "poisson": ("POISSON_LOSS",),
    "smoothed_hinge": ("AUC", "SMOOTHED_HINGE_LOSS"),
}
"""What a task is judged by unless the configuration says; the first selects models."""


class FigureRecord(Record, frozen=True, kw_only=True):
    """One evaluator's value; null where there is none."""

    evaluator: str
    label: str
    value: float | None
    groups: int = 0
    unanswered: int = 0


class BinRecord(Record, frozen=True, kw_only=True):
    """One row of the calibration table, from the lowest scores up."""

    lowest: float
    highest: float
    weight: float
    predicted: float
    observed: float


class LiftRecord(Record, frozen=True, kw_only=True):
    """The rows from the highest scores down to ``lowest``: parts of all weight and of all labels."""

    lowest: float
    weight_share: float
    label_share: float | None
    lift: float | None


class MeasureRecord(Record, frozen=True, kw_only=True):
    """Everything known of one measure, such as ``validation``."""

    measure: str
    rows: int
    weight: float
    figures: tuple[FigureRecord, ...]
    calibration: tuple[BinRecord, ...] = ()
    lift: tuple[LiftRecord, ...] = ()


class EvaluationRecord(Record, frozen=True, kw_only=True):
    """The content of ``evaluation.json``."""

    measures: tuple[MeasureRecord, ...]
    schema_version: int = 1


def evaluators_of(names: Sequence[str], task: str, per: Sequence[str]) -> tuple[Evaluator, ...]:
    """Return the evaluators of a configuration: those named, or the task's own, over all rows and per key.

    Raises
    ------
    ConfigurationError
        If a name cannot be meant, or both ways of asking are used.
    """
    if names and per:
        raise ConfigurationError(
            f"evaluate_per: {', '.join(per)} beside evaluators",
            expected="one of the two",
            mend=f"add {', '.join(f'AUC:{key}' for key in per)} to evaluators and drop evaluate_per",
        )
    if names:
        return parse_evaluators(names)
    metrics = _DEFAULTS.get(task, ("RMSE",))
    return tuple(Evaluator(metric, None, key) for key in (None, *per) for metric in metrics)


def check_keys(evaluators: Sequence[Evaluator], keys: Mapping[str, object], source: str) -> None:
    """Raise ConfigurationError if an evaluator is within the groups of a key that the data do not have."""
    for evaluator in evaluators:
        if evaluator.entity is not None and evaluator.entity not in keys:
            raise ConfigurationError(
                f"evaluators: {evaluator.name}: {source} has no entity key {evaluator.entity!r}",
                expected=f"one of {', '.join(keys)}",
            )


def question_of(evaluators: Sequence[Evaluator], task: str, kind: ScoreKind = "margin", bins: int = 0) -> Question:
    """Return what to ask of the scores of a task."""
    return Question(tuple(evaluators), task=task, kind=kind, bins=bins)


def write_evaluations(output: str, evaluations: Sequence[Evaluation]) -> str:
    """Write ``evaluation.json`` below a job's output; return its URL."""
    url = fs.join(output, EVALUATION_NAME)
    fs.write_bytes(url, canonical_json(EvaluationRecord(measures=tuple(_record(one) for one in evaluations))))
    return url


def _record(evaluation: Evaluation) -> MeasureRecord:
    return MeasureRecord(
        measure=evaluation.measure,
        rows=evaluation.rows,
        weight=evaluation.weight,
        figures=tuple(_figure(one) for one in evaluation.figures),
        calibration=tuple(
            BinRecord(
                lowest=one.lowest,
                highest=one.highest,
                weight=one.weight,
                predicted=one.predicted,
                observed=one.observed,
            )
            for one in evaluation.bins
        ),
        lift=tuple(
            LiftRecord(
                lowest=one.lowest,
                weight_share=one.weight_share,
                label_share=one.label_share,
                lift=one.lift,
            )
            for one in lift_table(evaluation.bins)
        ),
    )


def _figure(figure: Figure) -> FigureRecord:
    return FigureRecord(
        evaluator=figure.evaluator.name,
        label=figure.evaluator.label,
        value=figure.value if math.isfinite(figure.value) else None,  # what JSON has not
        groups=figure.groups,
        unanswered=figure.unanswered,
    )


def write_groups(output: str, rows: DataFrame, question: Question, measures: Sequence[str]) -> str:
    """Write the results of every group of each measure below a job's output; return their folder."""
    folder = fs.join(output, GROUPS_NAME)
    for entity in question.entities:
        results = group_results(rows.where(F.col("measure").isin(list(measures))), entity, question)
        for measure in measures:
            own = results.where(F.col("measure") == measure).drop("measure")
            own.write.parquet(fs.join(folder, measure, entity))
    return folder
