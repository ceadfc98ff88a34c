"""Photon's GameScoringDriver: the margins of rows under a saved model, written in Photon's Avro.

Output: ``<output>/scores/part-*.avro`` (ScoringResultAvro). Rows meet the coefficients of their entities in a
shuffle join per random effect; a fixed effect is sent to every executor. Entities and features that the model does
not know count 0. A saved model names its features, so no index map is needed: columns are counted from the model
itself, and the bags of a shard share them, as Photon has it.
"""

import datetime as dt
import math
import time
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Final

import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from jobs.evaluating import evaluators_of, question_of
from jobs.game.config import RowsConfig, rows_settings
from jobs.game.coordinates import ShardOption
from jobs.game.examples import ExampleForm, read_examples
from jobs.game.files import avro_files, qualified, ranges, write_parts
from jobs.game.grammar import parse_words
from jobs.game.indexes import vectors
from jobs.game.margins import LoadedEffect, with_margin
from jobs.game.model_index import index_of_model, map_of_model, rows_of_bags, used_shards
from jobs.game.models import SavedModel, indexed, read_effect, read_saved_model
from jobs.game.options import SCORING
from jobs.job import Outcome, Url
from photon.avro.container import Fields
from photon.avro.schemas import SCORING_RESULT
from photon.evaluation import Question
from photon.spark.evaluation import evaluate
from yarnmill import fs
from yarnmill.errors import ConfigurationError
from yarnmill.trainingset import INTERCEPT

SCORES_FOLDER: Final = "scores"
NO_MODEL_ID: Final = "N/A"


class Config(RowsConfig, frozen=True, kw_only=True):
    """What to score: ``model`` is the folder of a saved model, ``model_id`` a name that the scores carry."""

    model: Url
    model_id: str = NO_MODEL_ID


def from_arguments(arguments: Sequence[str], now: dt.datetime) -> tuple[Config, tuple[str, ...]]:
    """Return what Photon's options say, and notes on those without effect."""
    words = parse_words(SCORING, arguments)
    settings, notes = rows_settings(words, now)
    model = words.maybe("model-input-directory")
    if model is None:
        raise ConfigurationError("--model-input-directory: missing", expected="the folder of a saved model")
    unused = tuple(
        f"--{name} has no effect in scoring: the saved model names its own features"
        for name in ("off-heap-index-map-directory", "feature-bags-directory")
        if words.maybe(name) is not None
    )
    if words.maybe("data-validation") is not None:
        unused += ("--data-validation has no effect in scoring: a score that is not finite is always refused",)
    config = Config(**settings, model=qualified(model), model_id=words.text("model-id", NO_MODEL_ID))
    return config, (*words.notes, *notes, *unused)


def inputs(config: Config) -> tuple[str, ...]:
    """Return the folders to read, after checking that the model's shards are configured.

    Raises
    ------
    ConfigurationError
        If a coordinate of the model has a shard that is not, or evaluators are asked of a model of no known task.
    NotFoundError
        If a folder or the model is missing.
    """
    model = read_saved_model(config.model)
    used_shards(model, config.shards)
    _question(config, model)
    return (*config.folders, config.model)


def _question(config: Config, model: SavedModel) -> Question | None:
    if not config.evaluators:
        return None
    return question_of(evaluators_of(config.evaluators, model.task or "linear", ()), model.task or "linear")


def run(spark: SparkSession, config: Config) -> Outcome:
    """Score, write and evaluate."""
    started = time.monotonic()
    model = read_saved_model(config.model)
    question = _question(config, model)
    rows, loaded = _prepared(spark, config, model, question)
    read = time.monotonic()
    scored = (
        with_margin(rows.drop("features", "uid"), loaded).drop("shards", "offset").persist(StorageLevel.MEMORY_AND_DISK)
    )
    parts = scored if config.output_files is None else scored.coalesce(config.output_files)
    folder = fs.join(config.output, SCORES_FOLDER)
    count = write_parts(parts, folder, SCORING_RESULT, _ToRecords(config.model_id))
    written = time.monotonic()
    metrics = {} if question is None else _metrics(scored, question)
    scored.unpersist()
    return Outcome(
        counts={"rows": count},
        metrics=metrics,
        outputs=(folder,),
        timings_s={"load": read - started, "score": written - read, "evaluate": time.monotonic() - written},
    )


def _prepared(
    spark: SparkSession, config: Config, model: SavedModel, question: Question | None
) -> tuple[DataFrame, tuple[LoadedEffect, ...]]:
    """Return rows with vectors in the model's own columns, and the model in them."""
    shards = used_shards(model, config.shards)
    saved = {
        effect: read_effect(spark, model, effect).persist(StorageLevel.MEMORY_AND_DISK) for effect in model.effects
    }
    maps = {shard.name: index_of_model(saved, shard) for shard in shards}
    loaded = tuple(
        LoadedEffect(effect, indexed(effect, rows, maps[effect.shard]), maps[effect.shard].dimension)
        for effect, rows in saved.items()
    )
    keys = dict.fromkeys(effect.entity for effect in model.effects if effect.entity is not None)
    keys |= dict.fromkeys(question.entities if question is not None else ())
    form = ExampleForm(columns=config.columns, shards=shards, keys=tuple(keys), needs_response=question is not None)
    rows = read_examples(spark, ranges(avro_files(config.folders)), form)
    shared = reduce(DataFrame.unionByName, [rows_of_bags(maps[shard.name], shard) for shard in shards])
    columns = {shard.name: map_of_model(maps[shard.name], shard) for shard in shards}
    # A shard whose intercept is not in the model needs no column of ones.
    known = [
        ShardOption(name=one.name, bags=one.bags, intercept=INTERCEPT in columns[one.name].numbers) for one in shards
    ]
    return vectors(rows, shared, columns, known), loaded


class _ToRecords:
    """From scored rows to ScoringResultAvro."""

    def __init__(self, model_id: str) -> None:
        self._model_id = model_id

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[Fields]:
        for batch in batches:
            for row in batch.to_pylist():
                yield {
                    "uid": row["given_uid"],
                    "label": row["response"],
                    "modelId": self._model_id,
                    "predictionScore": row["margin"],
                    "weight": row["weight"],
                    "metadataMap": {key: value for key, value in row["ids"].items() if value is not None},
                }


def _metrics(scored: DataFrame, question: Question) -> dict[str, float]:
    rows = scored.select(
        F.lit("scores").alias("measure"),
        F.col("margin").alias("score"),
        F.col("response").alias("label"),
        "weight",
        *(F.col(f"ids.{key}") for key in question.entities),
    )
    (found,) = evaluate(rows, question)
    return {name: value for name, value in found.metrics.items() if not math.isnan(value)}
