"""All effects of a GLMix problem as one: ``min Σ w·loss(Xb + offset, y) + ½ (b - c)ᵀΛ(b - c)``.

``X`` holds the effects side by side, a random effect with one column a cell (:mod:`photon.entities`). The problem is
solved by Newton and conjugate gradients: the system ``H = XᵀWX + Λ`` is never formed, for conjugate gradients need
products with it, and its diagonal blocks, one an effect's entity, are inverted once as preconditioner. What joins the
blocks is what plain alternation of coordinates converges slowly on. One process; :mod:`photon.empirical_bayes` solves
many such systems.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from photon.entities import EntityRows
from photon.loss import RowLoss
from photon.objective import Penalty, data_loss, weighted
from photon.posterior import Posteriors, posteriors, ranges
from photon.rows import Floats, Longs, SparseRows, as_columns
from yarnmill.errors import BadDataError

_MOST_NEWTON_STEPS: Final = 50
_MOST_PRODUCTS: Final = 2000
_PAIRS: Final = 1 << 20
_ARMIJO: Final = 1e-4
_SHORTEST: Final = 2.0**-30


@dataclass(frozen=True, slots=True)
class JointEffect:
    """One effect in the joint system.

    Parameters
    ----------
    rows
        ``(rows, c)`` its part of ``X``, in the order of the data.
    precision
        ``(c,)`` its part of the diagonal of ``Λ``.
    grouped, order
        The same rows by entity, and the order that sorted them; None for a fixed effect.
    centre
        ``(c,)`` where the penalty is least: means of a prior; None: 0.
    """

    rows: SparseRows
    precision: Floats
    grouped: EntityRows | None = None
    order: Longs | None = None
    centre: Floats | None = None

    @property
    def penalty(self) -> Penalty:
        """The penalty of its coefficients."""
        return Penalty(self.precision, centre=self.centre)


Vectors = tuple[Floats, ...]
"""One vector an effect: coefficients, gradients, right-hand sides."""


@dataclass(frozen=True, slots=True)
class System:
    """``H = XᵀWX + Λ`` at fixed curvatures ``W``, with its inverted blocks."""

    effects: tuple[JointEffect, ...]
    curvature: Floats
    blocks: tuple[Floats | tuple[Posteriors, ...], ...]

    def block_solve(self, number: int, right: Floats) -> Floats:
        """Return the solution of one effect's own diagonal block."""
        block = self.blocks[number]
        if isinstance(block, np.ndarray):
            return block @ right if block.ndim == 2 else block * right
        found = np.zeros_like(right)
        for part in block:
            found[part.cells] = np.einsum("eij,ej->ei", part.covariance, right[part.cells])
        return found

    def times(self, vectors: Vectors) -> Vectors:
        """Return ``H v``."""
        weighted = self.curvature * product(self.effects, vectors)
        return tuple(
            one.rows.transposed_dot(weighted) + one.precision * vector
            for one, vector in zip(self.effects, vectors, strict=True)
        )

    def solve(self, right: Vectors, tolerance: float) -> Vectors:
        """Return ``H⁻¹ r``, the preconditioned residual's norm lowered by ``tolerance``."""
        solution = tuple(np.zeros_like(part) for part in right)
        residual, direction = right, self._preconditioned(right)
        size = first = _dot(residual, direction)
        for _ in range(_MOST_PRODUCTS):
            if size <= tolerance**2 * first or size == 0.0:
                break
            image = self.times(direction)
            length = size / _dot(direction, image)
            solution = _moved(solution, direction, length)
            residual = _moved(residual, image, -length)
            aimed = self._preconditioned(residual)
            before, size = size, _dot(residual, aimed)
            direction = _moved(aimed, direction, size / before)
        return solution

    def inverse(self) -> Floats:
        """Return ``H⁻¹`` ``(c, c)`` of all effects side by side; for small problems."""
        precision = np.concatenate([one.precision for one in self.effects])
        return inverse_of(pair_gram(side_by_side(self.effects), self.curvature) + np.diag(precision))

    def _preconditioned(self, vectors: Vectors) -> Vectors:
        return tuple(self.block_solve(number, vector) for number, vector in enumerate(vectors))


@dataclass(frozen=True, slots=True)
class Targets:
    """Label, weight and offset of each row."""

    labels: Floats
    weights: Floats
    offsets: Floats


@dataclass(frozen=True, slots=True)
class Mode:
    """The optimum: coefficients of each effect, margins (offsets included), and the system there."""

    coefficients: Vectors
    margins: Floats
    value: float
    system: System
    steps: int
    converged: bool


def product(effects: Sequence[JointEffect], vectors: Vectors) -> Floats:
    """Return ``X b``: the sum of all effects' scores."""
    parts = [one.rows.dot(vector) for one, vector in zip(effects, vectors, strict=True)]
    return np.sum(parts, axis=0)  # type: ignore[no-any-return]


def side_by_side(effects: Sequence[JointEffect]) -> SparseRows:
    """Return ``X``, the columns of one effect after those of another."""
    starts = np.cumsum([0, *(one.rows.columns for one in effects)])
    owner = np.concatenate([one.rows.row_of for one in effects])
    order = np.argsort(owner, kind="stable")
    indices = np.concatenate([one.rows.indices + start for one, start in zip(effects, starts, strict=False)])
    values = np.concatenate([one.rows.values for one in effects])
    indptr = np.sum([one.rows.indptr for one in effects], axis=0)
    return SparseRows(indptr, as_columns(indices[order], int(starts[-1])), values[order], int(starts[-1]))


def pair_gram(rows: SparseRows, weights: Floats) -> Floats:
    """Return ``Xᵀ diag(w) X`` from the pairs of entries of each row: what a sparse ``X`` with many columns costs."""
    total = np.zeros(rows.columns * rows.columns)
    for own, first, second in _pairs(rows):
        place = rows.indices[first].astype(np.int64) * rows.columns + rows.indices[second]
        total += np.bincount(place, weights[own] * rows.values[first] * rows.values[second], minlength=len(total))
    return total.reshape(rows.columns, rows.columns)


def pair_forms(rows: SparseRows, matrix: Floats) -> Floats:
    """Return ``xᵢᵀ M xᵢ`` of each row."""
    total = np.zeros(len(rows))
    for own, first, second in _pairs(rows):
        values = rows.values[first] * rows.values[second] * matrix[rows.indices[first], rows.indices[second]]
        total += np.bincount(own, values, minlength=len(rows))
    return total


def _pairs(rows: SparseRows) -> Iterator[tuple[Longs, Longs, Longs]]:
    """Yield (row, entry, entry of the same row) of all pairs, a bounded number at a time."""
    lengths = np.diff(rows.indptr)
    cost = np.cumsum(lengths * lengths)
    for block in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(cost // _PAIRS)) + 1):
        if len(block):
            entries = np.arange(rows.indptr[block[0]], rows.indptr[block[-1] + 1])
            owner = np.repeat(block, lengths[block])
            first = np.repeat(entries, lengths[owner])
            yield np.repeat(owner, lengths[owner]), first, ranges(rows.indptr[owner], lengths[owner])


def system(effects: tuple[JointEffect, ...], curvature: Floats) -> System:
    """Return the system at these curvatures."""
    return System(effects, curvature, tuple(_block(one, curvature) for one in effects))


def _block(one: JointEffect, curvature: Floats) -> Floats | tuple[Posteriors, ...]:
    if one.grouped is not None and one.order is not None:
        return tuple(posteriors(one.grouped, curvature[one.order]))
    if one.rows.columns > _WIDEST_FIXED:
        squares = SparseRows(one.rows.indptr, one.rows.indices, one.rows.values**2, one.rows.columns)
        diagonal = squares.transposed_dot(curvature) + one.precision
        return np.divide(1.0, diagonal, out=np.zeros_like(diagonal), where=diagonal > 0.0)
    return inverse_of(one.rows.gram(curvature) + np.diag(one.precision))


def inverse_of(hessian: Floats) -> Floats:
    """Return the inverse; the pseudo-inverse of a singular matrix."""
    try:
        pivots = np.diagonal(np.linalg.cholesky(hessian))
    except np.linalg.LinAlgError:
        pivots = np.zeros(1)
    if len(hessian) and np.min(pivots**2 / np.maximum(np.diagonal(hessian), 1e-300)) > 1e-12:
        return np.linalg.inv(hessian).astype(np.float64, copy=False)
    # Collinear unpenalised columns: the pseudo-inverse leaves the directions without curvature alone.
    return np.linalg.pinv(hessian, hermitian=True).astype(np.float64, copy=False)


_WIDEST_FIXED: Final = 1024


def minimum(
    effects: tuple[JointEffect, ...], targets: Targets, loss: RowLoss, start: Vectors, *, tolerance: float = 1e-12
) -> Mode:
    """Return the optimum of the joint objective.

    Parameters
    ----------
    effects, targets, loss
        The problem.
    start
        Where to begin.
    tolerance
        How far above the optimum the value may be, relative to the value (at least 1).

    Raises
    ------
    BadDataError
        If the loss overflows where it begins.
    """
    point, margins = start, targets.offsets + product(effects, start)
    value = _value(effects, targets, loss, point, margins)
    if not np.isfinite(value):
        raise BadDataError(
            "the loss of the rows is beyond all numbers at the start",
            expected=f"offsets that margins of the task {loss.task} can have",
        )
    for step in range(1, _MOST_NEWTON_STEPS + 1):
        here = system(effects, weighted(targets.weights, loss.second, margins, targets.labels))
        slope = weighted(targets.weights, loss.first, margins, targets.labels)
        gradient = tuple(
            one.rows.transposed_dot(slope) + one.penalty.slopes(vector)
            for one, vector in zip(effects, point, strict=True)
        )
        direction = here.solve(gradient, 1e-8)
        decrement = _dot(gradient, direction)
        scale = max(1.0, abs(value))
        if 0.5 * decrement <= tolerance * scale:
            return Mode(point, margins, value, here, step, converged=True)
        change = product(effects, direction)
        length = 1.0
        while length >= _SHORTEST:
            trial = _moved(point, direction, -length)
            reached = _value(effects, targets, loss, trial, margins - length * change)
            if reached <= value - _ARMIJO * length * decrement + 1e-14 * abs(value):
                break
            length *= 0.5
        else:
            return Mode(point, margins, value, here, step, converged=False)
        point, margins, value = trial, margins - length * change, reached
    return Mode(point, margins, value, here, _MOST_NEWTON_STEPS, converged=False)


def _value(effects: tuple[JointEffect, ...], targets: Targets, loss: RowLoss, point: Vectors, margins: Floats) -> float:
    penalty = sum(one.penalty.value(vector) for one, vector in zip(effects, point, strict=True))
    return data_loss(loss, margins, targets.labels, targets.weights) + penalty


def _dot(one: Vectors, other: Vectors) -> float:
    return float(sum(float(a @ b) for a, b in zip(one, other, strict=True)))


def _moved(point: Vectors, direction: Vectors, length: float) -> Vectors:
    return tuple(a + length * b for a, b in zip(point, direction, strict=True))
