"""Index maps made from a saved model itself: its features counted, the bags of a shard sharing the columns."""

from collections.abc import Mapping
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from jobs.game.coordinates import ShardOption
from jobs.game.models import IndexRows, SavedModel, ShardIndex
from jobs.indexing import IndexMap, numbered
from photon.avro.layout import EffectInfo
from yarnmill.errors import ConfigurationError
from yarnmill.trainingset import INTERCEPT


def used_shards(model: SavedModel, shards: tuple[ShardOption, ...]) -> tuple[ShardOption, ...]:
    """Return the shards of a model's coordinates; ConfigurationError if one is not configured."""
    known = {shard.name: shard for shard in shards}
    for effect in model.effects:
        if effect.shard not in known:
            raise ConfigurationError(
                f"{model.url}: {effect.name} has the shard {effect.shard!r}, which is not configured",
                expected=f"bags of {effect.shard!r}",
                mend=f"--feature-shard-configurations name={effect.shard},feature.bags=…, or shards: in YAML",
            )
    return tuple(known[name] for name in dict.fromkeys(effect.shard for effect in model.effects))


def index_of_model(saved: Mapping[EffectInfo, DataFrame], shard: ShardOption) -> ShardIndex:
    """Return columns of all features that a model's long rows have coefficients of in a shard."""
    keys = [rows.select("key") for effect, rows in saved.items() if effect.shard == shard.name]
    distinct = reduce(DataFrame.unionByName, keys).distinct()
    named = distinct.select(F.lit(shard.name).alias("shard"), F.lit("").alias("name"), F.col("key").alias("term"))
    rows = numbered(named).select(F.col("term").alias("key"), "index")
    return ShardIndex(rows, rows.count())


def rows_of_bags(index: ShardIndex, shard: ShardOption) -> IndexRows:
    """Return a column's feature once for every bag of its shard, all with the one column; no intercept."""
    bags = F.explode(F.array(*map(F.lit, shard.bags)).cast("array<string>"))
    return index.rows.where(F.col("key") != INTERCEPT).select(
        F.lit(shard.name).alias("shard"), bags.alias("name"), F.col("key").alias("term"), "index"
    )


def map_of_model(index: ShardIndex, shard: ShardOption) -> IndexMap:
    """Return what the driver keeps of the map; without its intercept in the model a shard has no column of ones."""
    of_ones = index.rows.where(F.col("key") == INTERCEPT).head() if shard.intercept else None
    numbers = {} if of_ones is None else {INTERCEPT: of_ones["index"]}
    return IndexMap(shard=shard.name, dimension=index.dimension, sha256="", numbers=numbers)
