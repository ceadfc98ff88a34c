"""A formula on a Spark DataFrame: rows are encoded, fitted and scored where they are.

What terms learn (knots, means) and the prior covariances come from a sample of rows at the driver, levels of text
columns from all rows; a random subset of rows is as good a witness of the variances as all of them, only less precise.
Rows are then sent with their features in the prior's coordinates (:mod:`photon.covariance`), so that the fit is
a plain one. The fitted model is held at the driver, like every estimator's; one too large for that is for
``jobs/train_glmix``, whose coefficients stay in the executors.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812  # the field's name for it
from pyspark.sql.types import DoubleType, StringType, StructField, StructType

from photon.covariance import dense_rows, transformed, untransformed
from photon.empirical_bayes import EmpiricalBayesSettings, Variances, estimate
from photon.encoding import Encoding, encode
from photon.entities import Keys
from photon.fitted import Fitted, FittedEffect, GlmixRecord, SweepPoint, TrainingRecord
from photon.formula import EffectFormula, render_formula
from photon.frames import column_of, entity_ids, numbers, refuse_missing
from photon.local_estimation import MOST_STANDARD_ERRORS, Request, calibration_bins, encoded, plain
from photon.local_posterior import LocalPosterior
from photon.loss import Task, loss_of
from photon.model import Effect, EffectRecord, FixedEffect, GlmixModel, random_effect_from_entities
from photon.objective import data_loss
from photon.responses import Classes, labels_of, null_margin
from photon.rows import Floats, SparseRows
from photon.scoring import margins
from photon.settings import FitSettings
from photon.spark.arrow_rows import id_array, vectors
from photon.spark.backend import Table
from photon.spark.posterior import standard_errors
from photon.spark.train import ShardShape, SparkGlmix
from yarnmill.errors import BadDataError, ConfigurationError

_SAMPLE_ROWS: Final = 50_000
_LISTS: Final = ("indices", "values")
_MOST_LEVELS: Final = 100_000
_MOST_COEFFICIENTS: Final = 50_000_000
"""Coefficients that a model at the driver may have: 800 MB."""


@dataclass(frozen=True, slots=True)
class _Encoder:
    """What a task does with its rows: it travels to the workers as a value."""

    task: Task
    response: str
    weights: str | None
    offset: str | None
    classes: Classes
    effects: tuple[tuple[EffectFormula, Encoding, Floats | None], ...]
    key_kinds: Mapping[str, Keys]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                yield self._encoded(batch.to_pandas())

    def _encoded(self, frame: pd.DataFrame) -> pa.RecordBatch:
        labels, _ = labels_of(frame[self.response], self.task, self.classes)
        for one, _, _ in self.effects:
            refuse_missing(frame, one.entity)
        ids = {
            one.entity_key: id_array(entity_ids(frame, one.entity, like=self.key_kinds[one.entity_key]))
            for one, _, _ in self.effects
            if one.entity
        }
        shards = {one.name: vectors(_in_prior(encode(encoding, frame), root)) for one, encoding, root in self.effects}
        return pa.RecordBatch.from_pydict(
            {
                "uid": pa.array(frame["__uid"]),
                "role": pa.array(np.zeros(len(frame), np.int8)),
                "response": pa.array(labels),
                "weight": pa.array(_column(frame, self.weights, 1.0)),
                "offset": pa.array(_column(frame, self.offset, 0.0)),
                "ids": pa.StructArray.from_arrays(list(ids.values()), list(ids)),
                "shards": pa.StructArray.from_arrays(list(shards.values()), list(shards)),
            }
        )


@dataclass(frozen=True, slots=True)
class _Uncertainty:
    """Priors that were estimated, and standard errors of the fixed effect, if there are any."""

    variances: Variances
    standard_errors: tuple[float, ...]


def estimate_on_spark(request: Request, rows: DataFrame) -> Fitted:
    """Return the model fitted to the rows of a Spark DataFrame."""
    started = time.monotonic()
    request.check()
    response = request.formula.response.strip("`")
    if response not in rows.columns:
        raise ConfigurationError(f"response {response!r}: no such column", expected="on Spark, a column of labels")
    sample = _sample(rows, request)
    labels, classes = labels_of(sample[response], request.task)
    weights, offsets = _column(sample, request.weights, 1.0), _column(sample, request.offset, 0.0)
    encodings, data = encoded(request.formula, sample, labels, weights, offsets)
    variances = Variances({}, 1.0)
    if request.estimated:
        options = request.empirical_bayes or EmpiricalBayesSettings()
        posterior = LocalPosterior(data, request.settings, request.estimated, options)
        variances = estimate(posterior, posterior.start(), options, has_residual=request.task == "linear").variances
    priors = variances.relative()
    roots = {name: one.factor() for name, one in priors.items()}
    encoder = _Encoder(
        task=request.task,
        response=response,
        weights=request.weights,
        offset=request.offset,
        classes=classes,
        effects=tuple(
            (one, encoding, roots.get(one.name))
            for one, encoding in zip(request.formula.effects, encodings, strict=True)
        ),
        key_kinds={name: ids[:1] for name, ids in data.ids.items()},
    )
    frame = rows.withColumn("__uid", F.monotonically_increasing_id()).mapInArrow(encoder, _schema(encoder))
    glmix = SparkGlmix(
        frame,
        _settings(request, encodings),
        {
            one.name: ShardShape(len(encoding.columns), None if one.name in roots else encoding.intercept)
            for one, encoding in zip(request.formula.effects, encodings, strict=True)
        },
        ("train",),
        partitions=int(rows.sparkSession.conf.get("spark.sql.shuffle.partitions") or "4"),
    )
    try:
        count = glmix.check(request.checks)[0]
        descent = glmix.fit(["train"])
        effects: list[Effect] = [
            FixedEffect(
                glmix.fixed.name, glmix.fixed.name, glmix.fixed.coefficients, glmix.fixed_variances(glmix.fixed)
            )
        ]
        for coordinate, encoding in zip(glmix.random, encodings[1:], strict=True):
            effects.append(_collected(glmix.coefficients(coordinate), coordinate.settings, encoding, roots))
        errors = _errors(request, glmix, descent.scores, variances.residual)
    finally:
        glmix.release()
    model = GlmixModel(request.task, tuple(effects))
    margin = margins(model, data.shards, data.ids, offsets)
    loss = request.settings.loss
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
        bins=calibration_bins(loss.mean(margin), labels, weights),
    )
    return Fitted(model, _record(request, encodings, effects, _Uncertainty(variances, errors), classes, training))


def score_on_spark(fitted: Fitted, rows: DataFrame) -> DataFrame:
    """Return rows with ``contribution_<effect>``, ``margin`` and ``prediction`` (``E[y]``) added."""
    from photon.estimator import Glmix  # noqa: PLC0415  # which imports this module only for Spark

    names = [f"contribution_{one.formula.name}" for one in fitted.record.effects]
    added = [*names, "margin", "prediction"]
    schema = StructType([*rows.schema.fields, *(StructField(name, DoubleType()) for name in added)])
    broadcast = rows.sparkSession.sparkContext.broadcast(fitted)

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        model = Glmix.of(broadcast.value)
        for batch in batches:
            parts = model.contributions(batch.to_pandas())
            margin = parts.to_numpy().sum(axis=1)
            mean = loss_of(fitted_task).mean(margin)
            columns = [parts[one.removeprefix("contribution_")].to_numpy() for one in names]
            arrays = [*batch.columns, *(pa.array(each) for each in (*columns, margin, mean))]
            yield pa.RecordBatch.from_arrays(arrays, names=[*batch.schema.names, *added])

    fitted_task = fitted.record.task
    return rows.mapInArrow(score, schema)


def _sample(rows: DataFrame, request: Request) -> pd.DataFrame:
    """Return rows at the driver; text columns know the levels of all rows."""
    total = rows.count()
    if not total:
        raise BadDataError("a DataFrame without rows", expected="rows to fit to")
    part = rows if total <= _SAMPLE_ROWS else rows.sample(_SAMPLE_ROWS / total, seed=0)
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
    """Return the settings of the fit: estimated effects are in their prior's coordinates, where ``λ`` is 1."""
    columns = {one.name: each.columns for one, each in zip(request.formula.effects, encodings, strict=True)}
    settings = request.settings_for(columns)
    coordinates = tuple(
        msgspec.structs.replace(one, l2=1.0, penalise_intercept=True) if one.name in request.estimated else one
        for one in settings.coordinates
    )
    return msgspec.structs.replace(settings, coordinates=coordinates)


def _errors(request: Request, glmix: SparkGlmix, scores: Table | None, residual: float) -> tuple[float, ...]:
    """Return the standard errors of the fixed effect; none where one process has none either.

    With penalties given, the residual variance of the linear task is not known here.
    """
    is_known = request.task != "linear" or bool(request.estimated)
    is_wanted = request.standard_errors and glmix.fixed.regularisation.columns <= MOST_STANDARD_ERRORS
    if scores is None or not (is_known and is_wanted and request.is_ridge):
        return ()
    return tuple(standard_errors(glmix, ["train"], scores, residual).tolist())


def _in_prior(rows: SparseRows, root: Floats | None) -> SparseRows:
    if root is None:
        return rows
    return transformed(rows if root.ndim == 1 else dense_rows(rows.to_dense()), root)


def _collected(found: DataFrame, settings: Any, encoding: Encoding, roots: Mapping[str, Floats]) -> Effect:  # noqa: ANN401
    size = found.select(F.sum(F.size("values"))).first()
    if size is not None and (size[0] or 0) > _MOST_COEFFICIENTS:
        raise ConfigurationError(
            f"{settings.name}: {size[0]:,} coefficients",
            expected=f"at most {_MOST_COEFFICIENTS:,} at the driver",
            mend="fit with jobs/train_glmix, whose coefficients stay in the executors",
        )
    table = found.toArrow().combine_chunks()
    columns, root = len(encoding.columns), roots.get(settings.name)
    record = EffectRecord(name=settings.name, shard=settings.name, columns=columns, entity=settings.entity_key)
    keys = table.column("entity")
    is_text = pa.types.is_string(keys.type) or pa.types.is_large_string(keys.type)
    entities: Keys = np.array(keys.to_pylist(), dtype=np.str_) if is_text else keys.to_numpy().astype(np.int64)
    names = [*_LISTS, *(("variances",) if settings.variances != "none" else ())]
    lists = [pa.concat_arrays(table.column(name).chunks or [pa.array([], pa.list_(pa.int32()))]) for name in names]
    lengths = np.diff(lists[0].offsets.to_numpy()).astype(np.int64)
    indices, values, *variances = (each.flatten().to_numpy() for each in lists)
    indices, values = indices.astype(np.int64), values.astype(np.float64)
    if root is not None and root.ndim == 2:
        # Coefficients that are exactly 0 were left out; back in the features' own units all are there.
        dense = np.zeros((len(entities), columns))
        dense[np.repeat(np.arange(len(entities)), lengths), indices] = values
        lengths = np.full(len(entities), columns, np.int64)
        indices, values = np.tile(np.arange(columns), len(entities)), (dense @ root.T).ravel()
    elif root is not None:
        values = untransformed(indices, values, root)
    return random_effect_from_entities(record, entities, lengths, indices, values, *variances)


def _record(  # what a record is made of
    request: Request,
    encodings: list[Encoding],
    effects: list[Effect],
    uncertainty: _Uncertainty,
    classes: Classes,
    training: TrainingRecord,
) -> GlmixRecord:
    covariances = uncertainty.variances.effects
    return GlmixRecord(
        task=request.task,
        formula=render_formula(request.formula),
        response=request.formula.response,
        weights=request.weights,
        offset=request.offset,
        classes=classes,
        effects=tuple(
            FittedEffect(
                formula=one,
                encoding=encoding,
                l2=request.given_l2(one.name) or 0.0,
                covariance=plain(covariances[one.name]) if one.name in covariances else (),
                entities=len(getattr(effect, "entities", ())),
                standard_errors=() if one.entity else uncertainty.standard_errors,
            )
            for one, encoding, effect in zip(request.formula.effects, encodings, effects, strict=True)
        ),
        tweedie_power=request.tweedie_power,
        training=training,
    )


def _column(frame: pd.DataFrame, name: str | None, missing: float) -> Floats:
    return (
        np.full(len(frame), missing) if name is None else numbers(column_of(frame, name, name), name, missing=missing)
    )


def _schema(encoder: _Encoder) -> str:
    ids = ", ".join(
        f"`{name}`: {'string' if one.dtype.kind == 'U' else 'bigint'}" for name, one in encoder.key_kinds.items()
    )
    shards = ", ".join(
        f"`{one.name}`: struct<indices: array<int>, values: array<double>>" for one, _, _ in encoder.effects
    )
    return (
        "uid bigint, role tinyint, response double, weight double, offset double, "
        f"ids struct<{ids}>, shards struct<{shards}>"
    )
