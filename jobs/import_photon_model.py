"""The job that takes over a GAME model as Photon ML saved it: no row is read, nothing is trained.

The output is that of :mod:`jobs.train_glmix`, so it is published, served and scored like any other; beside it stand
the index maps that its features make::

    model.json, coefficients/<coordinate>/part-*    with variances where the model has them
    training-set/training_set.json, index/<shard>   no rows
"""

import time
from functools import reduce

import msgspec
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from jobs.game.coordinates import ShardOption
from jobs.game.indexes import feature_columns, shard_configs, write_index
from jobs.game.model_index import index_of_model, map_of_model, rows_of_bags, used_shards
from jobs.game.models import SavedModel, ShardIndex, indexed, read_effect, read_saved_model
from jobs.indexing import IndexMap, describe
from jobs.job import JobConfig, Outcome, Url
from photon.loss import Task
from photon.model import MODEL_NAME, EffectRecord, ModelRecord
from yarnmill import fs
from yarnmill.errors import ConfigurationError
from yarnmill.records import canonical_json, convert
from yarnmill.trainingset import INTERCEPT, RECORD_NAME, TrainingSet

FOLDER = "training-set"
PHOTON_TABLE = "photon-ml"
"""Table of features whose terms are Photon's feature keys."""


class Config(JobConfig, frozen=True, kw_only=True):
    """Which model; ``shards`` say which bags feed its shards, ``task`` what it is if its folder does not."""

    model: Url
    shards: tuple[ShardOption, ...]
    task: Task | None = None


def inputs(config: Config) -> tuple[str, ...]:
    """Return the model's folder, after checking that its shards are configured."""
    model = read_saved_model(config.model)
    used_shards(model, config.shards)
    _task(config, model)
    return (config.model,)


def _task(config: Config, model: SavedModel) -> Task:
    if model.task is not None and config.task not in (None, model.task):
        raise ConfigurationError(f"task: {config.task}", expected=f"{model.task}, as {config.model} says")
    task = config.task or model.task
    if task is None:
        raise ConfigurationError(
            f"task: {config.model} does not say what it is", expected="logistic, linear or another"
        )
    return convert(task, Task, source="task")  # type: ignore[arg-type]  # a Literal is a type to msgspec


def run(spark: SparkSession, config: Config) -> Outcome:
    """Write the model's coefficients by columns, and the maps that name them."""
    started = time.monotonic()
    model = read_saved_model(config.model)
    shards = used_shards(model, config.shards)
    saved = {
        effect: read_effect(spark, model, effect).persist(StorageLevel.MEMORY_AND_DISK) for effect in model.effects
    }
    indexes = {shard.name: index_of_model(saved, shard) for shard in shards}
    maps = _write_indexes(config, shards, indexes)
    for effect, rows in saved.items():
        found = indexed(effect, rows, indexes[effect.shard])
        ordered = found if effect.entity is None else found.sortWithinPartitions("entity")
        ordered.write.parquet(fs.join(config.output, "coefficients", effect.name))
        rows.unpersist()
    _write_records(config, model, shards, maps)
    return Outcome(
        counts={f"columns_{name}": one.dimension for name, one in maps.items()},
        outputs=tuple(fs.join(config.output, name) for name in (MODEL_NAME, "coefficients", FOLDER)),
        timings_s={"import": time.monotonic() - started},
    )


def _write_indexes(
    config: Config, shards: tuple[ShardOption, ...], indexes: dict[str, ShardIndex]
) -> dict[str, IndexMap]:
    index = reduce(DataFrame.unionByName, [_index_rows(indexes[shard.name], shard) for shard in shards]).persist()
    hashes = describe(index, shard_configs(shards))
    write_index(index, shards, fs.join(config.output, FOLDER, "index"))
    index.unpersist()
    found = {shard.name: map_of_model(indexes[shard.name], shard) for shard in shards}
    return {name: msgspec.structs.replace(one, sha256=hashes[name].sha256) for name, one in found.items()}


def _index_rows(index: ShardIndex, shard: ShardOption) -> DataFrame:
    ones = index.rows.where((F.col("key") == INTERCEPT) & F.lit(shard.intercept))
    of_ones = ones.select(
        F.lit(shard.name).alias("shard"), F.col("key").alias("name"), F.lit("").alias("term"), "index"
    )
    return rows_of_bags(index, shard).unionByName(of_ones)


def _write_records(
    config: Config, model: SavedModel, shards: tuple[ShardOption, ...], maps: dict[str, IndexMap]
) -> None:
    training_set = TrainingSet(
        response="response",
        keys={effect.entity: "string" for effect in model.effects if effect.entity is not None},
        features=feature_columns(shards, PHOTON_TABLE),
        shards=tuple(maps[one.name].record(one.bags) for one in shards),
        rows={},
        inputs=(config.model,),
    )
    fs.write_bytes(fs.join(config.output, FOLDER, RECORD_NAME), canonical_json(training_set))
    record = ModelRecord(
        task=_task(config, model),
        effects=tuple(
            EffectRecord(
                name=effect.name,
                shard=effect.shard,
                columns=maps[effect.shard].dimension,
                entity=effect.entity,
                index_sha256=maps[effect.shard].sha256,
            )
            for effect in model.effects
        ),
        training_set=FOLDER,
    )
    fs.write_bytes(fs.join(config.output, MODEL_NAME), canonical_json(record))
