"""An earlier model on Spark: it is a start, a prior, and what stays, as in one process."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession, functions

from photon.local import LocalData, LocalFit, fit
from photon.model import Effect, FixedEffect, GlmixModel, RandomEffect
from photon.settings import FitSettings
from photon.spark.rows import coefficient_rows
from photon.spark.train import ShardShape, SparkGlmix
from yarnmill.errors import BadDataError, ConfigurationError

Frame = Callable[[LocalData], DataFrame]
change = msgspec.structs.replace


def on_spark(
    frame: DataFrame, data: LocalData, settings: FitSettings, earlier: dict[str, FixedEffect | DataFrame] | None
) -> SparkGlmix:
    shards = {name: ShardShape(rows.columns, data.intercepts[name]) for name, rows in data.shards.items()}
    return SparkGlmix(frame, settings, shards, ("train", "other"), partitions=2, earlier=earlier)


def as_rows(spark: SparkSession, model: GlmixModel) -> dict[str, FixedEffect | DataFrame]:
    """Return a model as its coefficients lie on HDFS."""
    return {
        effect.name: effect if isinstance(effect, FixedEffect) else spark.createDataFrame(coefficient_rows(effect))
        for effect in model.effects
    }


def cells_of(rows: list[Any]) -> dict[tuple[object, int], tuple[float, ...]]:
    found = {}
    for row in rows:
        lists = [row["values"], *([row["variances"]] if "variances" in row else [])]
        found |= {(row["entity"], index): value for index, *value in zip(row["indices"], *lists, strict=True)}
    assert len(found) == sum(len(row["indices"]) for row in rows)
    return found


def assert_same(glmix: SparkGlmix, effects: tuple[Effect, ...], tolerance: float) -> None:
    known = {effect.name: effect for effect in effects}
    for one in glmix.all_fixed:
        np.testing.assert_allclose(one.coefficients, known[one.name].coefficients, atol=tolerance)
        variances = glmix.fixed_variances(one)
        if variances is None:
            assert known[one.name].variances is None
        else:
            np.testing.assert_allclose(variances, known[one.name].variances, rtol=1e-6)
    for coordinate in glmix.random:
        effect = known[coordinate.name]
        assert isinstance(effect, RandomEffect)
        found = cells_of(glmix.coefficients(coordinate).collect())
        expected = cells_of(coefficient_rows(effect).to_pylist())
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert found[key] == pytest.approx(value, abs=tolerance, rel=tolerance)


@pytest.fixture
def first(glmix_data: LocalData, glmix_settings: FitSettings) -> LocalFit:
    """Return a model with variances, fitted to other labels, near its optimum."""
    settings = change(
        glmix_settings,
        coordinates=tuple(change(one, variances="full") for one in glmix_settings.coordinates),
        max_sweeps=100,
        tolerance=1e-14,
    )
    return fit(glmix_data, settings)


def test_a_prior_and_who_has_no_new_row_are_as_in_one_process(
    spark: SparkSession, as_frame: Frame, glmix_data: LocalData, glmix_settings: FitSettings, first: LocalFit
) -> None:
    fixed, user, film = glmix_settings.coordinates
    # The prior of films has corners; users start from theirs.
    coordinates = (
        change(fixed, prior_weight=0.5, variances="simple", normalisation="standardization"),
        change(user, variances="full"),
        change(film, prior_weight=2.0, l1=0.5, variances="simple"),
    )
    settings = change(glmix_settings, coordinates=coordinates, max_sweeps=2)
    # Users below 104 have new rows that train, those above rows that do not, and one has none at all.
    is_new = glmix_data.ids["user_id"] != 110
    rows = np.flatnonzero(is_new & (glmix_data.ids["film"] != "film-3"))
    roles = np.where(glmix_data.ids["user_id"][rows] < 104, 0, 1)
    data = LocalData(
        1.0 - glmix_data.labels[rows],
        glmix_data.weights[rows],
        glmix_data.offsets[rows],
        {name: shard.take(rows) for name, shard in glmix_data.shards.items()},
        {name: ids[rows] for name, ids in glmix_data.ids.items()},
        glmix_data.intercepts,
    )
    frame = as_frame(data).withColumn(
        "role", functions.when(functions.col("ids.user_id") < 104, 0).otherwise(1).cast("tinyint")
    )
    trained = LocalData(
        data.labels, np.where(roles == 0, data.weights, 0.0), data.offsets, data.shards, data.ids, data.intercepts
    )
    glmix = on_spark(frame, data, settings, as_rows(spark, first.model))
    descent = glmix.fit(["train"])
    expected = fit(trained, settings, earlier=first.model)
    objectives = [[sweep.objective for sweep in one.sweeps] for one in (descent, expected.descent)]
    np.testing.assert_allclose(*objectives, rtol=1e-10)
    assert_same(glmix, expected.model.effects, 1e-7)

    before, after = (effect for model in (first, expected) for effect in model.model.effects[1:2])
    known = cells_of(coefficient_rows(before).to_pylist())
    found = cells_of(glmix.coefficients(glmix.random[0]).collect())
    kept = {key: value for key, value in known.items() if key[0] >= 104}
    assert len({key[0] for key in kept}) == 7
    assert kept.items() <= found.items()
    assert isinstance(after, RandomEffect)
    glmix.release()


def test_locked_effects_do_not_move_and_a_start_at_the_optimum_ends_at_once(
    spark: SparkSession, as_frame: Frame, glmix_data: LocalData, glmix_settings: FitSettings, first: LocalFit
) -> None:
    settings = change(glmix_settings, max_sweeps=30, tolerance=1e-10)
    earlier = as_rows(spark, first.model)
    frame = as_frame(glmix_data)
    glmix = on_spark(frame, glmix_data, settings, earlier)
    again = glmix.fit(["train"])
    assert len(again.sweeps) == 2  # one, and one that says there is no more to gain
    assert again.objective == pytest.approx(first.descent.objective, rel=1e-12)
    glmix.release()

    # The fixed effect and films stay: each user is a GLM of its own, with the other scores as offsets.
    fixed, user, film = glmix_settings.coordinates
    coordinates = (change(fixed, locked=True), change(user, l2=0.5), change(film, locked=True))
    settings = change(glmix_settings, coordinates=coordinates)
    glmix = on_spark(frame, glmix_data, settings, earlier)
    descent, expected = glmix.fit(["train"]), fit(glmix_data, settings, earlier=first.model)
    assert [step.coordinate for step in descent.steps] == ["per_user"]
    assert descent.objective == pytest.approx(expected.descent.objective, rel=1e-11)
    assert_same(glmix, expected.model.effects, 1e-8)
    (locked,) = (one for one in glmix.random if one.name == "per_film")
    known = cells_of(coefficient_rows(first.model.effects[2]).to_pylist())
    assert cells_of(glmix.coefficients(locked).collect()) == known
    np.testing.assert_array_equal(glmix.all_fixed[0].coefficients, first.model.effects[0].coefficients)
    np.testing.assert_array_equal(glmix.fixed_variances(glmix.all_fixed[0]), first.model.effects[0].variances)
    with pytest.raises(TypeError, match="moves is a random effect"):
        _ = glmix.fixed
    with pytest.raises(ConfigurationError, match="not those of the first fit"):
        glmix.retune(change(glmix_settings, acceleration=0))
    glmix.release()


@pytest.mark.parametrize("changes", [{"prior_weight": 1.0}, {"active_rows_lower_bound": 22}])
def test_features_that_a_fit_leaves_out_are_0_from_its_start_to_the_model(
    spark: SparkSession,
    as_frame: Frame,
    glmix_data: LocalData,
    glmix_settings: FitSettings,
    first: LocalFit,
    changes: dict[str, Any],
) -> None:
    fixed, user, film = glmix_settings.coordinates
    user = change(user, features_to_samples_ratio=0.03, **changes)
    settings = change(glmix_settings, coordinates=(fixed, user, film), max_sweeps=2)
    others = replace(glmix_data, labels=1.0 - glmix_data.labels, uids=np.arange(240) * 7919)
    glmix = on_spark(as_frame(others), others, settings, as_rows(spark, first.model))
    descent, expected = glmix.fit(["train"]), fit(others, settings, earlier=first.model)
    # Along the first step lies the way back to the earlier model, of which a feature left out is no part.
    assert any(descent.sweeps[0].move) == ("prior_weight" in changes)
    objectives = [[sweep.objective for sweep in one.sweeps] for one in (descent, expected.descent)]
    np.testing.assert_allclose(*objectives, rtol=1e-10)
    assert_same(glmix, expected.model.effects, 1e-7)
    glmix.release()


def test_a_strong_prior_is_the_earlier_model(
    spark: SparkSession, as_frame: Frame, glmix_data: LocalData, glmix_settings: FitSettings, first: LocalFit
) -> None:
    others = LocalData(
        1.0 - glmix_data.labels,
        glmix_data.weights,
        glmix_data.offsets,
        glmix_data.shards,
        glmix_data.ids,
        glmix_data.intercepts,
    )
    coordinates = tuple(change(one, prior_weight=1e9) for one in glmix_settings.coordinates)
    settings = change(glmix_settings, coordinates=coordinates, max_sweeps=1)
    glmix = on_spark(as_frame(others), others, settings, as_rows(spark, first.model))
    glmix.fit(["train"])
    np.testing.assert_allclose(glmix.fixed.coefficients, first.model.effects[0].coefficients, atol=1e-5)
    for coordinate, effect in zip(glmix.random, first.model.effects[1:], strict=True):
        found = cells_of(glmix.coefficients(coordinate).collect())
        for key, (value, _) in cells_of(coefficient_rows(effect).to_pylist()).items():
            assert found[key] == pytest.approx([value], abs=1e-5)
    glmix.release()


def test_an_earlier_model_that_does_not_fit_is_refused(
    spark: SparkSession, as_frame: Frame, glmix_data: LocalData, glmix_settings: FitSettings, first: LocalFit
) -> None:
    frame, earlier = as_frame(glmix_data), as_rows(spark, first.model)

    def refused(error: type[Exception], said: str, given: dict[str, Any] | None, **changes: Any) -> None:
        coordinates = (
            glmix_settings.coordinates[0],
            *(change(one, **changes) for one in glmix_settings.coordinates[1:]),
        )
        with pytest.raises(error, match=said):
            on_spark(frame, glmix_data, change(glmix_settings, coordinates=coordinates), given)

    refused(ConfigurationError, "per_user: locked and not in the earlier model", {}, locked=True)
    refused(ConfigurationError, "prior_weight: 1.0 without an earlier model", None, prior_weight=1.0)
    users = earlier["per_user"]
    assert isinstance(users, DataFrame)
    nothing = users.drop("variances")
    refused(ConfigurationError, "has no variances", earlier | {"per_user": nothing}, prior_weight=1.0)
    nulls = functions.transform("variances", lambda one: functions.when(one < 0.0, one))
    unknown = earlier | {"per_user": users.withColumn("variances", nulls)}
    refused(ConfigurationError, "has no variances", unknown, prior_weight=1.0)
    refused(BadDataError, "another kind of effect", earlier | {"per_user": earlier["global"]})
    text = users.withColumn("entity", functions.col("entity").cast("string"))
    refused(BadDataError, "per_user: entities of the earlier model are StringType", earlier | {"per_user": text})
