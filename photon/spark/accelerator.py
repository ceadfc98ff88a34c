"""Moves of a whole model on Spark (:mod:`photon.subspace`): the driver sees one small matrix.

The sums of scores at the end of every sweep stay beside the blocks of the coordinate that is updated last, and
so do the steps between them. Each coordinate moves its own coefficients where they lie, with the next
update, so that a move costs two passes over a few numbers a row and none over features.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from operator import add

import numpy as np
from pyspark import StorageLevel

from photon.descent import Trial
from photon.objective import Derivatives
from photon.rows import Floats
from photon.spark.backend import (
    Closing,
    Context,
    Heldout,
    Partition,
    Table,
    active_examples,
    begun,
    gather,
    heldout,
    mean_losses,
    sent,
    shortened,
    together,
)
from photon.spark.blocks import Keyed
from photon.spark.fixed import SparkFixed
from photon.spark.pieces import in_pieces
from photon.spark.random_effect import SparkRandom
from photon.subspace import Mixture, Path, candidates, row_values, rows_along

Coordinate = SparkFixed | SparkRandom


class SparkAccelerator:
    """The sums of scores of a descent, and their steps."""

    def __init__(self, coordinates: Sequence[Coordinate]) -> None:
        self.coordinates = tuple(coordinates)
        self.closing: Table | None = None
        self.pending: Mixture = ()
        self._begins = True
        self._sweeps = 0

    @property
    def context(self) -> Context:
        """What the coordinates share."""
        return self.coordinates[-1].context

    def begin(self, *, afresh: bool, opening: Table | None = None) -> None:
        """Forget the steps of an earlier descent, and where it ended too if the next begins afresh.

        Parameters
        ----------
        afresh
            Whether the next descent does not go on where the last one ended.
        opening
            The sums of scores where it begins then; None: 0.
        """
        self._begins = True
        if afresh:
            self.release()
            self.closing, self.pending = opening, ()

    def restart(self, rows: Table, totals_of: Callable[[Partition], Floats]) -> None:
        """Take other sums of scores for where the next descent begins, in the rows of the last coordinate."""
        before = self.closing
        self.closing, self.pending = begun(rows, totals_of).persist(StorageLevel.MEMORY_AND_DISK), ()
        self.closing.count()
        if before is not None:
            before.unpersist()

    def proposals(self, _: Table | None) -> tuple[Mixture, ...]:
        """Return moves that are worth a try; the first is to stay."""
        before, last = self.closing, self.coordinates[-1]
        close = _closer(last.totals_of(), self.pending, self.context.window, begins=self._begins)
        closed = together(self.context, last.rows(), before).mapPartitionsWithIndex(close, preservesPartitioning=True)
        self.closing = closed.persist(StorageLevel.MEMORY_AND_DISK)
        self.pending, self._begins = (), False
        loss, active = self.context.loss, self.context.active

        def partial(records: Iterable[Keyed]) -> Iterator[Derivatives]:
            found = gather(records)
            examples = active_examples(found.block, active, found.block.examples.offsets)
            yield rows_along(closing_of(found).path, examples, loss)

        along = self._rows().mapPartitions(partial).treeReduce(add)
        if before is not None:
            before.unpersist()
        self._sweeps += 1
        self.closing = shortened(self.closing, self.context, self._sweeps)
        return candidates(reduce(add, (each.penalty_along() for each in self.coordinates), along))

    def trials(self, _: Table | None, moves: Sequence[Mixture]) -> list[Trial]:
        """Return the joint objective after each move, and the mean losses of the rows that do not train: one job."""
        loss, active, tried = self.context.loss, self.context.active, tuple(moves)

        def partial(records: Iterable[Keyed]) -> Iterator[tuple[tuple[float, ...], tuple[Heldout, ...]]]:
            found = gather(records)
            path, offsets = closing_of(found).path, found.block.examples.offsets
            costs = row_values(path, tried, found.block.examples, loss, found.block.active_weights(active))
            yield costs, heldout(found.block, [path.at(move) + offsets for move in tried], active, loss)

        parts = self._rows().mapPartitions(partial).collect()
        penalties = [each.penalties(tried) for each in self.coordinates]
        kept = [part for _, found in parts for part in found]
        return [
            Trial(
                sum(each[i] for each in (*penalties, *(costs for costs, _ in parts))),
                mean_losses(kept, self.context, i),
            )
            for i in range(len(tried))
        ]

    def moved(self, _: Table | None, move: Mixture) -> Table | None:
        """Make a move and return the scores after it."""
        self.pending = move
        for each in self.coordinates:
            each.move(move)
        return sent(self._rows(), self.context, lambda found: closing_of(found).path.at(move))

    def release(self) -> None:
        """Let go of what is cached."""
        if self.closing is not None:
            self.closing.unpersist()

    def _rows(self) -> Table:
        return together(self.context, self.coordinates[-1].blocks, self.closing)


def _closer(
    totals_of: Callable[[Partition], Floats], pending: Mixture, window: int, *, begins: bool
) -> Callable[[int, Iterable[Keyed]], Iterator[Keyed]]:
    def close(partition: int, records: Iterable[Keyed]) -> Iterator[Keyed]:
        found = gather(records)
        totals = totals_of(found)
        if found.closing is None:
            path = Path.start(np.zeros(len(totals)))
        elif begins:
            path = Path.start(found.closing.path.at(pending))
        else:
            path = found.closing.path.moved(pending, window)
        yield from in_pieces(partition, Closing(path.arrived(totals)))

    return close


def closing_of(found: Partition) -> Closing:
    """Return the sums of scores at the end of the sweeps."""
    if found.closing is None:
        raise RuntimeError("a block without the sums of its scores")
    return found.closing
