"""Feature summaries in Photon's Avro: statistics of every column of a shard, zeros included, rows unweighted."""

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from jobs.game.examples import name_and_term
from jobs.game.files import write_parts
from jobs.game.models import ShardIndex
from photon.avro.container import Fields
from photon.avro.schemas import FEATURE_SUMMARY
from yarnmill.trainingset import INTERCEPT

_A_FILE: Final = 1_000_000
_METRICS: Final = ("max", "min", "mean", "normL1", "normL2", "numNonzeros", "variance")


def column_statistics(rows: DataFrame, shard: str, count: int) -> DataFrame:
    """Return ``index`` and Photon's metrics of each column that is not 0 in all of ``count`` rows.

    The variance is that of a sample, ``Σ(x - mean)² / (count - 1)``, made from that of the entries that are not 0:
    ``M₂ = m₂ + x̄² k (count - k) / count`` for ``k`` of them with mean ``x̄``.
    """
    entries = rows.select(F.explode(F.arrays_zip(f"shards.{shard}.indices", f"shards.{shard}.values")).alias("entry"))
    one = entries.select(F.col("entry.indices").alias("index"), F.col("entry.values").alias("x"))
    found = one.groupBy("index").agg(
        F.count(F.lit(1)).alias("k"),
        F.avg("x").alias("mean_k"),
        F.var_pop("x").alias("variance_k"),
        F.max("x").alias("max_k"),
        F.min("x").alias("min_k"),
        F.sum(F.abs("x")).alias("normL1"),
        F.sqrt(F.sum(F.col("x") * F.col("x"))).alias("normL2"),
    )
    k, mean, everywhere = F.col("k"), F.col("mean_k"), F.col("k") == count
    spread = k * F.col("variance_k") + mean * mean * k * (count - k) / count
    return found.select(
        "index",
        F.when(everywhere, F.col("max_k")).otherwise(F.greatest("max_k", F.lit(0.0))).alias("max"),
        F.when(everywhere, F.col("min_k")).otherwise(F.least("min_k", F.lit(0.0))).alias("min"),
        (mean * k / count).alias("mean"),
        "normL1",
        "normL2",
        k.cast("double").alias("numNonzeros"),
        (spread / max(1, count - 1)).alias("variance"),
    )


def write_summary(rows: DataFrame, shard: str, index: ShardIndex, folder: str) -> int:
    """Write the statistics of a shard's columns, but for its intercept, below ``folder``; return their number.

    A column without an entry, which a list of features may bring, is 0 in all rows and written so.
    """
    found = column_statistics(rows, shard, rows.count())
    whole = index.rows.where(F.col("key") != INTERCEPT).join(found, "index", "left").na.fill(0.0, list(_METRICS))
    ordered = whole.repartitionByRange(-(-index.dimension // _A_FILE), "index").sortWithinPartitions("index")
    return write_parts(ordered, folder, FEATURE_SUMMARY, _records)


def _records(batches: Iterator[pa.RecordBatch]) -> Iterator[Fields]:
    for batch in batches:
        for row in batch.to_pylist():
            name, term = name_and_term(row["key"])
            yield {"featureName": name, "featureTerm": term, "metrics": {metric: row[metric] for metric in _METRICS}}
