"""Feature summaries in Photon's Avro: statistics of every column of a shard, zeros included, rows unweighted."""

import re
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
from yarnmill import fs
from yarnmill.errors import ConfigurationError, ConflictError
from yarnmill.trainingset import INTERCEPT

_OWN: Final = re.compile(r"_SUCCESS|part-\d+\.avro")
_A_FILE: Final = 1_000_000
_METRICS: Final = ("max", "min", "mean", "normL1", "normL2", "numNonzeros", "variance")


def summaries_place(folder: str, output: str) -> str:
    """Return where summaries go: a URL, or the path below the output, which is whole at once or not there.

    Raises
    ------
    ConfigurationError
        If it is the output itself.
    """
    whole = output.rstrip("/") + "/"
    below = f"{folder.rstrip('/')}/".removeprefix(whole).rstrip("/") if f"{folder}/".startswith(whole) else None
    if below == "":
        raise ConfigurationError(f"--data-summary-directory {folder}: the output", expected="a folder of its own")
    return folder if below is None else below


def is_below_output(place: str) -> bool:
    """Return whether summaries go below the output."""
    return ":" not in place.partition("/")[0]


def check_summaries(place: str, *, may_replace: bool) -> None:
    """Check that summaries may take a place outside of the output.

    Raises
    ------
    ConflictError
        If something stands there that may not be replaced, or that is no summary of ours.
    """
    if is_below_output(place) or not fs.exists(place):
        return
    if not may_replace:
        raise ConflictError(f"{place}: already there", mend="--override-output-directory true, or another folder")
    strange = None if not fs.info(place).is_folder else _strange(place)
    if strange is not None or not fs.info(place).is_folder:
        raise ConflictError(
            f"{strange or place}: no summary of features",
            expected=f"{place} to hold nothing else",
            mend="name another folder",
        )


def _strange(folder: str) -> str | None:
    return next((file.url for file in fs.walk_files(folder) if not _OWN.fullmatch(file.name)), None)


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
