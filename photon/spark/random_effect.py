"""A random effect on Spark: cached blocks by entity, all entities of a partition solved in one compiled call."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from operator import add

import numpy as np
from pyspark import RDD, StorageLevel

from photon.descent import Fitness, Update
from photon.model import RandomEffect
from photon.objective import Derivatives
from photon.random_effect import cell_margins
from photon.regularisation import Regularisation
from photon.rows import Floats
from photon.settings import CoordinateSettings
from photon.spark.backend import Context, Partition, Sums, Table, align, gather, mean_losses, sent, shortened, together
from photon.spark.blocks import Keyed, scaled_blocks
from photon.spark.earlier import known_beside
from photon.spark.entity_task import EntityTask, solved_of
from photon.spark.pieces import in_pieces, whole
from photon.subspace import Mixture, quadratic


class SparkRandom:
    """A random effect and its rows."""

    def __init__(
        self,
        context: Context,
        settings: CoordinateSettings,
        blocks: Table,
        regularisation: Regularisation,
        intercept: int | None,
        earlier: Table | None = None,
    ) -> None:
        self.context, self.settings = context, settings
        self.blocks, self.regularisation, self.intercept = blocks, regularisation, intercept
        self.raw = blocks
        self.factor: Floats | None = None
        self.earlier = earlier
        self.known = None if earlier is None else known_beside(context, blocks, earlier)
        if self.known is not None:
            self.known.persist(StorageLevel.MEMORY_AND_DISK)
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
        task = self._task()

        def solve(partition: int, records: Iterable[Keyed]) -> Iterator[Keyed]:
            yield from in_pieces(partition, task.solve(gather(records)))

        before, self.pending, self._begins = self.solved, (), False
        joined = together(self.context, self.blocks, self.known, before, scores)
        solved = joined.mapPartitionsWithIndex(solve, preservesPartitioning=True)
        self.solved = solved.persist(StorageLevel.MEMORY_AND_DISK)
        sums = self.solved.mapPartitions(lambda records: (one.sums for one in whole(records))).collect()
        if before is not None:
            before.unpersist()
        self._updates += 1
        self.solved = shortened(self.solved, self.context, self._updates)
        self._along = reduce(add, (one.along for one in sums))
        return Update(sent(self.rows(), self.context, self.totals_of()), _fitness(sums, self.context))

    def take_prior(self, factor: Floats) -> None:
        """Go on in the coordinates ``b = L u`` of a prior (:mod:`photon.covariance`), from the same ``u``.

        Entities without a row that trains stay at the same ``b``, which is what an earlier model says of them.

        Parameters
        ----------
        factor
            ``L``, of the same shape whenever there are other coefficients to go on from.
        """
        if self.factor is None:
            self.begin(afresh=True)
        before, self.factor = self.blocks, factor
        self.blocks = scaled_blocks(self.raw, factor)
        if self.known is not None and self.earlier is not None:
            known, self.known = self.known, known_beside(self.context, self.blocks, self.earlier, factor)
            self.known.persist(StorageLevel.MEMORY_AND_DISK)
            known.unpersist()
            self._rest()
        if before is not self.raw:
            before.unpersist()

    def _rest(self) -> None:
        """Have entities without a row that trains at what is known of them, before scores are taken anew.

        If the next update did it, that would be a step, and the descent would move along it.
        """
        if self.solved is None:
            return
        task, before = self._task(), self.solved

        def rest(partition: int, records: Iterable[Keyed]) -> Iterator[Keyed]:
            yield from in_pieces(partition, task.rested(gather(records)))

        joined = together(self.context, self.blocks, self.known, before)
        self.solved = joined.mapPartitionsWithIndex(rest, preservesPartitioning=True)
        self.solved.persist(StorageLevel.MEMORY_AND_DISK).count()
        self.pending = ()
        before.unpersist()

    def rows(self) -> Table:
        """Return the blocks beside what the last update left."""
        return together(self.context, self.blocks, self.solved)

    def totals_of(self) -> Callable[[Partition], Floats]:
        """Return how the executors find the sums of scores of :meth:`rows`."""
        return _totals

    def margins_of(self) -> Callable[[Partition], Floats]:
        """Return how the executors find the effect's own margins in :meth:`rows`."""
        pending = self.pending

        def margins(found: Partition) -> Floats:
            rows = found.block.rows
            nothing = np.zeros(len(found.block.uids))
            return nothing if found.solved is None else cell_margins(rows, found.solved.path.at(pending))

        return margins

    def at_start(self, scores: Table | None) -> Table:
        """Return the blocks beside what a fit starts from, and beside the sums of the scores of the effects before."""
        return together(self.context, self.blocks, self.known, scores)

    def start_of(self) -> Callable[[Partition], Floats]:
        """Return how the executors find the sums of scores of :meth:`at_start`, those of this effect added."""
        task = self._task()

        def totals(found: Partition) -> Floats:
            return align(found.block, found.arrived) + cell_margins(found.block.rows, task.first(found))

        return totals

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
        task, tried = self._task(), tuple(moves)
        rows = together(self.context, self.blocks, self.known, self.solved)
        costs = rows.mapPartitions(lambda records: iter([task.costs(gather(records), tried)])).collect()
        return [sum(each) for each in zip(*costs, strict=True)]

    def move(self, mixture: Mixture) -> None:
        """Move along the last steps: done where the coefficients lie, when they are next looked at."""
        self.pending = mixture

    def effects(self, scores: Table | None) -> "RDD[RandomEffect]":
        """Return the effect as it is now, partition by partition; entities without data keep an earlier model's.

        Parameters
        ----------
        scores
            The sums that the fit ended with, on their way to this coordinate; read where variances are wanted.
        """
        if self.settings.locked and self.earlier is not None:
            return self.earlier.mapPartitions(lambda records: (one.effect for one in whole(records)))
        if self.solved is None:
            raise RuntimeError(f"{self.name} was never fitted")
        task, arrived = self._task(), scores if self.settings.variances != "none" else None
        parts = together(self.context, self.blocks, self.known, self.earlier, self.solved, arrived)
        return parts.mapPartitions(lambda records: iter([task.effect(gather(records))]))

    def _task(self) -> EntityTask:
        return EntityTask(
            settings=self.settings,
            loss=self.context.loss,
            regularisation=self.regularisation,
            intercept=self.intercept,
            active=self.context.active,
            window=self.context.window,
            pending=self.pending,
            begins=self._begins,
            factor=self.factor,
        )

    def release(self) -> None:
        """Let go of what is cached."""
        self.raw.unpersist()
        self.blocks.unpersist()
        if self.known is not None:
            self.known.unpersist()
        if self.solved is not None:
            self.solved.unpersist()


def _totals(found: Partition) -> Floats:
    return solved_of(found).totals


def _fitness(sums: list[Sums], context: Context) -> Fitness:
    return Fitness(
        data_loss=sum(one.data_loss for one in sums),
        penalty=sum(one.penalty for one in sums),
        losses=mean_losses([part for one in sums for part in one.heldout], context),
        unconverged=sum(one.unconverged for one in sums),
    )
