"""Margins of rows under coefficients that live in the executors: a join per random effect, then plain NumPy.

Rows meet the coefficients of their entities in a shuffle join; a fixed effect is sent to every executor. Entities and
features without a coefficient count 0.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it
from pyspark.sql.types import DoubleType, StructField, StructType

from photon.avro.layout import EffectInfo
from photon.rows import Floats, SparseRows, sums_by
from photon.scoring import positions
from photon.spark.arrow_rows import sparse_rows
from yarnmill.errors import BadDataError

_OWN = "_own_"


@dataclass(frozen=True, slots=True)
class LoadedEffect:
    """A coordinate to score with: its coefficients in the layout of a training output, and its shard's dimension."""

    effect: EffectInfo
    coefficients: DataFrame
    dimension: int


def with_margin(rows: DataFrame, effects: Sequence[LoadedEffect]) -> DataFrame:
    """Add ``margin``, the offset plus the sum of all effects.

    Parameters
    ----------
    rows
        With ``given_uid``, ``offset``, ``ids`` and ``shards``; whatever else they have stays.
    effects
        An entity has at most one row of coefficients, indices ascending.
    """
    context = rows.sparkSession.sparkContext
    schema = StructType([*rows.schema.fields, StructField("margin", DoubleType())])
    fixed: list[tuple[str, Broadcast[Floats]]] = []
    random: list[tuple[str, int]] = []
    for one in effects:
        if one.effect.entity is None:
            fixed.append((one.effect.shard, context.broadcast(_dense(one))))
            continue
        key, own = f"_entity_{len(random)}", f"{_OWN}{len(random)}"
        coefficients = one.coefficients.select(F.col("entity").alias(key), F.struct("indices", "values").alias(own))
        rows = rows.join(coefficients, F.col(f"ids.`{one.effect.entity}`") == F.col(key), "left").drop(key)
        random.append((one.effect.shard, one.dimension))
    return rows.mapInArrow(_adder(fixed, random), schema)


def _dense(one: LoadedEffect) -> Floats:
    """Return a fixed effect's coefficients: one number a column, at the driver as in training."""
    table = one.coefficients.select("index", "value").toArrow()
    dense = np.zeros(one.dimension)
    dense[table.column("index").to_numpy()] = table.column("value").to_numpy()
    return dense


def _adder(fixed: Sequence[tuple[str, Broadcast[Floats]]], random: Sequence[tuple[str, int]]) -> Any:  # noqa: ANN401  # Spark's own type of a mapper
    def add(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            shards = batch.column("shards")
            total = batch.column("offset").to_numpy(zero_copy_only=False).copy()
            for shard, coefficients in fixed:
                total += sparse_rows(shards.field(shard), len(coefficients.value)).dot(coefficients.value)
            for place, (shard, columns) in enumerate(random):
                own = sparse_rows(batch.column(f"{_OWN}{place}"), columns)
                total += paired_dot(sparse_rows(shards.field(shard), columns), own)
            _refuse_infinite(total, batch)
            kept = [name for name in batch.schema.names if not name.startswith(_OWN)]
            columns_ = [*(batch.column(name) for name in kept), pa.array(total)]
            yield pa.RecordBatch.from_arrays(columns_, names=[*kept, "margin"])

    return add


def _refuse_infinite(total: Floats, batch: pa.RecordBatch) -> None:
    wrong = np.flatnonzero(~np.isfinite(total))
    if len(wrong):
        uid = batch.column("given_uid")[int(wrong[0])].as_py()
        raise BadDataError(f"the score of {len(wrong)} rows is not finite, such as that of uid {uid}")


def paired_dot(rows: SparseRows, others: SparseRows) -> Floats:
    """Return ``xᵢᵀ bᵢ`` of each pair of rows; the columns of each ``bᵢ`` are ascending."""
    known = others.row_of * np.int64(others.columns) + others.indices
    place = positions(known, rows.row_of * np.int64(rows.columns) + rows.indices)
    parts = np.zeros(len(place))
    hit = place >= 0
    parts[hit] = rows.values[hit] * others.values[place[hit]]
    return sums_by(rows.row_of, parts, len(rows))
