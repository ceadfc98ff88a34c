"""The job that makes a snapshot of a feature table: of each entity, what was known at the end of a day.

What it reads and writes is said in :mod:`yarnmill.tables` and :mod:`yarnmill.featuresnapshot`. Of each entity the
change of the latest event time counts, of two at one moment the later load's, as in :mod:`jobs.asof`. Rows are sorted
and distinct values found by Spark: nothing of it comes to the driver.
"""

import datetime as dt
import time

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from jobs.asof import read_partitions
from jobs.job import JobConfig, Outcome, Url
from yarnmill import fs
from yarnmill.errors import BadDataError, NotFoundError
from yarnmill.featuresnapshot import (
    ENTITIES,
    KEYS_NAME,
    ROWS_NAME,
    SNAPSHOT_NAME,
    TERMS_NAME,
    VALUE,
    FeatureSnapshot,
    SnapshotFeature,
    SnapshotKey,
)
from yarnmill.partitions import check_columns
from yarnmill.records import canonical_json
from yarnmill.tables import FeatureTable, Partition, complete_partitions, read_feature_table


class Config(JobConfig, frozen=True, kw_only=True):
    """Which table, as of which day.

    Parameters
    ----------
    tables
        URL of the tables' root.
    table
        Name of a feature table, ``namespace.table``.
    ds
        The day, whose partition has to be there; unset: that of the newest partition.
    first
        First day that is read. A change log means nothing without its beginning; a table of which each partition
        holds every entity needs the one of ``ds`` alone.
    """

    tables: Url
    table: str
    ds: dt.date | None = None
    first: dt.date | None = None


def inputs(config: Config) -> tuple[str, ...]:
    """Return the partitions to read, after checking that they fit the table's definition.

    Raises
    ------
    NotFoundError
        If the table, or the partition of ``ds``, is missing.
    BadDataError
        If a partition has no ``_SUCCESS``, or its columns are not those of the definition.
    """
    return tuple(part.url for part in _find(config)[1])


def _find(config: Config) -> tuple[FeatureTable, list[Partition]]:
    table = read_feature_table(config.tables, config.table)
    partitions = complete_partitions(config.tables, table, first=config.first, last=config.ds)
    if config.ds is not None and partitions[-1].day != config.ds:
        raise NotFoundError(
            f"{config.table}: no partition ds={config.ds}",
            expected=f"a day that was loaded; the last one before it is {partitions[-1].day}",
            mend="load that day, or name another one",
        )
    check_columns(table, partitions)
    return table, partitions


def run(spark: SparkSession, config: Config) -> Outcome:
    """Make the snapshot at ``config.output``."""
    started = time.monotonic()
    table, partitions = _find(config)
    rows_url = fs.join(config.output, ROWS_NAME)
    keys = [_quoted(key.name) for key in table.keys]
    _latest(read_partitions(spark, config.tables, table, partitions), table).orderBy(*keys).write.parquet(rows_url)
    rows = spark.read.parquet(rows_url)  # what was written: the rest need not find out the latest again
    entities = rows.count()
    if not entities:
        raise BadDataError(f"{config.table}: no entity until {partitions[-1].day}", expected="one row or more")
    if len(table.keys) > 1:
        for place, key in enumerate(keys):
            _write_distinct(rows.select(key.alias(VALUE)), fs.join(config.output, KEYS_NAME, str(place)))
    for place, feature in enumerate(table.features):
        if feature.dtype == "bag":
            terms = rows.select(F.explode(F.map_keys(_quoted(feature.name))).alias(VALUE))
            _write_distinct(terms, fs.join(config.output, TERMS_NAME, str(place)))
    record = FeatureSnapshot(
        table=config.table,
        ds=partitions[-1].day,
        keys=tuple(SnapshotKey(name=key.name, dtype=key.dtype) for key in table.keys),
        features=tuple(SnapshotFeature(name=one.name, dtype=one.dtype, default=one.default) for one in table.features),
    )
    fs.write_bytes(fs.join(config.output, SNAPSHOT_NAME), canonical_json(record), overwrite=True)
    return Outcome(
        counts={"entities": entities, "partitions": len(partitions)},
        metrics={ENTITIES: float(entities)},
        outputs=(rows_url,),
        timings_s={"snapshot": time.monotonic() - started},
    )


def _latest(changes: DataFrame, table: FeatureTable) -> DataFrame:
    keys = [_quoted(key.name) for key in table.keys]
    features = F.struct(*(_quoted(one.name) for one in table.features))
    known = changes.dropna(subset=[key.name for key in table.keys])  # what names no entity is of none
    newest = F.max_by(features, F.struct(_quoted(table.event_time), F.col("ds")))
    return known.groupBy(*keys).agg(newest.alias("_.known")).select(*keys, "`_.known`.*")


def _write_distinct(values: DataFrame, url: str) -> None:
    values.distinct().orderBy(VALUE).write.parquet(url)


def _quoted(name: str) -> Column:
    return F.col(f"`{name}`")
