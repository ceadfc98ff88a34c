"""What was known when: observations joined with feature tables as of the moment of each observation.

The join is one sort a feature table: observations and changes of an entity stand in one sequence, ordered
by time, and each observation takes the last change *before* it. No range is ever crossed with another, so a
billion observations cost a shuffle and a sort. A change of the observation's very moment is not seen: it
may be an effect of what was observed.
"""

from collections.abc import Sequence
from typing import Final

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from yarnmill.tables import FeatureTable, ObservationTable, Partition, table_url

# Columns of this join alone; the definitions' own names cannot begin with an underscore and a dot.
_IS_CHANGE: Final = "_.is_change"
_CHANGE: Final = "_.change"
_LOAD: Final = "_.load"
_TIME: Final = "_.time"

_SQL: Final = {"int64": "bigint", "string": "string", "float64": "double", "bag": "map<string, double>"}


def read_partitions(
    spark: SparkSession, root: str, table: FeatureTable | ObservationTable, partitions: Sequence[Partition]
) -> DataFrame:
    """Return the rows of complete partitions, with the day of the load as ``ds``."""
    # The schema is known: inferring it would read every footer once more.
    schema = ", ".join(f"`{name}` {kind}" for name, kind in _columns(table).items())
    reader = spark.read.schema(f"{schema}, ds date").option("basePath", table_url(root, table))
    return reader.parquet(*(part.url for part in partitions))


def _columns(table: FeatureTable | ObservationTable) -> dict[str, str]:
    kinds = {key.name: _SQL[key.dtype] for key in table.keys} | {table.event_time: "timestamp"}
    if isinstance(table, FeatureTable):
        return kinds | {feature.name: _SQL[feature.dtype] for feature in table.features}
    numbers = (table.response, table.weight, table.offset)
    return {table.uid: "bigint"} | kinds | {name: "double" for name in numbers if name}


def known_as(table: FeatureTable) -> str:
    """Return the name of the struct column: one that no entity key can have, whatever the table is called."""
    return f"_.{table.namespace}.{table.name}"


def join_as_of(observations: DataFrame, event_time: str, table: FeatureTable, changes: DataFrame) -> DataFrame:
    """Add the table's features as one struct column, :func:`known_as`, null where nothing was known.

    Parameters
    ----------
    observations
        Rows with ``event_time`` and the table's entity keys.
    event_time
        Column of the observations that says when.
    table
        Definition of the feature table.
    changes
        Its rows, with ``ds``: of two changes of one moment, the later load counts.
    """
    keys = [key.name for key in table.keys]
    features = F.struct(*(_quoted(feature.name) for feature in table.features))
    log = changes.select(
        *(_quoted(key) for key in keys),
        _quoted(table.event_time).alias(_TIME),
        F.col("ds").alias(_LOAD),
        F.lit(True).alias(_IS_CHANGE),
        features.alias(_CHANGE),
    )
    rows = observations.withColumns({_TIME: _quoted(event_time), _IS_CHANGE: F.lit(False)})
    # Observations sort before changes of the same moment, so the last change seen is strictly earlier.
    sequence = (
        Window.partitionBy(*(_quoted(key) for key in keys))
        .orderBy(_quoted(_TIME), _quoted(_IS_CHANGE), _quoted(_LOAD))
        .rowsBetween(Window.unboundedPreceding, Window.currentRow)
    )
    together = rows.unionByName(log, allowMissingColumns=True)
    known = together.withColumn(known_as(table), F.last(_quoted(_CHANGE), ignorenulls=True).over(sequence))
    return known.where(~_quoted(_IS_CHANGE)).drop(*(_quoted(name) for name in (_TIME, _IS_CHANGE, _LOAD, _CHANGE)))


def _quoted(name: str) -> Column:
    return F.col(f"`{name}`")
