"""The compiled solve of an entity with L1, bounds or shifts: proximal Newton.

Around a point the smooth part is replaced by its quadratic model; the model plus L1 within the bounds is
minimised by coordinate descent, and a line search on the whole objective takes the step [1]_. Coefficients are
normalised ones, ``b'``; the rows see ``T b'`` (:mod:`photon.normalise`).

References
----------
.. [1] J. D. Lee, Y. Sun and M. A. Saunders, "Proximal Newton-type methods for minimizing composite
   functions", SIAM Journal on Optimization 24 (2014).
"""

from typing import Final, NamedTuple

import numpy as np

from photon.compiled import compiled
from photon.entity_rows import Data, Entity, Room, add_derivatives, multiply
from photon.row_passes import row_costs, row_slopes
from photon.rows import Floats, Longs

_ARMIJO: Final = 1e-4
_SHORTEST: Final = 2.0**-40
_INNER_SWEEPS: Final = 2_000


class Cornered(NamedTuple):
    """Of each cell, or of each entity (``anchors``): see :class:`photon.cell_terms.CellTerms`.

    The bounds are of normalised coefficients here.
    """

    l2: Floats
    l1: Floats
    lower: Floats
    upper: Floats
    factors: Floats
    shifts: Floats
    means: Floats
    precisions: Floats
    anchors: Longs
    coefficients: Floats


@compiled
def _turn(terms: Cornered, entity: Entity, anchor: int, vector: Floats, turned: Floats) -> None:
    """Write ``T v`` into ``turned``."""
    taken_up = 0.0
    for j in range(entity.size):
        cell = entity.cell + j
        turned[j] = terms.factors[cell] * vector[j]
        taken_up += terms.shifts[cell] * turned[j]
    if anchor >= 0:
        turned[anchor] -= taken_up


@compiled
def _unshift(terms: Cornered, entity: Entity, anchor: int, room: Room) -> None:
    """Turn gradient and Hessian to shifted features; shifts are 0 at the intercept, whose row each pass reads."""
    size, hessian, gradient = entity.size, room.hessian, room.gradient
    for j in range(size):
        shift = terms.shifts[entity.cell + j]
        if shift != 0.0:
            gradient[j] -= shift * gradient[anchor]
            for k in range(size):
                hessian[j, k] -= shift * hessian[anchor, k]
    for j in range(size):
        shift = terms.shifts[entity.cell + j]
        if shift != 0.0:
            for k in range(size):
                hessian[k, j] -= shift * hessian[k, anchor]


@compiled
def _turn_back(terms: Cornered, entity: Entity, anchor: int, room: Room) -> None:
    """Replace gradient and Hessian ``g``, ``H`` (lower half) by ``Tᵀg`` and all of ``TᵀHT``."""
    size, hessian = entity.size, room.hessian
    for j in range(size):
        for k in range(j):
            hessian[k, j] = hessian[j, k]
    if anchor >= 0:
        _unshift(terms, entity, anchor, room)
    for j in range(size):
        factor = terms.factors[entity.cell + j]
        room.gradient[j] *= factor
        for k in range(size):
            hessian[j, k] *= factor * terms.factors[entity.cell + k]


@compiled
def _derive(data: Data, terms: Cornered, entity: Entity, anchor: int, room: Room) -> None:
    """Leave gradient and Hessian of the smooth part at ``room.point``."""
    row_slopes(data.task, data.targets, entity.span, room.totals, room.slopes, room.curvatures)
    _turn(terms, entity, anchor, room.point, room.turned)
    for j in range(entity.size):
        cell = entity.cell + j
        for k in range(j):
            room.hessian[j, k] = 0.0
        room.hessian[j, j] = terms.precisions[cell]
        room.gradient[j] = terms.precisions[cell] * (room.turned[j] - terms.means[cell])
    add_derivatives(data.rows, entity, room)
    _turn_back(terms, entity, anchor, room)
    for j in range(entity.size):
        cell = entity.cell + j
        room.hessian[j, j] += terms.l2[cell]
        room.gradient[j] += terms.l2[cell] * room.point[j]


@compiled
def _model_minimum(terms: Cornered, entity: Entity, room: Room) -> float:
    """Leave the way to the model's minimum in ``room.direction``; return how far below the point it is."""
    size, direction, bent = entity.size, room.direction, room.turned
    largest = 0.0
    for j in range(size):
        direction[j] = 0.0
        bent[j] = 0.0
        largest = max(largest, room.hessian[j, j])
    for _ in range(_INNER_SWEEPS):
        moved = 0.0
        for j in range(size):
            cell = entity.cell + j
            curvature = room.hessian[j, j]
            if not curvature > 0.0:
                curvature = largest if largest > 0.0 else 1.0
            here = room.point[j] + direction[j]
            there = here - (room.gradient[j] + bent[j]) / curvature
            threshold = terms.l1[cell] / curvature
            there = max(there - threshold, 0.0) + min(there + threshold, 0.0)
            there = min(max(there, terms.lower[cell]), terms.upper[cell])
            change = there - here
            if change != 0.0:
                direction[j] += change
                for k in range(size):
                    bent[k] += change * room.hessian[k, j]
                moved = max(moved, curvature * change * change)
        if moved <= 1e-24 * max(1.0, largest):
            break
    lowered = 0.0
    for j in range(size):
        cell = entity.cell + j
        lowered -= direction[j] * (room.gradient[j] + 0.5 * bent[j])
        lowered -= terms.l1[cell] * (abs(room.point[j] + direction[j]) - abs(room.point[j]))
    return lowered


@compiled
def _cost(data: Data, terms: Cornered, entity: Entity, anchor: int, room: Room) -> float:
    """Return the objective at ``room.candidate`` with the margins ``room.trial``."""
    _turn(terms, entity, anchor, room.candidate, room.turned)
    result = row_costs(data.task, data.targets, entity.span, room.trial)
    for j in range(entity.size):
        cell = entity.cell + j
        apart, normalised = room.turned[j] - terms.means[cell], room.candidate[j]
        result += 0.5 * (terms.precisions[cell] * apart * apart + terms.l2[cell] * normalised * normalised)
        result += terms.l1[cell] * abs(normalised)
    return result


@compiled
def _search(data: Data, terms: Cornered, entity: Entity, room: Room, before: tuple[float, float]) -> float:
    """Move point and margins along the direction; return the value there, NaN where no length lowers it."""
    current, lowered = before
    anchor = terms.anchors[entity.number] - entity.cell if terms.anchors[entity.number] >= 0 else -1
    _turn(terms, entity, anchor, room.direction, room.turned)
    multiply(data.rows, entity, room, room.turned, 0, room.moves)
    length = 1.0
    while length >= _SHORTEST:
        for j in range(entity.size):
            room.candidate[j] = room.point[j] + length * room.direction[j]
        for i in range(entity.span.rows):
            room.trial[i] = room.totals[i] + length * room.moves[i]
        value = _cost(data, terms, entity, anchor, room)
        if value <= current - _ARMIJO * length * lowered + 1e-14 * abs(current):
            for j in range(entity.size):
                room.point[j] = room.candidate[j]
            for i in range(entity.span.rows):
                room.totals[i] = room.trial[i]
            return value
        length *= 0.5
    return np.nan


@compiled
def proximal_newton(data: Data, terms: Cornered, entity: Entity, room: Room, limits: tuple[int, float]) -> bool:
    """Move the coefficients of one entity to the optimum, and ``room.totals`` with them."""
    span, size = entity.span, entity.size
    anchor = terms.anchors[entity.number] - entity.cell if terms.anchors[entity.number] >= 0 else -1
    taken_up, weight = 0.0, 0.0
    for j in range(size):
        cell = entity.cell + j
        room.point[j] = terms.coefficients[cell] / terms.factors[cell]
        taken_up += terms.shifts[cell] * terms.coefficients[cell]
    if anchor >= 0:
        room.point[anchor] += taken_up
    for j in range(size):
        cell = entity.cell + j
        room.point[j] = min(max(room.point[j], terms.lower[cell]), terms.upper[cell])
        room.candidate[j] = room.point[j]
    _turn(terms, entity, anchor, room.point, room.turned)
    multiply(data.rows, entity, room, room.turned, 0, room.totals)
    for i in range(span.rows):
        room.totals[i] += data.targets.offsets[span.start + i]
        room.trial[i] = room.totals[i]
        weight += data.targets.weights[span.start + i]
    current, converged = _cost(data, terms, entity, anchor, room), False
    for _ in range(limits[0]):
        _derive(data, terms, entity, anchor, room)
        lowered = _model_minimum(terms, entity, room)
        converged = lowered <= limits[1] * max(1.0, weight, abs(current))
        value = _search(data, terms, entity, room, (current, lowered))
        if np.isnan(value):
            break
        current = value
        if converged:
            break
    _turn(terms, entity, anchor, room.point, room.turned)
    for j in range(size):
        terms.coefficients[entity.cell + j] = room.turned[j]
    return converged
