"""Index maps of feature shards: from the rows, from lists of features, or stored ones; never through the driver.

Stored as in a training set, ``<folder>/<shard>/part-*.parquet`` with name (the bag), term (the feature's key) and
index.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from jobs.game.coordinates import ShardOption
from jobs.game.examples import SEPARATOR, name_and_term
from jobs.indexing import IndexMap, ShardConfig, describe, index_frame, numbered, with_vectors
from yarnmill import fs
from yarnmill.errors import BadDataError, ConfigurationError, NotFoundError
from yarnmill.trainingset import INTERCEPT, FeatureColumn

_PALDB: Final = "paldb-"


def shard_configs(shards: Sequence[ShardOption]) -> tuple[ShardConfig, ...]:
    """Return the shards as the index maps' own configuration."""
    return tuple(ShardConfig(name=one.name, features=one.bags, intercept=one.intercept) for one in shards)


def feature_columns(shards: Sequence[ShardOption], source: str) -> tuple[FeatureColumn, ...]:
    """Return the bags as raw features of a training set made from ``source``."""
    bags = dict.fromkeys(bag for shard in shards for bag in shard.bags)
    return tuple(FeatureColumn(name=bag, dtype="bag", table=source) for bag in bags)


def index_of_rows(spark: SparkSession, rows: DataFrame, shards: Sequence[ShardOption]) -> DataFrame:
    """Return ``shard, name, term, index`` of every feature that stands in a row."""
    return index_frame(spark, rows, shard_configs(shards), feature_columns(shards, ""))


def index_of_lists(spark: SparkSession, folder: str, shards: Sequence[ShardOption]) -> DataFrame:
    """Return the index of the features listed in ``<folder>/<bag>``: lines of name and, after a tab, term."""
    listed = [_listed(spark, folder, shard.name, bag) for shard in shards for bag in shard.bags]
    ones = [(shard.name, INTERCEPT, "") for shard in shards if shard.intercept]
    constants = spark.createDataFrame(ones, "shard string, name string, term string")
    return numbered(reduce(DataFrame.unionByName, listed, constants))


def _listed(spark: SparkSession, folder: str, shard: str, bag: str) -> DataFrame:
    url = fs.join(folder, bag)
    if not fs.exists(url):
        raise NotFoundError(f"{url}: no such list of features", expected="a text file or folder named as the bag")
    lines = spark.read.text(url).where(F.col("value") != "")
    name, term = F.split_part("value", F.lit("\t"), F.lit(1)), F.split_part("value", F.lit("\t"), F.lit(2))
    key = F.when(term == "", name).otherwise(F.concat(name, F.lit(SEPARATOR), term))
    return lines.select(F.lit(shard).alias("shard"), F.lit(bag).alias("name"), key.alias("term")).distinct()


def read_index(spark: SparkSession, folder: str, shards: Sequence[ShardOption]) -> DataFrame:
    """Return stored index maps.

    Raises
    ------
    NotFoundError
        If a shard has none there.
    ConfigurationError
        If a map has bags or an intercept other than its shard, or they are PalDB's.
    """
    found = [_stored(spark, folder, shard) for shard in shards]
    index = reduce(DataFrame.unionByName, found)
    names: dict[str, set[str]] = {}
    for row in index.select("shard", "name").distinct().collect():
        names.setdefault(row["shard"], set()).add(row["name"])
    for shard in shards:
        wanted = {*shard.bags, *((INTERCEPT,) if shard.intercept else ())}
        strange = names.get(shard.name, set()) - wanted
        if strange or (shard.intercept and INTERCEPT not in names.get(shard.name, set())):
            raise ConfigurationError(
                f"{fs.join(folder, shard.name)}: an index of {', '.join(sorted(names.get(shard.name, set())))}",
                expected=f"{', '.join(sorted(wanted))}, as --feature-shard-configurations says",
                mend="make it anew: feature-indexing",
            )
    return index


def _stored(spark: SparkSession, folder: str, shard: ShardOption) -> DataFrame:
    url = fs.join(folder, shard.name)
    if fs.exists(folder) and any(child.name.startswith(_PALDB) for child in fs.children(folder)):
        raise ConfigurationError(
            f"{folder}: an index map in PalDB, which only Java reads",
            mend="make it anew with our feature-indexing, which takes the same options",
        )
    if not fs.exists(url):
        raise NotFoundError(f"{url}: no index map", mend="feature-indexing")
    stored = spark.read.schema("name string, term string, index int").parquet(url)
    return stored.withColumn("shard", F.lit(shard.name))


def checked_maps(index: DataFrame, shards: Sequence[ShardOption]) -> dict[str, IndexMap]:
    """Return size and hash of every shard's map.

    Raises
    ------
    BadDataError
        If a shard has no column, or two of its bags share a feature.
    """
    maps = describe(index, shard_configs(shards))
    for shard in shards:
        if not maps[shard.name].dimension:
            raise BadDataError(f"shard {shard.name!r} has no column: no row has a feature of its bags")
        if len(shard.bags) > 1:
            _refuse_shared(index, shard)
    return maps


def _refuse_shared(index: DataFrame, shard: ShardOption) -> None:
    own = index.where((F.col("shard") == shard.name) & (F.col("name") != INTERCEPT))
    shared = own.groupBy("term").agg(F.collect_set("name").alias("bags")).where(F.size("bags") > 1).head()
    if shared is not None:
        name, term = name_and_term(shared["term"])
        raise BadDataError(
            f"shard {shard.name!r}: feature (name {name!r}, term {term!r}) is in the bags {', '.join(shared['bags'])}",
            expected="a feature in one bag of a shard",
            mend="rename it in one of the bags: Photon gives both one column, and here they would have two",
        )


def write_index(index: DataFrame, shards: Sequence[ShardOption], folder: str, *, files: int | None = None) -> None:
    """Write every shard's map to ``<folder>/<shard>``, in at most ``files`` files each."""
    for shard in shards:
        own = index.where(F.col("shard") == shard.name).select("name", "term", "index")
        (own if files is None else own.coalesce(files)).write.parquet(fs.join(folder, shard.name))


def vectors(rows: DataFrame, index: DataFrame, maps: dict[str, IndexMap], shards: Sequence[ShardOption]) -> DataFrame:
    """Add ``shards`` to rows: a sparse vector a shard; features without a column are left out."""
    return with_vectors(rows, index, maps, shard_configs(shards), uid="uid")
