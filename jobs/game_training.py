"""Photon's GameTrainingDriver: fit every combination of penalties, judge on validation, save in Photon's layout.

Output below ``config.output``::

    best/                          the best model by the first evaluator, or the last one without validation
    models/<i>/                    those of the grid (output mode EXPLICIT), of the search (TUNED), or both (ALL)
    group-eval/<i>/<metric>/<id>   results of every group of validation rows, of the models that are saved
    index/<shard>/part-*           index maps of the features, for later trainings

A model's folder is :mod:`photon.avro.layout`'s, with ``model-spec`` for people.
"""

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from jobs.earlier_model import fixed_effect
from jobs.game.examples import read_examples
from jobs.game.files import avro_files, ranges
from jobs.game.fitting import ROLES, Fitting, Prepared
from jobs.game.indexes import checked_maps, index_of_lists, index_of_rows, read_index, vectors, write_index
from jobs.game.margins import LoadedEffect, with_margin
from jobs.game.model_index import used_shards
from jobs.game.models import IndexRows, indexed, read_effect, shard_index
from jobs.game.summaries import check_summaries, is_below_output, write_summary
from jobs.game.training import Config, first_model_of, from_arguments, locked_model_of
from jobs.indexing import IndexMap
from jobs.job import Outcome
from photon.model import FixedEffect
from photon.spark.earlier import EarlierEffects
from photon.spark.train import ShardShape, SparkGlmix
from yarnmill import fs
from yarnmill.errors import BadDataError
from yarnmill.trainingset import INTERCEPT

INDEX_FOLDER = "index"

__all__ = ["Config", "from_arguments", "inputs", "run"]


def inputs(config: Config) -> tuple[str, ...]:
    """Return the folders to read.

    Raises
    ------
    NotFoundError
        If a folder, or every day in its range, is missing.
    ConflictError
        If something stands in the summaries' folder that may not be replaced.
    """
    if config.summary_directory is not None:
        check_summaries(config.summary_directory, may_replace=config.may_replace)
    used_shards(locked_model_of(config), config.shards)
    first_model_of(config)
    more = [url for url in (config.index_directory, config.bags_directory, config.initial_model) if url is not None]
    return (*config.folders, *config.validation_folders, *more)


def run(spark: SparkSession, config: Config) -> Outcome:
    """Train, judge and save."""
    raw = _read(spark, config).persist(StorageLevel.MEMORY_AND_DISK)
    prepared = _prepared(spark, config, raw)
    write_index(prepared.index, config.shards, fs.join(config.output, INDEX_FOLDER))
    glmix = _loaded(spark, config, prepared)
    roles = glmix.check(config.checks)
    if roles[0].weight <= 0.0:
        raise BadDataError(f"{', '.join(config.folders)}: nothing to train on", expected="rows of positive weight")
    if config.summary_directory is not None:
        _summarise(config, prepared, config.summary_directory)
    raw.unpersist()
    fitting = Fitting(glmix, config, prepared, has_validation=roles[1].rows > 0)
    fitting.fit_all()
    glmix.release()
    return Outcome(
        counts={f"rows_{name}": roles[place].rows for place, name in enumerate(ROLES)}
        | {f"columns_{name}": one.dimension for name, one in prepared.maps.items()},
        metrics=fitting.metrics,
        outputs=tuple(child.url for child in fs.children(config.output) if child.is_folder),
        timings_s=fitting.clock.timings_s,
    )


def _read(spark: SparkSession, config: Config) -> DataFrame:
    least = max(one.min_partitions for one in config.coordinates)
    train = ranges(avro_files(config.folders), least)
    rows = read_examples(spark, train, config.form).withColumn("role", F.lit(0))
    if not config.validation_directories:
        return rows
    judging = ranges(avro_files(config.validation_folders), first=len(train))
    return rows.unionByName(read_examples(spark, judging, config.form).withColumn("role", F.lit(1)))


def _prepared(spark: SparkSession, config: Config, raw: DataFrame) -> Prepared:
    if config.index_directory is not None:
        index = read_index(spark, config.index_directory, config.shards).localCheckpoint()
    elif config.bags_directory is not None:
        index = index_of_lists(spark, config.bags_directory, config.shards)
    else:
        index = index_of_rows(spark, raw.where(F.col("role") == 0), config.shards)
    maps = checked_maps(index, config.shards)
    rows = vectors(raw, index, maps, config.shards)
    return Prepared(_with_locked(spark, config, rows, index, maps), index, maps)


def _with_locked(
    spark: SparkSession, config: Config, rows: DataFrame, index: IndexRows, maps: dict[str, IndexMap]
) -> DataFrame:
    """Return the rows with the scores of the locked coordinates in their offsets, which is what a locked one is."""
    model = locked_model_of(config)
    if not model.effects:
        return rows
    loaded = []
    for effect in model.effects:
        own = shard_index(index, effect.shard, maps[effect.shard].dimension)
        loaded.append(LoadedEffect(effect, indexed(effect, read_effect(spark, model, effect), own), own.dimension))
    return with_margin(rows, loaded).drop("offset").withColumnRenamed("margin", "offset")


def _loaded(spark: SparkSession, config: Config, prepared: Prepared) -> SparkGlmix:
    shapes = {name: ShardShape(one.dimension, one.numbers.get(INTERCEPT)) for name, one in prepared.maps.items()}
    return SparkGlmix(
        prepared.rows.select("uid", "role", "response", "weight", "offset", "ids", "shards"),
        config.fits[0],
        shapes,
        ROLES,
        partitions=max(spark.sparkContext.defaultParallelism, *(one.min_partitions for one in config.coordinates)),
        carried_ids=config.question.entities,
        earlier=_earlier(spark, config, prepared),
    )


def _earlier(spark: SparkSession, config: Config, prepared: Prepared) -> EarlierEffects | None:
    """Return the effects that the coordinates start from, by the columns of their shards."""
    model = first_model_of(config)
    if config.initial_model is None:
        return None
    saved = {effect.name: effect for effect in model.effects}
    found: dict[str, FixedEffect | DataFrame] = {}
    for one in config.fits[0].coordinates:
        if one.name in saved:
            index = shard_index(prepared.index, one.shard, prepared.maps[one.shard].dimension)
            effect = saved[one.name]
            rows = indexed(effect, read_effect(spark, model, effect), index)
            found[one.name] = rows if one.kind == "random" else fixed_effect(one, rows, index.dimension)
    return found


def _summarise(config: Config, prepared: Prepared, folder: str) -> None:
    fresh = fs.join(config.output, folder if is_below_output(folder) else "_summaries")
    rows = prepared.rows.where(F.col("role") == 0)
    for shard in config.shards:
        one = shard_index(prepared.index, shard.name, prepared.maps[shard.name].dimension)
        write_summary(rows, shard.name, one, fs.join(fresh, shard.name))
    if is_below_output(folder):
        return
    check_summaries(folder, may_replace=config.may_replace)
    fs.delete(folder)
    fs.rename(fresh, folder)
