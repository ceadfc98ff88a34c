"""Solves of a random effect: one small regularised GLM an entity, thousands a call, compiled.

For each entity on its own: ``min Σ wᵢ·loss(zᵢᵀb + offsetᵢ, yᵢ)`` plus its :class:`~photon.cell_terms.CellTerms`
over its rows and cells (:mod:`photon.entities`), by Newton with backtracking. One call of a general
optimiser an entity would spend a hundred times the arithmetic on calling, so the loop is compiled
(:mod:`photon.entity_solver`), on first use and never at import: a program that only scores does not pay for it.

Entities are independent, so any partitioning of them gives the same coefficients to the last bit.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from photon.cell_terms import CellTerms
from photon.entities import EntityRows
from photon.fixed_effect import ExampleSums, fixed_variances, solve_fixed
from photon.loss import RowLoss
from photon.optimise import NEWTON_LIMIT, Options
from photon.rows import Examples, Floats, Mask, SparseRows, as_columns

if TYPE_CHECKING:
    from photon.entity_rows import Data, Groups

ENTITY_OPTIONS = Options(max_iterations=100, tolerance=1e-9)
"""Of an entity; its tolerance is relative to the weight of its rows."""


@dataclass(frozen=True, slots=True)
class EntitySolution:
    """Coefficients a cell, margins a row (without offsets), and the number of entities that did not converge."""

    coefficients: Floats
    margins: Floats
    unconverged: int


def solve_entities(
    rows: EntityRows,
    offsets: Floats,
    terms: CellTerms,
    start: Floats,
    loss: RowLoss,
    options: Options = ENTITY_OPTIONS,
) -> EntitySolution:
    """Return the optimum of every entity.

    Parameters
    ----------
    rows
        Rows by entity; entities whose weights are all 0 get the prior's means, 0 without one.
    offsets
        ``(rows,)`` the margin that the other effects give each row; used instead of the rows' own.
    terms
        Penalties, bounds and priors of the cells.
    start
        ``(cells,)`` coefficients to start from.
    loss
        The task.
    options
        When to end.
    """
    rows = replace(rows, examples=replace(rows.examples, offsets=offsets))
    point = EntitySolution(np.array(start, dtype=np.float64), np.zeros(len(offsets)), 0)
    if not len(rows.entities):
        return point
    sizes, idle = np.diff(rows.cell_ptr), without_weight(rows)
    resting = np.repeat(idle, sizes)
    point.coefficients[resting] = terms.resting()[resting]
    unconverged = _solve_compiled(rows, terms, point, loss, options)
    for entity in np.flatnonzero(~idle & (sizes > NEWTON_LIMIT)):
        unconverged += _solve_large(rows, terms, point, loss, options, int(entity))
    uncounted = np.repeat(idle | (sizes > NEWTON_LIMIT), np.diff(rows.row_ptr))
    if uncounted.any():
        point.margins[uncounted] = cell_margins(rows, point.coefficients)[uncounted]
    return replace(point, unconverged=unconverged)


def without_weight(rows: EntityRows) -> Mask:
    """Return which entities have no row that trains."""
    has_weight = np.concatenate([[0], np.cumsum(rows.examples.weights > 0.0)])
    idle: Mask = has_weight[rows.row_ptr[1:]] == has_weight[rows.row_ptr[:-1]]
    return idle


def rows_by_cell(rows: EntityRows) -> SparseRows:
    """Return the features with a column a cell."""
    entries = rows.examples.rows
    entity = np.repeat(np.arange(len(rows.entities)), np.diff(rows.row_ptr))[entries.row_of]
    cells = as_columns(rows.cell_ptr[entity] + rows.local, len(rows.cells))
    return SparseRows(entries.indptr, cells, entries.values, len(rows.cells))


def cell_margins(rows: EntityRows, coefficients: Floats) -> Floats:
    """Return each row's margin under its entity's coefficients, without offsets."""
    return rows_by_cell(rows).dot(coefficients)


def _solve_compiled(rows: EntityRows, terms: CellTerms, point: EntitySolution, loss: RowLoss, options: Options) -> int:
    """Solve all but the large entities in place and return how many did not converge."""
    from photon.entity_proximal import Cornered  # noqa: PLC0415  # numba: half a second
    from photon.entity_rows import room_for  # noqa: PLC0415
    from photon.entity_solver import Cells, Problem, solve_each, solve_each_cornered  # noqa: PLC0415

    data, groups = _compiled_data(rows, loss)
    room, limits = room_for(groups), (options.max_iterations, options.tolerance)
    if terms.is_smooth:
        problem = Problem(*data, Cells(terms.quadratic, terms.linear, point.coefficients), limits)
        return solve_each(problem, groups, room, point.margins)
    cornered = Cornered(
        terms.l2,
        terms.l1,
        terms.lower / terms.factors,
        terms.upper / terms.factors,
        terms.factors,
        terms.shifts,
        terms.means,
        terms.precisions,
        terms.anchors,
        point.coefficients,
    )
    unconverged = solve_each_cornered(data, cornered, groups, room, limits, point.margins)
    # The way back from normalised coefficients may end a rounding error beyond a bound.
    np.clip(point.coefficients, terms.lower, terms.upper, out=point.coefficients)
    return unconverged


def _compiled_data(rows: EntityRows, loss: RowLoss) -> "tuple[Data, Groups]":
    from photon.entity_rows import Data, Groups, Sparse  # noqa: PLC0415
    from photon.row_passes import Targets, task_of  # noqa: PLC0415

    examples = rows.examples
    data = Data(
        task_of(loss),
        Sparse(examples.rows.indptr, rows.local, examples.rows.values),
        Targets(examples.labels, examples.weights, examples.offsets),
    )
    return data, Groups(rows.row_ptr, rows.cell_ptr)


def _of_entity(rows: EntityRows, entity: int) -> Examples:
    """Return the rows of one entity, its cells as columns."""
    first, last = rows.row_ptr[entity], rows.row_ptr[entity + 1]
    own, entries = rows.examples.rows.slice(first, last), rows.examples.rows.indptr
    size = int(rows.cell_ptr[entity + 1] - rows.cell_ptr[entity])
    examples = rows.examples
    return Examples(
        SparseRows(own.indptr, rows.local[entries[first] : entries[last]], own.values, size),
        examples.labels[first:last],
        examples.weights[first:last],
        examples.offsets[first:last],
    )


def _solve_large(
    rows: EntityRows, terms: CellTerms, point: EntitySolution, loss: RowLoss, options: Options, entity: int
) -> bool:
    """Solve one entity of more cells than a dense Hessian is for, in place; return whether it did not converge."""
    own = slice(rows.cell_ptr[entity], rows.cell_ptr[entity + 1])
    sums = ExampleSums(_of_entity(rows, entity), loss)
    large = replace(options, optimizer="auto", max_iterations=10 * options.max_iterations)
    solution = solve_fixed(sums, terms.of_entity(entity), point.coefficients[own], large)
    point.coefficients[own] = solution.coefficients
    return solution.result.reason != "converged"


def entity_variances(
    rows: EntityRows,
    offsets: Floats,
    terms: CellTerms,
    coefficients: Floats,
    loss: RowLoss,
    kind: Literal["simple", "full"],
) -> Floats:
    """Return the variance of each cell's coefficient at the optimum: see :func:`photon.fixed_effect.fixed_variances`.

    An entity without data has the variances of its penalty or prior.
    """
    from photon.entity_rows import room_for  # noqa: PLC0415
    from photon.entity_variances import Curvature, variances_each  # noqa: PLC0415

    rows = replace(rows, examples=replace(rows.examples, offsets=offsets))
    variances = np.empty(len(coefficients))
    if not len(rows.entities):
        return variances
    data, groups = _compiled_data(rows, loss)
    has_anchor = terms.anchors >= 0
    quadratic, anchor_l2 = terms.quadratic, np.zeros(len(terms.anchors))
    anchor_l2[has_anchor] = terms.l2[terms.anchors[has_anchor]]
    quadratic[terms.anchors[has_anchor]] -= anchor_l2[has_anchor]
    curvature = Curvature(quadratic, terms.shifts, terms.anchors, anchor_l2, coefficients)
    variances_each(data, curvature, groups, room_for(groups), kind == "full", variances)
    for entity in np.flatnonzero(np.diff(rows.cell_ptr) > NEWTON_LIMIT):
        own = slice(rows.cell_ptr[entity], rows.cell_ptr[entity + 1])
        sums, regularisation = ExampleSums(_of_entity(rows, int(entity)), loss), terms.of_entity(int(entity))
        # An entity of so many features cannot have its Hessian inverted.
        found = fixed_variances(sums, regularisation, coefficients[own], "simple")
        variances[own] = np.inf if found is None else found
    return variances
