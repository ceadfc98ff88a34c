"""An earlier model in the executors: its random effects lie beside the blocks of the same entities.

An earlier random effect comes as a DataFrame, as :meth:`photon.spark.train.SparkGlmix.coefficients` gives it and
Parquet keeps it. Its entities go by the hash that the rows go by, so that :mod:`photon.earlier` works partition by
partition; fixed effects are vectors at the driver. Entities of no row are there too, for the model that is written.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyspark.sql.functions as F  # noqa: N812  # Spark's own custom
from pyspark.sql import DataFrame
from pyspark.sql.types import DataType

from photon.covariance import in_prior
from photon.earlier import KnownCells, check_locked, check_prior, known_cells, unlike
from photon.model import EffectRecord, FixedEffect, RandomEffect, random_effect_from_entities
from photon.rows import Floats
from photon.settings import CoordinateSettings, FitSettings
from photon.spark.arrow_rows import to_bytes
from photon.spark.backend import Context, Earlier, Known, Table, gather, together
from photon.spark.blocks import Keyed, keys_of, partition_of, same
from photon.spark.pieces import in_pieces
from photon.spark.routing import cut
from photon.spark.worker import settle_worker
from yarnmill.errors import BadDataError

EarlierEffects = Mapping[str, FixedEffect | DataFrame]
"""Effects by the names of their coordinates; a random one as rows (entity, indices, values[, variances])."""

_ROUTED: Final = pa.schema([("partition", pa.int32()), ("payload", pa.binary())])


def check_earlier(settings: FitSettings, columns: Mapping[str, int], earlier: EarlierEffects | None) -> None:
    """Check that an earlier model is what the settings take it for.

    Parameters
    ----------
    settings
        What to fit.
    columns
        Of each shard.
    earlier
        The effects, or None without an earlier model.

    Raises
    ------
    ConfigurationError
        If a locked coordinate is not in it, or a prior has no variances.
    BadDataError
        If an effect is of another kind or number of columns.
    """
    effects = earlier or {}
    check_locked(settings, effects)
    for one in settings.coordinates:
        effect = effects.get(one.name)
        if effect is not None:
            size = columns[one.shard]
            is_fixed = isinstance(effect, FixedEffect) and len(effect.coefficients) == size
            if not (is_fixed if one.kind == "fixed" else isinstance(effect, DataFrame)):
                raise unlike(one, size)
        has_variances = one.prior_weight <= 0.0 or effect is None or _has_variances(effect)
        check_prior(one, is_known=earlier is not None, has_variances=has_variances)


def _has_variances(effect: FixedEffect | DataFrame) -> bool:
    if isinstance(effect, FixedEffect):
        return effect.variances is not None
    if not has_variances(effect):
        return False
    return bool(effect.where(F.exists("variances", lambda one: one > 0.0)).head(1))


def has_variances(coefficients: DataFrame) -> bool:
    """Return whether rows of a random effect have a column of variances."""
    return "variances" in coefficients.columns


def sent_earlier(
    coefficients: DataFrame, settings: CoordinateSettings, columns: int, key_type: DataType, partitions: int
) -> Table:
    """Return an earlier random effect as a record a partition, in pieces, the entities in the partitions of their rows.

    Parameters
    ----------
    coefficients
        Rows (entity, indices, values[, variances]), one an entity; a variance that is null is not known.
    settings, columns
        Of the coordinate, and of its shard.
    key_type
        Type of the ids in the rows to train on: a hash is of a value of one type.
    partitions
        Of the coordinate's blocks.
    """
    if (key_type.simpleString() == "string") != (coefficients.schema["entity"].dataType.simpleString() == "string"):
        raise BadDataError(
            f"coordinate {settings.name}: entities of the earlier model are {coefficients.schema['entity'].dataType}",
            expected=f"{key_type}, as the rows have {settings.entity_key}",
        )
    entity = F.col("entity").cast(key_type)
    lists = ["indices", "values", *(["variances"] if has_variances(coefficients) else [])]
    rows = coefficients.select(partition_of(entity, partitions).alias("partition"), entity.alias("entity"), *lists)
    routed = rows.mapInArrow(_send, "partition int, payload binary")
    moved = routed.rdd.map(lambda row: (row.partition, bytes(row.payload))).partitionBy(partitions, same)
    return moved.mapPartitionsWithIndex(_builder(settings, columns), preservesPartitioning=True)


def _send(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    settle_worker()
    for batch in batches:
        target = batch.column("partition").to_numpy()
        rows = batch.select(batch.schema.names[1:])
        records = [
            {"partition": one, "payload": to_bytes(pa.Table.from_batches([part]))} for one, part in cut(rows, target)
        ]
        yield pa.RecordBatch.from_pylist(records, schema=_ROUTED)


def _builder(settings: CoordinateSettings, columns: int) -> Callable[[int, Iterable[Keyed]], Iterator[Keyed]]:
    record = EffectRecord(name=settings.name, shard=settings.shard, columns=columns, entity=settings.entity_key)

    def build(partition: int, records: Iterable[Keyed]) -> Iterator[Keyed]:
        settle_worker()
        yield from in_pieces(
            partition, Earlier(_effect([pa.ipc.open_stream(data).read_all() for _, data in records], record))
        )

    return build


def _effect(tables: Sequence[pa.Table], record: EffectRecord) -> RandomEffect:
    if not tables:
        nothing = np.zeros(0, np.int64)
        return random_effect_from_entities(record, nothing, nothing, nothing, np.zeros(0))
    table = pa.concat_tables(tables).combine_chunks()
    indices = pa.concat_arrays(table.column("indices").chunks)
    found = indices.flatten().to_numpy().astype(np.int64)
    effect = random_effect_from_entities(
        record,
        keys_of(table, "entity"),
        np.diff(indices.offsets.to_numpy()).astype(np.int64),
        found,
        _flat(table, "values"),
        _flat(table, "variances") if "variances" in table.column_names else None,
    )
    if np.any(effect.entities[1:] == effect.entities[:-1]) or np.any((found < 0) | (found >= record.columns)):
        raise BadDataError(
            f"coordinate {record.name}: the earlier model has an entity twice, or a column that the shard has not",
            expected=f"one row an entity, columns below {record.columns}",
        )
    return effect


def _flat(table: pa.Table, name: str) -> Floats:
    """Return the entries of a column of lists; 0, which no variance is, for those that are null."""
    entries = pa.concat_arrays(table.column(name).chunks).flatten().fill_null(0.0)
    values: Floats = entries.to_numpy(zero_copy_only=False).astype(np.float64)
    return values


def known_beside(context: Context, blocks: Table, earlier: Table, factor: Floats | None = None) -> Table:
    """Return what an earlier effect says of the cells of each block; entities of no row stay where they are.

    Parameters
    ----------
    context, blocks, earlier
        The effect, its rows, and what the earlier model has of it.
    factor
        ``L`` of the prior in whose coordinates the blocks are, and what is known of them then; None: in none.
    """

    def look(partition: int, records: Iterable[Keyed]) -> Iterator[Keyed]:
        found = gather(records)
        rows = found.block.rows
        known = known_cells(rows, found.earlier)
        if factor is not None:
            # Variances would be of other columns too, and a prior of its own is not for an effect that has this one.
            known = KnownCells(in_prior(rows.cells, known.coefficients, factor), np.zeros(len(rows.cells)))
        yield from in_pieces(partition, Known(known))

    return together(context, blocks, earlier).mapPartitionsWithIndex(look, preservesPartitioning=True)
