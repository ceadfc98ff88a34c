"""The job that makes a training set: join as of each observation, split in time, index, write.

What it reads and writes is said in :mod:`yarnmill.tables` and :mod:`yarnmill.trainingset`.
"""

import datetime as dt
import math
import time
from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from jobs.asof import join_as_of, known_as, read_partitions
from jobs.indexing import IndexMap, ShardConfig, describe, index_frame, with_vectors
from jobs.job import JobConfig, Outcome, Url
from jobs.split import TimeSplit, with_split
from yarnmill import fs
from yarnmill.errors import BadDataError, ConfigurationError
from yarnmill.partitions import check_columns
from yarnmill.records import Record, canonical_json
from yarnmill.tables import (
    FeatureTable,
    ObservationTable,
    Partition,
    complete_partitions,
    read_feature_table,
    read_observation_table,
)
from yarnmill.trainingset import RECORD_NAME, SPLITS, FeatureColumn, TrainingSet, index_url


class Config(JobConfig, frozen=True, kw_only=True):
    """Which tables, which days of observations, which split, which shards.

    Parameters
    ----------
    tables
        URL of the tables' root.
    observations, features
        Names of tables, ``namespace.table``; their definitions stand beside their partitions.
    split
        How rows are split in time.
    shards
        The feature shards to make.
    first, last
        First and last day (both included) of the observations' partitions; features are read from their
        first day, for a change log means nothing without its beginning.
    """

    tables: Url
    observations: str
    features: tuple[str, ...]
    split: TimeSplit
    shards: tuple[ShardConfig, ...]
    first: dt.date | None = None
    last: dt.date | None = None


class _Source(Record, frozen=True, kw_only=True):
    """A feature table with the partitions to read."""

    table: FeatureTable
    partitions: tuple[Partition, ...]


class _Sources(Record, frozen=True, kw_only=True):
    """Everything the job reads, found and checked."""

    observations: ObservationTable
    partitions: tuple[Partition, ...]
    features: tuple[_Source, ...]

    @property
    def columns(self) -> tuple[FeatureColumn, ...]:
        """All raw features, in order of tables."""
        return tuple(
            FeatureColumn(
                name=feature.name,
                dtype=feature.dtype,
                table=f"{source.table.namespace}.{source.table.name}",
                default=feature.default,
            )
            for source in self.features
            for feature in source.table.features
        )

    @property
    def urls(self) -> tuple[str, ...]:
        """URLs of all partitions."""
        every = (*self.partitions, *(part for source in self.features for part in source.partitions))
        return tuple(part.url for part in every)


def inputs(config: Config) -> tuple[str, ...]:
    """Return the partitions to read, after checking that all are there and fit their definitions.

    Raises
    ------
    ConfigurationError
        If a shard names a feature, or the split a key, that no definition has.
    NotFoundError
        If a table, or every partition in its range, is missing.
    BadDataError
        If a partition has no ``_SUCCESS``, or its columns are not those of the definition.
    """
    return _find(config).urls


def _find(config: Config) -> _Sources:
    observations = read_observation_table(config.tables, config.observations)
    tables = [read_feature_table(config.tables, name) for name in config.features]
    _check_names(config, observations, tables)
    found = _Sources(
        observations=observations,
        partitions=tuple(complete_partitions(config.tables, observations, first=config.first, last=config.last)),
        features=tuple(
            _Source(table=table, partitions=tuple(complete_partitions(config.tables, table, last=config.last)))
            for table in tables
        ),
    )
    check_columns(observations, found.partitions)
    for source in found.features:
        check_columns(source.table, source.partitions)
    return found


def _check_names(config: Config, observations: ObservationTable, tables: Sequence[FeatureTable]) -> None:
    keys = tuple(key.name for key in observations.keys)
    config.split.check(keys)
    names = [feature.name for table in tables for feature in table.features]
    for table in tables:
        lacking = [key.name for key in table.keys if key.name not in keys]
        if lacking:
            raise ConfigurationError(
                f"{table.namespace}.{table.name}: its key {lacking[0]!r} is no key of {config.observations}",
                expected=f"keys among {', '.join(keys)}",
            )
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise ConfigurationError(f"features: {doubles[0]!r} stands in two tables", mend="rename it in one of them")
    for place, shard in enumerate(config.shards):
        unknown = [name for name in shard.features if name not in names]
        if unknown:
            raise ConfigurationError(
                f"shards[{place}].features: no definition has {unknown[0]!r}", expected=f"one of {', '.join(names)}"
            )
        if not shard.features and not shard.intercept:
            raise ConfigurationError(f"shards[{place}]: {shard.name!r} would have no column")


def run(spark: SparkSession, config: Config) -> Outcome:
    """Make the training set at ``config.output``."""
    started = time.monotonic()
    sources = _find(config)
    found = time.monotonic()
    rows = with_split(_joined(spark, config.tables, sources), config.split, event_time="event_time", uid="uid")
    rows = rows.persist()
    try:
        maps, counts = _write(spark, config, sources, rows)
    finally:
        rows.unpersist()
    _write_record(config, sources, maps, counts)
    return Outcome(
        counts=_counted(counts) | {f"columns_{shard}": index.dimension for shard, index in maps.items()},
        outputs=(fs.join(config.output, "data"), fs.join(config.output, "index")),
        timings_s={"find_inputs": found - started, "join_index_write": time.monotonic() - found},
    )


def _joined(spark: SparkSession, root: str, sources: _Sources) -> DataFrame:
    """Return the observations in the training set's columns, without ``split`` and ``shards``."""
    table = sources.observations
    read = read_partitions(spark, root, table, sources.partitions)
    keys = [key.name for key in table.keys]
    rows = read.select(
        F.col(table.uid).alias("uid"),
        F.col(table.event_time).alias("event_time"),
        F.col(table.response).cast("double").alias("response"),
        (F.col(table.weight).cast("double") if table.weight else F.lit(1.0)).alias("weight"),
        (F.col(table.offset).cast("double") if table.offset else F.lit(0.0)).alias("offset"),
        *keys,
    )
    for source in sources.features:
        changes = read_partitions(spark, root, source.table, source.partitions)
        rows = join_as_of(rows, "event_time", source.table, changes)
    known = [_known(source.table, feature) for source, feature in _each_feature(sources)]
    ids = F.struct(*keys)
    # `split.by` must stay a column of its own until the split is made.
    return rows.select(
        "uid", "event_time", "response", "weight", "offset", *keys, ids.alias("ids"), F.struct(*known).alias("features")
    )


def _each_feature(sources: _Sources) -> list[tuple[_Source, FeatureColumn]]:
    by_name = {column.name: column for column in sources.columns}
    return [(source, by_name[feature.name]) for source in sources.features for feature in source.table.features]


def _known(table: FeatureTable, feature: FeatureColumn) -> Column:
    """Return the feature as known, or what stands in for it: its default, or an empty bag."""
    value = F.col(f"`{known_as(table)}`.`{feature.name}`")
    if feature.dtype == "bag":
        return F.coalesce(value, F.create_map().cast("map<string, double>")).alias(feature.name)
    return F.coalesce(value, F.lit(feature.default).cast("double")).alias(feature.name)


def _write(
    spark: SparkSession, config: Config, sources: _Sources, rows: DataFrame
) -> tuple[dict[str, IndexMap], dict[str, tuple[int, int]]]:
    train = rows.where(F.col("split") == "train")
    index = index_frame(spark, train, config.shards, sources.columns)
    maps = describe(index, config.shards)
    for name, found in maps.items():
        if not found.dimension:
            raise BadDataError(
                f"shard {name!r} would have no column: no row of train has a term of its features",
                mend="give it an intercept or other features, or widen the range of days",
            )
    _write_index(config, index)
    whole = with_vectors(rows, index, maps, config.shards, uid="uid")
    columns = ("uid", "event_time", "response", "weight", "offset", "ids", "features", "shards", "split")
    data = fs.join(config.output, "data")
    whole.select(*columns).write.mode("overwrite").partitionBy("split").parquet(data)
    return maps, _checked(spark, data, rows, [column.name for column in sources.columns if column.dtype == "float64"])


def _write_index(config: Config, index: DataFrame) -> None:
    """Write all maps by one Spark job, then give each shard's folder its name."""
    together = fs.join(config.output, "_index")
    index.write.mode("overwrite").partitionBy("shard").parquet(together)
    for shard in config.shards:
        fs.rename(fs.join(together, f"shard={shard.name}"), index_url(config.output, shard.name))
    fs.delete(together)


def _checked(spark: SparkSession, data: str, rows: DataFrame, numbers: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return rows and positive responses a split, read back; a uid that stands twice shows as rows too many."""
    written = spark.read.parquet(data).groupBy("split")
    found = written.agg(F.count(F.lit(1)).alias("rows"), F.sum((F.col("response") > 0).cast("long")).alias("positive"))
    counts = {row["split"]: (row["rows"], row["positive"]) for row in found.collect()}
    infinite = _infinite(numbers)
    # One flag for all columns: which of them it was is counted only when it was any.
    some = reduce(Column.__or__, infinite.values())
    expected, distinct, bad = rows.agg(F.count(F.lit(1)), F.count_distinct("uid"), F.count_if(some)).collect()[0]
    if bad:
        _refuse_infinite(rows, infinite)
    if distinct != expected or sum(count for count, _ in counts.values()) != expected:
        raise BadDataError(
            f"{expected - distinct} of {expected} observations carry a uid that another carries",
            expected="a uid that names one observation",
            mend="write the observation table with distinct uids",
        )
    return counts


def _infinite(numbers: Sequence[str]) -> dict[str, Column]:
    """Return, for each number of a row, whether it is NaN or infinite; what is null is neither."""
    columns = {name: F.col(name) for name in ("response", "weight", "offset")}
    columns |= {name: F.col(f"features.`{name}`") for name in numbers}
    # Spark holds NaN for equal to itself and larger than infinity.
    return {name: F.coalesce(F.abs(column) >= F.lit(math.inf), F.lit(False)) for name, column in columns.items()}


def _refuse_infinite(rows: DataFrame, infinite: dict[str, Column]) -> None:
    counts = rows.agg(*(F.count_if(flag).alias(name) for name, flag in infinite.items())).collect()[0]
    found = [f"{name!r} in {counts[name]} rows" for name in infinite if counts[name]]
    raise BadDataError(
        f"NaN or infinite numbers: {', '.join(found)}",
        expected="finite numbers, or null where nothing is known",
        mend="write the table's partitions anew",
    )


def _counted(counts: dict[str, tuple[int, int]]) -> dict[str, int]:
    named = {f"rows_{split}": counts.get(split, (0, 0))[0] for split in SPLITS}
    return named | {f"positive_{split}": counts.get(split, (0, 0))[1] for split in SPLITS}


def _write_record(
    config: Config, sources: _Sources, maps: dict[str, IndexMap], counts: dict[str, tuple[int, int]]
) -> None:
    record = TrainingSet(
        response=sources.observations.response,
        keys={key.name: key.dtype for key in sources.observations.keys},
        features=sources.columns,
        shards=tuple(maps[shard.name].record(shard.features) for shard in config.shards),
        rows={split: counts.get(split, (0, 0))[0] for split in SPLITS},
        inputs=(config.observations, *config.features),
    )
    fs.write_bytes(fs.join(config.output, RECORD_NAME), canonical_json(record), overwrite=True)
