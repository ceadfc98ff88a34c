"""The objective of one effect: ``Σ wᵢ·loss(xᵢᵀb + offsetᵢ, yᵢ) + ½ Σⱼ λⱼ bⱼ²``.

The sum over rows is *not* divided by their number, so weight 2 is a row twice and partial sums over
blocks of rows simply add up (:meth:`Derivatives.__add__`), wherever the blocks live. The penalty is
added once, where the sum ends.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from photon.loss import RowLoss
from photon.rows import Examples, Floats


@dataclass(frozen=True, slots=True)
class Derivatives:
    """Value, gradient ``(d,)`` and, where it was asked for, Hessian ``(d, d)`` at a point."""

    value: float
    gradient: Floats
    hessian: Floats | None = None

    def __add__(self, other: "Derivatives") -> "Derivatives":
        hessian = None if self.hessian is None or other.hessian is None else self.hessian + other.hessian
        return Derivatives(self.value + other.value, self.gradient + other.gradient, hessian)


def _weighted(weights: Floats, of_rows: Callable[[Floats, Floats], Floats], margins: Floats, labels: Floats) -> Floats:
    """Return ``wᵢ·f(zᵢ, yᵢ)``: 0 for a row of weight 0 even where ``f`` is infinite, as exp is for far margins."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(weights > 0.0, weights * of_rows(margins, labels), 0.0)


def data_loss(loss: RowLoss, margins: Floats, labels: Floats, weights: Floats) -> float:
    """Return ``Σ wᵢ·loss(zᵢ, yᵢ)``: infinite where an exponential overflows."""
    return float(np.sum(_weighted(weights, loss.value, margins, labels)))


def row_derivatives(examples: Examples, coefficients: Floats, loss: RowLoss, *, hessian: bool) -> Derivatives:
    """Return the data part of the objective at ``coefficients``, to be added over blocks of rows."""
    margins = examples.rows.dot(coefficients) + examples.offsets
    value = data_loss(loss, margins, examples.labels, examples.weights)
    if not np.isfinite(value):
        # No optimiser goes there, so its derivatives are never looked at.
        nowhere = np.full(len(coefficients), np.nan)
        return Derivatives(value, nowhere, np.full((len(nowhere), len(nowhere)), np.nan) if hessian else None)
    slopes = _weighted(examples.weights, loss.first, margins, examples.labels)
    curvatures = _weighted(examples.weights, loss.second, margins, examples.labels) if hessian else None
    return Derivatives(
        value=value,
        gradient=examples.rows.transposed_dot(slopes),
        hessian=None if curvatures is None else examples.rows.gram(curvatures),
    )


@dataclass(frozen=True, slots=True)
class Penalty:
    """``½ Σⱼ λⱼ bⱼ²`` with one ``λ`` a column."""

    l2: Floats

    @classmethod
    def ridge(cls, l2: float, columns: int, *, intercept: int | None, penalise_intercept: bool) -> "Penalty":
        """Return one ``λ`` for all columns but the intercept, which may be free."""
        strengths = np.full(columns, l2)
        if intercept is not None and not penalise_intercept:
            strengths[intercept] = 0.0
        return cls(strengths)

    def value(self, coefficients: Floats) -> float:
        """Return the penalty of ``coefficients``."""
        return float(0.5 * np.dot(self.l2, coefficients * coefficients))

    def added_to(self, data: Derivatives, coefficients: Floats) -> Derivatives:
        """Return the whole objective: the data part plus this penalty."""
        hessian = None if data.hessian is None else data.hessian + np.diag(self.l2)
        value = data.value + self.value(coefficients)
        return Derivatives(value, data.gradient + self.l2 * coefficients, hessian)
