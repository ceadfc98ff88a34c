"""What the coordinates of the Spark backend share: tables of blocks, states and scores that lie side by side.

The score table is an RDD of :class:`Scores` records, arrays of (uid, sum of all coordinates' scores), always
on their way to the partitions of the coordinate updated next. A coordinate receives them beside its
cached block (one narrow union: equal partitioners, no join of rows), takes its own part off, fits, and sends
the new sums on. What the driver sees is the fixed effects' coefficients and small sums; random-effect
coefficients stay where they were solved until executors write them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from pyspark import RDD, SparkContext, StorageLevel

from photon.earlier import KnownCells
from photon.loss import RowLoss
from photon.model import RandomEffect
from photon.objective import Derivatives, data_loss
from photon.rows import Examples, Floats, Longs
from photon.spark.blocks import Block, Keyed, same
from photon.spark.pieces import in_pieces, whole
from photon.spark.worker import settle_worker
from photon.subspace import Path

Table = RDD[Keyed]
"""``(partition, record)``, partitioned by :func:`photon.spark.blocks.same`."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Sums of scores of some rows under way: ``uids`` and ``totals``, both ``(rows,)``; totals may have columns."""

    uids: Longs
    totals: Floats


@dataclass(frozen=True, slots=True)
class Others:
    """Sums of the scores of all coordinates but one, in the order of the rows of its block."""

    totals: Floats


@dataclass(frozen=True, slots=True)
class Heldout:
    """Losses and weight of the rows of one role that do not train; a loss for each model looked at."""

    role: int
    losses: tuple[float, ...]
    weight: float


@dataclass(frozen=True, slots=True)
class Sums:
    """What the driver sees of a partition after an update."""

    data_loss: float
    penalty: float
    along: Derivatives
    unconverged: int
    heldout: tuple[Heldout, ...]


@dataclass(frozen=True, slots=True)
class Solved:
    """A random effect's partition after an update: coefficients a cell, sums of scores, sums for the driver."""

    path: Path
    totals: Floats
    sums: Sums


@dataclass(frozen=True, slots=True)
class Closing:
    """The sums of scores at the end of the sweeps so far, in the order of the last coordinate's rows."""

    path: Path


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an earlier model has of a random effect, for the entities whose rows live in a partition, or would."""

    effect: RandomEffect


@dataclass(frozen=True, slots=True)
class Known:
    """What an earlier model says of the cells of a block."""

    cells: KnownCells


@dataclass(frozen=True, slots=True)
class Context:
    """What all coordinates of a fit share.

    ``active`` are the roles that train; ``names`` their names in reports; ``window`` is the number of
    directions that an accelerated descent remembers.
    """

    spark: SparkContext
    loss: RowLoss
    partitions: int
    active: frozenset[int]
    names: tuple[str, ...]
    window: int


@dataclass(frozen=True, slots=True)
class Partition:
    """The records of one partition, by kind."""

    block: Block
    solved: Solved | None
    others: Others | None
    closing: Closing | None
    earlier: RandomEffect | None
    known: KnownCells | None
    arrived: tuple[Scores, ...]


def gather(records: Iterable[Keyed]) -> Partition:
    """Return the records of one partition by kind."""
    settle_worker()
    block: Block | None = None
    solved: Solved | None = None
    others: Others | None = None
    closing: Closing | None = None
    earlier: RandomEffect | None = None
    known: KnownCells | None = None
    arrived = []
    for record in whole(records):
        if isinstance(record, Block):
            block = record
        elif isinstance(record, Solved):
            solved = record
        elif isinstance(record, Others):
            others = record
        elif isinstance(record, Closing):
            closing = record
        elif isinstance(record, Earlier):
            earlier = record.effect
        elif isinstance(record, Known):
            known = record.cells
        else:
            arrived.append(record)
    if block is None:
        raise RuntimeError("a partition without its block: the unions of the descent are no longer narrow")
    return Partition(block, solved, others, closing, earlier, known, tuple(arrived))


def align(block: Block, arrived: tuple[Scores, ...]) -> Floats:
    """Return the sums of scores ``(rows,)`` in the order of the block's rows; zeros if none arrived."""
    if not arrived:
        return np.zeros(len(block.uids))
    totals = np.zeros((len(block.uids), *arrived[0].totals.shape[1:]))
    uids = np.concatenate([message.uids for message in arrived])
    order = np.argsort(uids, kind="stable")
    if not np.array_equal(uids[order], block.uids[block.by_uid]):
        raise RuntimeError("scores of other rows than the block's: the rows changed while the fit was running")
    totals[block.by_uid] = np.concatenate([message.totals for message in arrived])[order]
    return totals


def sent(table: Table, context: Context, totals_of: Callable[[Partition], Floats]) -> Table:
    """Return the sums of scores of all rows of a table of blocks, delivered to the next coordinate's partitions."""

    def send(records: Iterable[Keyed]) -> Iterator[Keyed]:
        found = gather(records)
        yield from messages(found.block, totals_of(found))

    return delivered(table.mapPartitions(send), context)


def begun(table: Table, totals_of: Callable[[Partition], Floats]) -> Table:
    """Return the sums of scores of all rows of a table of blocks as where a descent begins, beside its blocks."""

    def close(partition: int, records: Iterable[Keyed]) -> Iterator[Keyed]:
        yield from in_pieces(partition, Closing(Path.start(totals_of(gather(records)))))

    return table.mapPartitionsWithIndex(close, preservesPartitioning=True)


def messages(block: Block, totals: Floats) -> Iterator[Keyed]:
    """Yield numbers of the rows of a block under the partitions of the next coordinate."""
    order = np.argsort(block.next_partition, kind="stable")
    targets, counts = np.unique(block.next_partition[order], return_counts=True)
    ends = np.cumsum(counts)
    for target, start, end in zip(targets, ends - counts, ends, strict=True):
        rows = order[start:end]
        yield int(target), Scores(block.uids[rows], totals[rows])


def delivered(table: Table, context: Context) -> Table:
    """Return messages in the partitions that they are for."""
    moved = table.partitionBy(context.partitions, same)
    # A shuffle leaves another serialiser than a map does, and a union of unlike serialisers would send
    # every cached block through Python once more to make them alike; so the small side is mapped here.
    return moved.mapPartitions(lambda records: records, preservesPartitioning=True)


LONGEST_CHAIN: Final = 25
"""Tables that hang on each other, one an update, before the chain is cut."""


def shortened(table: Table, context: Context, number: int) -> Table:
    """Return a table that is the ``number``-th of a chain, now and then with a lineage of its own.

    Each update hangs on the one before, and a task carries the whole chain of narrow dependencies: after some
    two hundred (a long descent, or the trials of a search) the driver runs out of stack as it writes a task
    down, and Spark ends. A shuffle, here from every partition to itself, is where a chain is cut; what an
    executor loses can still be computed again. ``table`` is let go when the new one stands.
    """
    if number % LONGEST_CHAIN:
        return table
    # Spark leaves out a shuffle to the partitioner that a table has already; so this one forgets it first.
    moved = table.mapPartitions(lambda records: records).partitionBy(context.partitions, same)
    fresh = moved.mapPartitions(lambda records: records, preservesPartitioning=True)
    fresh.persist(StorageLevel.MEMORY_AND_DISK).count()
    table.unpersist()
    return fresh


def together(context: Context, *tables: Table | None) -> Table:
    """Return the union of co-partitioned tables, which is narrow: the records of a partition side by side."""
    present = [table for table in tables if table is not None]
    union = context.spark.union(present) if len(present) > 1 else present[0]
    if union.getNumPartitions() != context.partitions:
        raise RuntimeError("tables of unequal partitioning")
    return union


def heldout(block: Block, models: list[Floats], active: frozenset[int], loss: RowLoss) -> tuple[Heldout, ...]:
    """Return the losses of the rows that do not train, by role, under the margins of some models."""
    examples = block.examples
    found = []
    for role in np.unique(block.roles):
        if int(role) not in active:
            rows = block.roles == role
            labels, weights = examples.labels[rows], examples.weights[rows]
            losses = tuple(data_loss(loss, margins[rows], labels, weights) for margins in models)
            found.append(Heldout(int(role), losses, float(weights.sum())))
    return tuple(found)


def mean_losses(parts: Iterable[Heldout], context: Context, model: int = 0) -> tuple[tuple[str, float], ...]:
    """Return the mean loss of each role that has weight, by name, under one of the models."""
    losses, weights = dict.fromkeys(context.names, 0.0), dict.fromkeys(context.names, 0.0)
    for part in parts:
        losses[context.names[part.role]] += part.losses[model]
        weights[context.names[part.role]] += part.weight
    return tuple((name, losses[name] / weight) for name, weight in weights.items() if weight > 0.0)


def active_examples(block: Block, active: frozenset[int], offsets: Floats) -> Examples:
    """Return the rows with the given margins of all else as offsets; those of other roles weigh 0."""
    examples = block.examples
    return Examples(examples.rows, examples.labels, block.active_weights(active), offsets)
