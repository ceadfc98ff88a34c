"""The compiled loop of :mod:`photon.random_effect`: importing this module brings numba along.

Plain loops over plain arrays, as a compiler likes them (an assignment to a slice costs it a second).
Compiled on the first call and never at import; the code is kept in the user's cache, since every Python
worker of Spark would else spend seconds on it.
"""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit

import photon.loss
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


class State(NamedTuple):
    """One entity's solve: the point, room to work in, and the margins (offsets included) at the point."""

    point: Floats
    trial: Floats
    gradient: Floats
    direction: Floats
    hessian: Floats
    totals: Floats


def _compiled(function: F) -> F:
    return cast("F", njit(nogil=True, error_model="numpy")(function))


def _compiled_and_kept(function: F) -> F:
    # numba looks at this file alone for changes; the formulas of the losses are part of the name instead.
    digest = hashlib.sha256(inspect.getsource(photon.loss).encode()).hexdigest()
    function.__qualname__ = f"{function.__qualname__}_{digest[:16]}"
    try:
        return cast("F", njit(nogil=True, error_model="numpy", cache=True)(function))
    except RuntimeError:  # no folder to keep it in, as in a container without a home
        return _compiled(function)


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
def _aim(task: int, rows: Sparse, targets: Targets, l2: Floats, state: State) -> float:
    """Leave Newton's direction at the point in ``direction`` and return the squared decrement."""
    size = len(state.point)
    for j in range(size):
        for k in range(j):
            state.hessian[j, k] = 0.0
        state.gradient[j] = l2[j] * state.point[j]
        state.hessian[j, j] = l2[j]
    _derive(task, rows, targets, state.totals, state.gradient, state.hessian)
    _factorise(state.hessian)
    for j in range(size):
        state.direction[j] = state.gradient[j]
    _solve(state.hessian, state.direction)
    decrement = 0.0
    for j in range(size):
        decrement += state.gradient[j] * state.direction[j]
    return decrement


@_compiled
def _step(task: int, rows: Sparse, targets: Targets, l2: Floats, state: State, before: tuple[float, float]) -> float:
    """Move the point down along the direction and return the value there, or NaN where no length lowers it."""
    current, decrement = before
    length = 1.0
    while length >= _SHORTEST:
        for j in range(len(state.point)):
            state.trial[j] = state.point[j] - length * state.direction[j]
        _add_margins(rows, targets, state.trial, state.totals)
        value = _objective(task, targets, state.totals, l2, state.trial)
        # A step at the optimum changes the value by rounding alone, hence the last term.
        if value <= current - _ARMIJO * length * decrement + 1e-14 * abs(current):
            for j in range(len(state.point)):
                state.point[j] = state.trial[j]
            return value
        length *= 0.5
    _add_margins(rows, targets, state.point, state.totals)
    return np.nan


@_compiled
def _newton(task: int, rows: Sparse, targets: Targets, l2: Floats, point: Floats, totals: Floats) -> bool:
    """Move ``point`` to the optimum of one entity and leave its margins, offsets included, in ``totals``."""
    size = len(point)
    state = State(point, np.empty(size), np.empty(size), np.empty(size), np.empty((size, size)), totals)
    _add_margins(rows, targets, point, totals)
    current = _objective(task, targets, totals, l2, point)
    for _ in range(MAX_ITERATIONS):
        decrement = _aim(task, rows, targets, l2, state)
        current = _step(task, rows, targets, l2, state, (current, decrement))
        if np.isnan(current):
            return False
        if 0.5 * decrement <= TOLERANCE * max(1.0, abs(current)):
            return True
    return False


@_compiled
def _trains(weights: Floats) -> bool:
    for weight in weights:  # noqa: SIM110  # numba compiles a loop sooner than a generator
        if weight > 0.0:
            return True
    return False


@_compiled_and_kept
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
        Zeros; becomes each row's margin without its offset.
    """
    l2, coefficients = cells
    unconverged = 0
    for e in range(len(groups.row_ptr) - 1):
        a, b = groups.row_ptr[e], groups.row_ptr[e + 1]
        c, d = groups.cell_ptr[e], groups.cell_ptr[e + 1]
        if not _trains(targets.weights[a:b]):
            for j in range(c, d):
                coefficients[j] = 0.0
            continue
        own = Targets(targets.labels[a:b], targets.weights[a:b], targets.offsets[a:b])
        entries = Sparse(rows.indptr[a : b + 1], rows.local, rows.values)
        if not _newton(task, entries, own, l2[c:d], coefficients[c:d], margins[a:b]):
            unconverged += 1
        for i in range(a, b):
            margins[i] -= targets.offsets[i]
    return unconverged
