"""A formula on a Spark DataFrame: rows are encoded and fitted where they are, and the coefficients stay there.

What terms learn (knots, means) comes from a sample of rows at the driver, levels of text columns from all rows. Prior
covariances are estimated from all rows: in this process where it holds them all, else in the executors
(:mod:`photon.spark.posterior`). The fitted model is a :class:`photon.spark.kept.SparkFitted`: of the random effects no
coefficient comes to the driver unless somebody asks for them.
"""

import time
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it
from pyspark.sql.types import StringType

from photon.descent import Descent
from photon.empirical_bayes import EmpiricalBayesSettings, Estimate, Variances, estimate
from photon.encoding import Encoding
from photon.evaluation.calibration import Bin
from photon.fitted import FittedEffect, GlmixRecord, SweepPoint, TrainingRecord
from photon.formula import render_formula
from photon.local import LocalData
from photon.local_estimation import MOST_STANDARD_ERRORS, Request, calibration_bins, encoded, plain, variance_points
from photon.local_posterior import LocalPosterior
from photon.model import FixedEffect
from photon.objective import data_loss
from photon.optimise import NEWTON_LIMIT
from photon.responses import Classes, labels_of, null_margin
from photon.settings import CoordinateSettings, FitSettings
from photon.spark.backend import Table
from photon.spark.encoded import UID, TrainingRows, column
from photon.spark.kept import KeptEffect, SparkFitted, keep
from photon.spark.posterior import estimate_priors, standard_errors
from photon.spark.rows import Measure
from photon.spark.train import ShardShape, SparkGlmix
from yarnmill.errors import BadDataError, ConfigurationError

_SAMPLE_ROWS: Final = 50_000
"""Rows that the driver looks at; a DataFrame of no more is there whole."""

_MOST_LEVELS: Final = 100_000
_ROLE: Final = "train"


@dataclass(frozen=True, slots=True)
class _Sample:
    """Rows at the driver, and all that they say: labels' classes, what terms learn, the rows encoded.

    ``is_whole`` where they are all rows.
    """

    classes: Classes
    encodings: list[Encoding]
    data: LocalData
    is_whole: bool


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is left of a fit on Spark when its blocks are gone."""

    fixed: FixedEffect
    random: list[tuple[KeptEffect, int]]
    errors: tuple[float, ...]
    bins: tuple[Bin, ...]


def estimate_on_spark(request: Request, rows: DataFrame) -> SparkFitted:
    """Return the model fitted to the rows of a Spark DataFrame."""
    started = time.monotonic()
    request.check()
    sample = _sampled(request, rows)
    encoder = TrainingRows(
        task=request.task,
        response=_response(request, rows),
        weights=request.weights,
        offset=request.offset,
        classes=sample.classes,
        effects=tuple(zip(request.formula.effects, sample.encodings, strict=True)),
        key_kinds={name: ids[:1] for name, ids in sample.data.ids.items()},
    )
    glmix = SparkGlmix(
        rows.withColumn(UID, F.monotonically_increasing_id()).mapInArrow(encoder, encoder.schema),
        _settings(request, sample.encodings),
        {one.name: ShardShape(len(each.columns), each.intercept) for one, each in encoder.effects},
        (_ROLE,),
        partitions=int(rows.sparkSession.conf.get("spark.sql.shuffle.partitions") or "4"),
    )
    try:
        count = glmix.check(request.checks)[0]
        found, start = _estimated(request, glmix, sample)
        descent = glmix.fit([_ROLE], start=start)
        variances = Variances({}, 1.0) if found is None else found.variances
        kept = _kept(request, glmix, descent, variances.residual)
    finally:
        glmix.release()
    labels, weights, loss = sample.data.labels, sample.data.weights, request.settings.loss
    null = np.full(len(labels), null_margin(labels, weights, request.task))
    training = TrainingRecord(
        rows=count.rows,
        weight=count.weight,
        objective=descent.objective,
        mean_loss=descent.steps[-1].fitness.data_loss / count.weight,
        null_loss=data_loss(loss, null, labels, weights) / float(weights.sum()),
        converged=descent.converged,
        duration_s=time.monotonic() - started,
        residual_variance=variances.residual,
        sweeps=tuple(SweepPoint(number=one.number, objective=one.objective) for one in descent.sweeps),
        iterations=() if found is None else variance_points(found),
        bins=kept.bins,
    )
    record = _record(request, sample, kept, variances, training)
    return SparkFitted(record, kept.fixed, [one for one, _ in kept.random])


def _response(request: Request, rows: DataFrame) -> str:
    response = request.formula.response.strip("`")
    if response not in rows.columns:
        raise ConfigurationError(f"response {response!r}: no such column", expected="on Spark, a column of labels")
    return response


def _sampled(request: Request, rows: DataFrame) -> _Sample:
    response, total = _response(request, rows), rows.count()
    if not total:
        raise BadDataError("a DataFrame without rows", expected="rows to fit to")
    frame = _frame(rows if total <= _SAMPLE_ROWS else rows.sample(_SAMPLE_ROWS / total, seed=0), rows, request)
    labels, classes = labels_of(frame[response], request.task)
    weights, offsets = column(frame, request.weights, 1.0), column(frame, request.offset, 0.0)
    encodings, data = encoded(request.formula, frame, labels, weights, offsets)
    return _Sample(classes, encodings, data, is_whole=total <= _SAMPLE_ROWS)


def _frame(part: DataFrame, rows: DataFrame, request: Request) -> pd.DataFrame:
    """Return rows at the driver; text columns know the levels of all rows."""
    sample: pd.DataFrame = part.toArrow().to_pandas()
    entities = {name for one in request.formula.effects for name in one.entity}
    text = [one.name for one in rows.schema.fields if isinstance(one.dataType, StringType)]
    terms = " ".join(one.terms for one in request.formula.effects)
    for name in text:
        if name in terms and name not in entities:
            found = rows.select(name).where(F.col(name).isNotNull()).distinct().limit(_MOST_LEVELS + 1).collect()
            if len(found) > _MOST_LEVELS:
                raise ConfigurationError(
                    f"{name}: more than {_MOST_LEVELS:,} levels", expected="few levels, or an entity in bars"
                )
            sample[name] = pd.Categorical(sample[name], categories=sorted(row[0] for row in found))
    return sample


def _settings(request: Request, encodings: list[Encoding]) -> FitSettings:
    columns = {one.name: each.columns for one, each in zip(request.formula.effects, encodings, strict=True)}
    settings, estimated = request.settings_for(columns), request.estimated

    def with_estimate(one: CoordinateSettings) -> CoordinateSettings:
        if one.name not in estimated:
            return one
        return msgspec.structs.replace(one, estimate="covariance" if estimated[one.name] else "variances")

    return msgspec.structs.replace(settings, coordinates=tuple(map(with_estimate, settings.coordinates)))


def _estimated(request: Request, glmix: SparkGlmix, sample: _Sample) -> tuple[Estimate | None, Table | None]:
    """Have the fit go on under the priors of the effects that were given none; return them, and what it goes on from.

    A sample of the rows tells least of what is wanted: where entities have few rows it has one of each, and their
    variance is then anybody's guess. So it speaks for all rows only where a fixed effect is too wide for the executors.
    """
    if not request.estimated:
        return None, None
    options = request.empirical_bayes or EmpiricalBayesSettings()
    if not sample.is_whole and glmix.fixed.regularisation.columns <= NEWTON_LIMIT:
        return estimate_priors(glmix, [_ROLE], options), glmix.rescored()
    posterior = LocalPosterior(sample.data, request.settings, request.estimated, options)
    found = estimate(posterior, posterior.start(), options, has_residual=request.task == "linear")
    glmix.take_priors({name: one.factor() for name, one in found.variances.relative().items()})
    return found, None


def _kept(request: Request, glmix: SparkGlmix, descent: Descent[Table | None], residual: float) -> _Kept:
    """Return what the model is made of, read before standard errors change the fit."""
    one = glmix.fixed
    fixed = FixedEffect(one.name, one.name, one.coefficients, glmix.fixed_variances(one))
    random = list[tuple[KeptEffect, int]]()
    try:
        for coordinate in glmix.random:
            random.append(keep(glmix, coordinate))  # those before one that fails are let go
        return _Kept(fixed, random, _errors(request, glmix, descent.scores, residual), _bins(request, glmix, descent))
    except BaseException:
        for each, _ in random:
            each.release()
        raise


def _bins(request: Request, glmix: SparkGlmix, descent: Descent[Table | None]) -> tuple[Bin, ...]:
    """Return predicted and observed means of training rows, of as many as the driver looks at."""
    measured = glmix.measured(descent.scores, [Measure(_ROLE, 0)]).select("score", "label", "weight")
    total = measured.count()
    part = measured if total <= _SAMPLE_ROWS else measured.sample(_SAMPLE_ROWS / total, seed=0)
    scores, labels, weights = (each.to_numpy() for each in part.toArrow().columns)
    return calibration_bins(request.settings.loss.mean(scores), labels, weights)


def _errors(request: Request, glmix: SparkGlmix, scores: Table | None, residual: float) -> tuple[float, ...]:
    """Return the standard errors of the fixed effect; none where one process has none either.

    With penalties given, the residual variance of the linear task is not known here.
    """
    is_known = request.task != "linear" or bool(request.estimated)
    is_wanted = request.standard_errors and glmix.fixed.regularisation.columns <= MOST_STANDARD_ERRORS
    if scores is None or not (is_known and is_wanted and request.is_ridge):
        return ()
    return tuple(standard_errors(glmix, [_ROLE], scores, residual).tolist())


def _record(
    request: Request, sample: _Sample, kept: _Kept, variances: Variances, training: TrainingRecord
) -> GlmixRecord:
    covariances, counts = variances.effects, [0, *(entities for _, entities in kept.random)]
    return GlmixRecord(
        task=request.task,
        formula=render_formula(request.formula),
        response=request.formula.response,
        weights=request.weights,
        offset=request.offset,
        classes=sample.classes,
        effects=tuple(
            FittedEffect(
                formula=one,
                encoding=encoding,
                l2=request.given_l2(one.name) or 0.0,
                covariance=plain(covariances[one.name]) if one.name in covariances else (),
                entities=entities,
                standard_errors=() if one.entity else kept.errors,
            )
            for one, encoding, entities in zip(request.formula.effects, sample.encodings, counts, strict=True)
        ),
        tweedie_power=request.tweedie_power,
        training=training,
    )
