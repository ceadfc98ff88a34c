"""The job that makes a training set of Photon ML's training examples: no join, no split in time, the same contract.

Rows come from folders of Avro, one list of them a part; output as :mod:`yarnmill.trainingset` says, with an empty
``event_time``. Index maps are of the features in train, of lists, or stored ones.
"""

import time
from functools import reduce

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from jobs.game.coordinates import ShardOption
from jobs.game.examples import Columns, ExampleForm, read_examples
from jobs.game.files import avro_files, ranges
from jobs.game.indexes import (
    checked_maps,
    feature_columns,
    index_of_lists,
    index_of_rows,
    read_index,
    vectors,
    write_index,
)
from jobs.import_photon_model import PHOTON_TABLE
from jobs.indexing import IndexMap
from jobs.job import JobConfig, Outcome, Url
from yarnmill import fs
from yarnmill.errors import ConfigurationError
from yarnmill.records import canonical_json
from yarnmill.trainingset import RECORD_NAME, SPLITS, TrainingSet


class Config(JobConfig, frozen=True, kw_only=True):
    """Which examples become which part.

    Parameters
    ----------
    train, validation, test
        Folders of Avro files (URLs) of each part.
    shards
        The feature shards, each a union of bags.
    keys
        Entity ids: fields of the records or entries of their metadata map.
    columns
        Names of the records' fields.
    index_directory, bags_directory
        Stored index maps, or lists of features; unset: the features of train.
    """

    train: tuple[Url, ...]
    shards: tuple[ShardOption, ...]
    keys: tuple[str, ...]
    validation: tuple[Url, ...] = ()
    test: tuple[Url, ...] = ()
    columns: Columns = Columns()
    index_directory: Url | None = None
    bags_directory: Url | None = None

    @property
    def form(self) -> ExampleForm:
        """What is read of a record."""
        return ExampleForm(columns=self.columns, shards=self.shards, keys=self.keys)

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """Folders of each part that has any."""
        folders = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: own for name, own in folders.items() if own}


def inputs(config: Config) -> tuple[str, ...]:
    """Return the folders to read; ConfigurationError if there is nothing to train on, no id or no bag."""
    if not config.train:
        raise ConfigurationError("train: no folder", expected="folders of Avro files")
    if not config.keys:
        raise ConfigurationError("keys: none", expected="at least one id, such as uid")
    if not config.form.bags:
        raise ConfigurationError("shards: no bag", expected="a shard with bags")
    if config.index_directory is not None and config.bags_directory is not None:
        raise ConfigurationError("index_directory and bags_directory: both given", expected="one of them")
    more = [url for url in (config.index_directory, config.bags_directory) if url is not None]
    return (*(folder for folders in config.parts.values() for folder in folders), *more)


def run(spark: SparkSession, config: Config) -> Outcome:
    """Make the training set."""
    started = time.monotonic()
    rows = _read(spark, config).persist(StorageLevel.MEMORY_AND_DISK)
    index = _index(spark, config, rows.where(F.col("split") == "train"))
    maps = checked_maps(index, config.shards)
    write_index(index, config.shards, fs.join(config.output, "index"))
    whole = vectors(rows, index, maps, config.shards).withColumn("event_time", F.lit(None).cast("timestamp"))
    columns = ("uid", "event_time", "response", "weight", "offset", "ids", "features", "shards", "split")
    data = fs.join(config.output, "data")
    whole.select(*columns).write.partitionBy("split").parquet(data)
    counts = {row["split"]: row["count"] for row in rows.groupBy("split").count().collect()}
    rows.unpersist()
    _write_record(config, maps, counts)
    return Outcome(
        counts={f"rows_{split}": counts.get(split, 0) for split in SPLITS}
        | {f"columns_{name}": one.dimension for name, one in maps.items()},
        outputs=(data, fs.join(config.output, "index")),
        timings_s={"import": time.monotonic() - started},
    )


def _read(spark: SparkSession, config: Config) -> DataFrame:
    parts, first = [], 0
    for split, folders in config.parts.items():
        cut = ranges(avro_files(folders), first=first)
        first += len(cut)
        parts.append(read_examples(spark, cut, config.form).withColumn("split", F.lit(split)))
    return reduce(DataFrame.unionByName, parts)


def _index(spark: SparkSession, config: Config, train: DataFrame) -> DataFrame:
    if config.index_directory is not None:
        return read_index(spark, config.index_directory, config.shards).localCheckpoint()
    if config.bags_directory is not None:
        return index_of_lists(spark, config.bags_directory, config.shards)
    return index_of_rows(spark, train, config.shards)


def _write_record(config: Config, maps: dict[str, IndexMap], counts: dict[str, int]) -> None:
    record = TrainingSet(
        response=config.columns.response or "response",
        keys=dict.fromkeys(config.keys, "string"),
        features=feature_columns(config.shards, PHOTON_TABLE),
        shards=tuple(maps[one.name].record(one.bags) for one in config.shards),
        rows={split: counts.get(split, 0) for split in SPLITS},
        inputs=tuple(folder for folders in config.parts.values() for folder in folders),
    )
    fs.write_bytes(fs.join(config.output, RECORD_NAME), canonical_json(record), overwrite=True)
