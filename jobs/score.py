"""The job that scores rows of a training set with any number of models, in one pass over the rows.

Output: ``<output>/model=<name>/part-*.parquet`` with uid, event_time, response, weight, ids, score and
bundle_id; AUC and log loss of each model stand in the report as ``<name>.auc`` and ``<name>.log_loss``, those within
entities as ``<name>.auc_per_user`` and so on. Each Python worker fetches and opens a bundle once; the models' files
are memory-mapped, so many workers of a node share their pages.
"""

import os
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it
from pyspark.sql.types import StructType

from jobs.columns import check_inputs, columns_of
from jobs.evaluating import check_keys, evaluators_of, question_of
from jobs.job import JobConfig, Outcome
from photon.evaluation import Question
from photon.spark.evaluation import evaluate
from yarnmill import fs
from yarnmill.blobs import open_store
from yarnmill.building import user_cache
from yarnmill.bundle.store import fetch_bundle, read_bundle_manifest
from yarnmill.errors import BadDataError, ConfigurationError
from yarnmill.flavours.open import open_predictor
from yarnmill.flavours.predictor import Predictor
from yarnmill.records import Record
from yarnmill.trainingset import SPLITS, read_training_set, split_url

_PASSED: Final = ("uid", "event_time", "response", "weight", "ids")
_ADDED: Final = StructType().add("score", "double").add("bundle_id", "string").add("model", "string")


class ScoredModel(Record, frozen=True, kw_only=True):
    """A model to score with: the name its scores stand under, and the bundle that is the model."""

    name: str
    bundle_id: str


class Config(JobConfig, frozen=True, kw_only=True):
    """Which rows to score with which models.

    Parameters
    ----------
    training_set
        URL of a training set.
    blobs
        URL of the blob store that holds the bundles.
    models
        The models, each under a name of its own.
    splits
        Parts of the training set to score.
    evaluate_per
        Entity keys within whose entities AUC and log loss are taken as well.
    evaluators
        Photon's names of what to judge by, such as ``AUC`` or ``PRECISION@5:user_id``; unset: AUC and log loss.
    """

    training_set: str
    blobs: str
    models: tuple[ScoredModel, ...]
    splits: tuple[str, ...] = ("test",)
    evaluate_per: tuple[str, ...] = ()
    evaluators: tuple[str, ...] = ()

    @property
    def question(self) -> Question:
        """What the scores, which are probabilities, are asked."""
        return question_of(evaluators_of(self.evaluators, "logistic", self.evaluate_per), "logistic", "probability")


def inputs(config: Config) -> tuple[str, ...]:
    """Return the training set's URL, after checking that every model can read its rows.

    Raises
    ------
    ConfigurationError
        If no model, a name twice, or an unknown split is given, or a model asks for what the rows lack.
    NotFoundError
        If the training set or a bundle is missing.
    """
    _check_config(config)
    rows = read_training_set(config.training_set)
    for key in config.evaluate_per:
        if key not in rows.keys:
            raise ConfigurationError(
                f"evaluate_per: {config.training_set} has no entity key {key!r}",
                expected=f"some of {', '.join(rows.keys)}",
            )
    check_keys(config.question.evaluators, rows.keys, config.training_set)
    store = open_store(config.blobs)
    for model in config.models:
        check_inputs(read_bundle_manifest(store, model.bundle_id).signature, rows, model.name)
    return (config.training_set,)


def _check_config(config: Config) -> None:
    names = [model.name for model in config.models]
    if not names:
        raise ConfigurationError("models: none to score with", expected="a list of {name, bundle_id}")
    if len(set(names)) < len(names):
        raise ConfigurationError(f"models: a name stands twice in {', '.join(names)}")
    unknown = [split for split in config.splits if split not in SPLITS]
    if unknown or not config.splits:
        raise ConfigurationError(f"splits: {list(config.splits)}", expected=f"some of {', '.join(SPLITS)}")


def run(spark: SparkSession, config: Config) -> Outcome:
    """Score, write and evaluate."""
    started = time.monotonic()
    inputs(config)
    rows = spark.read.parquet(*(split_url(config.training_set, split) for split in config.splits))
    schema = StructType([*rows.select(*_PASSED).schema.fields, *_ADDED.fields])
    scored = rows.select(*_PASSED, "features", "shards").mapInArrow(_scorer(config), schema)
    # `append`: the folder is there, claimed and empty but for its mark.
    scored.write.mode("append").partitionBy("model").parquet(config.output)
    written = time.monotonic()
    evaluations = evaluate(_measured(spark, config), config.question)
    return Outcome(
        counts={f"rows_{one.measure}": one.rows for one in evaluations},
        metrics={f"{one.measure}.{name}": value for one in evaluations for name, value in one.metrics.items()},
        outputs=tuple(fs.join(config.output, f"model={model.name}") for model in config.models),
        timings_s={"score": written - started, "evaluate": time.monotonic() - written},
    )


def _scorer(config: Config) -> "_Scorer":
    return _Scorer(blobs=config.blobs, models=config.models, cache=str(user_cache() / "bundles"))


class _Scorer(Record, frozen=True, kw_only=True):
    """What a task does with its rows; it travels to the workers as a value."""

    blobs: str
    models: tuple[ScoredModel, ...]
    cache: str

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield, for each batch of rows, one batch of scores a model."""
        for batch in batches:
            for model in self.models:
                yield self._scored(batch, model)

    def _scored(self, batch: pa.RecordBatch, model: ScoredModel) -> pa.RecordBatch:
        predictor = _opened(self.blobs, model.bundle_id, self.cache)
        signature = predictor.signature
        answers = predictor.predict(columns_of(batch, signature))
        scores = np.asarray(answers[signature.outputs[0].name], dtype=np.float64)
        if not np.isfinite(scores).all():
            bad = batch.column("uid")[int(np.flatnonzero(~np.isfinite(scores))[0])].as_py()
            raise BadDataError(f"{model.name}: the score of uid {bad} is no finite number")
        rows = batch.num_rows
        columns = [batch.column(name) for name in _PASSED]
        columns += [pa.array(scores), pa.array([model.bundle_id] * rows), pa.array([model.name] * rows)]
        return pa.RecordBatch.from_arrays(columns, names=[*_PASSED, "score", "bundle_id", "model"])


@lru_cache(maxsize=16)
def _opened(blobs: str, bundle_id: str, cache: str) -> Predictor:
    """Return the opened model; kept, for Spark gives one Python worker many tasks."""
    return open_predictor(fetch_bundle(open_store(blobs), bundle_id, _cache(cache)))


def _cache(of_user: str) -> Path:
    """Return where bundles are kept: a container's own folder, which YARN clears, else the user's cache."""
    return Path("bundles").absolute() if "CONTAINER_ID" in os.environ else Path(of_user)


def _measured(spark: SparkSession, config: Config) -> DataFrame:
    """Return what was written as rows to evaluate: what is measured is what a reader finds."""
    scores = spark.read.parquet(config.output)
    return scores.select(
        F.col("model").cast("string").alias("measure"),
        "score",
        F.col("response").alias("label"),
        "weight",
        *(F.col(f"ids.{key}") for key in config.question.entities),
    )
