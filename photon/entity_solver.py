"""The compiled loop of :mod:`photon.random_effect`: importing this module brings numba along.

Entities whose objective is smooth, nearly all in practice, have a Newton of their own here; the others go
to :mod:`photon.entity_proximal`.
"""

from typing import Final, NamedTuple

import numpy as np

import photon.entity_proximal
import photon.entity_rows
import photon.loss
import photon.optimise.steps
import photon.row_passes
from photon.compiled import compiled, compiled_and_kept
from photon.entity_proximal import Cornered, proximal_newton
from photon.entity_rows import (
    MOST_CELLS,
    Data,
    Entity,
    Groups,
    Room,
    Sparse,
    add_derivatives,
    entity_of,
    multiply,
    trains,
)
from photon.row_passes import Span, Targets, Task, row_costs, row_slopes
from photon.rows import Floats

_FLATTER: Final = 0.6
_WITHOUT_VALUES: Final = 25
_ARMIJO: Final = 1e-4
_SHORTEST: Final = 2.0**-40


class Cells(NamedTuple):
    """Of each cell: the penalty ``½·quadratic·b² - linear·b`` and the coefficient ``b``."""

    quadratic: Floats
    linear: Floats
    coefficients: Floats


class Problem(NamedTuple):
    """Everything that is given.

    ``limits`` are the most iterations, and half the squared Newton decrement, relative to the weight of the rows,
    below which the step just taken is the last: Newton's error after a step is quadratic in it, so the coefficients
    are then exact to rounding.
    """

    task: Task
    rows: Sparse
    targets: Targets
    cells: Cells
    limits: tuple[int, float]


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
    add_derivatives(rows, entity, room)
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
        noise = 0.0
        for i in range(span.rows):
            part = room.slopes[i] * room.moves[i]
            slope += part
            noise += abs(part)
        if by_value:
            change += row_costs(task, targets, span, room.trial) - before
            accepted = change <= -_ARMIJO * length * decrement + 1e-14 * abs(before)
        else:
            # At the optimum the slope is what rounding leaves of the rows' parts.
            accepted = abs(slope) < np.inf and slope <= _FLATTER * decrement + 1e-13 * noise
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
    multiply(rows, entity, room, cells.coefficients, entity.cell, room.totals)
    weight = 0.0
    for i in range(span.rows):
        room.totals[i] += targets.offsets[span.start + i]
        weight += targets.weights[span.start + i]
    enough = problem.limits[1] * max(1.0, weight)
    row_slopes(problem.task, targets, span, room.totals, room.slopes, room.curvatures)
    for iteration in range(problem.limits[0]):
        decrement = _aim(rows, entity, cells, room)
        multiply(rows, entity, room, room.direction, 0, room.moves)
        if not _step(problem, entity, room, decrement, iteration >= _WITHOUT_VALUES):
            return 0.5 * decrement <= enough
        if 0.5 * decrement <= enough:
            return True
    return False


@compiled
def _without_offsets(targets: Targets, span: Span, totals: Floats, margins: Floats) -> None:
    for i in range(span.rows):
        margins[span.start + i] = totals[i] - targets.offsets[span.start + i]


@compiled
def _is_solved_here(targets: Targets, groups: Groups, number: int) -> bool:
    span = Span(groups.row_ptr[number], groups.row_ptr[number + 1] - groups.row_ptr[number])
    return groups.cell_ptr[number + 1] - groups.cell_ptr[number] <= MOST_CELLS and trains(targets, span)


@compiled_and_kept(photon.loss, photon.optimise.steps, photon.row_passes, photon.entity_rows)
def solve_each(problem: Problem, groups: Groups, room: Room, margins: Floats) -> int:
    """Solve every entity of a smooth objective and return how many did not converge.

    Entities whose rows have no weight, and those of more than ``MOST_CELLS`` cells, are left alone.

    Parameters
    ----------
    problem
        The data; the coefficients of its cells are the start and become the solution.
    groups
        Which rows and cells each entity has.
    room
        Of :func:`photon.entity_rows.room_for`.
    margins
        Becomes each row's margin without its offset.
    """
    unconverged = 0
    for e in range(len(groups.row_ptr) - 1):
        if _is_solved_here(problem.targets, groups, e):
            entity = entity_of(problem.rows, groups, e, room)
            if not _newton(problem, entity, room):
                unconverged += 1
            _without_offsets(problem.targets, entity.span, room.totals, margins)
    return unconverged


@compiled_and_kept(photon.loss, photon.optimise.steps, photon.row_passes, photon.entity_rows, photon.entity_proximal)
def solve_each_cornered(  # numba has no keywords alone
    data: Data, terms: Cornered, groups: Groups, room: Room, limits: tuple[int, float], margins: Floats
) -> int:
    """Solve every entity of an objective with L1, bounds or shifts; as :func:`solve_each` otherwise."""
    unconverged = 0
    for e in range(len(groups.row_ptr) - 1):
        if _is_solved_here(data.targets, groups, e):
            entity = entity_of(data.rows, groups, e, room)
            if not proximal_newton(data, terms, entity, room, limits):
                unconverged += 1
            _without_offsets(data.targets, entity.span, room.totals, margins)
    return unconverged
