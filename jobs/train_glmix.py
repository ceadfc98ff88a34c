"""The job that trains a GLMix model on a training set: fit, evaluate against baselines, write.

With a validation part the model is first fitted on train and judged on validation after every sweep;
``refit_on_validation`` then goes on with train and validation together, and that model is written and
judged on test. With ``tuning`` the penalties are searched for first, by the first evaluator on validation.
Priors of random effects with ``estimate`` are found from the training rows before the first fit.
An ``earlier_model`` is where the fit starts, what a locked coordinate stays, and a prior by ``prior_weight``.
Baselines see the same rows: the mean label, and the fixed effect fitted alone.

Output below ``config.output``::

    model.json                              photon.model.ModelRecord; index maps stay with the training set
    report.html                             the run to look at: history, metrics, coefficients, calibration, lift
    coefficients/<fixed effect>/part-*      index, value; variance too where the coordinate wants variances
    coefficients/<random effect>/part-*     entity, indices, values[, variances]: written by the executors, sorted
    evaluation.json, groups/                jobs.evaluating
    priors.json                             priors that were estimated (:mod:`jobs.priors`)
    trials.jsonl                            every trial of a search (:mod:`jobs.trials`)
"""

import math
from collections.abc import Sequence
from functools import reduce

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it

from jobs.clock import Clock
from jobs.earlier_model import EarlierModel, earlier_effects, read_earlier_model
from jobs.evaluating import check_keys, evaluators_of, question_of, write_evaluations, write_groups
from jobs.job import JobConfig, Outcome, Url
from jobs.penalties import Searched, SearchPlan, search_penalties
from jobs.priors import estimated_priors, estimates_priors, prior_metrics, write_priors
from jobs.progress import say
from jobs.training_page import largest_coefficients, write_page
from jobs.trials import MlflowConfig, write_trials
from photon.checks import Checks
from photon.descent import Descent, Sweep
from photon.empirical_bayes import EmpiricalBayesSettings
from photon.evaluation import Bin, Evaluation, Question
from photon.loss import TWEEDIE_POWER, Task
from photon.model import MODEL_NAME, EffectRecord, ModelRecord
from photon.report.penalties import penalty_in_words
from photon.report.training import TrainingReport
from photon.rows import Floats
from photon.settings import CoordinateSettings, FitSettings, checked
from photon.spark.backend import Table
from photon.spark.evaluation import evaluate
from photon.spark.posterior import check_estimable
from photon.spark.rows import Measure, RoleRows
from photon.spark.train import ShardShape, SparkGlmix
from photon.tuning import Study, TuningSettings, checked_tuning
from yarnmill import fs
from yarnmill.errors import BadDataError, ConfigurationError
from yarnmill.records import canonical_json
from yarnmill.report import identity_of
from yarnmill.trainingset import INTERCEPT, SPLITS, TrainingSet, index_url, read_training_set

COEFFICIENTS_NAME = "coefficients"

TRAIN, VALIDATION, TEST = range(3)


class Config(JobConfig, frozen=True, kw_only=True):
    """What to fit, on which training set.

    Parameters
    ----------
    training_set
        URL of a training set.
    task
        ``logistic``, ``linear``, ``poisson``, ``smoothed_hinge``, ``gamma`` or ``tweedie``.
    coordinates
        The effects, in update order.
    earlier_model
        URL of an earlier output of this job or of ``import_photon_model``. Entities of no row in this training set
        keep their coefficients, and their variances where ``variances`` are wanted.
    max_sweeps, tolerance, acceleration, tweedie_power
        See :class:`photon.settings.FitSettings`.
    evaluators
        Photon's names of what to judge by, such as ``AUC`` or ``PRECISION@5:user_id``; the first selects models.
        Unset: the task's own loss, before it AUC where labels are 0 and 1.
    evaluate_per
        Entity keys within whose entities the unset evaluators are taken as well.
    calibration_bins
        Bins of the calibration and lift tables of ``evaluation.json``.
    save_group_results
        Whether the results of every group are written below the output.
    refit_on_validation
        Whether the written model is fitted on train and validation together, from the first fit on.
    empirical_bayes
        End and draws of the estimation of priors, where a coordinate has ``estimate``:
        :class:`photon.empirical_bayes.EmpiricalBayesSettings`.
    tuning
        A search for penalties: every trial is a fit of train, judged on validation. Unset: those of the coordinates.
    mlflow
        Where trials are recorded; unset: nowhere.
    checks
        Whether ``full``, a ``sample`` of a tenth or none (``off``) of the rows are checked before the fit.
    partitions
        Blocks of each coordinate; unset: as many as Spark shuffles into.
    """

    training_set: Url
    coordinates: tuple[CoordinateSettings, ...]
    earlier_model: Url | None = None
    task: Task = "logistic"
    max_sweeps: int = 10
    tolerance: float = 1e-4
    tweedie_power: float = TWEEDIE_POWER
    acceleration: int = 3
    evaluators: tuple[str, ...] = ()
    evaluate_per: tuple[str, ...] = ()
    calibration_bins: int = 10
    save_group_results: bool = False
    refit_on_validation: bool = True
    empirical_bayes: EmpiricalBayesSettings = EmpiricalBayesSettings()
    tuning: TuningSettings | None = None
    mlflow: MlflowConfig | None = None
    checks: Checks = "full"
    partitions: int | None = None

    @property
    def fit_settings(self) -> FitSettings:
        """The settings that photon takes."""
        return FitSettings(
            task=self.task,
            coordinates=self.coordinates,
            max_sweeps=self.max_sweeps,
            tolerance=self.tolerance,
            tweedie_power=self.tweedie_power,
            acceleration=self.acceleration,
        )

    @property
    def question(self) -> Question:
        """What the scores of held-out rows are asked."""
        evaluators = evaluators_of(self.evaluators, self.task, self.evaluate_per)
        return question_of(evaluators, self.task, bins=self.calibration_bins)


def inputs(config: Config) -> tuple[str, ...]:
    """Return the training set and the earlier model, after checking that the configuration fits them.

    Raises
    ------
    ConfigurationError
        If a coordinate names a shard or an entity key that the training set does not have.
    NotFoundError
        If there is no training set, or no earlier model where one is named.
    """
    _check(config, read_training_set(config.training_set))
    model = _earlier(config)
    return (config.training_set,) if model is None else (config.training_set, model.url)


def _earlier(config: Config) -> EarlierModel | None:
    if config.earlier_model is not None:
        return read_earlier_model(config.earlier_model, config.task, config.coordinates)
    for place, one in enumerate(config.coordinates):
        if one.locked or one.prior_weight > 0.0:
            name = "locked" if one.locked else "prior_weight"
            raise ConfigurationError(
                f"coordinates[{place}].{name}: no earlier model",
                expected="earlier_model: the URL of an output of train_glmix",
            )
    return None


def _check(config: Config, training_set: TrainingSet) -> None:
    checked(config.fit_settings, source="train_glmix")
    if estimates_priors(config.coordinates):
        check_estimable(config.fit_settings)
        for name, other in (("tuning", "a search for penalties"), ("earlier_model", "an earlier model")):
            if getattr(config, name) is not None:
                raise ConfigurationError(
                    f"{name}: set, while a prior is estimated",
                    expected=f"{other}, or priors from the data",
                    mend=f"drop {name}, or give every random effect l2 in place of estimate",
                )
    if config.tuning is not None:
        checked_tuning(config.tuning, config.fit_settings, source="train_glmix: tuning")
    shards = [shard.name for shard in training_set.shards]
    for place, coordinate in enumerate(config.coordinates):
        if coordinate.shard not in shards:
            raise ConfigurationError(
                f"coordinates[{place}].shard: {config.training_set} has no shard {coordinate.shard!r}",
                expected=f"one of {', '.join(shards)}",
            )
    named = [(f"coordinates[{place}].entity", one.entity) for place, one in enumerate(config.coordinates)]
    named += [(f"evaluate_per[{place}]", key) for place, key in enumerate(config.evaluate_per)]
    if config.calibration_bins < 1:
        raise ConfigurationError(f"calibration_bins: {config.calibration_bins}", expected="1 or more")
    for where, key in named:
        if key is not None and key not in training_set.keys:
            raise ConfigurationError(
                f"{where}: {config.training_set} has no entity key {key!r}",
                expected=f"one of {', '.join(training_set.keys)}",
            )
    check_keys(config.question.evaluators, training_set.keys, config.training_set)


def run(spark: SparkSession, config: Config) -> Outcome:
    """Train, evaluate and write the model to ``config.output``."""
    training_set = read_training_set(config.training_set)
    _check(config, training_set)
    _say_penalties(config.coordinates)
    clock, earlier = Clock(), _earlier(config)
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
    judge = _Judge(glmix, config)
    searched = None
    if config.tuning is not None:
        with clock.measure("tune"):
            searched = search_penalties(glmix, _plan(config, config.tuning))
        _say_penalties(searched.tuned.settings.coordinates)
    priors = None
    if estimates_priors(config.coordinates):
        with clock.measure("estimate"):
            priors = estimated_priors(glmix, ["train"], config.empirical_bayes)
    final, metrics, baselines = _fit(glmix, judge, rows, clock, searched)
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


class _Judge:
    """Evaluates fits of one job and keeps what was found for the output."""

    def __init__(self, glmix: SparkGlmix, config: Config) -> None:
        self._glmix, self.config = glmix, config
        self._found: list[Evaluation] = []
        self._groups: list[str] = []

    def __call__(self, fit: Descent[Table | None], measures: Sequence[Measure]) -> dict[str, float]:
        """Return the metrics of some measures by their names in the report."""
        if not measures:
            return {}
        rows, question = self._glmix.measured(fit.scores, measures), self.config.question
        found = evaluate(rows, question)
        self._found += found
        if self.config.save_group_results and question.entities:
            names = [one.name for one in measures if one.fixed_alone is None]
            self._groups = [write_groups(self.config.output, rows, question, names)]
        return {f"{one.measure}_{name}": value for one in found for name, value in one.metrics.items()}

    @property
    def bins(self) -> dict[str, tuple[Bin, ...]]:
        """The calibration tables, by what was measured."""
        return {one.measure: one.bins for one in self._found}

    def write(self, output: str) -> list[str]:
        """Write ``evaluation.json``; return the URLs of all that was written."""
        return [write_evaluations(output, self._found), *self._groups]


def _fit(
    glmix: SparkGlmix, judge: _Judge, rows: Sequence[RoleRows], clock: Clock, searched: Searched | None
) -> tuple[Descent[Table | None], dict[str, float], dict[str, dict[str, float]]]:
    """Fit, refit where that is wanted, and evaluate: the last descent, the metrics and the baselines."""
    metrics: dict[str, float] = {}
    config, trained = judge.config, ["train"]
    with clock.measure("fit"):
        start = glmix.rescored() if estimates_priors(config.coordinates) else None
        final = glmix.fit(trained, start=start if searched is None else searched.scores, progress=_say_sweep)
    metrics |= _history(final.sweeps)
    judged = [Measure("validation", VALIDATION)] if rows[VALIDATION].rows else []
    if config.refit_on_validation and judged:
        with clock.measure("evaluate_validation"):
            metrics |= judge(final, judged)
        trained, judged = ["train", "validation"], []
        with clock.measure("refit"):
            final = glmix.fit(trained, start=final.scores, progress=_say_sweep)
    if rows[TEST].rows:
        judged.append(Measure("test", TEST))
    if rows[TEST].rows and glmix.baseline is not None:
        with clock.measure("fit_global_only"):
            judged.append(Measure("global_only_test", TEST, glmix.fit_fixed_alone(trained)))
    with clock.measure("evaluate"):
        metrics |= judge(final, judged)
    metrics["objective"] = final.objective
    return final, *_with_baselines(metrics, rows, trained, config.task)


def _say_penalties(coordinates: Sequence[CoordinateSettings]) -> None:
    for one in coordinates:
        say("train_glmix", f"penalty of {one.name}: {penalty_in_words(one)}")


def _say_sweep(sweep: Sweep) -> None:
    losses = "".join(f", {name} loss {loss:.6g}" for name, loss in sweep.losses if name != "test")
    say("train_glmix", f"sweep {sweep.number}: objective {sweep.objective:.10g}{losses}")


def _history(sweeps: Sequence[Sweep]) -> dict[str, float]:
    found = {f"objective_sweep_{sweep.number}": sweep.objective for sweep in sweeps}
    for sweep in sweeps:
        found |= {f"{name}_loss_sweep_{sweep.number}": loss for name, loss in sweep.losses if name != "test"}
    return found


def _with_baselines(
    metrics: dict[str, float], rows: Sequence[RoleRows], trained: Sequence[str], task: Task
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    prefix = "global_only_"
    alone = {key.removeprefix(prefix): value for key, value in metrics.items() if key.startswith(prefix)}
    baselines = {"global_only": alone} if alone else {}
    own = {key: value for key, value in metrics.items() if not key.startswith(prefix)}
    seen = [rows[SPLITS.index(name)] for name in trained]
    mean = sum(one.label_sum for one in seen) / sum(one.weight for one in seen)
    positives = rows[TEST].mean_label
    if task == "logistic" and rows[TEST].weight > 0.0 and 0.0 < mean < 1.0:
        loss = -positives * math.log(mean) - (1.0 - positives) * math.log1p(-mean)
        baselines["global_mean"] = {"test_auc": 0.5, "test_log_loss": loss}
    return own, baselines


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
