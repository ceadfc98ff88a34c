"""Row losses: how much one prediction costs, as a function of its margin.

A task of a generalized linear model is nothing but a row loss with its first and second derivative
in the margin ``z = xᵀb + offset`` and the inverse of its link. Every formula is written once, in
NumPy functions that take arrays and scalars alike, so the compiled random-effect solver
(:mod:`photon.random_effect`) uses the same text as the vectorised objective.

This module knows neither coefficients, penalties nor data layouts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from yarnmill.errors import ConfigurationError

Task = Literal["logistic", "linear"]

Elementwise = Callable[[Any, Any], Any]
"""``(margin, label) → value``, on arrays of one shape or on two scalars."""


@dataclass(frozen=True, slots=True)
class RowLoss:
    """A row loss, convex in the margin.

    Parameters
    ----------
    task
        Its name in configurations.
    value
        ``loss(z, y)``.
    first
        ``∂loss/∂z``.
    second
        ``∂²loss/∂z²``, never negative.
    mean
        ``E[y]`` for a margin: the inverse of the link.
    label_expected
        What a label has to be, in words.
    is_label
        Whether each label is one the task can have.
    """

    task: Task
    value: Elementwise
    first: Elementwise
    second: Elementwise
    mean: Callable[[Any], Any]
    label_expected: str
    is_label: Callable[[Any], Any]


# exp(-|z|) never overflows, and both tails of the logistic function keep their relative precision. Sums of
# comparisons instead of np.where: numba makes an array of where's scalars, ten times slower.
def _logistic_mean(margin: Any) -> Any:  # noqa: ANN401  # array or scalar
    small = np.exp(-np.abs(margin))
    return ((margin >= 0.0) + (margin < 0.0) * small) / (1.0 + small)


def _logistic_value(margin: Any, label: Any) -> Any:  # noqa: ANN401
    return np.maximum(margin, 0.0) + np.log1p(np.exp(-np.abs(margin))) - label * margin


def _logistic_first(margin: Any, label: Any) -> Any:  # noqa: ANN401
    small = np.exp(-np.abs(margin))
    return ((margin >= 0.0) + (margin < 0.0) * small) / (1.0 + small) - label


def _logistic_second(margin: Any, label: Any) -> Any:  # noqa: ANN401, ARG001
    small = np.exp(-np.abs(margin))
    return small / ((1.0 + small) * (1.0 + small))


def _squared_value(margin: Any, label: Any) -> Any:  # noqa: ANN401
    return 0.5 * (margin - label) * (margin - label)


def _squared_first(margin: Any, label: Any) -> Any:  # noqa: ANN401
    return margin - label


def _squared_second(margin: Any, label: Any) -> Any:  # noqa: ANN401
    return 1.0 + 0.0 * (margin - label)


def _identity(margin: Any) -> Any:  # noqa: ANN401
    return margin


def _is_zero_or_one(label: Any) -> Any:  # noqa: ANN401
    return (label == 0.0) | (label == 1.0)


LOGISTIC: Final = RowLoss(
    task="logistic",
    value=_logistic_value,
    first=_logistic_first,
    second=_logistic_second,
    mean=_logistic_mean,
    label_expected="0 or 1",
    is_label=_is_zero_or_one,
)
"""``log(1 + eᶻ) - y·z`` for labels 0 and 1: the negative log likelihood of a Bernoulli response."""

SQUARED: Final = RowLoss(
    task="linear",
    value=_squared_value,
    first=_squared_first,
    second=_squared_second,
    mean=_identity,
    label_expected="a finite number",
    is_label=np.isfinite,
)
"""``½(z - y)²``: the negative log likelihood, up to constants, of a Gaussian with variance 1."""

_LOSSES: Final = {loss.task: loss for loss in (LOGISTIC, SQUARED)}


def loss_of(task: str) -> RowLoss:
    """Return the row loss of a task; ConfigurationError if there is no such task."""
    for name, loss in _LOSSES.items():
        if name == task:
            return loss
    raise ConfigurationError(f"task {task!r} is unknown", expected=" or ".join(_LOSSES))
