"""What effects add to rows in a task, and how rows come in and go out of a scoring."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql.types import StructType

from photon.model import GlmixModel, RandomEffect
from photon.rows import Floats
from photon.scoring import score_effect
from photon.spark.arrow_rows import entity_keys, sparse_rows

Mapper = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]
Parts = dict[str, Floats]
"""What each effect adds to the margins of a batch, by its name."""

CONTRIBUTIONS: Final = "contributions"
MARGIN: Final = "margin"


def unchanged(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield batches as they are."""
    yield from batches


@dataclass(frozen=True, slots=True)
class Rim:
    """What stands at the ends of a scoring: how rows come in, what is known at once, how rows go out.

    Parameters
    ----------
    read
        Makes rows, in the executors, of what the DataFrame holds: with the structs ``ids`` and ``shards``, ``offset``
        where there is one, and the columns to pass on. Read again, a partition must give the same batches.
    passed
        Columns that go on to ``write``.
    known
        The parts of all effects that are not joined.
    write
        Takes the passed columns with ``margin`` and the struct ``contributions`` and makes rows of ``schema``.
    schema
        See ``write``; unset: the rows that ``write`` takes, all columns of ``passed`` being the DataFrame's own.
    """

    passed: tuple[str, ...]
    known: Callable[[pa.RecordBatch], Parts]
    read: Mapper = unchanged
    write: Mapper = unchanged
    schema: StructType | None = None


@dataclass(frozen=True, slots=True)
class KnownModel:
    """The parts of effects that every executor holds."""

    model: Broadcast[GlmixModel]
    columns: Mapping[str, int]

    def __call__(self, batch: pa.RecordBatch) -> Parts:
        """Return the parts of a batch."""
        return known_parts(self.model.value, batch, self.columns)


def known_parts(model: GlmixModel, batch: pa.RecordBatch, columns: Mapping[str, int]) -> Parts:
    """Return the parts of a batch with the structs ``ids`` and ``shards``; ``columns`` are those of each shard."""
    shards = batch.column("shards")
    parts: Parts = {}
    rows = {name: sparse_rows(shards.field(name), columns[name]) for name in {one.shard for one in model.effects}}
    for effect in model.effects:
        if isinstance(effect, RandomEffect):
            parts[effect.name] = part_of(effect, batch.column("ids").field(effect.entity), shards.field(effect.shard))
        else:
            parts[effect.name] = score_effect(effect, rows[effect.shard], None)
    return parts


def part_of(effect: RandomEffect, ids: pa.Array, vectors: pa.StructArray) -> Floats:
    """Return what a random effect adds to rows; a null id or vector counts 0."""
    keys, there = entity_keys(ids, effect.entities)
    part = score_effect(effect, sparse_rows(vectors, effect.columns), keys)
    return part if there.all() else np.where(there, part, 0.0)


def carried(batch: pa.RecordBatch, rim: Rim) -> list[str]:
    """Return the columns that a block keeps: those to pass on, and where its sums begin."""
    own = ["offset"] if "offset" in batch.schema.names and "offset" not in rim.passed else []
    return [*rim.passed, *own]


def scored_batch(batch: pa.RecordBatch, parts: Parts, order: Sequence[str], passed: Sequence[str]) -> pa.RecordBatch:
    """Return the passed columns with margins and parts; the sums begin at ``offset``, if there is one."""
    total = np.zeros(batch.num_rows)
    if "offset" in batch.schema.names:
        total += batch.column("offset").fill_null(0.0).to_numpy(zero_copy_only=False)
    for name in order:
        total += parts[name]
    struct = pa.StructArray.from_arrays([pa.array(parts[name]) for name in order], list(order))
    return pa.RecordBatch.from_arrays(
        [*(batch.column(name) for name in passed), pa.array(total), struct], names=[*passed, MARGIN, CONTRIBUTIONS]
    )
