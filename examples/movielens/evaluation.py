"""Exact AUC and log loss in NumPy."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32] | NDArray[np.float64]


def auc(response: Array, score: Array, weight: Array) -> float:
    """Return the share of (positive, negative) pairs that the score orders rightly; a tie counts half."""
    order = np.argsort(score, kind="stable")
    positive = np.where(response[order] > 0, weight[order], 0.0).astype(np.float64)
    negative = np.where(response[order] > 0, 0.0, weight[order]).astype(np.float64)
    starts = np.flatnonzero(np.concatenate([[True], np.diff(score[order]) != 0]))
    positive, negative = np.add.reduceat(positive, starts), np.add.reduceat(negative, starts)
    below = np.cumsum(negative) - negative
    return float(np.sum(positive * (below + negative / 2)) / (positive.sum() * negative.sum()))


def log_loss_sum(response: Array, probability: Array, weight: Array) -> float:
    """Return the weighted sum of the rows' log losses."""
    p = np.clip(probability.astype(np.float64), 1e-12, 1 - 1e-12)
    return float(-np.sum(weight * (response * np.log(p) + (1 - response) * np.log1p(-p))))


def evaluate(name: str, response: Array, probability: Array, weight: Array) -> dict[str, float]:
    """Return ``<name>_auc`` and ``<name>_log_loss``."""
    total = float(weight.sum(dtype=np.float64))
    return {
        f"{name}_auc": auc(response, probability, weight),
        f"{name}_log_loss": log_loss_sum(response, probability, weight) / total,
    }
