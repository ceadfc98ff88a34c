"""The tasks of a scoring by join: records sent to their entities, scored there, and put together at home.

A record is a batch of rows or of coefficients of one partition, as Arrow or NumPy bytes. A partition holds the
coefficients of one effect at a time, and rows stream past them.
"""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from pyspark import TaskContext

from photon.model import EffectRecord, RandomEffect, random_effect_from_entities
from photon.rows import Floats, Ints
from photon.spark.arrow_rows import to_bytes
from photon.spark.blocks import keys_of
from photon.spark.parts import Mapper, Parts, Rim, carried, part_of, scored_batch
from photon.spark.routing import cut, partition_of
from photon.spark.worker import settle_worker

_HOME: Final = -1
_COEFFICIENTS, _ROWS = 0, 1
ROUTED: Final = "partition int, effect int, rank int, home int, block string, payload binary"
SCORED: Final = "partition int, effect int, block string, places binary, payload binary"
_ROUTED_ARROW: Final = pa.schema(
    [
        *((name, pa.int32()) for name in ("partition", "effect", "rank", "home")),
        ("block", pa.string()),
        ("payload", pa.binary()),
    ]
)
_SCORED_ARROW: Final = pa.schema(
    [
        ("partition", pa.int32()),
        ("effect", pa.int32()),
        ("block", pa.string()),
        ("places", pa.binary()),
        ("payload", pa.binary()),
    ]
)


def row_sender(rim: Rim, keys: tuple[tuple[str, str], ...], partitions: int) -> Mapper:
    """Return what sends blocks home, and the ids and vectors of each (entity, shard) of ``keys`` to the entities."""

    def send(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        settle_worker()
        context = TaskContext.get()
        task = context.partitionId() if context is not None else 0
        for number, batch in enumerate(rim.read(batches)):
            if not batch.num_rows:
                continue
            known = rim.known(batch)
            passed = batch.select(carried(batch, rim))
            payload = to_bytes(_with_parts(passed, known))
            # What the block holds is part of its name: parts of another reading of the same rows would find no home.
            block = f"{task:08d}.{number:08d}.{hashlib.blake2b(payload, digest_size=8).hexdigest()}"
            home = (task + number) % partitions
            routed: list[tuple[object, ...]] = [(home, _HOME, _COEFFICIENTS, home, block, payload)]
            for effect, (entity, shard) in enumerate(keys):
                ids, vectors = batch.column("ids").field(entity), batch.column("shards").field(shard)
                routed += [
                    (partition, effect, _ROWS, home, block, to_bytes(pa.Table.from_batches([part])))
                    for partition, part in _by_entity(ids, vectors, partitions)
                ]
            yield _batch_of(routed, _ROUTED_ARROW)

    return send


def _with_parts(passed: pa.RecordBatch, known: Parts) -> pa.Table:
    arrays = [*passed.columns, *(pa.array(part) for part in known.values())]
    return pa.Table.from_arrays(arrays, names=[*passed.schema.names, *(f"{_OF_EFFECT}{name}" for name in known)])


_OF_EFFECT: Final = "part of "
"""Prefix of the columns of a block that hold the parts of known effects."""


def _batch_of(records: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*records, strict=True) if records else ((),) * len(schema)
    arrays = [pa.array(list(column), kind.type) for column, kind in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _only(table: pa.Table) -> pa.RecordBatch:
    """Return the rows of a table, which has some, as one batch."""
    return table.combine_chunks().to_batches()[0]


def _by_entity(ids: pa.Array, vectors: pa.StructArray, partitions: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield places, ids and vectors of a block's rows, by the partition of the entity; null ids go nowhere."""
    places = np.arange(len(ids), dtype=np.int32)
    batch = pa.RecordBatch.from_arrays([pa.array(places), ids, vectors], names=["place", "entity", "vector"])
    if ids.null_count:
        batch = batch.filter(ids.is_valid())
    if batch.num_rows:
        yield from cut(batch, partition_of(batch.column("entity"), partitions))


def coefficient_sender(read: Mapper, effect: int, partitions: int) -> Mapper:
    """Return what sends the coefficients of the effect of that number to their entities."""

    def send(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        settle_worker()
        for batch in read(batches):
            if batch.num_rows:
                own = batch.select(["entity", "indices", "values"])
                parts = cut(own, partition_of(own.column("entity"), partitions))
                routed = [
                    (partition, effect, _COEFFICIENTS, 0, "", to_bytes(pa.Table.from_batches([part])))
                    for partition, part in parts
                ]
                yield _batch_of(routed, _ROUTED_ARROW)

    return send


def scorer(effects: tuple[tuple[str, int], ...]) -> Mapper:
    """Return what scores rows where their entities are; ``effects`` are names and numbers of columns."""

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        settle_worker()
        found = _Met(effects)
        for batch in batches:
            if batch.num_rows:
                yield found.scored(batch)

    return score


class _Met:
    """The coefficients of the effect whose rows stream past, in one partition."""

    def __init__(self, effects: Sequence[tuple[str, int]]) -> None:
        self._effects = effects
        self._number = _HOME
        self._tables: list[pa.Table] = []
        self._effect: RandomEffect | None = None

    def scored(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return, for a batch of records, those of blocks as they are and those of rows scored."""
        numbers, ranks, homes = (batch.column(name).to_numpy() for name in ("effect", "rank", "home"))
        payloads, blocks = batch.column("payload"), batch.column("block").to_pylist()
        found: list[tuple[int, int, str, bytes, bytes]] = []
        for record in range(batch.num_rows):
            number, payload = int(numbers[record]), payloads[record].as_buffer()
            if number == _HOME:
                found.append((int(homes[record]), _HOME, blocks[record], b"", payload.to_pybytes()))
                continue
            if number != self._number:
                self._number, self._tables, self._effect = number, [], None
            table = pa.ipc.open_stream(payload).read_all()
            if ranks[record] == _COEFFICIENTS:
                self._tables.append(table)
                continue
            places, part = self._score(_only(table))
            found.append((int(homes[record]), number, blocks[record], places.tobytes(), part.tobytes()))
        return _batch_of(found, _SCORED_ARROW)

    def _score(self, rows: pa.RecordBatch) -> tuple[Ints, Floats]:
        if self._effect is None:
            name, columns = self._effects[self._number]
            self._effect = effect_of_tables(EffectRecord(name=name, shard="", entity="", columns=columns), self._tables)
            self._tables = []
        places: Ints = rows.column("place").to_numpy()
        return places, part_of(self._effect, rows.column("entity"), rows.column("vector"))


def effect_of_tables(record: EffectRecord, tables: Sequence[pa.Table]) -> RandomEffect:
    """Return a random effect from tables of ``entity``, ``indices`` and ``values``, in any order."""
    if not tables:
        none = np.zeros(0, np.int64)
        return random_effect_from_entities(record, none, none, none, np.zeros(0))
    table = pa.concat_tables(tables).combine_chunks()
    indices, values = (pa.concat_arrays(table.column(name).chunks) for name in ("indices", "values"))
    entities = keys_of(table, "entity")
    lengths = np.diff(indices.offsets.to_numpy()).astype(np.int64)
    own, position = np.unique(entities, return_inverse=True)
    cells = np.repeat(position, lengths) * np.int64(record.columns) + indices.flatten().to_numpy()
    order = np.argsort(cells, kind="stable")
    return RandomEffect(
        name=record.name,
        shard=record.shard,
        entity=record.entity or "",
        columns=record.columns,
        entities=own,
        cells=cells[order],
        coefficients=values.flatten().to_numpy().astype(np.float64, copy=False)[order],
    )


def assembler(rim: Rim, joined: tuple[str, ...], order: tuple[str, ...]) -> Mapper:
    """Return what adds the parts of the joined effects to their blocks."""

    def assemble(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        settle_worker()
        records = itertools.chain.from_iterable(map(_records, batches))
        blocks = itertools.groupby(records, key=lambda record: record.block)
        yield from rim.write(_assembled(list(own), joined, order, rim.passed) for _, own in blocks)

    return assemble


@dataclass(frozen=True, slots=True)
class _Scored:
    """A record that came home."""

    effect: int
    block: str
    places: pa.Buffer
    payload: pa.Buffer


def _records(batch: pa.RecordBatch) -> Iterator[_Scored]:
    effects, blocks = batch.column("effect").to_numpy(), batch.column("block").to_pylist()
    places, payloads = batch.column("places"), batch.column("payload")
    for record in range(batch.num_rows):
        yield _Scored(int(effects[record]), blocks[record], places[record].as_buffer(), payloads[record].as_buffer())


def _assembled(
    records: Sequence[_Scored], joined: Sequence[str], order: Sequence[str], passed: Sequence[str]
) -> pa.RecordBatch:
    if records[0].effect != _HOME:
        raise RuntimeError(
            f"block {records[0].block}: scores without their rows; a partition was read twice, not alike"
        )
    block = _only(pa.ipc.open_stream(records[0].payload).read_all())
    own = {name: block.column(name) for name in block.schema.names}
    parts = {
        name.removeprefix(_OF_EFFECT): own.pop(name).to_numpy() for name in list(own) if name.startswith(_OF_EFFECT)
    }
    parts |= {name: np.zeros(block.num_rows) for name in joined}
    for record in records[1:]:
        places = np.frombuffer(record.places, np.int32)
        parts[joined[record.effect]][places] = np.frombuffer(record.payload, np.float64)
    return scored_batch(pa.RecordBatch.from_pydict(own), parts, order, passed)
