"""Priors estimated on Spark beside an earlier model: the start, what stays and the moments of one process."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from fitting import assert_same_moments
from pyspark.sql import DataFrame, SparkSession, functions

from photon.covariance import Covariance
from photon.empirical_bayes import EmpiricalBayesSettings, estimate
from photon.local import LocalData, fit
from photon.local_posterior import LocalPosterior
from photon.model import FixedEffect, GlmixModel, RandomEffect
from photon.rows import Floats
from photon.scoring import margins
from photon.settings import FitSettings
from photon.spark.posterior import SparkPosterior, estimate_priors
from photon.spark.rows import coefficient_rows
from photon.spark.train import ShardShape, SparkGlmix

Frame = Callable[[LocalData], DataFrame]
change = msgspec.structs.replace

NEW, REST, GONE = 106, 109, 110
"""Users from here on have rows that do not train, from the next on none at all."""


@pytest.fixture
def first(glmix_data: LocalData, glmix_settings: FitSettings) -> GlmixModel:
    """Return a model of all users with variances."""
    coordinates = tuple(change(one, variances="simple") for one in glmix_settings.coordinates)
    return fit(glmix_data, change(glmix_settings, coordinates=coordinates, max_sweeps=50, tolerance=1e-12)).model


def estimating(settings: FitSettings, **of_effect: Mapping[str, Any]) -> FitSettings:
    changes: dict[str, Mapping[str, Any]] = {"per_user": {"estimate": "covariance", "l2": 0.0}} | of_effect
    coordinates = tuple(change(one, **dict(changes.get(one.name, {}))) for one in settings.coordinates)
    return change(settings, coordinates=coordinates, max_sweeps=50, tolerance=1e-13)


def later(data: LocalData) -> LocalData:
    """Return rows with other labels, none of some users, and every fourth and all of some users of no weight."""
    rows = np.flatnonzero(data.ids["user_id"] < GONE)
    is_held_out = (rows % 4 == 3) | (data.ids["user_id"][rows] >= NEW)
    return LocalData(
        1.0 - data.labels[rows],
        np.where(is_held_out, 0.0, data.weights[rows]),
        data.offsets[rows],
        {name: shard.take(rows) for name, shard in data.shards.items()},
        {name: ids[rows] for name, ids in data.ids.items()},
        data.intercepts,
        np.arange(len(rows)) * 7919,
    )


def on_spark(
    spark: SparkSession,
    as_frame: Frame,
    data: LocalData,
    settings: FitSettings,
    earlier: GlmixModel,
    partitions: int = 1,
) -> SparkGlmix:
    """Return the fit; rows of no weight have one, and a role that does not train."""
    roles = functions.when(functions.col("weight") == 0.0, 1).otherwise(0).cast("tinyint")
    weight = functions.when(functions.col("weight") == 0.0, 1.5).otherwise(functions.col("weight"))
    frame = as_frame(data).withColumn("role", roles).withColumn("weight", weight)
    shards = {name: ShardShape(rows.columns, data.intercepts[name]) for name, rows in data.shards.items()}
    effects: dict[str, FixedEffect | DataFrame] = {
        one.name: one if isinstance(one, FixedEffect) else spark.createDataFrame(coefficient_rows(one))
        for one in earlier.effects
    }
    return SparkGlmix(frame, settings, shards, ("train", "test"), partitions=partitions, earlier=effects)


def cells_of(rows: list[Any]) -> dict[tuple[object, int], float]:
    return {
        (row["entity"], index): value
        for row in rows
        for index, value in zip(row["indices"], row["values"], strict=True)
    }


def assert_same(glmix: SparkGlmix, model: GlmixModel, tolerance: float) -> None:
    known = {one.name: one for one in model.effects}
    for fixed in glmix.all_fixed:
        np.testing.assert_allclose(fixed.coefficients, known[fixed.name].coefficients, atol=tolerance)
    for one in glmix.random:
        effect = known[one.name]
        assert isinstance(effect, RandomEffect)
        found, expected = cells_of(glmix.coefficients(one).collect()), cells_of(coefficient_rows(effect).to_pylist())
        # Of an entity that no model knew and no row trained there is nothing to write.
        assert {key for key, value in expected.items() if value} <= found.keys() <= expected.keys()
        for key, value in found.items():
            assert value == pytest.approx(expected[key], abs=tolerance)


def scores_of(scores: Any) -> Floats:
    found = [record for _, record in scores.collect()]
    uids = np.concatenate([one.uids for one in found])
    totals: Floats = np.concatenate([one.totals for one in found])[np.argsort(uids)]
    return totals


CASES: list[dict[str, Mapping[str, Any]]] = [
    {"per_film": {"locked": True}, "global": {"prior_weight": 0.5}},
    {"global": {"locked": True}},
    {"per_user": {"estimate": "variances", "l2": 0.0}},
]


@pytest.mark.parametrize("case", CASES, ids=["a locked random effect", "all fixed locked", "variances"])
def test_the_posterior_beside_an_earlier_model_is_that_of_one_process(
    spark: SparkSession,
    as_frame: Frame,
    glmix_data: LocalData,
    glmix_settings: FitSettings,
    first: GlmixModel,
    case: dict[str, Mapping[str, Any]],
) -> None:
    settings, data = estimating(glmix_settings, **case), later(glmix_data)
    correlates = settings.coordinates[1].estimate == "covariance"
    options = EmpiricalBayesSettings(draws=1, seed=5)
    glmix = on_spark(spark, as_frame, data, settings, first, partitions=2 if "per_film" in case else 1)
    ours = SparkPosterior(glmix, ["train"], options)
    theirs = LocalPosterior(data, settings, {"per_user": correlates}, options, first)
    begin = ours.start().effects["per_user"]
    np.testing.assert_allclose(begin.matrix, theirs.start().effects["per_user"].matrix, rtol=1e-12)
    found, expected = (each.moments({"per_user": begin}, 1.0) for each in (ours, theirs))
    assert found.rows == expected.rows == np.count_nonzero(data.weights)
    assert_same_moments(found, expected, "per_user")

    # The fit goes on from there, under another prior.
    slopes = np.random.default_rng(4).normal(size=(3, 3)) * 0.4
    prior = Covariance(slopes @ slopes.T if correlates else np.diag(slopes @ slopes.T))
    glmix.take_priors(ours.factors({"per_user": prior}))
    descent = glmix.fit(["train"], start=glmix.rescored())
    mode = theirs.mode({"per_user": prior})
    assert descent.objective == pytest.approx(mode.value, rel=1e-9)
    model = theirs.model(mode, {"per_user": prior})
    # Near an optimum coefficients are as near as the root of how near the objective is: worse where three effects move.
    tolerance = 1e-5 if len(glmix.moving) == 2 else 1e-4
    assert_same(glmix, model, tolerance)
    # Rows that do not train are scored by what is written, those of users who keep their coefficients among them.
    totals = margins(model, data.shards, data.ids, np.zeros(len(data.labels)))
    np.testing.assert_allclose(scores_of(descent.scores), totals, atol=3.0 * tolerance)
    kept, known = cells_of(glmix.coefficients(_users(glmix)).collect()), first.effects[1]
    before = cells_of(coefficient_rows(known).to_pylist())
    assert {key for key in before if key[0] >= NEW} == {key for key in kept if key[0] >= NEW}  # type: ignore[operator]
    assert all(kept[key] == value for key, value in before.items() if key[0] >= NEW)  # type: ignore[operator]
    for coordinate in glmix.random:
        if coordinate.settings.locked:
            locked = cells_of(coefficient_rows(first.effects[2]).to_pylist())
            assert cells_of(glmix.coefficients(coordinate).collect()) == locked
    glmix.release()


def test_an_estimation_from_an_earlier_model_ends_where_it_ends_in_one_process_and_from_nothing(
    spark: SparkSession, as_frame: Frame, glmix_data: LocalData, glmix_settings: FitSettings, first: GlmixModel
) -> None:
    settings = estimating(glmix_settings, per_film={"locked": True})
    data = replace(glmix_data, labels=1.0 - glmix_data.labels, uids=np.arange(240) * 7919)
    options = EmpiricalBayesSettings(draws=1, seed=3, max_iterations=2)
    glmix = on_spark(spark, as_frame, data, settings, first)
    found = estimate_priors(glmix, ["train"], options).variances.effects["per_user"]
    local = LocalPosterior(data, settings, {"per_user": True}, options, first)
    expected = estimate(local, local.start(), options, has_residual=False).variances.effects["per_user"]
    np.testing.assert_allclose(found.matrix, expected.matrix, rtol=1e-3, atol=1e-5)
    descent = glmix.fit(["train"], start=glmix.rescored())
    # Every user has rows: an earlier model of films alone, without a start for the others, has the same optimum.
    films = GlmixModel(first.task, first.effects[2:])
    mode = LocalPosterior(data, settings, {"per_user": True}, options, films).mode({"per_user": found})
    assert descent.objective == pytest.approx(mode.value, rel=1e-9)
    np.testing.assert_allclose(glmix.fixed.coefficients, mode.coefficients[0], atol=1e-4)  # the root of the objective's
    glmix.release()


def _users(glmix: SparkGlmix) -> Any:
    (found,) = (one for one in glmix.random if one.name == "per_user")
    return found
