"""From rows of a DataFrame to compact blocks in the executors, one a partition and coordinate.

A row is sent once to the partition of its uid (for the fixed effect) and once to the partition of each
of its entities (for the random effects), as Arrow bytes. There the rows are sorted and kept as NumPy
blocks. The content and order of a block is a function of its rows alone, so a lost block is
rebuilt identically, whatever order the shuffle delivers in. After this only scores move.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyspark.sql.functions as F  # noqa: N812  # Spark's own custom
from pyspark import RDD, StorageLevel
from pyspark.sql import Column, DataFrame

from photon.covariance import transformed
from photon.entities import NO_NUMBER, NO_TEXT, EntityRows, Keys, group_sorted
from photon.rows import Examples, Floats, Ints, Longs, SparseRows
from photon.settings import CoordinateSettings
from photon.spark.arrow_rows import to_bytes
from photon.spark.pieces import in_pieces, whole
from photon.spark.routing import cut
from photon.spark.worker import settle_worker

Roles = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Layout:
    """How the columns of the data feed the coordinates.

    Parameters
    ----------
    coordinates
        The locked ones, which are scored once, then the others in update order.
    columns
        Number of columns of each coordinate's shard.
    partitions
        Partitions of every coordinate's blocks.
    carried_ids
        Entity keys that evaluations group by; carried with the blocks of the first coordinate that moves.
    """

    coordinates: tuple[CoordinateSettings, ...]
    columns: tuple[int, ...]
    partitions: int
    carried_ids: tuple[str, ...] = ()

    @property
    def first(self) -> int:
        """Place of the first coordinate that moves, and to which scores go from the last one."""
        return sum(one.locked for one in self.coordinates)

    def following(self, place: int) -> int:
        """Return the place of the coordinate that scores go to from another one."""
        return place + 1 if place + 1 < len(self.coordinates) else self.first


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one partition and coordinate: sorted by uid (fixed effect) or by entity and uid (random).

    ``next_partition`` is where each row lives in the coordinate that is updated after this one.
    """

    uids: Longs
    by_uid: Longs
    roles: Roles
    next_partition: Ints
    rows: EntityRows
    carried: tuple[Keys, ...]

    @property
    def examples(self) -> Examples:
        """The rows with labels, weights and offsets."""
        return self.rows.examples

    def active_weights(self, active: frozenset[int]) -> Floats:
        """Return the rows' weights, 0 for those whose role does not train."""
        return np.where(np.isin(self.roles, list(active)), self.examples.weights, 0.0)


def same(partition: int) -> int:
    """Partition a key goes to: itself. One function object for all, so that Spark sees equal partitioners."""
    return partition


def partition_of(column: Column, partitions: int) -> Column:
    """Return the partition that a key's rows go to."""
    # Spark's hash is the same in every executor and spreads consecutive ids, which a plain modulo does not.
    return F.pmod(F.xxhash64(column), F.lit(partitions)).cast("int")


def routed(data: DataFrame, layout: Layout) -> DataFrame:
    """Return ``(coordinate, partition, payload)``: Arrow bytes of rows under their destination.

    ``data`` has ``uid`` (int64), ``role`` (tinyint), ``response``, ``weight``, ``offset`` and the structs
    ``ids`` and ``shards`` of :mod:`yarnmill.trainingset`.
    """
    columns = [
        F.col("uid").cast("long"),
        F.col("role").cast("tinyint"),
        F.col("response").cast("double"),
        F.coalesce(F.col("weight").cast("double"), F.lit(1.0)).alias("weight"),
        F.coalesce(F.col("offset").cast("double"), F.lit(0.0)).alias("offset"),
        *(F.col("ids")[key].alias(f"carried_{i}") for i, key in enumerate(layout.carried_ids)),
    ]
    for i, coordinate in enumerate(layout.coordinates):
        key = F.col("uid") if coordinate.entity is None else F.col("ids")[coordinate.entity]
        shard = F.col("shards")[coordinate.shard]
        columns += [
            partition_of(key, layout.partitions).alias(f"partition_{i}"),
            key.alias(f"key_{i}"),
            shard["indices"].alias(f"indices_{i}"),
            shard["values"].alias(f"values_{i}"),
        ]
    return data.select(*columns).mapInArrow(_sender(layout), "coordinate int, partition int, payload binary")


def _sender(layout: Layout) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def send(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        settle_worker()
        for batch in batches:
            if batch.num_rows:
                records = [record for i in range(len(layout.coordinates)) for record in _split(batch, i, layout)]
                yield pa.RecordBatch.from_pylist(records, schema=_ROUTED)

    return send


_ROUTED = pa.schema([("coordinate", pa.int32()), ("partition", pa.int32()), ("payload", pa.binary())])


def _split(batch: pa.RecordBatch, i: int, layout: Layout) -> Iterator[dict[str, object]]:
    names = ["uid", "role", "response", "weight", "offset"]
    columns = [batch.column(name) for name in names]
    columns += [batch.column(f"{name}_{i}") for name in ("key", "indices", "values")]
    columns.append(batch.column(f"partition_{layout.following(i)}"))
    names += ["key", "indices", "values", "next_partition"]
    if i == layout.first:
        carried = [f"carried_{j}" for j in range(len(layout.carried_ids))]
        names += carried
        columns += [batch.column(name) for name in carried]
    own = pa.RecordBatch.from_arrays(columns, names=names)
    partition = batch.column(f"partition_{i}").to_numpy()
    for target, part in cut(own, partition):
        yield {"coordinate": i, "partition": target, "payload": to_bytes(pa.Table.from_batches([part]))}


Keyed = tuple[int, Any]


def shuffled(data: DataFrame, layout: Layout) -> "RDD[Keyed]":
    """Return the routed payloads ``(partition, (coordinate, bytes))`` in their partitions."""
    sent = routed(data, layout).rdd.map(lambda row: (row.partition, (row.coordinate, bytes(row.payload))))
    return sent.partitionBy(layout.partitions, same)


def blocks(payloads: "RDD[Keyed]", layout: Layout, coordinate: int) -> "RDD[Keyed]":
    """Return the :class:`Block` of each partition for one coordinate, in pieces, kept in the executors."""
    columns, carried = layout.columns[coordinate], len(layout.carried_ids) if coordinate == layout.first else 0
    by_entity = layout.coordinates[coordinate].entity is not None

    def build(partition: int, records: Iterable[Keyed]) -> Iterator[Keyed]:
        settle_worker()
        own = [pa.ipc.open_stream(data).read_all() for _, (target, data) in records if target == coordinate]
        yield from in_pieces(partition, _build(own, columns, carried, by_entity=by_entity))

    built = payloads.mapPartitionsWithIndex(build, preservesPartitioning=True)
    return built.persist(StorageLevel.MEMORY_AND_DISK)


def scaled_blocks(raw: "RDD[Keyed]", factor: Floats) -> "RDD[Keyed]":
    """Return a random effect's blocks with the features ``Z L`` (:mod:`photon.covariance`), kept in the executors."""

    def scaled(block: Block) -> Block:
        rows = block.rows
        examples = replace(rows.examples, rows=transformed(rows.examples.rows, factor))
        if factor.ndim == 1:
            return replace(block, rows=replace(rows, examples=examples))
        # With correlation every entity has every column, whatever its rows have.
        numbers = np.repeat(np.arange(len(rows.entities)), np.diff(rows.row_ptr))
        return replace(block, rows=replace(group_sorted(numbers, examples), entities=rows.entities))

    def scale(partition: int, records: Iterable[Keyed]) -> Iterator[Keyed]:
        settle_worker()
        for block in whole(records):
            yield from in_pieces(partition, scaled(block))

    return raw.mapPartitionsWithIndex(scale, preservesPartitioning=True).persist(StorageLevel.MEMORY_AND_DISK)


def _build(tables: list[pa.Table], columns: int, carried: int, *, by_entity: bool) -> Block:
    if not tables:
        return _empty(columns, carried)
    table = pa.concat_tables(tables).sort_by([("key", "ascending"), ("uid", "ascending")]).combine_chunks()
    tables.clear()  # what is built below is as large again
    uids = _numbers(table, "uid").astype(np.int64)
    examples = Examples(
        rows=_sparse(table, columns),
        labels=_numbers(table, "response"),
        weights=_numbers(table, "weight"),
        offsets=_numbers(table, "offset"),
    )
    return Block(
        uids=uids,
        by_uid=np.argsort(uids, kind="stable"),
        roles=_numbers(table, "role").astype(np.int8),
        next_partition=_numbers(table, "next_partition").astype(np.int32),
        rows=group_sorted(keys_of(table, "key"), examples) if by_entity else _ungrouped(examples),
        carried=tuple(keys_of(table, f"carried_{j}") for j in range(carried)),
    )


def _ungrouped(examples: Examples) -> EntityRows:
    none = np.zeros(0, np.int64)
    return EntityRows(none, np.zeros(1, np.int64), examples, none, np.zeros(1, np.int64), np.zeros(0, np.int32))


def _empty(columns: int, carried: int) -> Block:
    none, nothing = np.zeros(0), np.zeros(0, np.int64)
    examples = Examples(SparseRows(np.zeros(1, np.int64), np.zeros(0, np.int32), none, columns), none, none, none)
    role, partition = np.zeros(0, np.int8), np.zeros(0, np.int32)
    return Block(nothing, nothing, role, partition, _ungrouped(examples), (nothing,) * carried)


def _numbers(table: pa.Table, name: str) -> npt.NDArray[Any]:
    return table.column(name).to_numpy()  # type: ignore[no-any-return]  # pyarrow ships no types


def keys_of(table: pa.Table, name: str) -> Keys:
    """Return a column of entity ids."""
    # With a null among them NumPy would take integers for floats, and round them.
    column = table.column(name)
    if pa.types.is_integer(column.type):
        return column.fill_null(NO_NUMBER).to_numpy().astype(np.int64)  # type: ignore[no-any-return]
    return np.array(column.fill_null(NO_TEXT).to_pylist(), dtype=np.str_)


def _sparse(table: pa.Table, columns: int) -> SparseRows:
    indices = pa.concat_arrays(table.column("indices").chunks)
    values = pa.concat_arrays(table.column("values").chunks)
    offsets = indices.offsets.to_numpy().astype(np.int64)
    return SparseRows(
        indptr=offsets - offsets[0],
        indices=indices.flatten().to_numpy(zero_copy_only=False).astype(np.int32),
        values=values.flatten().to_numpy(zero_copy_only=False).astype(np.float64),
        columns=columns,
    )
