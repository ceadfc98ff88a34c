"""Solves of a random effect: one small penalised GLM an entity, thousands a call, compiled.

For each entity on its own: ``min Σ wᵢ·loss(zᵢᵀb + offsetᵢ, yᵢ) + ½ Σ λⱼ bⱼ²`` over its rows and cells
(:mod:`photon.entities`), by Newton with backtracking. One call of a general optimiser an entity would
spend a hundred times the arithmetic on calling, so the loop is compiled (:mod:`photon.entity_solver`), on
first use and never at import: a program that only scores does not pay for it.

Entities are independent, so any partitioning of them gives the same coefficients to the last bit.
"""

from dataclasses import dataclass

import numpy as np

from photon.entities import EntityRows
from photon.loss import RowLoss
from photon.rows import Floats


@dataclass(frozen=True, slots=True)
class EntitySolution:
    """Coefficients a cell, margins a row (without offsets), and the number of entities that did not converge."""

    coefficients: Floats
    margins: Floats
    unconverged: int


def solve_entities(rows: EntityRows, offsets: Floats, cell_l2: Floats, start: Floats, loss: RowLoss) -> EntitySolution:
    """Return the optimum of every entity.

    Parameters
    ----------
    rows
        Rows by entity; entities whose weights are all 0 get coefficients of 0.
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
    if not len(rows.entities):
        return EntitySolution(coefficients, margins, 0)
    from photon.entity_solver import Cells, Groups, Problem, Sparse, room_for, solve_each  # noqa: PLC0415  # half a second
    from photon.row_passes import Targets, task_of  # noqa: PLC0415

    examples = rows.examples
    problem = Problem(
        task_of(loss),
        Sparse(examples.rows.indptr, rows.local, examples.rows.values),
        Targets(examples.labels, examples.weights, offsets),
        Cells(cell_l2, np.zeros(len(cell_l2)), coefficients),
    )
    groups = Groups(rows.row_ptr, rows.cell_ptr)
    unconverged = solve_each(problem, groups, room_for(groups), margins)
    return EntitySolution(coefficients, margins, unconverged)
