"""Row losses: how much one prediction costs, as a function of its margin.

A task of a generalized linear model is nothing but a row loss with its first and second derivative
in the margin ``z = xᵀb + offset`` and the inverse of its link. Every formula is written once, in
NumPy functions that take arrays and scalars alike, so the compiled random-effect solver
(:mod:`photon.random_effect`) uses the same text as the vectorised objective.

Losses of the log link overflow to infinity, never to a wrong number: a line search backs off from it.
Terms of the labels alone are left out, so a value is a negative log likelihood up to a constant.

This module knows neither coefficients, penalties nor data layouts.

References
----------
.. [1] P. McCullagh and J. A. Nelder, "Generalized Linear Models", 2nd edition, chapters 2, 6 and 8.
.. [2] J. D. M. Rennie, "Smooth hinge classification", MIT, 2005.
.. [3] B. Jørgensen, "The Theory of Dispersion Models", chapter 4 (Tweedie).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import numpy as np

from yarnmill.errors import ConfigurationError

Task = Literal["logistic", "linear", "poisson", "smoothed_hinge", "gamma", "tweedie"]

TWEEDIE_POWER: Final = 1.5
"""The power of a Tweedie task that names none: half-way between Poisson (1) and Gamma (2)."""

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
    power
        Of the variance, ``Var[y] ∝ E[y]ᵖ``; read by the Tweedie task alone.
    """

    task: Task
    value: Elementwise
    first: Elementwise
    second: Elementwise
    mean: Callable[[Any], Any]
    label_expected: str
    is_label: Callable[[Any], Any]
    power: float = 0.0


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


def _poisson_value(margin: Any, label: Any) -> Any:  # noqa: ANN401
    return np.exp(margin) - label * margin


def _poisson_first(margin: Any, label: Any) -> Any:  # noqa: ANN401
    return np.exp(margin) - label


def _poisson_second(margin: Any, label: Any) -> Any:  # noqa: ANN401, ARG001
    return np.exp(margin)


def _hinge_value(margin: Any, label: Any) -> Any:  # noqa: ANN401
    signed = (2.0 * label - 1.0) * margin
    short = 1.0 - np.minimum(np.maximum(signed, 0.0), 1.0)
    return 0.5 * short * short + np.maximum(-signed, 0.0)


def _hinge_first(margin: Any, label: Any) -> Any:  # noqa: ANN401
    sign = 2.0 * label - 1.0
    return sign * (np.minimum(np.maximum(sign * margin, 0.0), 1.0) - 1.0)


def _hinge_second(margin: Any, label: Any) -> Any:  # noqa: ANN401
    signed = (2.0 * label - 1.0) * margin
    return 1.0 * ((signed >= 0.0) & (signed < 1.0))


def _gamma_value(margin: Any, label: Any) -> Any:  # noqa: ANN401
    return label * np.exp(-margin) + margin


def _gamma_first(margin: Any, label: Any) -> Any:  # noqa: ANN401
    return 1.0 - label * np.exp(-margin)


def _gamma_second(margin: Any, label: Any) -> Any:  # noqa: ANN401
    return label * np.exp(-margin)


def tweedie_value(margin: Any, label: Any, power: float) -> Any:  # noqa: ANN401
    """Return the value of :func:`tweedie`'s loss."""
    mean_part = np.exp((2.0 - power) * margin) / (2.0 - power)
    return mean_part + label * np.exp((1.0 - power) * margin) / (power - 1.0)


def tweedie_first(margin: Any, label: Any, power: float) -> Any:  # noqa: ANN401
    """Return the first derivative of :func:`tweedie`'s loss."""
    return np.exp((2.0 - power) * margin) - label * np.exp((1.0 - power) * margin)


def tweedie_second(margin: Any, label: Any, power: float) -> Any:  # noqa: ANN401
    """Return the second derivative of :func:`tweedie`'s loss."""
    mean_part = (2.0 - power) * np.exp((2.0 - power) * margin)
    return mean_part + (power - 1.0) * label * np.exp((1.0 - power) * margin)


def _is_zero_or_one(label: Any) -> Any:  # noqa: ANN401
    return (label == 0.0) | (label == 1.0)


def _is_not_negative(label: Any) -> Any:  # noqa: ANN401
    return np.isfinite(label) & (label >= 0.0)


def _is_positive(label: Any) -> Any:  # noqa: ANN401
    return np.isfinite(label) & (label > 0.0)


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

POISSON: Final = RowLoss(
    task="poisson",
    value=_poisson_value,
    first=_poisson_first,
    second=_poisson_second,
    mean=np.exp,
    label_expected="0 or more",
    is_label=_is_not_negative,
)
"""``eᶻ - y·z``: the negative log likelihood of a Poisson response with log link."""

SMOOTHED_HINGE: Final = RowLoss(
    task="smoothed_hinge",
    value=_hinge_value,
    first=_hinge_first,
    second=_hinge_second,
    mean=_identity,
    label_expected="0 or 1",
    is_label=_is_zero_or_one,
)
"""Rennie's smooth hinge [2]_ of ``m = (2y - 1)·z``: ``½ - m`` below 0, ``½(1 - m)²`` up to 1, and 0 from there.

Its score is the margin itself: it orders and classifies, and is no probability.
"""

GAMMA: Final = RowLoss(
    task="gamma",
    value=_gamma_value,
    first=_gamma_first,
    second=_gamma_second,
    mean=np.exp,
    label_expected="more than 0",
    is_label=_is_positive,
)
"""``y·e⁻ᶻ + z``: the negative log likelihood of a Gamma response with log link and dispersion 1."""


def tweedie(power: float) -> RowLoss:
    """Return ``e⁽²⁻ᵖ⁾ᶻ / (2 - p) + y·e⁽¹⁻ᵖ⁾ᶻ / (p - 1)``: half the Tweedie deviance with log link, up to a constant.

    Between Poisson (``p = 1``) and Gamma (``p = 2``) lie sums of a random number of positive amounts, 0 among them.
    """
    return RowLoss(
        task="tweedie",
        value=partial(tweedie_value, power=power),
        first=partial(tweedie_first, power=power),
        second=partial(tweedie_second, power=power),
        mean=np.exp,
        label_expected="0 or more",
        is_label=_is_not_negative,
        power=power,
    )


_LOSSES: Final = {loss.task: loss for loss in (LOGISTIC, SQUARED, POISSON, SMOOTHED_HINGE, GAMMA)}


def loss_of(task: str, tweedie_power: float = TWEEDIE_POWER) -> RowLoss:
    """Return the row loss of a task; ConfigurationError if there is no such task."""
    for name, loss in _LOSSES.items():
        if name == task:
            return loss
    if task == "tweedie":
        return tweedie(tweedie_power)
    raise ConfigurationError(f"task {task!r} is unknown", expected=", ".join([*_LOSSES, "or tweedie"]))
