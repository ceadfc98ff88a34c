"""Rows of a Spark DataFrame encoded by what a formula learnt, in the executors: those to fit to, and those to score."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from photon.encoding import Encoding, encode
from photon.entities import Keys
from photon.formula import EffectFormula
from photon.frames import column_of, entity_ids, numbers, refuse_missing
from photon.loss import Task
from photon.responses import Classes, labels_of
from photon.rows import Floats
from photon.spark.arrow_rows import id_array, vectors

Effects = tuple[tuple[EffectFormula, Encoding], ...]
"""The effects of a formula with what their terms learnt; a shard has its effect's name."""

UID = "__uid"


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Makes rows to fit to, which have a column ``__uid``: it travels to the workers as a value.

    Parameters
    ----------
    task, response, weights, offset, classes
        As in :class:`photon.local_estimation.Request`.
    effects
        What is encoded.
    key_kinds
        By entity key, ids of the kind (numbers or text) that all ids take.
    """

    task: Task
    response: str
    weights: str | None
    offset: str | None
    classes: Classes
    effects: Effects
    key_kinds: Mapping[str, Keys]

    @property
    def schema(self) -> str:
        """The columns that :func:`photon.spark.blocks.routed` takes, as Spark writes a schema."""
        ids = ", ".join(
            f"`{name}`: {'string' if one.dtype.kind == 'U' else 'bigint'}" for name, one in self.key_kinds.items()
        )
        shards = ", ".join(
            f"`{one.name}`: struct<indices: array<int>, values: array<double>>" for one, _ in self.effects
        )
        return (
            "uid bigint, role tinyint, response double, weight double, offset double, "
            f"ids struct<{ids}>, shards struct<{shards}>"
        )

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield batches encoded."""
        for batch in batches:
            if batch.num_rows:
                yield self._encoded(batch.to_pandas())

    def _encoded(self, frame: pd.DataFrame) -> pa.RecordBatch:
        labels, _ = labels_of(frame[self.response], self.task, self.classes)
        for one, _ in self.effects:
            refuse_missing(frame, one.entity)
        ids, shards = _structs(frame, self.effects, self.key_kinds)
        return pa.RecordBatch.from_pydict(
            {
                "uid": pa.array(frame[UID]),
                "role": pa.array(np.zeros(len(frame), np.int8)),
                "response": pa.array(labels),
                "weight": pa.array(column(frame, self.weights, 1.0)),
                "offset": pa.array(column(frame, self.offset, 0.0)),
                "ids": ids,
                "shards": shards,
            }
        )


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """Makes rows to score, their own columns passed on by number: no name of theirs can then be one of ours.

    Parameters
    ----------
    offset, effects, key_kinds
        As in :class:`TrainingRows`; a row without an id is of an unknown entity.
    passed
        Names for the rows' own columns, in their order.
    """

    offset: str | None
    effects: Effects
    key_kinds: Mapping[str, Keys]
    passed: tuple[str, ...]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield batches encoded."""
        for batch in batches:
            if batch.num_rows:
                frame = batch.to_pandas()
                ids, shards = _structs(frame, self.effects, self.key_kinds)
                added = [pa.array(column(frame, self.offset, 0.0)), ids, shards]
                names = [*self.passed, "offset", "ids", "shards"]
                yield pa.RecordBatch.from_arrays([*batch.columns, *added], names=names)


def column(frame: pd.DataFrame, name: str | None, missing: float) -> Floats:
    """Return a column of numbers; ``missing`` where there is none, and in all rows if no column is named."""
    if name is None:
        return np.full(len(frame), missing)
    return numbers(column_of(frame, name, name), name, missing=missing)


def _structs(
    frame: pd.DataFrame, effects: Effects, key_kinds: Mapping[str, Keys]
) -> tuple[pa.StructArray, pa.StructArray]:
    """Return the ids and the vectors of rows."""
    ids = {
        one.entity_key: id_array(entity_ids(frame, one.entity, like=key_kinds[one.entity_key]))
        for one, _ in effects
        if one.entity
    }
    shards = {one.name: vectors(encode(encoding, frame)) for one, encoding in effects}
    return _struct(ids, len(frame)), _struct(shards, len(frame))


def _struct(fields: Mapping[str, pa.Array], rows: int) -> pa.StructArray:
    if not fields:
        return pa.array([{}] * rows, pa.struct([]))
    return pa.StructArray.from_arrays(list(fields.values()), list(fields))
