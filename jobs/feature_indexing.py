"""Photon's FeatureIndexingDriver: the index map of each feature shard, from the features that stand in the rows.

Output: ``<output>/<shard>/part-*.parquet``, in the layout of :mod:`jobs.game.indexes`, which the other drivers read
by ``--off-heap-index-map-directory``.
"""

import datetime as dt
import time
from collections.abc import Sequence

from pyspark.sql import SparkSession

from jobs.game.config import GameConfig, game_settings
from jobs.game.coordinates import ShardOption, parse_shards
from jobs.game.examples import Columns, ExampleForm, read_examples
from jobs.game.files import avro_files, ranges
from jobs.game.grammar import parse_words
from jobs.game.indexes import checked_maps, index_of_rows, write_index
from jobs.game.options import INDEXING
from jobs.job import Outcome
from yarnmill import fs


class Config(GameConfig, frozen=True, kw_only=True):
    """Which rows, and the shards to index; ``storage_files`` most files of a map, ``input_partitions`` fewest tasks."""

    shards: tuple[ShardOption, ...]
    storage_files: int | None = None
    input_partitions: int = 1


def from_arguments(arguments: Sequence[str], now: dt.datetime) -> tuple[Config, tuple[str, ...]]:
    """Return what Photon's options say, and notes on those without effect."""
    words = parse_words(INDEXING, arguments)
    shards, notes = parse_shards(words.given["feature-shard-configurations"])
    config = Config(
        **game_settings(words, now),
        shards=shards,
        storage_files=words.integer("num-storage-partitions"),
        input_partitions=words.integer("min-input-partitions") or 1,
    )
    return config, (*words.notes, *notes)


def inputs(config: Config) -> tuple[str, ...]:
    """Return the folders to read."""
    return config.folders


def run(spark: SparkSession, config: Config) -> Outcome:
    """Index the features."""
    started = time.monotonic()
    form = ExampleForm(columns=Columns(), shards=config.shards, keys=(), needs_response=False)
    rows = read_examples(spark, ranges(avro_files(config.folders), config.input_partitions), form)
    index = index_of_rows(spark, rows, config.shards)
    maps = checked_maps(index, config.shards)
    write_index(index, config.shards, config.output, files=config.storage_files)
    return Outcome(
        counts={f"columns_{name}": one.dimension for name, one in maps.items()},
        outputs=tuple(fs.join(config.output, shard.name) for shard in config.shards),
        timings_s={"index": time.monotonic() - started},
    )
