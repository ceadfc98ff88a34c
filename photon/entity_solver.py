"""The compiled loop of :mod:`photon.random_effect`: importing this module brings numba along.

Plain loops over plain arrays, as a compiler likes them: room to work in is made once a call, and an
entity's rows are laid out densely where that costs little, for the passes over them to be straight.
"""

from typing import Final, NamedTuple

import numpy as np

import photon.loss
import photon.row_passes
from photon.compiled import compiled, compiled_and_kept
from photon.row_passes import Span, Targets, Task, row_costs, row_slopes
from photon.rows import Floats, Ints, Longs

MAX_ITERATIONS: Final = 100
TOLERANCE: Final = 1e-9
"""Half the squared Newton decrement, relative to the weight of the rows, below which the step just taken is the last.

Newton's error after a step is quadratic in it, so the coefficients are then exact to rounding.
"""

DENSE_CELLS: Final = 1 << 18
"""Largest dense copy of an entity's rows (2 MiB)."""

_FLATTER: Final = 0.6
_WITHOUT_VALUES: Final = 25
_ARMIJO: Final = 1e-4
_SHORTEST: Final = 2.0**-40


class Sparse(NamedTuple):
    """Sparse rows; ``local`` counts an entry's cell from the first of its entity."""

    indptr: Longs
    local: Ints
    values: Floats


class Groups(NamedTuple):
    """Where the rows and the cells of each entity begin."""

    row_ptr: Longs
    cell_ptr: Longs


class Cells(NamedTuple):
    """Of each cell: the penalty ``½·quadratic·b² - linear·b`` and the coefficient ``b``."""

    quadratic: Floats
    linear: Floats
    coefficients: Floats


class Problem(NamedTuple):
    """Everything that is given."""

    task: Task
    rows: Sparse
    targets: Targets
    cells: Cells


class Room(NamedTuple):
    """Room for the largest entity: by row, by cell, by pair of cells, and its rows densely."""

    totals: Floats
    trial: Floats
    moves: Floats
    slopes: Floats
    curvatures: Floats
    gradient: Floats
    direction: Floats
    hessian: Floats
    dense: Floats


class Entity(NamedTuple):
    """One entity: its rows, its first cell, its number of cells, and whether its rows stand in ``Room.dense``."""

    span: Span
    cell: int
    size: int
    is_dense: bool


@compiled
def _lay_out(rows: Sparse, span: Span, size: int, room: Room) -> bool:
    """Copy the rows of an entity to ``room.dense`` and return True, unless most of the copy would be zeros."""
    first, last = rows.indptr[span.start], rows.indptr[span.start + span.rows]
    length = span.rows * size
    if length > len(room.dense) or length > 4 * (last - first):
        return False
    for p in range(length):
        room.dense[p] = 0.0
    for i in range(span.rows):
        for p in range(rows.indptr[span.start + i], rows.indptr[span.start + i + 1]):
            room.dense[i * size + rows.local[p]] += rows.values[p]
    return True


@compiled
def _multiply(rows: Sparse, entity: Entity, room: Room, vector: Floats, first: int, products: Floats) -> None:
    """Write each row's product with ``vector[first:]`` into ``products``."""
    span, size = entity.span, entity.size
    if entity.is_dense:
        dense = room.dense[: span.rows * size].reshape((span.rows, size))
        for i in range(span.rows):
            total = 0.0
            for j in range(size):
                total += dense[i, j] * vector[first + j]
            products[i] = total
    else:
        for i in range(span.rows):
            total = 0.0
            for p in range(rows.indptr[span.start + i], rows.indptr[span.start + i + 1]):
                total += rows.values[p] * vector[first + rows.local[p]]
            products[i] = total


@compiled
def _add_derivatives(rows: Sparse, entity: Entity, room: Room) -> None:
    """Add the data part of gradient and Hessian; of the Hessian the lower half only."""
    span, size, gradient, hessian = entity.span, entity.size, room.gradient, room.hessian
    if entity.is_dense:
        dense = room.dense[: span.rows * size].reshape((span.rows, size))
        for i in range(span.rows):
            slope, curvature = room.slopes[i], room.curvatures[i]
            for j in range(size):
                gradient[j] += slope * dense[i, j]
                scaled = curvature * dense[i, j]
                for k in range(j + 1):
                    hessian[j, k] += scaled * dense[i, k]
    else:
        for i in range(span.rows):
            slope, curvature = room.slopes[i], room.curvatures[i]
            for p in range(rows.indptr[span.start + i], rows.indptr[span.start + i + 1]):
                j = rows.local[p]
                gradient[j] += slope * rows.values[p]
                scaled = curvature * rows.values[p]
                for q in range(rows.indptr[span.start + i], rows.indptr[span.start + i + 1]):
                    if rows.local[q] <= j:
                        hessian[j, rows.local[q]] += scaled * rows.values[q]


@compiled
def _factorise(hessian: Floats, size: int) -> None:
    """Replace the lower half by its Cholesky factor (numba's own would need SciPy).

    A pivot that rounding left at 0 or below belongs to a direction without curvature. With the largest curvature
    in its place the direction stays one of descent; where there is no slope either, the step along it is 0.
    """
    largest = 0.0
    for j in range(size):
        largest = max(largest, hessian[j, j])
    if not largest > 0.0:
        largest = 1.0
    for j in range(size):
        diagonal = hessian[j, j]
        pivot = diagonal
        for k in range(j):
            pivot -= hessian[j, k] * hessian[j, k]
        root = np.sqrt(pivot if pivot > 1e-12 * abs(diagonal) else largest)
        hessian[j, j] = root
        for i in range(j + 1, size):
            entry = hessian[i, j]
            for k in range(j):
                entry -= hessian[i, k] * hessian[j, k]
            hessian[i, j] = entry / root


@compiled
def _solve(factor: Floats, vector: Floats, size: int) -> None:
    """Replace ``vector`` by the solution of the factorised system."""
    for i in range(size):
        total = vector[i]
        for k in range(i):
            total -= factor[i, k] * vector[k]
        vector[i] = total / factor[i, i]
    for i in range(size - 1, -1, -1):
        total = vector[i]
        for k in range(i + 1, size):
            total -= factor[k, i] * vector[k]
        vector[i] = total / factor[i, i]


@compiled
def _aim(rows: Sparse, entity: Entity, cells: Cells, room: Room) -> float:
    """Leave Newton's direction in ``room.direction`` and return the squared decrement."""
    size = entity.size
    for j in range(size):
        cell = entity.cell + j
        for k in range(j):
            room.hessian[j, k] = 0.0
        room.hessian[j, j] = cells.quadratic[cell]
        room.gradient[j] = cells.quadratic[cell] * cells.coefficients[cell] - cells.linear[cell]
    _add_derivatives(rows, entity, room)
    _factorise(room.hessian, size)
    for j in range(size):
        room.direction[j] = -room.gradient[j]
    _solve(room.hessian, room.direction, size)
    decrement = 0.0
    for j in range(size):
        decrement -= room.gradient[j] * room.direction[j]
    return decrement


@compiled
def _penalty_along(cells: Cells, entity: Entity, room: Room, length: float) -> tuple[float, float]:
    """Return how much the penalty changes over a step, and its slope at the step's end."""
    change, slope = 0.0, 0.0
    for j in range(entity.size):
        cell = entity.cell + j
        moved = length * room.direction[j]
        at_start = cells.quadratic[cell] * cells.coefficients[cell] - cells.linear[cell]
        change += moved * (at_start + 0.5 * cells.quadratic[cell] * moved)
        slope += room.direction[j] * (at_start + cells.quadratic[cell] * moved)
    return change, slope


@compiled
def _step(problem: Problem, entity: Entity, room: Room, decrement: float, by_value: bool) -> bool:  # noqa: FBT001
    """Move totals and slopes along the direction, and the coefficients; False where no length will do.

    The loss is convex, so its slope along the step tells enough: a step that leaves the slope negative, or much
    flatter than it was, is taken, and no logarithm is computed. Should that not end, values decide.
    """
    task, targets, cells = problem.task, problem.targets, problem.cells
    span, length = entity.span, 1.0
    before = row_costs(task, targets, span, room.totals) if by_value else 0.0
    while length >= _SHORTEST:
        for i in range(span.rows):
            room.trial[i] = room.totals[i] + length * room.moves[i]
        row_slopes(task, targets, span, room.trial, room.slopes, room.curvatures)
        change, slope = _penalty_along(cells, entity, room, length)
        for i in range(span.rows):
            slope += room.slopes[i] * room.moves[i]
        if by_value:
            change += row_costs(task, targets, span, room.trial) - before
            accepted = change <= -_ARMIJO * length * decrement + 1e-14 * abs(before)
        else:
            accepted = slope <= _FLATTER * decrement and slope > -np.inf
        if accepted:
            for i in range(span.rows):
                room.totals[i] = room.trial[i]
            for j in range(entity.size):
                cells.coefficients[entity.cell + j] += length * room.direction[j]
            return True
        length *= 0.5
    return False


@compiled
def _newton(problem: Problem, entity: Entity, room: Room) -> bool:
    """Move the coefficients of one entity to the optimum, and ``room.totals`` with them."""
    rows, targets, cells, span = problem.rows, problem.targets, problem.cells, entity.span
    _multiply(rows, entity, room, cells.coefficients, entity.cell, room.totals)
    weight = 0.0
    for i in range(span.rows):
        room.totals[i] += targets.offsets[span.start + i]
        weight += targets.weights[span.start + i]
    enough = TOLERANCE * max(1.0, weight)
    row_slopes(problem.task, targets, span, room.totals, room.slopes, room.curvatures)
    for iteration in range(MAX_ITERATIONS):
        decrement = _aim(rows, entity, cells, room)
        _multiply(rows, entity, room, room.direction, 0, room.moves)
        if not _step(problem, entity, room, decrement, iteration >= _WITHOUT_VALUES):
            return 0.5 * decrement <= enough
        if 0.5 * decrement <= enough:
            return True
    return False


@compiled
def _trains(targets: Targets, span: Span) -> bool:
    for i in range(span.start, span.start + span.rows):  # noqa: SIM110  # numba compiles a loop sooner
        if targets.weights[i] > 0.0:
            return True
    return False


def room_for(groups: Groups) -> Room:
    """Return room for the largest of the entities."""
    rows, cells = np.diff(groups.row_ptr), np.diff(groups.cell_ptr)
    dense = rows * cells
    most_rows, most_cells = int(rows.max()), int(cells.max())
    totals, trial, moves, slopes, curvatures = np.empty((5, most_rows))
    gradient, direction = np.empty((2, most_cells))
    hessian = np.empty((most_cells, most_cells))
    return Room(
        totals=totals,
        trial=trial,
        moves=moves,
        slopes=slopes,
        curvatures=curvatures,
        gradient=gradient,
        direction=direction,
        hessian=hessian,
        dense=np.empty(int(dense[dense <= DENSE_CELLS].max(initial=0))),
    )


@compiled_and_kept(photon.loss, photon.row_passes)
def solve_each(problem: Problem, groups: Groups, room: Room, margins: Floats) -> int:
    """Solve every entity and return how many did not converge.

    Parameters
    ----------
    problem
        The data; the coefficients of its cells are the start and become the solution.
    groups
        Which rows and cells each entity has.
    room
        Of :func:`room_for`.
    margins
        Becomes each row's margin without its offset.
    """
    targets = problem.targets
    unconverged = 0
    for e in range(len(groups.row_ptr) - 1):
        span = Span(groups.row_ptr[e], groups.row_ptr[e + 1] - groups.row_ptr[e])
        cell = groups.cell_ptr[e]
        size = groups.cell_ptr[e + 1] - cell
        if _trains(targets, span):
            entity = Entity(span, cell, size, _lay_out(problem.rows, span, size, room))
            if not _newton(problem, entity, room):
                unconverged += 1
            for i in range(span.rows):
                margins[span.start + i] = room.totals[i] - targets.offsets[span.start + i]
        else:
            for j in range(cell, cell + size):
                problem.cells.coefficients[j] = 0.0
    return unconverged
