"""A fixed effect on Spark: cached blocks by uid, a tree-aggregated pass an evaluation, the optimiser at the driver."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from operator import add
from typing import TypeVar

import numpy as np
from pyspark import StorageLevel

from photon.descent import Fitness, Update
from photon.fixed_effect import fixed_variances, solve_fixed
from photon.model import FixedEffect
from photon.objective import Derivatives, data_loss, row_derivatives, row_hessian_diagonal, row_products
from photon.optimise import Memory, Options
from photon.regularisation import Regularisation
from photon.rows import Examples, Floats
from photon.sampling import fixed_weights
from photon.settings import CoordinateSettings
from photon.spark.backend import Context, Others, Partition, Table, active_examples, align, gather, sent, together
from photon.spark.blocks import Keyed
from photon.spark.pieces import in_pieces
from photon.subspace import Mixture, Path, cost, penalty_along

SumT = TypeVar("SumT")


class SparkFixed:
    """A fixed effect and its rows."""

    def __init__(
        self,
        context: Context,
        settings: CoordinateSettings,
        blocks: Table,
        regularisation: Regularisation,
        earlier: FixedEffect | None = None,
    ) -> None:
        self.context, self.settings, self.earlier = context, settings, earlier
        self.blocks, self.regularisation = blocks, regularisation
        self.path, self.memory = Path.start(self._first()), Memory()
        self.others: Table | None = None

    @property
    def name(self) -> str:
        """Name in settings and reports."""
        return self.settings.name

    @property
    def coefficients(self) -> Floats:
        """The coefficients as they are now."""
        return self.path.point

    def update(self, scores: Table | None) -> Update[Table | None]:
        """Fit with the other scores as offsets; the renewed sums are sent when the next update asks."""
        options = Options(self.settings.optimizer, self.settings.tolerance, self.settings.max_iterations)
        sums = SparkSums(self.context, self.settings, together(self.context, self.blocks, self._align(scores)))
        solution = solve_fixed(sums, self.regularisation, self.coefficients, options, self.memory)
        self.path, self.memory = self.path.arrived(solution.coefficients), solution.result.memory
        fitness = Fitness(
            # What the solve saw is the loss of its sample.
            data_loss=solution.data_loss if not self.settings.samples_rows else sums.whole_loss(self.coefficients),
            penalty=solution.penalty,
            unconverged=int(solution.result.reason != "converged"),
            evaluations=solution.result.evaluations,
            gradient_norm=solution.result.gradient_norm,
        )
        return Update(sent(self.rows(), self.context, self.totals_of()), fitness)

    def rows(self) -> Table:
        """Return the blocks beside what the last update left."""
        return together(self.context, self.blocks, self.others)

    def totals_of(self) -> Callable[[Partition], Floats]:
        """Return how the executors find the sums of scores of :meth:`rows`."""
        coefficients = self.coefficients

        def totals(found: Partition) -> Floats:
            own = found.block.examples.rows.dot(coefficients)
            return own if found.others is None else found.others.totals + own

        return totals

    def margins_of(self) -> Callable[[Partition], Floats]:
        """Return how the executors find the effect's own margins in :meth:`rows`."""
        coefficients = self.coefficients
        return lambda found: found.block.examples.rows.dot(coefficients)

    def at_start(self, scores: Table | None) -> Table:
        """Return the blocks beside what a fit starts from, and beside the sums of the scores of the effects before."""
        return together(self.context, self.blocks, scores)

    def start_of(self) -> Callable[[Partition], Floats]:
        """Return how the executors find the sums of scores of :meth:`at_start`, those of this effect added."""
        coefficients = self._first()

        def totals(found: Partition) -> Floats:
            return align(found.block, found.arrived) + found.block.examples.rows.dot(coefficients)

        return totals

    def begin(self, *, afresh: bool) -> None:
        """Forget the steps of an earlier descent, and the coefficients too if the next begins afresh."""
        self.path = Path.start(self._first() if afresh else self.path.point)
        self.memory = Memory() if afresh else self.memory

    def penalty_along(self) -> Derivatives:
        """Return the penalty along the last steps."""
        return penalty_along(self.path, self.regularisation)

    def penalties(self, moves: Sequence[Mixture]) -> list[float]:
        """Return the penalty after each move."""
        return [cost(self.path, move, self.regularisation) for move in moves]

    def move(self, mixture: Mixture) -> None:
        """Move along the last steps."""
        self.path = self.path.moved(mixture, self.context.window)

    def variances(self, scores: Table | None) -> Floats | None:
        """Return the variance of each coefficient, with the other scores as offsets; None where none are wanted."""
        if self.settings.locked:
            return None if self.earlier is None else self.earlier.variances
        others = self._others(scores)
        sums = SparkSums(self.context, self.settings, together(self.context, self.blocks, others))
        return fixed_variances(sums, self.regularisation, self.coefficients, self.settings.variances)

    def release(self) -> None:
        """Let go of what is cached."""
        self.blocks.unpersist()
        if self.others is not None:
            self.others.unpersist()

    def _first(self) -> Floats:
        return np.zeros(self.regularisation.columns) if self.earlier is None else self.earlier.coefficients

    def _others(self, scores: Table | None) -> Table:
        coefficients = self.coefficients

        def arrive(partition: int, records: Iterable[Keyed]) -> Iterator[Keyed]:
            found = gather(records)
            totals = align(found.block, found.arrived) - found.block.examples.rows.dot(coefficients)
            yield from in_pieces(partition, Others(totals))

        arrived = together(self.context, self.blocks, scores)
        return arrived.mapPartitionsWithIndex(arrive, preservesPartitioning=True)

    def _align(self, scores: Table | None) -> Table:
        others = self._others(scores)
        if self.others is not None:
            self.others.unpersist()
        self.others = others.persist(StorageLevel.MEMORY_AND_DISK)
        return self.others


class SparkSums:
    """Sums over the rows of a fixed effect (:class:`photon.fixed_effect.RowSums`): each a job, added up in a tree."""

    def __init__(self, context: Context, settings: CoordinateSettings, rows: Table) -> None:
        self.context, self.settings, self.rows = context, settings, rows

    def derivatives(self, coefficients: Floats, *, hessian: bool) -> Derivatives:
        """See :class:`photon.fixed_effect.RowSums`."""
        loss = self.context.loss
        return self._sum(lambda examples: row_derivatives(examples, coefficients, loss, hessian=hessian))

    def products(self, coefficients: Floats, vector: Floats) -> Floats:
        """See :class:`photon.fixed_effect.RowSums`."""
        loss = self.context.loss
        return self._sum(lambda examples: row_products(examples, coefficients, vector, loss))

    def hessian_diagonal(self, coefficients: Floats) -> Floats:
        """See :class:`photon.fixed_effect.RowSums`."""
        loss = self.context.loss
        return self._sum(lambda examples: row_hessian_diagonal(examples, coefficients, loss))

    def whole_loss(self, coefficients: Floats) -> float:
        """Return ``Σ w·loss`` over all rows that train with their own weights, whatever sample the sums are of."""
        loss, active = self.context.loss, self.context.active

        def partial(records: Iterable[Keyed]) -> Iterator[float]:
            examples = _examples(gather(records), active)
            margins = examples.rows.dot(coefficients) + examples.offsets
            yield data_loss(loss, margins, examples.labels, examples.weights)

        return self.rows.mapPartitions(partial).treeReduce(add)

    def _sum(self, part: Callable[[Examples], SumT]) -> SumT:
        loss, active, settings = self.context.loss, self.context.active, self.settings

        def partial(records: Iterable[Keyed]) -> Iterator[SumT]:
            found = gather(records)
            examples = _examples(found, active)
            weights = fixed_weights(found.block.uids, examples.labels, examples.weights, settings, loss)
            yield part(replace(examples, weights=weights))

        return self.rows.mapPartitions(partial).treeReduce(add)


def _examples(found: Partition, active: frozenset[int]) -> Examples:
    """Return the rows with the scores of the other effects among their offsets."""
    offsets = found.block.examples.offsets + (0.0 if found.others is None else found.others.totals)
    return active_examples(found.block, active, offsets)
