"""The job that writes a trained GLMix model in Photon ML's Avro, for those who score with Photon.

A feature becomes a name and a term: of a bag's term the bag's name and the term, of a number its name alone; features
that came from Photon are theirs again. Output: the folder of :mod:`photon.avro.layout`.
"""

import time

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from jobs.game.examples import SEPARATOR
from jobs.game.models import ShardIndex, Writing, write_effect
from jobs.import_photon_model import PHOTON_TABLE
from jobs.job import JobConfig, Outcome, Url
from photon.avro.layout import (
    METADATA_NAME,
    CoordinateJson,
    EffectInfo,
    OptimizationJson,
    OptimizerJson,
    RegularizationJson,
    render_metadata,
)
from photon.avro.models import SPARSITY_THRESHOLD, photon_task
from photon.model import MODEL_NAME, EffectRecord, ModelRecord
from yarnmill import fs
from yarnmill.records import parse_json
from yarnmill.trainingset import INTERCEPT, TrainingSet, index_url, read_training_set, training_set_url


class Config(JobConfig, frozen=True, kw_only=True):
    """Which output of a training job; coefficients up to ``sparsity_threshold`` are left out."""

    model: Url
    sparsity_threshold: float = SPARSITY_THRESHOLD
    files: int | None = None


def inputs(config: Config) -> tuple[str, ...]:
    """Return the training output; ConfigurationError if Photon has no task like the model's."""
    record, _ = _read(config)
    photon_task(record.task)
    return (config.model,)


def _read(config: Config) -> tuple[ModelRecord, str]:
    """Return the model's record and the URL of its training set."""
    url = fs.join(config.model, MODEL_NAME)
    record = parse_json(fs.read_bytes(url), ModelRecord, source=url)
    return record, training_set_url(config.model, record.training_set)


def run(spark: SparkSession, config: Config) -> Outcome:
    """Write every coordinate."""
    started = time.monotonic()
    record, place = _read(config)
    training_set = read_training_set(place)
    writing = Writing(record.task, config.sparsity_threshold, config.files)
    models: dict[str, int] = {}
    for effect in record.effects:
        coefficients = spark.read.parquet(fs.join(config.model, "coefficients", effect.name))
        index = ShardIndex(_by_key(spark, place, effect.shard, training_set), effect.columns)
        info = EffectInfo(effect.name, effect.shard, effect.entity)
        models[f"models_{effect.name}"] = write_effect(info, coefficients, index, config.output, writing)
    metadata = render_metadata(record.task, tuple(map(_coordinate, record.effects)))
    fs.write_bytes(fs.join(config.output, METADATA_NAME), metadata)
    return Outcome(
        counts=models,
        outputs=tuple(child.url for child in fs.children(config.output) if child.is_folder),
        timings_s={"export": time.monotonic() - started},
    )


def _by_key(spark: SparkSession, training_set_url: str, shard: str, training_set: TrainingSet) -> DataFrame:
    """Return ``key`` and ``index`` of a shard's map; a column that bags share has one key."""
    stored = spark.read.parquet(index_url(training_set_url, shard))
    photons = [feature.name for feature in training_set.features if feature.table == PHOTON_TABLE]
    return stored.select(_key(photons).alias("key"), "index").distinct()


def _key(photons: list[str]) -> Column:
    name, term = F.col("name"), F.col("term")
    own = F.when(term == "", name).otherwise(F.concat(name, F.lit(SEPARATOR), term))
    return F.when((name != INTERCEPT) & name.isin(photons), term).otherwise(own)


def _coordinate(effect: EffectRecord) -> CoordinateJson:
    strength, penalises = effect.l2 + effect.l1, (effect.l2 > 0.0, effect.l1 > 0.0)
    kind = {(False, False): "NONE", (True, False): "L2", (False, True): "L1", (True, True): "ELASTIC_NET"}[penalises]
    return CoordinateJson(
        name=effect.name,
        configuration=OptimizationJson(
            optimizer_config=OptimizerJson(optimizer_type="LBFGS", maximum_iterations=100, tolerance=1e-10),
            regularization_context=RegularizationJson(
                regularization_type=kind, elastic_net_param=effect.l1 / strength if all(penalises) else None
            ),
            regularization_weight=strength,
            down_sampling_rate=1.0 if effect.entity is None else None,
        ),
    )
