"""What a task does with the entities of its partition: solve them, and say what is known of them afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from photon.cell_terms import CellTerms
from photon.covariance import untransformed
from photon.earlier import KnownCells, kept_and_renewed, prior_of_cells
from photon.entities import EntityRows, with_weights
from photon.loss import RowLoss
from photon.model import RandomEffect
from photon.objective import data_loss
from photon.optimise import Options
from photon.posterior import idle_cells
from photon.random_effect import cell_margins, entity_variances, solve_entities, without_weight
from photon.regularisation import Regularisation
from photon.rows import Floats, Mask
from photon.sampling import trained_rows
from photon.settings import CoordinateSettings
from photon.spark.backend import Partition, Solved, Sums, align, heldout
from photon.spark.blocks import Block
from photon.subspace import Mixture, Path, cost, penalty_along


@dataclass(frozen=True, slots=True)
class EntityTask:
    """A random effect as the executors need it; it travels to the workers as a value.

    Parameters
    ----------
    settings, loss, regularisation, intercept
        What to fit; the intercept is a column of the shard, or None.
    active
        Roles that train.
    window
        Directions that an accelerated descent remembers.
    pending
        The move that the coefficients have still to make.
    begins
        Whether a descent begins, which forgets the steps before.
    factor
        ``L`` of the prior in whose coordinates the features are (:mod:`photon.covariance`), if they are.
    """

    settings: CoordinateSettings
    loss: RowLoss
    regularisation: Regularisation
    intercept: int | None
    active: frozenset[int]
    window: int
    pending: Mixture
    begins: bool
    factor: Floats | None = None

    def solve(self, found: Partition) -> Solved:
        """Return every entity's optimum with the other scores as offsets."""
        block = found.block
        rows, trained = self._rows(block)
        known = _of_trained(found.known, rows, trained)
        path = self._start(found, known)
        others = align(block, found.arrived) - cell_margins(rows, path.point)
        offsets = block.examples.offsets + others
        own = np.searchsorted(rows.cells, trained.cells)
        terms = self._terms(trained, None if known is None else known.take(own))
        options = Options(self.settings.optimizer, self.settings.tolerance, self.settings.max_iterations)
        solution = solve_entities(trained, offsets, terms, path.point[own], self.loss, options)
        coefficients = np.zeros(len(rows.cells))
        coefficients[own] = solution.coefficients
        path, margins = path.arrived(coefficients), offsets + solution.margins
        sums = Sums(
            data_loss=data_loss(self.loss, margins, rows.examples.labels, rows.examples.weights),
            penalty=terms.value(solution.coefficients),
            along=penalty_along(path, self._terms(rows, known)),
            unconverged=solution.unconverged,
            heldout=heldout(block, [margins], self.active, self.loss),
        )
        return Solved(path, others + solution.margins, sums)

    def costs(self, found: Partition, moves: Sequence[Mixture]) -> list[float]:
        """Return penalty and prior after each move."""
        rows, trained = self._rows(found.block)
        path, terms = solved_of(found).path, self._terms(rows, _of_trained(found.known, rows, trained))
        return [cost(path, move, terms) for move in moves]

    def effect(self, found: Partition) -> RandomEffect:
        """Return the entities with coefficients, and with variances if they are wanted; the earlier ones among them.

        Variances are taken with the other scores as offsets, so the scores that the fit ended with must have arrived.
        """
        rows, trained = self._rows(found.block)
        coefficients = solved_of(found).path.at(self.pending)
        if self.factor is not None:
            coefficients = untransformed(rows.cells, coefficients, self.factor)
        own = np.searchsorted(rows.cells, trained.cells)
        # Where an entity has data, a coefficient of 0 is a finding; elsewhere it is nothing.
        kept, idle = coefficients != 0.0, without_weight(trained)
        kept[own] |= np.repeat(~idle, np.diff(trained.cell_ptr))
        variances = None
        if self.settings.variances != "none":
            others = align(found.block, found.arrived) - cell_margins(rows, coefficients)
            variances = np.zeros(len(rows.cells))
            variances[own] = entity_variances(
                trained,
                found.block.examples.offsets + others,
                self._terms(trained, None if found.known is None else found.known.take(own)),
                coefficients[own],
                self.loss,
                self.settings.variances,
            )
        fresh = RandomEffect(
            name=self.settings.name,
            shard=self.settings.shard,
            entity=self.settings.entity_key,
            columns=self.regularisation.columns,
            entities=rows.entities,
            cells=rows.cells[kept],
            coefficients=coefficients[kept],
            variances=None if variances is None else variances[kept],
        )
        return kept_and_renewed(found.earlier, fresh, rows.cells, idle, self.settings.prior_weight)

    def rested(self, found: Partition) -> Solved:
        """Return the coefficients as they are, of entities without a row that trains as they are known."""
        rows, _ = self._rows(found.block)
        solved = solved_of(found)
        point = np.where(_idle_cells(rows), _first(found, found.known), solved.path.at(self.pending))
        return replace(solved, path=Path.start(point))

    def first(self, found: Partition) -> Floats:
        """Return what a fit starts from, cell by cell: 0, or what an earlier model says of the cells that train."""
        known = None if found.known is None else _of_trained(found.known, *self._rows(found.block))
        return _first(found, known)

    def _rows(self, block: Block) -> tuple[EntityRows, EntityRows]:
        """Return all rows, weighing what they weigh in this fit, and the rows and cells that train."""
        rows = with_weights(block.rows, block.active_weights(self.active))
        return rows, trained_rows(rows, block.uids, self.settings, self.intercept)

    def _terms(self, rows: EntityRows, known: KnownCells | None) -> CellTerms:
        plain = CellTerms.of(rows, self.regularisation)
        if known is None:
            return plain
        if self.factor is not None:
            # In units of the prior what rests may be anywhere, so that its penalty would drown the objective.
            plain = replace(plain, l2=np.where(_idle_cells(rows), 0.0, plain.l2))
        return prior_of_cells(plain, known, self.settings.prior_weight)

    def _start(self, found: Partition, known: KnownCells | None) -> Path:
        if found.solved is None:
            return Path.start(_first(found, known))
        before = found.solved.path
        return Path.start(before.at(self.pending)) if self.begins else before.moved(self.pending, self.window)


def _first(found: Partition, known: KnownCells | None) -> Floats:
    return np.zeros(len(found.block.rows.cells)) if known is None else known.coefficients


def _idle_cells(rows: EntityRows) -> Mask:
    return idle_cells(rows.row_ptr, rows.cell_ptr, rows.examples.weights)


def _of_trained(known: KnownCells | None, rows: EntityRows, trained: EntityRows) -> KnownCells | None:
    """Return what an earlier model says of the cells that train, and nothing of those that the fit leaves out."""
    if known is None or len(trained.cells) == len(rows.cells):
        return known
    is_trained = np.isin(rows.cells, trained.cells)
    return KnownCells(np.where(is_trained, known.coefficients, 0.0), np.where(is_trained, known.variances, 0.0))


def solved_of(found: Partition) -> Solved:
    """Return what an update left; RuntimeError if there was none."""
    if found.solved is None:
        raise RuntimeError("a random effect that was never fitted has no coefficients")
    return found.solved
