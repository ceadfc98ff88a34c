"""The Spark backend of :mod:`photon.descent`: data stay in the executors, scores move.

The score table is an RDD of :class:`Scores` records, arrays of (uid, one score a coordinate), that are
always on their way to the partitions of the coordinate updated next. A coordinate receives them beside
its cached block (one narrow union: equal partitioners, no join of rows), fits, and sends them on. What
the driver sees is the fixed effect's coefficients and small sums; random-effect coefficients stay
where they were solved until executors write them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from pyspark import RDD, SparkContext, StorageLevel

from photon.descent import Fitness, Update
from photon.entities import cell_penalties, with_weights
from photon.loss import RowLoss, loss_of
from photon.objective import Derivatives, Penalty, data_loss, row_derivatives
from photon.optimise import minimise
from photon.random_effect import solve_entities
from photon.rows import Examples, Floats, Longs
from photon.settings import CoordinateSettings
from photon.spark.blocks import Block, Keyed, same
from photon.spark.worker import settle_worker

Table = RDD[Keyed]
"""``(partition, record)``, partitioned by :func:`photon.spark.blocks.same`."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of some rows under way: ``uids`` ``(rows,)`` and ``columns`` ``(rows, coordinates)``."""

    uids: Longs
    columns: Floats


@dataclass(frozen=True, slots=True)
class Aligned:
    """Scores in the order of the rows of a block."""

    columns: Floats


@dataclass(frozen=True, slots=True)
class Heldout:
    """Loss and weight of the rows of one role that do not train."""

    role: int
    loss: float
    weight: float


@dataclass(frozen=True, slots=True)
class Solved:
    """A random effect's partition after an update: coefficients a cell, aligned scores, sums for the driver."""

    coefficients: Floats
    scores: Aligned
    data_loss: float
    penalty: float
    unconverged: int
    heldout: tuple[Heldout, ...]


@dataclass(frozen=True, slots=True)
class Context:
    """What all coordinates of a fit share.

    ``active`` are the roles that train; ``names`` their names in reports.
    """

    spark: SparkContext
    task: str
    coordinates: int
    partitions: int
    active: frozenset[int]
    names: tuple[str, ...]

    @property
    def loss(self) -> RowLoss:
        """The task's row loss."""
        return loss_of(self.task)


@dataclass(frozen=True, slots=True)
class Partition:
    """The records of one partition, by kind."""

    block: Block
    solved: Solved | None
    aligned: Aligned | None
    arrived: tuple[Scores, ...]


def gather(records: Iterable[Keyed]) -> Partition:
    """Return the records of one partition by kind."""
    settle_worker()
    block: Block | None = None
    solved: Solved | None = None
    aligned: Aligned | None = None
    arrived = []
    for _, record in records:
        if isinstance(record, Block):
            block = record
        elif isinstance(record, Solved):
            solved = record
        elif isinstance(record, Aligned):
            aligned = record
        else:
            arrived.append(record)
    if block is None:
        raise RuntimeError("a partition without its block: the unions of the descent are no longer narrow")
    return Partition(block, solved, aligned, tuple(arrived))


def align(block: Block, arrived: tuple[Scores, ...], coordinates: int) -> Floats:
    """Return the scores ``(rows, coordinates)`` in the order of the block's rows; zeros if none arrived."""
    columns = np.zeros((len(block.uids), coordinates))
    if not arrived:
        return columns
    uids = np.concatenate([message.uids for message in arrived])
    order = np.argsort(uids, kind="stable")
    if not np.array_equal(uids[order], block.uids[block.by_uid]):
        raise RuntimeError("scores of other rows than the block's: the rows changed while the fit was running")
    columns[block.by_uid] = np.concatenate([message.columns for message in arrived])[order]
    return columns


def _messages(block: Block, columns: Floats) -> Iterator[Keyed]:
    for target in np.unique(block.next_partition):
        rows = np.flatnonzero(block.next_partition == target)
        yield int(target), Scores(block.uids[rows], columns[rows])


def _delivered(sent: Table, context: Context) -> Table:
    # A shuffle leaves another serialiser than a map does, and a union of unlike serialisers would send
    # every cached block through Python once more to make them alike; so the small side is mapped here.
    return sent.partitionBy(context.partitions, same).mapPartitions(lambda records: records, preservesPartitioning=True)


def together(context: Context, *tables: Table | None) -> Table:
    """Return the union of co-partitioned tables, which is narrow: the records of a partition side by side."""
    present = [table for table in tables if table is not None]
    union = context.spark.union(present) if len(present) > 1 else present[0]
    if union.getNumPartitions() != context.partitions:
        raise RuntimeError("tables of unequal partitioning")
    return union


def _heldout(block: Block, totals: Floats, context_active: frozenset[int], loss: RowLoss) -> tuple[Heldout, ...]:
    examples = block.examples
    found = []
    for role in np.unique(block.roles):
        if int(role) not in context_active:
            rows = block.roles == role
            cost = data_loss(loss, totals[rows], examples.labels[rows], examples.weights[rows])
            found.append(Heldout(int(role), cost, float(examples.weights[rows].sum())))
    return tuple(found)


def _others(columns: Floats, position: int) -> Floats:
    others: Floats = np.delete(columns, position, axis=1).sum(axis=1)
    return others


class SparkFixed:
    """The fixed effect: cached blocks by uid, one tree-aggregated pass an evaluation, Newton at the driver."""

    def __init__(
        self, context: Context, settings: CoordinateSettings, position: int, blocks: Table, penalty: Penalty
    ) -> None:
        self.context, self.settings, self.position = context, settings, position
        self.blocks, self.penalty = blocks, penalty
        self.coefficients = np.zeros(len(penalty.l2))
        self._aligned: Table | None = None

    @property
    def name(self) -> str:
        """Name in settings and reports."""
        return self.settings.name

    def update(self, scores: Table | None) -> Update[Table | None]:
        """Fit with the other scores as offsets; the renewed scores are sent when the next update asks."""
        aligned = self._align(scores)
        result = minimise(self._objective(aligned), self.coefficients)
        self.coefficients = result.coefficients
        penalty = self.penalty.value(self.coefficients)
        fitness = Fitness(
            data_loss=result.value - penalty,
            penalty=penalty,
            unconverged=int(result.reason != "converged"),
            evaluations=result.evaluations,
        )
        return Update(self._sent(aligned), fitness)

    def release(self) -> None:
        """Let go of what is cached."""
        self.blocks.unpersist()
        if self._aligned is not None:
            self._aligned.unpersist()

    def _align(self, scores: Table | None) -> Table:
        count = self.context.coordinates

        def arrive(partition: int, records: Iterable[Keyed]) -> Iterator[Keyed]:
            found = gather(records)
            yield partition, Aligned(align(found.block, found.arrived, count))

        aligned = together(self.context, self.blocks, scores).mapPartitionsWithIndex(arrive, preservesPartitioning=True)
        if self._aligned is not None:
            self._aligned.unpersist()
        self._aligned = aligned.persist(StorageLevel.MEMORY_AND_DISK)
        return self._aligned

    def _objective(self, aligned: Table) -> Callable[..., Derivatives]:
        rows = together(self.context, self.blocks, aligned)
        task, active, position = self.context.task, self.context.active, self.position

        def objective(coefficients: Floats, *, hessian: bool) -> Derivatives:
            def partial(_: int, records: Iterable[Keyed]) -> Iterator[Derivatives]:
                found = gather(records)
                examples = _offset_by(found, active, position)
                yield row_derivatives(examples, coefficients, loss_of(task), hessian=hessian)

            data = rows.mapPartitionsWithIndex(partial).treeReduce(lambda one, other: one + other)
            return self.penalty.added_to(data, coefficients)

        return objective

    def _sent(self, aligned: Table) -> Table:
        coefficients, position = self.coefficients, self.position

        def send(records: Iterable[Keyed]) -> Iterator[Keyed]:
            found = gather(records)
            columns = _columns_of(found).copy()
            columns[:, position] = found.block.examples.rows.dot(coefficients)
            yield from _messages(found.block, columns)

        return _delivered(together(self.context, self.blocks, aligned).mapPartitions(send), self.context)


def _columns_of(found: Partition) -> Floats:
    if found.aligned is None:
        raise RuntimeError("a block without its scores")
    return found.aligned.columns


def _offset_by(found: Partition, active: frozenset[int], position: int) -> Examples:
    examples = found.block.examples
    offsets = examples.offsets + _others(_columns_of(found), position)
    return replace(examples, weights=found.block.active_weights(active), offsets=offsets)


class SparkRandom:
    """A random effect: cached blocks by entity, all entities of a partition solved in one compiled call."""

    def __init__(
        self, context: Context, settings: CoordinateSettings, position: int, blocks: Table, penalty: Penalty
    ) -> None:
        self.context, self.settings, self.position = context, settings, position
        self.blocks, self.penalty = blocks, penalty
        self.solved: Table | None = None

    @property
    def name(self) -> str:
        """Name in settings and reports."""
        return self.settings.name

    def update(self, scores: Table | None) -> Update[Table | None]:
        """Fit every entity with the other scores as offsets: one Spark job."""
        solve = _solver(self.context, self.position, self.penalty)
        before = self.solved
        joined = together(self.context, self.blocks, before, scores)
        solved = joined.mapPartitionsWithIndex(solve, preservesPartitioning=True)
        self.solved = solved.persist(StorageLevel.MEMORY_AND_DISK)
        sums = self.solved.map(lambda record: replace(record[1], coefficients=_NONE, scores=_NO_SCORES)).collect()
        if before is not None:
            before.unpersist()
        return Update(self._sent(), _fitness(sums, self.context))

    def release(self) -> None:
        """Let go of what is cached."""
        self.blocks.unpersist()
        if self.solved is not None:
            self.solved.unpersist()

    def _sent(self) -> Table:
        def send(records: Iterable[Keyed]) -> Iterator[Keyed]:
            found = gather(records)
            if found.solved is not None:
                yield from _messages(found.block, found.solved.scores.columns)

        return _delivered(together(self.context, self.blocks, self.solved).mapPartitions(send), self.context)


_NONE = np.zeros(0)
_NO_SCORES = Aligned(np.zeros((0, 0)))


def _solver(context: Context, position: int, penalty: Penalty) -> Callable[[int, Iterable[Keyed]], Iterator[Keyed]]:
    task, active, count = context.task, context.active, context.coordinates

    def solve(partition: int, records: Iterable[Keyed]) -> Iterator[Keyed]:
        found = gather(records)
        block, loss = found.block, loss_of(task)
        columns = align(block, found.arrived, count)
        rows = with_weights(block.rows, block.active_weights(active))
        cell_l2 = cell_penalties(rows, penalty.l2)
        start = np.zeros(len(rows.cells)) if found.solved is None else found.solved.coefficients
        offsets = block.examples.offsets + _others(columns, position)
        solution = solve_entities(rows, offsets, cell_l2, start, loss)
        columns[:, position] = solution.margins
        totals = offsets + solution.margins
        yield (
            partition,
            Solved(
                coefficients=solution.coefficients,
                scores=Aligned(columns),
                data_loss=data_loss(loss, totals, rows.examples.labels, rows.examples.weights),
                penalty=float(0.5 * np.dot(cell_l2, solution.coefficients * solution.coefficients)),
                unconverged=solution.unconverged,
                heldout=_heldout(block, totals, active, loss),
            ),
        )

    return solve


def _fitness(sums: list[Solved], context: Context) -> Fitness:
    losses = []
    for role, name in enumerate(context.names):
        parts = [part for one in sums for part in one.heldout if part.role == role]
        weight = sum(part.weight for part in parts)
        if weight > 0.0:
            losses.append((name, sum(part.loss for part in parts) / weight))
    return Fitness(
        data_loss=sum(one.data_loss for one in sums),
        penalty=sum(one.penalty for one in sums),
        losses=tuple(losses),
        unconverged=sum(one.unconverged for one in sums),
    )
