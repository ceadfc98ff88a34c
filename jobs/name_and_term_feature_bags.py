"""Photon's NameAndTermFeatureBagsDriver: the features of each bag as text, to choose from.

Output: ``<output>/<bag>/part-*``, lines of name, tab and term; read by ``--feature-bags-directory``, by Photon as well.
"""

import datetime as dt
import time
from collections.abc import Sequence

from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from jobs.game.config import GameConfig, game_settings
from jobs.game.coordinates import ShardOption
from jobs.game.examples import SEPARATOR, Columns, ExampleForm, read_examples
from jobs.game.files import avro_files, ranges
from jobs.game.grammar import parse_words
from jobs.game.options import BAGS
from jobs.job import Outcome
from yarnmill import fs


class Config(GameConfig, frozen=True, kw_only=True):
    """Which rows, and the bags to list; ``input_partitions`` fewest tasks."""

    bags: tuple[str, ...]
    input_partitions: int = 1


def from_arguments(arguments: Sequence[str], now: dt.datetime) -> tuple[Config, tuple[str, ...]]:
    """Return what Photon's options say, and notes on those without effect."""
    words = parse_words(BAGS, arguments)
    config = Config(
        **game_settings(words, now),
        bags=tuple(dict.fromkeys(words.list("feature-bags-keys"))),
        input_partitions=words.integer("min-input-partitions") or 1,
    )
    return config, words.notes


def inputs(config: Config) -> tuple[str, ...]:
    """Return the folders to read."""
    return config.folders


def run(spark: SparkSession, config: Config) -> Outcome:
    """List the features of every bag, in order."""
    started = time.monotonic()
    # A shard a bag: a feature may well stand in two bags here.
    shards = tuple(ShardOption(name=bag, bags=(bag,)) for bag in config.bags)
    form = ExampleForm(columns=Columns(), shards=shards, keys=(), needs_response=False)
    rows = read_examples(spark, ranges(avro_files(config.folders), config.input_partitions), form)
    named = [
        F.struct(F.lit(bag).alias("bag"), F.map_keys(F.col(f"features.`{bag}`")).alias("keys")) for bag in config.bags
    ]
    bags = rows.select(F.explode(F.array(*named)).alias("one"))
    features = bags.select("one.bag", F.explode("one.keys").alias("key")).distinct().persist()
    name, term = (F.split_part("key", F.lit(SEPARATOR), F.lit(place)) for place in (1, 2))
    for bag in config.bags:
        lines = features.where(F.col("bag") == bag).orderBy("key").select(F.concat(name, F.lit("\t"), term))
        lines.write.text(fs.join(config.output, bag))
    counts = {row["bag"]: row["count"] for row in features.groupBy("bag").count().collect()}
    features.unpersist()
    return Outcome(
        counts={f"features_{bag}": counts.get(bag, 0) for bag in config.bags},
        outputs=tuple(fs.join(config.output, bag) for bag in config.bags),
        timings_s={"list": time.monotonic() - started},
    )
