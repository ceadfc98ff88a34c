"""Compiled variances of the coefficients of each entity, by the curvature of its objective."""

from typing import Final, NamedTuple

import numpy as np

import photon.entity_rows
import photon.loss
import photon.optimise.steps
import photon.row_passes
from photon.compiled import compiled, compiled_and_kept
from photon.entity_rows import MOST_CELLS, Data, Entity, Groups, Room, add_derivatives, entity_of, multiply
from photon.row_passes import row_slopes
from photon.rows import Floats, Longs

_PART: Final = 1e-16
"""Square of the smallest part, in units where all curvatures are 1, that a column has in a direction."""


class Curvature(NamedTuple):
    """Of each cell: curvature of penalty and prior, shift and coefficient; of each entity: its intercept.

    ``anchor_l2`` is the intercept's own penalty, which shifts spread over the other cells.
    """

    quadratic: Floats
    shifts: Floats
    anchors: Longs
    anchor_l2: Floats
    coefficients: Floats


@compiled
def _derive(data: Data, curvature: Curvature, entity: Entity, room: Room) -> None:
    """Leave the lower half of the Hessian at the coefficients in ``room.hessian``."""
    span, anchor = entity.span, curvature.anchors[entity.number]
    multiply(data.rows, entity, room, curvature.coefficients, entity.cell, room.totals)
    for i in range(span.rows):
        room.totals[i] += data.targets.offsets[span.start + i]
    row_slopes(data.task, data.targets, span, room.totals, room.slopes, room.curvatures)
    for j in range(entity.size):
        cell = entity.cell + j
        own = 1.0 if cell == anchor else curvature.shifts[cell]
        for k in range(j + 1):
            other = 1.0 if entity.cell + k == anchor else curvature.shifts[entity.cell + k]
            room.hessian[j, k] = curvature.anchor_l2[entity.number] * own * other if anchor >= 0 else 0.0
        room.hessian[j, j] += curvature.quadratic[cell]
        room.gradient[j] = 0.0
    add_derivatives(data.rows, entity, room)


@compiled
def _inverse_diagonal(entity: Entity, room: Room, variances: Floats) -> None:
    """Write the diagonal of the inverse: squared columns of the inverse of the Cholesky factor.

    A pivot of 0 is a direction without curvature, a column with a share of those before it: whichever of them have a
    part in it have an infinite variance, and to the others it is nothing.
    """
    size, factor, diagonal = entity.size, room.hessian, room.gradient
    for j in range(size):
        diagonal[j] = factor[j, j]
        pivot = factor[j, j]
        for k in range(j):
            pivot -= factor[j, k] * factor[j, k]
        root = np.sqrt(pivot) if pivot > 1e-14 * abs(factor[j, j]) else 0.0
        for i in range(j + 1, size):
            entry = factor[i, j]
            for k in range(j):
                entry -= factor[i, k] * factor[j, k]
            factor[i, j] = entry / root if root > 0.0 else 0.0
        factor[j, j] = root
    for j in range(size):
        total = 0.0
        for i in range(j, size):
            entry = 1.0 if i == j else 0.0
            for k in range(j, i):
                entry -= factor[i, k] * room.direction[k]
            if factor[i, i] > 0.0:
                room.direction[i] = entry / factor[i, i]
                total += room.direction[i] * room.direction[i]
            else:
                room.direction[i] = 0.0
                if i == j or entry * entry * diagonal[j] > _PART * diagonal[i]:
                    total = np.inf
        variances[entity.cell + j] = total


@compiled_and_kept(photon.loss, photon.optimise.steps, photon.row_passes, photon.entity_rows)
def variances_each(  # numba has no keywords alone
    data: Data,
    curvature: Curvature,
    groups: Groups,
    room: Room,
    full: bool,  # noqa: FBT001
    variances: Floats,
) -> None:
    """Write the variance of every cell; entities of more than ``MOST_CELLS`` cells are left alone.

    Parameters
    ----------
    data, curvature, groups
        The objective at the optimum.
    room
        Of :func:`photon.entity_rows.room_for`.
    full
        The diagonal of the inverse of the Hessian rather than the inverse of its diagonal.
    variances
        ``(cells,)``, to be written.
    """
    for e in range(len(groups.row_ptr) - 1):
        if groups.cell_ptr[e + 1] - groups.cell_ptr[e] <= MOST_CELLS:
            entity = entity_of(data.rows, groups, e, room)
            _derive(data, curvature, entity, room)
            if full:
                _inverse_diagonal(entity, room, variances)
            else:
                for j in range(entity.size):
                    variances[entity.cell + j] = 1.0 / room.hessian[j, j]
