"""The job that trains a GLMix model on a training set: fit, evaluate against baselines, write.

With a validation part the model is first fitted on train and judged on validation after every sweep;
``refit_on_validation`` then goes on with train and validation together, and that model is written and
judged on test. With ``tuning`` the penalties are searched for first, by the first evaluator on validation.
Priors of random effects with ``estimate`` are found from the training rows before the first fit.
An ``earlier_model`` is where the fit starts, what a locked coordinate stays, and a prior by ``prior_weight``.
Baselines see the same rows: the mean label, and the fixed effect fitted alone.
What the job is told is in :mod:`jobs.glmix_config`, its fits are in :mod:`jobs.glmix_fit`.

Output below ``config.output``::

    model.json                              photon.model.ModelRecord; index maps stay with the training set
    report.html                             the run to look at: history, metrics, coefficients, calibration, lift
    coefficients/<fixed effect>/part-*      index, value; variance too where the coordinate wants variances
    coefficients/<random effect>/part-*     entity, indices, values[, variances]: written by the executors, sorted
    evaluation.json, groups/                jobs.evaluating
    priors.json                             priors that were estimated (:mod:`jobs.priors`)
    trials.jsonl                            every trial of a search (:mod:`jobs.trials`)
"""

from collections.abc import Sequence
from functools import reduce

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from jobs.clock import Clock
from jobs.earlier_model import earlier_effects
from jobs.glmix_config import Config, check_config, earlier_model_of, inputs
from jobs.glmix_fit import TRAIN, VALIDATION, Judge, fit_and_judge
from jobs.job import Outcome
from jobs.penalties import SearchPlan, search_penalties
from jobs.priors import estimated_priors, estimates_priors, prior_metrics, write_priors
from jobs.progress import say
from jobs.training_page import largest_coefficients, write_page
from jobs.trials import write_trials
from photon.model import MODEL_NAME, EffectRecord, ModelRecord
from photon.report.penalties import penalty_in_words
from photon.report.training import TrainingReport
from photon.rows import Floats
from photon.settings import CoordinateSettings
from photon.spark.train import ShardShape, SparkGlmix
from photon.tuning import Study, TuningSettings
from yarnmill import fs
from yarnmill.errors import BadDataError
from yarnmill.records import canonical_json
from yarnmill.report import identity_of
from yarnmill.trainingset import INTERCEPT, SPLITS, TrainingSet, index_url, read_training_set

COEFFICIENTS_NAME = "coefficients"

__all__ = ["Config", "inputs", "run"]


def run(spark: SparkSession, config: Config) -> Outcome:
    """Train, evaluate and write the model to ``config.output``."""
    training_set = read_training_set(config.training_set)
    check_config(config, training_set)
    _say_penalties(config.coordinates)
    clock, earlier = Clock(), earlier_model_of(config)
    rows_of = (config.training_set, training_set)
    glmix = SparkGlmix(
        _rows(spark, config.training_set),
        config.fit_settings,
        _shapes(spark, config, training_set),
        SPLITS,
        partitions=config.partitions or int(spark.conf.get("spark.sql.shuffle.partitions") or "4"),
        carried_ids=config.question.entities,
        earlier=None if earlier is None else earlier_effects(spark, earlier, config.coordinates, rows_of),
    )
    with clock.measure("load"):
        rows = glmix.check(config.checks)
    if config.tuning is not None and rows[VALIDATION].weight <= 0.0:
        raise BadDataError(
            f"{config.training_set}: nothing to judge trials by",
            expected="rows of positive weight in validation",
            mend="split the training set with a validation part, or drop tuning",
        )
    if rows[TRAIN].weight <= 0.0:
        raise BadDataError(f"{config.training_set}: nothing to train on", expected="rows of positive weight in train")
    judge = Judge(glmix, config)
    searched = None
    if config.tuning is not None:
        with clock.measure("tune"):
            searched = search_penalties(glmix, _plan(config, config.tuning))
        _say_penalties(searched.tuned.settings.coordinates)
    priors = None
    if estimates_priors(config.coordinates):
        with clock.measure("estimate"):
            priors = estimated_priors(glmix, ["train"], config.empirical_bayes)
    final, metrics, baselines = fit_and_judge(glmix, judge, rows, clock, searched)
    metrics |= {} if priors is None else prior_metrics(priors)
    with clock.measure("write"):
        _write(glmix, config, training_set)
        outputs = judge.write(config.output)
        outputs += [] if priors is None else [write_priors(config.output, priors)]
        outputs += [] if searched is None else [write_trials(config.output, searched.tuned.trials)]
        named = largest_coefficients(spark, glmix.baseline or glmix.all_fixed[0], config.training_set)
        report = TrainingReport(
            name=config.training_set,
            settings=glmix.settings,
            rows={name: rows[role].rows for role, name in enumerate(SPLITS)},
            sweeps=final.sweeps,
            steps=final.steps,
            converged=final.converged,
            metrics=metrics,
            baselines=baselines,
            bins=judge.bins,
            coefficients=named,
            timings_s=clock.timings_s,
        )
        outputs.append(write_page(config.output, report))
    glmix.release()
    return Outcome(
        counts={f"rows_{name}": rows[role].rows for role, name in enumerate(SPLITS)}
        | {"sweeps": len(final.sweeps), "unconverged": sum(step.fitness.unconverged for step in final.steps)},
        metrics=metrics | ({} if searched is None else searched.metrics),
        baselines=baselines,
        outputs=(fs.join(config.output, MODEL_NAME), fs.join(config.output, COEFFICIENTS_NAME), *outputs),
        timings_s=clock.timings_s,
    )


def _rows(spark: SparkSession, url: str) -> DataFrame:
    data = spark.read.parquet(fs.join(url, "data"))
    role = F.array_position(F.lit(list(SPLITS)), F.col("split")) - 1
    return data.select("uid", role.alias("role"), "response", "weight", "offset", "ids", "shards")


def _shapes(spark: SparkSession, config: Config, training_set: TrainingSet) -> dict[str, ShardShape]:
    """Return the shape of every shard in use; where the intercepts are takes one small query."""
    used = sorted({coordinate.shard for coordinate in config.coordinates})
    maps = [spark.read.parquet(index_url(config.training_set, name)).withColumn("shard", F.lit(name)) for name in used]
    intercepts = reduce(DataFrame.unionByName, maps).where(F.col("name") == INTERCEPT).select("shard", "index")
    found: dict[str, int] = {row["shard"]: row["index"] for row in intercepts.collect()}
    return {shard.name: ShardShape(shard.dimension, found.get(shard.name)) for shard in training_set.shards}


def _plan(config: Config, tuning: TuningSettings) -> SearchPlan:
    return SearchPlan(
        study=Study(config.fit_settings, tuning, config.question.evaluators[0]),
        question=config.question,
        output=config.output,
        job="train_glmix",
        data=tuple(map(identity_of, inputs(config))),
        mlflow=config.mlflow,
    )


def _say_penalties(coordinates: Sequence[CoordinateSettings]) -> None:
    for one in coordinates:
        say("train_glmix", f"penalty of {one.name}: {penalty_in_words(one)}")


def _write(glmix: SparkGlmix, config: Config, training_set: TrainingSet) -> None:
    coefficients = fs.join(config.output, COEFFICIENTS_NAME)
    for fixed in glmix.all_fixed:
        url = fs.join(coefficients, fixed.name, "part-00000.parquet")
        _write_fixed(url, fixed.coefficients, glmix.fixed_variances(fixed))
    for effect in glmix.random:
        glmix.coefficients(effect).write.parquet(fs.join(coefficients, effect.name))
    shards = {shard.name: shard for shard in training_set.shards}
    record = ModelRecord(
        task=config.task,
        effects=tuple(
            EffectRecord(
                name=one.name,
                shard=one.shard,
                columns=shards[one.shard].dimension,
                entity=one.entity,
                l2=one.l2,
                l1=one.l1,
                penalise_intercept=one.intercept_is_penalised,
                index_sha256=shards[one.shard].index_sha256,
            )
            for one in glmix.settings.coordinates
        ),
        training_set=config.training_set,
    )
    fs.write_bytes(fs.join(config.output, MODEL_NAME), canonical_json(record))


def _write_fixed(url: str, coefficients: Floats, variances: Floats | None) -> None:
    columns = {"index": pa.array(range(len(coefficients)), pa.int32()), "value": pa.array(coefficients)}
    table = pa.table(columns | ({} if variances is None else {"variance": pa.array(variances)}))
    with fs.open_write(url) as stream:
        pq.write_table(table, stream)
