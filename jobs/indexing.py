"""Index maps and sparse vectors: from feature names and terms to columns, at any number of them.

An index map is made by a distributed sort: no term passes through the driver. Its identity is the hash of
its content, the same however many partitions made it. Columns are ordered by shard, name and term.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from yarnmill.records import Record
from yarnmill.trainingset import INTERCEPT, FeatureColumn, Shard

CHUNK_ROWS: Final = 65536
"""Rows of an index map that are hashed together; the map's hash is the hash of its chunks' hashes."""

_ROW_IN_PARTITION: Final = (1 << 33) - 1  # what monotonically_increasing_id leaves for the row


class ShardConfig(Record, frozen=True, kw_only=True):
    """A feature shard as configured: the features that feed it, and whether it has an intercept."""

    name: str
    features: tuple[str, ...] = ()
    intercept: bool = True


class IndexMap(Record, frozen=True, kw_only=True):
    """What the driver keeps of a shard's index map: its size, its hash, and the columns of its numbers."""

    shard: str
    dimension: int
    sha256: str
    numbers: dict[str, int]

    def record(self, features: tuple[str, ...]) -> Shard:
        """Return the shard as a training set's record has it, with what feeds it."""
        return Shard(name=self.shard, features=features, dimension=self.dimension, index_sha256=self.sha256)


def index_frame(
    spark: SparkSession, train: DataFrame, shards: Sequence[ShardConfig], features: Sequence[FeatureColumn]
) -> DataFrame:
    """Return ``shard, name, term, index`` for all shards, kept in Spark's storage.

    Parameters
    ----------
    train
        Rows whose column ``features`` holds the raw features; terms that stand in no row of it get no column.
    shards, features
        What feeds each shard, and the type of each feature.
    """
    bags = {feature.name for feature in features if feature.dtype == "bag"}
    fixed = [
        (shard.name, name, "")
        for shard in shards
        for name in (*(name for name in shard.features if name not in bags), *((INTERCEPT,) if shard.intercept else ()))
    ]
    terms = spark.createDataFrame(fixed, "shard string, name string, term string")
    fed = [(shard.name, name) for shard in shards for name in shard.features if name in bags]
    if fed:
        found = _distinct_terms(train, sorted({name for _, name in fed}))
        feeds = spark.createDataFrame(fed, "shard string, name string")
        terms = terms.unionByName(found.join(F.broadcast(feeds), "name").select("shard", "name", "term"))
    return numbered(terms)


def numbered(terms: DataFrame) -> DataFrame:
    """Return distinct ``shard, name, term`` with ``index``, counted within each shard, kept in Spark's storage."""
    # Cut from its lineage: a partition computed a second time might be bounded otherwise and number anew.
    ordered = terms.orderBy("shard", "name", "term").localCheckpoint()
    placed = ordered.select(
        "*",
        F.spark_partition_id().alias("part"),
        F.monotonically_increasing_id().bitwiseAND(F.lit(_ROW_IN_PARTITION)).alias("row"),
    )
    return _from_zero(placed, _starts(placed))


def _distinct_terms(train: DataFrame, bags: Sequence[str]) -> DataFrame:
    named = [F.struct(F.lit(bag).alias("name"), F.map_keys(F.col(f"features.`{bag}`")).alias("terms")) for bag in bags]
    exploded = train.select(F.explode(F.array(*named)).alias("bag"))
    return exploded.select(F.col("bag.name").alias("name"), F.explode("bag.terms").alias("term")).distinct()


def _starts(numbered: DataFrame) -> dict[tuple[int, str], int]:
    """Return, for each partition and shard, what to add to a row's place to get its index."""
    counts = numbered.groupBy("part", "shard").agg(F.min("row").alias("first"), F.count(F.lit(1)).alias("rows"))
    starts: dict[tuple[int, str], int] = {}
    before: dict[str, int] = {}
    for count in sorted(counts.collect(), key=lambda row: (row["part"], row["shard"])):
        shard = count["shard"]
        starts[count["part"], shard] = before.get(shard, 0) - count["first"]
        before[shard] = before.get(shard, 0) + count["rows"]
    return starts


def _from_zero(numbered: DataFrame, starts: dict[tuple[int, str], int]) -> DataFrame:
    spark = numbered.sparkSession
    rows = [(part, shard, start) for (part, shard), start in sorted(starts.items())]
    offsets = spark.createDataFrame(rows, "part int, shard string, start long")
    index = (F.col("row") + F.col("start")).cast("int").alias("index")
    joined = numbered.join(F.broadcast(offsets), ["part", "shard"])
    return joined.select("shard", "name", "term", index).localCheckpoint()


def describe(index: DataFrame, shards: Sequence[ShardConfig]) -> dict[str, IndexMap]:
    """Return size, hash and numbers' columns of every shard's map, by shard."""
    line = F.sha2(F.concat_ws("\x00", F.col("index").cast("string"), "name", "term"), 256)
    lines = F.transform(F.array_sort(F.collect_list(F.struct("index", line.alias("line")))), lambda row: row["line"])
    chunks = (
        index.groupBy("shard", F.floor(F.col("index") / CHUNK_ROWS).alias("chunk"))
        .agg(F.sha2(F.concat_ws("\n", lines), 256).alias("digest"), F.count(F.lit(1)).alias("rows"))
        .orderBy("shard", "chunk")
        .collect()
    )
    named = sorted({name for shard in shards for name in (*shard.features, INTERCEPT)})
    numbers = index.where((F.col("term") == "") & F.col("name").isin(named)).collect()
    return {
        shard.name: IndexMap(
            shard=shard.name,
            dimension=sum(chunk["rows"] for chunk in chunks if chunk["shard"] == shard.name),
            sha256=_digest_of(chunk["digest"] for chunk in chunks if chunk["shard"] == shard.name),
            numbers={row["name"]: row["index"] for row in numbers if row["shard"] == shard.name},
        )
        for shard in shards
    }


def _digest_of(chunks: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(chunks).encode()).hexdigest()


def with_vectors(
    frame: DataFrame, index: DataFrame, maps: dict[str, IndexMap], shards: Sequence[ShardConfig], *, uid: str
) -> DataFrame:
    """Add ``shards``: a sparse vector a shard, columns ascending, exact zeros left out.

    Bags are exploded, joined with the index map (broadcast while it is small, shuffled when it is not) and
    gathered again a row; numbers need no join, their columns are a handful.
    """
    bags = [field.name for field in frame.schema["features"].dataType if field.dataType.typeName() == "map"]  # type: ignore[attr-defined]
    fed = [name for name in bags if any(name in shard.features for shard in shards)]
    gathered = "_.entries"
    if fed:
        frame = frame.join(_entries(frame, index, fed, uid, gathered), uid, "left")
    else:
        frame = frame.withColumn(gathered, F.lit(None).cast(f"array<{_ENTRY}>"))
    vectors = [_vector(maps[shard.name], shard, bags, gathered).alias(shard.name) for shard in shards]
    return frame.withColumn("shards", F.struct(*vectors)).drop(F.col(f"`{gathered}`"))


_ENTRY: Final = "struct<shard: string, index: int, value: double>"


def _entries(frame: DataFrame, index: DataFrame, bags: Sequence[str], uid: str, gathered: str) -> DataFrame:
    named = [F.struct(F.lit(bag).alias("name"), F.col(f"features.`{bag}`").alias("terms")) for bag in bags]
    exploded = frame.select(uid, F.explode(F.array(*named)).alias("bag"))
    terms = exploded.select(uid, F.col("bag.name").alias("name"), F.explode("bag.terms").alias("term", "value"))
    entry = F.struct("shard", "index", "value")
    return terms.join(index, ["name", "term"]).groupBy(uid).agg(F.collect_list(entry).alias(gathered))


def _vector(index: IndexMap, shard: ShardConfig, bags: Sequence[str], gathered: str) -> Column:
    numbers = [_pair(index.numbers[name], F.col(f"features.`{name}`")) for name in shard.features if name not in bags]
    if shard.intercept:
        numbers.append(_pair(index.numbers[INTERCEPT], F.lit(1.0)))
    of_bags = F.transform(
        F.filter(F.col(f"`{gathered}`"), lambda entry: entry["shard"] == shard.name),
        lambda entry: F.struct(entry["index"].alias("index"), entry["value"].alias("value")),
    )
    empty = F.array().cast("array<struct<index: int, value: double>>")
    pairs = F.concat(F.array(*numbers) if numbers else empty, F.coalesce(of_bags, empty))
    kept = F.array_sort(F.filter(pairs, lambda pair: pair["value"] != 0.0))
    return F.struct(
        F.transform(kept, lambda pair: pair["index"]).alias("indices"),
        F.transform(kept, lambda pair: pair["value"]).alias("values"),
    )


def _pair(index: int, value: Column) -> Column:
    return F.struct(F.lit(index).cast("int").alias("index"), value.cast("double").alias("value"))
