"""The objective of one effect: ``Σ wᵢ·loss(xᵢᵀb + offsetᵢ, yᵢ) + ½ Σⱼ l2ⱼ (bⱼ - cⱼ)² + Σⱼ l1ⱼ|bⱼ|``.

The sum over rows is *not* divided by their number, so weight 2 is a row twice and partial sums over
blocks of rows simply add up (:meth:`Derivatives.__add__`), wherever the blocks live. The penalty is
added once, where the sum ends.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from photon.loss import RowLoss
from photon.rows import Examples, Floats, SparseRows

COMPILED_ROWS: Final = 5_000
"""From how many rows on a block is worth the loading of compiled code."""


@dataclass(frozen=True, slots=True)
class Derivatives:
    """Value, gradient ``(d,)`` and, where it was asked for, Hessian ``(d, d)`` at a point."""

    value: float
    gradient: Floats
    hessian: Floats | None = None

    def __add__(self, other: "Derivatives") -> "Derivatives":
        hessian = None if self.hessian is None or other.hessian is None else self.hessian + other.hessian
        return Derivatives(self.value + other.value, self.gradient + other.gradient, hessian)


def weighted(weights: Floats, of_rows: Callable[[Floats, Floats], Floats], margins: Floats, labels: Floats) -> Floats:
    """Return ``wᵢ·f(zᵢ, yᵢ)``: 0 for a row of weight 0 even where ``f`` is infinite, as exp is for far margins."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(weights > 0.0, weights * of_rows(margins, labels), 0.0)


def data_loss(loss: RowLoss, margins: Floats, labels: Floats, weights: Floats) -> float:
    """Return ``Σ wᵢ·loss(zᵢ, yᵢ)``: infinite where an exponential overflows."""
    return float(np.sum(weighted(weights, loss.value, margins, labels)))


def row_derivatives(examples: Examples, coefficients: Floats, loss: RowLoss, *, hessian: bool) -> Derivatives:
    """Return the data part of the objective at ``coefficients``, to be added over blocks of rows."""
    if len(examples.labels) >= COMPILED_ROWS and not (hessian and _is_dense(examples.rows)):
        return _compiled_derivatives(examples, coefficients, loss, hessian=hessian)
    margins = examples.rows.dot(coefficients) + examples.offsets
    value = data_loss(loss, margins, examples.labels, examples.weights)
    if not np.isfinite(value):
        # No optimiser goes there, so its derivatives are never looked at.
        nowhere = np.full(len(coefficients), np.nan)
        return Derivatives(value, nowhere, np.full((len(nowhere), len(nowhere)), np.nan) if hessian else None)
    slopes = weighted(examples.weights, loss.first, margins, examples.labels)
    curvatures = weighted(examples.weights, loss.second, margins, examples.labels) if hessian else None
    return Derivatives(
        value=value,
        gradient=examples.rows.transposed_dot(slopes),
        hessian=None if curvatures is None else examples.rows.gram(curvatures),
    )


def _is_dense(rows: SparseRows) -> bool:
    """Return whether a Hessian is cheaper by dense matrix products, ten times as quick an operation."""
    per_row = len(rows.values) / max(1, len(rows))
    return per_row * per_row > rows.columns * rows.columns / 5.0 and rows.columns >= 32


def _compiled_derivatives(examples: Examples, coefficients: Floats, loss: RowLoss, *, hessian: bool) -> Derivatives:
    from photon.block_passes import derive_block, new_room  # noqa: PLC0415  # numba: half a second
    from photon.entity_rows import Data, Sparse  # noqa: PLC0415
    from photon.row_passes import Targets, task_of  # noqa: PLC0415

    rows, size = examples.rows, len(coefficients)
    data = Data(
        task_of(loss),
        Sparse(rows.indptr, rows.indices, rows.values),
        Targets(examples.labels, examples.weights, examples.offsets),
    )
    gradient, halves = np.zeros(size), np.zeros((size, size) if hessian else (0, 0))
    value = derive_block(data, coefficients, new_room(), gradient, halves, hessian)
    return Derivatives(value, gradient, halves + np.tril(halves, -1).T + np.triu(halves, 1).T if hessian else None)


def row_products(examples: Examples, coefficients: Floats, vector: Floats, loss: RowLoss) -> Floats:
    """Return the data part's Hessian at ``coefficients`` times ``vector``, to be added over blocks of rows."""
    margins = examples.rows.dot(coefficients) + examples.offsets
    curvatures = weighted(examples.weights, loss.second, margins, examples.labels)
    return examples.rows.transposed_dot(curvatures * examples.rows.dot(vector))


def row_hessian_diagonal(examples: Examples, coefficients: Floats, loss: RowLoss) -> Floats:
    """Return the diagonal of the data part's Hessian at ``coefficients``, to be added over blocks of rows."""
    margins = examples.rows.dot(coefficients) + examples.offsets
    curvatures = weighted(examples.weights, loss.second, margins, examples.labels)
    return examples.rows.squared().transposed_dot(curvatures)


@dataclass(frozen=True, slots=True)
class Penalty:
    """``½ Σⱼ l2ⱼ (bⱼ - centreⱼ)² + Σⱼ l1ⱼ |bⱼ|``, each ``(columns,)``; no ``centre`` means 0, no ``l1`` 0.

    An elastic net [1]_ of strength ``λ``, the share ``m`` of it L1, is ``l2 = λ(1 - m)``, ``l1 = λm``. A Gaussian
    prior is a penalty about its means with its precisions as ``l2``.

    References
    ----------
    .. [1] H. Zou and T. Hastie, "Regularization and variable selection via the elastic net", JRSS B 67 (2005).
    """

    l2: Floats
    l1: Floats | None = None
    centre: Floats | None = None

    @classmethod
    def ridge(
        cls, l2: float, columns: int, *, intercept: int | None, penalise_intercept: bool, l1: float = 0.0
    ) -> "Penalty":
        """Return the same strengths for all columns but the intercept, which may be free."""
        kept = np.ones(columns)
        if intercept is not None and not penalise_intercept:
            kept[intercept] = 0.0
        return cls(l2 * kept, l1 * kept if l1 > 0.0 else None)

    def value(self, coefficients: Floats) -> float:
        """Return the penalty of ``coefficients``, L1 included."""
        absolute = 0.0 if self.l1 is None else float(np.dot(self.l1, np.abs(coefficients)))
        return self._smooth(coefficients) + absolute

    def added_to(self, data: Derivatives, coefficients: Floats) -> Derivatives:
        """Return the data part plus the smooth part of this penalty; optimisers see to L1 themselves."""
        hessian = None if data.hessian is None else data.hessian + np.diag(self.l2)
        gradient = data.gradient + self.slopes(coefficients)
        return Derivatives(data.value + self._smooth(coefficients), gradient, hessian)

    def slopes(self, coefficients: Floats) -> Floats:
        """Return the gradient of the smooth part."""
        return self.l2 * self._from_centre(coefficients)

    def _smooth(self, coefficients: Floats) -> float:
        apart = self._from_centre(coefficients)
        return float(0.5 * np.dot(self.l2, apart * apart))

    def _from_centre(self, coefficients: Floats) -> Floats:
        return coefficients if self.centre is None else coefficients - self.centre
