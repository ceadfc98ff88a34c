"""What one row costs under a metric that is a mean over rows, whatever the kind of the score."""

from typing import Final, Literal

import numpy as np

from photon.evaluation.evaluators import Metric
from photon.loss import loss_of
from photon.rows import Floats
from yarnmill.errors import BadDataError

ScoreKind = Literal["margin", "probability"]
"""A margin ``xᵀb + offset``, or the mean ``E[y]`` itself (a probability, for the logistic task)."""

_TASKS: Final[dict[Metric, str]] = {
    "LOGISTIC_LOSS": "logistic",
    "POISSON_LOSS": "poisson",
    "SQUARED_LOSS": "linear",
    "SMOOTHED_HINGE_LOSS": "smoothed_hinge",
}
"""The task whose row loss each loss is."""

MEANS: Final[frozenset[Metric]] = frozenset({*_TASKS, "RMSE", "MSE"})
"""Metrics that are means over rows (RMSE: the root of one)."""

_SMALLEST: Final = float(np.finfo(np.float64).tiny)


def predictions(scores: Floats, task: str, kind: ScoreKind) -> Floats:
    """Return ``E[y]`` of each score."""
    if kind == "probability":
        return scores
    means: Floats = loss_of(task).mean(scores)
    return means


def row_costs(metric: Metric, scores: Floats, labels: Floats, task: str, kind: ScoreKind) -> Floats:
    """Return each row's cost, whose weighted mean the metric is.

    ``RMSE`` and ``MSE`` are of the predictions ``E[y]``; the losses are of the margin, and of a mean
    through the link of the loss.
    """
    if metric not in _TASKS:
        errors = predictions(scores, task, kind) - labels
        return errors * errors
    if kind == "probability" and metric == "LOGISTIC_LOSS":
        # A float32 model may say exactly 0 or 1; its loss is then large, not infinite.
        return -np.log(np.maximum(np.where(labels > 0.5, scores, 1.0 - scores), _SMALLEST))
    losses: Floats = loss_of(_TASKS[metric]).value(_margins(metric, scores, kind), labels)
    return losses


def _margins(metric: Metric, scores: Floats, kind: ScoreKind) -> Floats:
    if kind == "margin" or metric == "SQUARED_LOSS":
        return scores
    if metric == "POISSON_LOSS":
        return np.log(np.maximum(scores, _SMALLEST))
    raise BadDataError(f"{metric}: the scores are means", expected="margins: the smoothed hinge has no link")


def final(metric: Metric, mean: float) -> float:
    """Return the metric of a mean cost."""
    return float(np.sqrt(mean)) if metric == "RMSE" else mean
