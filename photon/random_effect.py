"""Solves of a random effect: one small penalised GLM an entity, thousands a call, compiled.

For each entity ``e`` on its own: ``min Σ wᵢ·ℓ(zᵢᵀγ + offsetᵢ, yᵢ) + ½ Σ λⱼ γⱼ²`` over its rows and
cells (:mod:`photon.entities`), by Newton with backtracking. One call of a general optimiser an entity
would spend a hundred times the arithmetic on calling, so the loop is compiled by numba, on first use
and never at import: a program that only scores does not pay for it.

Entities are independent, so any partitioning of them gives the same coefficients to the last bit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from photon.entities import EntityRows
from photon.loss import RowLoss, loss_of
from photon.rows import Floats, Ints, Longs

SOLVE_TOLERANCE: Final = 1e-9
"""Half the squared Newton decrement, relative to the value, below which the last step is taken.

Newton's error after a step is quadratic in it, so the coefficients are then exact to rounding.
"""

MAX_ITERATIONS: Final = 100


@dataclass(frozen=True, slots=True)
class EntitySolution:
    """Coefficients a cell, margins a row (without offsets), and the entities that did not converge."""

    coefficients: Floats
    margins: Floats
    unconverged: int


def solve_entities(rows: EntityRows, offsets: Floats, cell_l2: Floats, start: Floats, loss: RowLoss) -> EntitySolution:
    """Return the optimum of every entity.

    Parameters
    ----------
    rows
        Rows by entity; entities whose weights are all 0 keep coefficients of 0.
    offsets
        ``(rows,)`` the margin that the other effects give each row; used instead of the rows' own.
    cell_l2
        ``(cells,)`` penalties.
    start
        ``(cells,)`` coefficients to start from.
    loss
        The task.
    """
    coefficients = np.array(start, dtype=np.float64)
    margins = np.zeros(len(rows.examples.labels))
    unconverged = 0
    if len(rows.entities):
        unconverged = _compiled_solver(loss.task)(
            rows.row_ptr,
            rows.cell_ptr,
            rows.examples.rows.indptr,
            rows.local,
            rows.examples.rows.values,
            rows.examples.labels,
            rows.examples.weights,
            offsets,
            cell_l2,
            coefficients,
            margins,
        )
    return EntitySolution(coefficients, margins, int(unconverged))


@lru_cache(maxsize=8)
def _compiled_solver(task: str) -> Callable[..., int]:
    """Return the compiled loop over entities for one task."""
    from numba import njit  # noqa: PLC0415  # half a second of import that scoring never needs

    loss = loss_of(task)
    value, first, second = njit(loss.value), njit(loss.first), njit(loss.second)
    add_margins = njit(_add_margins)
    factorise_and_solve = njit(_factorise_and_solve)
    shortest, armijo, tolerance, max_iterations = 2.0**-30, 1e-4, SOLVE_TOLERANCE, MAX_ITERATIONS

    @njit(nogil=True)  # type: ignore[untyped-decorator]
    def objective(labels: Floats, weights: Floats, totals: Floats, l2: Floats, point: Floats) -> float:
        result = 0.0
        for i in range(len(labels)):
            result += weights[i] * value(totals[i], labels[i])
        for j in range(len(point)):
            result += 0.5 * l2[j] * point[j] * point[j]
        return result

    @njit(nogil=True)  # type: ignore[untyped-decorator]
    def derive(
        indptr: Longs, local: Ints, values: Floats, labels: Floats, weights: Floats, totals: Floats, out: Any  # noqa: ANN401
    ) -> None:
        gradient, hessian = out
        for i in range(len(labels)):
            slope = weights[i] * first(totals[i], labels[i])
            curvature = weights[i] * second(totals[i], labels[i])
            for p in range(indptr[i], indptr[i + 1]):
                gradient[local[p]] += slope * values[p]
                for q in range(indptr[i], indptr[i + 1]):
                    if local[q] <= local[p]:
                        hessian[local[p], local[q]] += curvature * values[p] * values[q]

    @njit(nogil=True)  # type: ignore[untyped-decorator]
    def solve_one(
        indptr: Longs, local: Ints, values: Floats, labels: Floats, weights: Floats,
        offsets: Floats, l2: Floats, point: Floats, margins: Floats,
    ) -> bool:
        size = len(point)
        gradient, hessian = np.empty(size), np.empty((size, size))
        trial, totals = np.empty(size), np.empty(len(labels))
        add_margins(indptr, local, values, point, offsets, totals)
        current = objective(labels, weights, totals, l2, point)
        converged = False
        for _ in range(max_iterations):
            gradient[:] = l2 * point
            hessian[:] = 0.0
            for j in range(size):
                hessian[j, j] = l2[j]
            derive(indptr, local, values, labels, weights, totals, (gradient, hessian))
            direction = factorise_and_solve(hessian, gradient)
            decrement = np.dot(gradient, direction)
            length = 1.0
            while True:
                trial[:] = point - length * direction
                add_margins(indptr, local, values, trial, offsets, totals)
                following = objective(labels, weights, totals, l2, trial)
                # A step at the optimum changes the value by rounding alone, hence the last term.
                if following <= current - armijo * length * decrement + 1e-14 * abs(current):
                    point[:] = trial
                    current = following
                    break
                length *= 0.5
                if length < shortest:
                    add_margins(indptr, local, values, point, offsets, totals)
                    break
            converged = 0.5 * decrement <= tolerance * max(1.0, abs(current))
            if converged or length < shortest:
                break
        margins[:] = totals - offsets
        return converged

    @njit(nogil=True)  # type: ignore[untyped-decorator]
    def solve_all(
        row_ptr: Longs, cell_ptr: Longs, indptr: Longs, local: Ints, values: Floats, labels: Floats,
        weights: Floats, offsets: Floats, l2: Floats, coefficients: Floats, margins: Floats,
    ) -> int:
        unconverged = 0
        for e in range(len(row_ptr) - 1):
            a, b = row_ptr[e], row_ptr[e + 1]
            c, d = cell_ptr[e], cell_ptr[e + 1]
            if not np.any(weights[a:b] > 0.0):
                coefficients[c:d] = 0.0
                continue
            if not solve_one(
                indptr[a : b + 1], local, values, labels[a:b], weights[a:b],
                offsets[a:b], l2[c:d], coefficients[c:d], margins[a:b],
            ):
                unconverged += 1
        return unconverged

    compiled: Callable[..., int] = solve_all
    return compiled


def _add_margins(indptr: Longs, local: Ints, values: Floats, point: Floats, offsets: Floats, totals: Floats) -> None:
    """Write ``offset + zᵀγ`` of each row into ``totals``."""
    for i in range(len(totals)):
        total = offsets[i]
        for p in range(indptr[i], indptr[i + 1]):
            total += values[p] * point[local[p]]
        totals[i] = total


def _factorise_and_solve(hessian: Floats, gradient: Floats) -> Floats:
    """Return ``H⁻¹ g`` by Cholesky in place (numba's own would need SciPy); only the lower half is read.

    A pivot that rounding left at 0 or below belongs to a direction without curvature: it is not moved.
    """
    size = len(gradient)
    solution = gradient.copy()
    for j in range(size):
        pivot = hessian[j, j]
        for k in range(j):
            pivot -= hessian[j, k] * hessian[j, k]
        root = np.sqrt(pivot) if pivot > 1e-12 * abs(hessian[j, j]) else np.inf
        hessian[j, j] = root
        for i in range(j + 1, size):
            entry = hessian[i, j]
            for k in range(j):
                entry -= hessian[i, k] * hessian[j, k]
            hessian[i, j] = entry / root
    for i in range(size):
        for k in range(i):
            solution[i] -= hessian[i, k] * solution[k]
        solution[i] /= hessian[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            solution[i] -= hessian[k, i] * solution[k]
        solution[i] /= hessian[i, i]
    return solution
