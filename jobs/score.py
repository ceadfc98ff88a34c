"""The job that scores rows of a training set with any number of models.

Output: ``<output>/model=<name>/part-*.parquet`` with uid, event_time, response, weight, ids, score, bundle_id and, on
request, ``contributions``: a struct of what each effect adds to the linear predictor, so its sum is the score before
the link. AUC and log loss of each model stand in the report as ``<name>.auc`` and ``<name>.log_loss``, those within
entities as ``<name>.auc_per_user`` and so on.

Models that fit are scored together, in one pass over the rows: each Python worker fetches and opens a bundle once, and
its files are memory-mapped, so many workers of a node share their pages. The random effects of a GLMix model that do
not fit (``join_above_mib``) meet the rows in a shuffle by entity (:mod:`photon.spark.scoring`), a model at a time.
Either way the scores are the same, and those that REST gives: an offset of a row is no part of them.
"""

import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it
from pyspark.sql.types import StructType

from jobs.evaluating import check_keys, evaluators_of, question_of
from jobs.job import JobConfig, Outcome, Url
from jobs.parquet_parts import PartWriter, ReadParquet, parquet_ranges, range_frame
from jobs.scored_models import GlmixPlan, bundle_cache, joined_effects, plan_glmix, refuse_contributions
from photon.evaluation import Question
from photon.loss import Task, loss_of
from photon.rows import Floats
from photon.spark.evaluation import evaluate
from photon.spark.parts import CONTRIBUTIONS, MARGIN, Rim, scored_batch
from photon.spark.scoring import with_margins
from photon.spark.worker import settle_worker
from yarnmill import fs
from yarnmill.blobs import open_store
from yarnmill.building import user_cache
from yarnmill.bundle.store import fetch_held, read_bundle_manifest
from yarnmill.errors import BadDataError, ConfigurationError
from yarnmill.flavours.columns import check_inputs, columns_of
from yarnmill.flavours.open import open_predictor
from yarnmill.flavours.predictor import Predictor
from yarnmill.records import Record
from yarnmill.trainingset import SPLITS, TrainingSet, read_training_set, split_url

_PASSED: Final = ("uid", "event_time", "response", "weight", "ids")
_PREDICTED_ROWS: Final = 8192
"""Rows that a model of another flavour sees at once: it may take a shard in its dense form."""


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
    contributions
        Whether what each effect adds to the linear predictor is written as well; for GLMix models alone.
    join_above_mib
        MiB of random effects that an executor may hold of a model: the largest are joined until the others fit.
        0 joins them all.
    """

    training_set: Url
    blobs: Url
    models: tuple[ScoredModel, ...]
    splits: tuple[str, ...] = ("test",)
    evaluate_per: tuple[str, ...] = ()
    evaluators: tuple[str, ...] = ()
    contributions: bool = False
    join_above_mib: int = 1024

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
    _planned(config)
    return (config.training_set,)


def _planned(config: Config) -> dict[str, GlmixPlan | None]:
    """Return how each model scores, by name, after the checks of :func:`inputs`."""
    _check_config(config)
    rows = read_training_set(config.training_set)
    for key in config.evaluate_per:
        if key not in rows.keys:
            raise ConfigurationError(
                f"evaluate_per: {config.training_set} has no entity key {key!r}",
                expected=f"some of {', '.join(rows.keys)}",
            )
    check_keys(config.question.evaluators, rows.keys, config.training_set)
    return plan_models(config, rows)


def _check_config(config: Config) -> None:
    names = [model.name for model in config.models]
    if not names:
        raise ConfigurationError("models: none to score with", expected="a list of {name, bundle_id}")
    if len(set(names)) < len(names):
        raise ConfigurationError(f"models: a name stands twice in {', '.join(names)}")
    unknown = [split for split in config.splits if split not in SPLITS]
    if unknown or not config.splits:
        raise ConfigurationError(f"splits: {list(config.splits)}", expected=f"some of {', '.join(SPLITS)}")
    if config.join_above_mib < 0:
        raise ConfigurationError(
            f"join_above_mib: {config.join_above_mib}",
            expected="0 or more MiB",
            mend="0 to join every random effect, a size that an executor can hold to join only those beyond it",
        )


def plan_models(config: Config, rows: TrainingSet) -> dict[str, GlmixPlan | None]:
    """Return how each model scores, by name: None for one of another flavour, which is asked as it is served."""
    store, cache = open_store(config.blobs), str(user_cache() / "bundles")
    plans: dict[str, GlmixPlan | None] = {}
    for model in config.models:
        manifest = read_bundle_manifest(store, model.bundle_id)
        check_inputs(manifest.signature, rows, model.name)
        if config.contributions:
            refuse_contributions(model.name, manifest)
        plans[model.name] = (
            plan_glmix(store, model.bundle_id, manifest, rows, config.join_above_mib, cache)
            if manifest.flavour == "glmix"
            else None
        )
    return plans


def run(spark: SparkSession, config: Config) -> Outcome:
    """Score, write and evaluate."""
    started = time.monotonic()
    plans = _planned(config)
    counts = write_scores(spark, config, plans)
    written = time.monotonic()
    if not any(counts.values()):
        raise BadDataError(f"{config.training_set}: no row in {', '.join(config.splits)}", expected="rows to score")
    evaluations = evaluate(_measured(spark, config), config.question)
    joined = {f"joined_effects_{name}": len(plan.joined) for name, plan in plans.items() if plan and plan.joined}
    return Outcome(
        counts={f"rows_{one.measure}": one.rows for one in evaluations} | joined,
        metrics={f"{one.measure}.{name}": value for one in evaluations for name, value in one.metrics.items()},
        outputs=tuple(fs.join(config.output, f"model={model.name}") for model in config.models),
        timings_s={"score": written - started, "evaluate": time.monotonic() - written},
    )


def write_scores(spark: SparkSession, config: Config, plans: dict[str, GlmixPlan | None]) -> dict[str, int]:
    """Write the scores of all models; return the rows of each."""
    folders = {model.name: fs.join(config.output, f"model={model.name}") for model in config.models}
    for folder in folders.values():
        fs.make_folder(folder)
    ranges = range_frame(spark, parquet_ranges([split_url(config.training_set, split) for split in config.splits]))
    sinks = {
        model.name: _Sink(
            name=model.name,
            bundle_id=model.bundle_id,
            folder=folders[model.name],
            task=_task(plans[model.name]),
            contributions=config.contributions,
        )
        for model in config.models
    }
    partitions = int(spark.conf.get("spark.sql.shuffle.partitions") or "4")
    found: list[DataFrame] = []
    mapped: list[tuple[_Sink, GlmixPlan | None]] = []
    for name, sink in sinks.items():
        plan = plans[name]
        if plan is None or not plan.joined:
            mapped.append((sink, plan))
            continue
        rim = Rim(passed=_PASSED, known=plan, read=_ReadRows(plan=plan), write=sink, schema=_COUNTS)
        found.append(with_margins(ranges, plan.order, joined_effects(spark, plan), rim, partitions))
    if mapped:
        at_once = _Mapped(blobs=config.blobs, cache=str(user_cache() / "bundles"), models=tuple(mapped))
        found.append(ranges.mapInArrow(at_once, _COUNTS))
    counts = dict.fromkeys(folders, 0)
    for frame in found:
        for row in frame.groupBy("model").agg(F.sum("rows").alias("rows")).collect():
            counts[row["model"]] += row["rows"]
    fs.write_bytes(fs.join(config.output, "_SUCCESS"), b"", overwrite=True)
    return counts


_COUNTS: Final = StructType().add("model", "string").add("rows", "long")


def _task(plan: GlmixPlan | None) -> Task | None:
    return None if plan is None else plan.record.task


class _Sink(Record, frozen=True, kw_only=True):
    """Where the scores of a model go; as what ends a join it travels to the workers as a value."""

    name: str
    bundle_id: str
    folder: str
    task: Task | None
    contributions: bool

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Write rows with margins; yield how many they were."""
        with PartWriter({self.name: self.folder}) as parts:
            for batch in batches:
                self.write_margins(parts, batch)
        yield from _counted(parts)

    def write_margins(self, parts: PartWriter, batch: pa.RecordBatch) -> None:
        """Append rows with ``margin`` and ``contributions``."""
        if self.task is None:
            raise RuntimeError(f"{self.name} has no margins")
        scores = loss_of(self.task).mean(batch.column(MARGIN).to_numpy())
        self.write(parts, batch, scores, batch.column(CONTRIBUTIONS) if self.contributions else None)

    def write(
        self, parts: PartWriter, batch: pa.RecordBatch, scores: Floats, contributions: pa.Array | None = None
    ) -> None:
        """Append rows with their scores."""
        if not np.isfinite(scores).all():
            bad = batch.column("uid")[int(np.flatnonzero(~np.isfinite(scores))[0])].as_py()
            raise BadDataError(f"{self.name}: the score of uid {bad} is no finite number")
        columns = {name: batch.column(name) for name in _PASSED}
        columns |= {"score": pa.array(scores), "bundle_id": pa.repeat(pa.scalar(self.bundle_id), batch.num_rows)}
        columns |= {} if contributions is None else {CONTRIBUTIONS: contributions}
        parts.write(self.name, pa.RecordBatch.from_pydict(columns))


def _counted(parts: PartWriter) -> Iterator[pa.RecordBatch]:
    yield pa.RecordBatch.from_pydict({"model": list(parts.rows), "rows": list(parts.rows.values())})


class _ReadRows(Record, frozen=True, kw_only=True):
    """From ranges of files to rows whose vectors are in a model's columns."""

    plan: GlmixPlan

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches."""
        yield from map(self.plan.with_vectors, ReadParquet(columns=(*_PASSED, *self.plan.columns))(batches))


class _Mapped(Record, frozen=True, kw_only=True):
    """Scores rows with all models whose files a worker maps; a plan is None for one of another flavour."""

    blobs: str
    cache: str
    models: tuple[tuple[_Sink, GlmixPlan | None], ...]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Write the scores of all models; yield how many they were."""
        settle_worker()
        wanted = [plan.columns if plan is not None else ("features", "shards") for _, plan in self.models]
        whole = {name for columns in wanted for name in columns if "." not in name}
        fields = {name for columns in wanted for name in columns if name.partition(".")[0] not in whole}
        columns = (*_PASSED, *sorted(whole | fields))
        with PartWriter({sink.name: sink.folder for sink, _ in self.models}) as parts:
            for batch in ReadParquet(columns=columns)(batches):
                for sink, plan in self.models:
                    self._write(parts, batch, sink, plan)
        yield from _counted(parts)

    def _write(self, parts: PartWriter, batch: pa.RecordBatch, sink: _Sink, plan: GlmixPlan | None) -> None:
        if plan is None:
            sink.write(parts, batch, self._predicted(batch, sink.bundle_id))
        else:
            found = plan(plan.with_vectors(batch))
            sink.write_margins(parts, scored_batch(batch, found, plan.order, _PASSED))

    def _predicted(self, batch: pa.RecordBatch, bundle_id: str) -> Floats:
        predictor = _opened(self.blobs, bundle_id, self.cache)
        signature, found = predictor.signature, []
        for start in range(0, batch.num_rows, _PREDICTED_ROWS):
            answers = predictor.predict(columns_of(batch.slice(start, _PREDICTED_ROWS), signature))
            found.append(np.asarray(answers[signature.outputs[0].name], dtype=np.float64))
        return np.concatenate(found)


@lru_cache(maxsize=16)
def _opened(blobs: str, bundle_id: str, cache: str) -> Predictor:
    """Return the opened model; kept, for Spark gives one Python worker many tasks."""
    with fetch_held(open_store(blobs), bundle_id, bundle_cache(cache)) as bundle:
        return open_predictor(bundle.folder)


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
