"""The rows of one entity as compiled code sees them, and room to work in.

Plain loops over plain arrays, as a compiler likes them: room is made once a call, and an entity's rows are
laid out densely where that costs little, for the passes over them to be straight.
"""

from typing import Final, NamedTuple

import numpy as np

from photon.compiled import compiled, compiled_freely
from photon.optimise import NEWTON_LIMIT
from photon.row_passes import Span, Targets, Task
from photon.rows import Floats, Ints, Longs

DENSE_CELLS: Final = 1 << 18
"""Largest dense copy of an entity's rows (2 MiB)."""


MOST_CELLS: Final = NEWTON_LIMIT
"""Most cells of an entity whose Hessian is made; :mod:`photon.random_effect` solves the few larger ones."""


class Sparse(NamedTuple):
    """Sparse rows; ``local`` counts an entry's cell from the first of its entity."""

    indptr: Longs
    local: Ints | Longs
    values: Floats


class Data(NamedTuple):
    """Rows and what they cost."""

    task: Task
    rows: Sparse
    targets: Targets


class Groups(NamedTuple):
    """Where the rows and the cells of each entity begin."""

    row_ptr: Longs
    cell_ptr: Longs


class Room(NamedTuple):
    """Room for the largest entity: by row, by cell, by pair of cells, and its rows densely, a cell after the other."""

    totals: Floats
    trial: Floats
    moves: Floats
    slopes: Floats
    curvatures: Floats
    gradient: Floats
    direction: Floats
    point: Floats
    candidate: Floats
    turned: Floats
    hessian: Floats
    dense: Floats


class Entity(NamedTuple):
    """One entity: its number, rows, first cell, number of cells, and whether its rows stand in ``Room.dense``."""

    number: int
    span: Span
    cell: int
    size: int
    is_dense: bool


@compiled
def lay_out(rows: Sparse, span: Span, size: int, room: Room) -> bool:
    """Copy the rows of an entity to ``room.dense`` and return True, unless most of the copy would be zeros."""
    first, last = rows.indptr[span.start], rows.indptr[span.start + span.rows]
    length = span.rows * size
    if length > len(room.dense) or length > 4 * (last - first):
        return False
    for p in range(length):
        room.dense[p] = 0.0
    for i in range(span.rows):
        for p in range(rows.indptr[span.start + i], rows.indptr[span.start + i + 1]):
            room.dense[rows.local[p] * span.rows + i] += rows.values[p]
    return True


@compiled
def entity_of(rows: Sparse, groups: Groups, number: int, room: Room) -> Entity:
    """Return one entity, its rows laid out."""
    span = Span(groups.row_ptr[number], groups.row_ptr[number + 1] - groups.row_ptr[number])
    cell = groups.cell_ptr[number]
    size = groups.cell_ptr[number + 1] - cell
    return Entity(number, span, cell, size, lay_out(rows, span, size, room))


@compiled
def multiply(rows: Sparse, entity: Entity, room: Room, vector: Floats, first: int, products: Floats) -> None:
    """Write each row's product with ``vector[first:]`` into ``products``."""
    span, size = entity.span, entity.size
    if entity.is_dense:
        dense = room.dense[: size * span.rows].reshape((size, span.rows))
        for i in range(span.rows):
            products[i] = 0.0
        for j in range(size):
            factor = vector[first + j]
            for i in range(span.rows):
                products[i] += factor * dense[j, i]
    else:
        for i in range(span.rows):
            total = 0.0
            for p in range(rows.indptr[span.start + i], rows.indptr[span.start + i + 1]):
                total += rows.values[p] * vector[first + rows.local[p]]
            products[i] = total


@compiled_freely
def _inner(one: Floats, other: Floats, length: int) -> float:
    total = 0.0
    for i in range(length):
        total += one[i] * other[i]
    return total


@compiled
def add_derivatives(rows: Sparse, entity: Entity, room: Room) -> None:
    """Add the data part of gradient and Hessian; of the Hessian the lower half only. Uses ``room.trial``."""
    span, size, gradient, hessian = entity.span, entity.size, room.gradient, room.hessian
    if entity.is_dense:
        dense = room.dense[: size * span.rows].reshape((size, span.rows))
        for j in range(size):
            gradient[j] += _inner(room.slopes, dense[j], span.rows)
            for i in range(span.rows):
                room.trial[i] = room.curvatures[i] * dense[j, i]
            for k in range(j + 1):
                hessian[j, k] += _inner(room.trial, dense[k], span.rows)
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
def trains(targets: Targets, span: Span) -> bool:
    """Return whether any row of an entity has weight."""
    for i in range(span.start, span.start + span.rows):  # noqa: SIM110  # numba compiles a loop sooner
        if targets.weights[i] > 0.0:
            return True
    return False


def room_for(groups: Groups) -> Room:
    """Return room for the largest of the entities."""
    rows, cells = np.diff(groups.row_ptr), np.diff(groups.cell_ptr)
    small = cells <= MOST_CELLS
    rows, cells = rows[small], cells[small]
    dense = rows * cells
    most_rows, most_cells = int(rows.max(initial=0)), int(cells.max(initial=0))
    totals, trial, moves, slopes, curvatures = np.empty((5, most_rows))
    gradient, direction, point, candidate, turned = np.empty((5, most_cells))
    hessian = np.empty((most_cells, most_cells))
    return Room(
        totals=totals,
        trial=trial,
        moves=moves,
        slopes=slopes,
        curvatures=curvatures,
        gradient=gradient,
        direction=direction,
        point=point,
        candidate=candidate,
        turned=turned,
        hessian=hessian,
        dense=np.empty(int(dense[dense <= DENSE_CELLS].max(initial=0))),
    )
