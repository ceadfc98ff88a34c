"""The compiled loop of :mod:`photon.random_effect`: importing this module brings numba along.

Plain loops over plain arrays, as a compiler likes them. Compiled on the first call for each loss and
never at import.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit

from photon.loss import LOGISTIC, SQUARED
from photon.rows import Floats, Ints, Longs

F = TypeVar("F", bound=Callable[..., Any])

MAX_ITERATIONS: Final = 100
TOLERANCE: Final = 1e-9
"""Half the squared Newton decrement, relative to the value, below which the step just taken is the last.

Newton's error after a step is quadratic in it, so the coefficients are then exact to rounding.
"""

LOGISTIC_TASK: Final = 0
LINEAR_TASK: Final = 1

_ARMIJO: Final = 1e-4
_SHORTEST: Final = 2.0**-30


class Sparse(NamedTuple):
    """Sparse rows; ``local`` counts an entry's cell from the first of its entity."""

    indptr: Longs
    local: Ints
    values: Floats


class Targets(NamedTuple):
    """Label, weight and offset of each row."""

    labels: Floats
    weights: Floats
    offsets: Floats


class Groups(NamedTuple):
    """Where the rows and the cells of each entity begin."""

    row_ptr: Longs
    cell_ptr: Longs


def _compiled(function: F) -> F:
    return cast("F", njit(nogil=True, error_model="numpy")(function))


_logistic_value, _logistic_first, _logistic_second = map(_compiled, (LOGISTIC.value, LOGISTIC.first, LOGISTIC.second))
_squared_value, _squared_first, _squared_second = map(_compiled, (SQUARED.value, SQUARED.first, SQUARED.second))


@_compiled
def _value(task: int, margin: float, label: float) -> float:
    return _logistic_value(margin, label) if task == LOGISTIC_TASK else _squared_value(margin, label)  # type: ignore[no-any-return]


@_compiled
def _first(task: int, margin: float, label: float) -> float:
    return _logistic_first(margin, label) if task == LOGISTIC_TASK else _squared_first(margin, label)  # type: ignore[no-any-return]


@_compiled
def _second(task: int, margin: float, label: float) -> float:
    return _logistic_second(margin, label) if task == LOGISTIC_TASK else _squared_second(margin, label)  # type: ignore[no-any-return]


@_compiled
def _add_margins(rows: Sparse, targets: Targets, point: Floats, totals: Floats) -> None:
    """Write offset plus product with the coefficients of each row into ``totals``."""
    for i in range(len(totals)):
        total = targets.offsets[i]
        for p in range(rows.indptr[i], rows.indptr[i + 1]):
            total += rows.values[p] * point[rows.local[p]]
        totals[i] = total


@_compiled
def _objective(task: int, targets: Targets, totals: Floats, l2: Floats, point: Floats) -> float:
    result = 0.0
    for i in range(len(totals)):
        result += targets.weights[i] * _value(task, totals[i], targets.labels[i])
    for j in range(len(point)):
        result += 0.5 * l2[j] * point[j] * point[j]
    return result


@_compiled
def _derive(task: int, rows: Sparse, targets: Targets, totals: Floats, gradient: Floats, hessian: Floats) -> None:
    """Add the data part of gradient and Hessian; of the Hessian the lower half only."""
    for i in range(len(totals)):
        slope = targets.weights[i] * _first(task, totals[i], targets.labels[i])
        curvature = targets.weights[i] * _second(task, totals[i], targets.labels[i])
        for p in range(rows.indptr[i], rows.indptr[i + 1]):
            gradient[rows.local[p]] += slope * rows.values[p]
            for q in range(rows.indptr[i], rows.indptr[i + 1]):
                if rows.local[q] <= rows.local[p]:
                    hessian[rows.local[p], rows.local[q]] += curvature * rows.values[p] * rows.values[q]


@_compiled
def _factorise(hessian: Floats) -> None:
    """Replace the lower half by its Cholesky factor (numba's own would need SciPy).

    A pivot that rounding left at 0 or below belongs to a direction without curvature: an infinite
    root keeps it where it is.
    """
    for j in range(len(hessian)):
        pivot = hessian[j, j]
        for k in range(j):
            pivot -= hessian[j, k] * hessian[j, k]
        root = np.sqrt(pivot) if pivot > 1e-12 * abs(hessian[j, j]) else np.inf
        hessian[j, j] = root
        for i in range(j + 1, len(hessian)):
            entry = hessian[i, j]
            for k in range(j):
                entry -= hessian[i, k] * hessian[j, k]
            hessian[i, j] = entry / root


@_compiled
def _solve(factor: Floats, vector: Floats) -> None:
    """Replace ``vector`` by the solution of the factorised system."""
    size = len(vector)
    for i in range(size):
        for k in range(i):
            vector[i] -= factor[i, k] * vector[k]
        vector[i] /= factor[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            vector[i] -= factor[k, i] * vector[k]
        vector[i] /= factor[i, i]


@_compiled
def _newton(task: int, rows: Sparse, targets: Targets, l2: Floats, point: Floats, totals: Floats) -> bool:
    """Move ``point`` to the optimum of one entity and leave its margins, offsets included, in ``totals``."""
    size = len(point)
    gradient, direction, trial = np.empty(size), np.empty(size), np.empty(size)
    hessian = np.empty((size, size))
    _add_margins(rows, targets, point, totals)
    current = _objective(task, targets, totals, l2, point)
    for _ in range(MAX_ITERATIONS):
        hessian[:, :] = 0.0
        for j in range(size):
            gradient[j] = l2[j] * point[j]
            hessian[j, j] = l2[j]
        _derive(task, rows, targets, totals, gradient, hessian)
        _factorise(hessian)
        direction[:] = gradient
        _solve(hessian, direction)
        decrement = 0.0
        for j in range(size):
            decrement += gradient[j] * direction[j]
        length = 1.0
        while True:
            for j in range(size):
                trial[j] = point[j] - length * direction[j]
            _add_margins(rows, targets, trial, totals)
            following = _objective(task, targets, totals, l2, trial)
            # A step at the optimum changes the value by rounding alone, hence the last term.
            if following <= current - _ARMIJO * length * decrement + 1e-14 * abs(current):
                break
            length *= 0.5
            if length < _SHORTEST:
                _add_margins(rows, targets, point, totals)
                return False
        point[:] = trial
        current = following
        if 0.5 * decrement <= TOLERANCE * max(1.0, abs(current)):
            return True
    return False


@_compiled
def solve_each(
    task: int,
    groups: Groups,
    rows: Sparse,
    targets: Targets,
    cells: tuple[Floats, Floats],
    margins: Floats,
) -> int:
    """Solve every entity and return how many did not converge.

    Parameters
    ----------
    task
        A code of this module.
    groups, rows, targets
        The data.
    cells
        Penalty and coefficient of each cell; the coefficients are the start and become the solution.
    margins
        Becomes each row's margin without its offset.
    """
    l2, coefficients = cells
    unconverged = 0
    for e in range(len(groups.row_ptr) - 1):
        a, b = groups.row_ptr[e], groups.row_ptr[e + 1]
        c, d = groups.cell_ptr[e], groups.cell_ptr[e + 1]
        if not np.any(targets.weights[a:b] > 0.0):
            coefficients[c:d] = 0.0
            margins[a:b] = 0.0
            continue
        own = Targets(targets.labels[a:b], targets.weights[a:b], targets.offsets[a:b])
        entries = Sparse(rows.indptr[a : b + 1], rows.local, rows.values)
        if not _newton(task, entries, own, l2[c:d], coefficients[c:d], margins[a:b]):
            unconverged += 1
        for i in range(a, b):
            margins[i] -= targets.offsets[i]
    return unconverged
