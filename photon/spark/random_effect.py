"""A random effect on Spark: cached blocks by entity, all entities of a partition solved in one compiled call."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from operator import add

import numpy as np
from pyspark import StorageLevel

from photon.cell_terms import CellTerms
from photon.descent import Fitness, Update
from photon.entities import with_weights
from photon.objective import Derivatives, data_loss
from photon.optimise import Options
from photon.random_effect import cell_margins, solve_entities
from photon.regularisation import Regularisation
from photon.rows import Floats
from photon.sampling import trained_rows
from photon.settings import CoordinateSettings
from photon.spark.backend import (
    Context,
    Partition,
    Solved,
    Sums,
    Table,
    align,
    gather,
    heldout,
    mean_losses,
    sent,
    shortened,
    together,
)
from photon.spark.blocks import Keyed
from photon.subspace import Mixture, Path, cost, penalty_along, quadratic


class SparkRandom:
    """A random effect and its rows."""

    def __init__(
        self,
        context: Context,
        settings: CoordinateSettings,
        blocks: Table,
        regularisation: Regularisation,
        intercept: int | None,
    ) -> None:
        self.context, self.settings = context, settings
        self.blocks, self.regularisation, self.intercept = blocks, regularisation, intercept
        self.solved: Table | None = None
        self.pending: Mixture = ()
        self._begins = True
        self._updates = 0
        self._along: Derivatives | None = None

    @property
    def name(self) -> str:
        """Name in settings and reports."""
        return self.settings.name

    def update(self, scores: Table | None) -> Update[Table | None]:
        """Fit every entity with the other scores as offsets: one Spark job."""
        solve = self._solver()
        before, self.pending, self._begins = self.solved, (), False
        joined = together(self.context, self.blocks, before, scores)
        solved = joined.mapPartitionsWithIndex(solve, preservesPartitioning=True)
        self.solved = solved.persist(StorageLevel.MEMORY_AND_DISK)
        sums = self.solved.map(lambda record: record[1].sums).collect()
        if before is not None:
            before.unpersist()
        self._updates += 1
        self.solved = shortened(self.solved, self.context, self._updates)
        self._along = reduce(add, (one.along for one in sums))
        return Update(sent(self.rows(), self.context, self.totals_of()), _fitness(sums, self.context))

    def rows(self) -> Table:
        """Return the blocks beside what the last update left."""
        return together(self.context, self.blocks, self.solved)

    def totals_of(self) -> Callable[[Partition], Floats]:
        """Return how the executors find the sums of scores of :meth:`rows`."""
        return _totals

    def begin(self, *, afresh: bool) -> None:
        """Forget the steps of an earlier descent, and the coefficients too if the next begins afresh."""
        self._begins = True
        if afresh and self.solved is not None:
            self.solved.unpersist()
            self.solved, self.pending = None, ()

    def penalty_along(self) -> Derivatives:
        """Return the penalty along the last steps."""
        if self._along is None:
            raise RuntimeError(f"{self.name} was never fitted")
        return self._along

    def penalties(self, moves: Sequence[Mixture]) -> list[float]:
        """Return the penalty after each move: without L1 and bounds the quadratic that :meth:`penalty_along` is."""
        if self.settings.l1 == 0.0 and not self.settings.bounds:
            return [quadratic(self.penalty_along(), move) for move in moves]
        regularisation, tried = self.regularisation, tuple(moves)

        def partial(records: Iterable[Keyed]) -> Iterator[list[float]]:
            found = gather(records)
            if found.solved is not None:
                terms = CellTerms.of(found.block.rows, regularisation)
                yield [cost(found.solved.path, move, terms) for move in tried]

        return [sum(costs) for costs in zip(*self.rows().mapPartitions(partial).collect(), strict=True)]

    def move(self, mixture: Mixture) -> None:
        """Move along the last steps: done where the coefficients lie, when they are next looked at."""
        self.pending = mixture

    def _solver(self) -> Callable[[int, Iterable[Keyed]], Iterator[Keyed]]:
        loss, active, regularisation = self.context.loss, self.context.active, self.regularisation
        settings, intercept = self.settings, self.intercept
        options = Options(settings.optimizer, settings.tolerance, settings.max_iterations)
        start = _starter(self.pending, self.context.window, begins=self._begins)

        def solve(partition: int, records: Iterable[Keyed]) -> Iterator[Keyed]:
            found = gather(records)
            block, path = found.block, start(found)
            rows = with_weights(block.rows, block.active_weights(active))
            others = align(block, found.arrived) - cell_margins(rows, path.point)
            offsets = block.examples.offsets + others
            trained = trained_rows(rows, block.uids, settings, intercept)
            own = np.searchsorted(rows.cells, trained.cells)
            terms = CellTerms.of(trained, regularisation)
            solution = solve_entities(trained, offsets, terms, path.point[own], loss, options)
            coefficients = np.zeros(len(rows.cells))
            coefficients[own] = solution.coefficients
            path, margins = path.arrived(coefficients), offsets + solution.margins
            sums = Sums(
                data_loss=data_loss(loss, margins, rows.examples.labels, rows.examples.weights),
                penalty=terms.value(solution.coefficients),
                along=penalty_along(path, CellTerms.of(rows, regularisation)),
                unconverged=solution.unconverged,
                heldout=heldout(block, [margins], active, loss),
            )
            yield partition, Solved(path, others + solution.margins, sums)

        return solve

    def release(self) -> None:
        """Let go of what is cached."""
        self.blocks.unpersist()
        if self.solved is not None:
            self.solved.unpersist()


def _totals(found: Partition) -> Floats:
    if found.solved is None:
        raise RuntimeError("a random effect that was never fitted has no scores to send")
    return found.solved.totals


def _starter(pending: Mixture, window: int, *, begins: bool) -> Callable[[Partition], Path]:
    def start(found: Partition) -> Path:
        if found.solved is None:
            return Path.start(np.zeros(len(found.block.rows.cells)))
        before = found.solved.path
        return Path.start(before.at(pending)) if begins else before.moved(pending, window)

    return start


def _fitness(sums: list[Sums], context: Context) -> Fitness:
    return Fitness(
        data_loss=sum(one.data_loss for one in sums),
        penalty=sum(one.penalty for one in sums),
        losses=mean_losses([part for one in sums for part in one.heldout], context),
        unconverged=sum(one.unconverged for one in sums),
    )
