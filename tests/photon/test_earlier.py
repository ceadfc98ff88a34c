from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from fitting import part_of

from photon.local import LocalData, fit
from photon.model import EffectRecord, FixedEffect, GlmixModel, ModelRecord, RandomEffect, load_model, save_model
from photon.rows import SparseRows
from photon.scoring import margins
from photon.settings import CoordinateSettings, FitSettings
from yarnmill.errors import BadDataError, ConfigurationError


def changed(settings: FitSettings, task: str = "logistic", **fields: Any) -> FitSettings:
    coordinates = tuple(msgspec.structs.replace(one, **fields) for one in settings.coordinates)
    return msgspec.structs.replace(settings, task=task, coordinates=coordinates, max_sweeps=200, tolerance=1e-13)


def scores(model: GlmixModel, data: LocalData) -> np.ndarray:
    return margins(model, data.shards, data.ids, data.offsets)


@pytest.fixture
def alone(glmix_settings: FitSettings) -> FitSettings:
    """Return the settings of the fixed effect alone."""
    return msgspec.structs.replace(glmix_settings, coordinates=glmix_settings.coordinates[:1])


@pytest.mark.parametrize("entity", [None, "user_id"])
def test_a_linear_fit_in_two_parts_is_the_fit_of_all_rows(
    glmix_data: LocalData, glmix_settings: FitSettings, entity: str | None
) -> None:
    # The posterior of orthogonal columns is a product of Gaussians, which its means and variances tell all of.
    data = replace(glmix_data, shards={"s": glmix_data.shards["film"]}, intercepts={"s": 0})
    one = CoordinateSettings(name="g", kind="fixed", shard="s", l2=0.0 if entity else 2.0, penalise_intercept=True)
    coordinates = (one,)
    if entity is not None:
        nothing = SparseRows(np.zeros(241, np.int64), np.zeros(0, np.int32), np.zeros(0), 1)
        data = replace(data, shards={"s": data.shards["s"], "none": nothing})
        random = CoordinateSettings(name="r", kind="random", shard="s", entity=entity, l2=2.0, penalise_intercept=True)
        coordinates = (msgspec.structs.replace(one, shard="none", l2=1.0), random)
    settings = msgspec.structs.replace(glmix_settings, task="linear", coordinates=coordinates)
    settings = changed(settings, task="linear", variances="full")
    rows = np.arange(240)
    first = fit(part_of(data, rows[:100]), settings).model
    second = fit(part_of(data, rows[100:]), changed(settings, task="linear", prior_weight=1.0), earlier=first).model
    whole = fit(data, settings).model
    np.testing.assert_allclose(second.effects[-1].coefficients, whole.effects[-1].coefficients, atol=1e-10)
    np.testing.assert_allclose(second.effects[-1].variances, whole.effects[-1].variances, atol=1e-10)


def test_entities_without_new_rows_keep_their_model(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    settings = changed(glmix_settings, variances="simple")
    first = fit(glmix_data, settings).model
    new = np.flatnonzero(glmix_data.ids["user_id"] < 104)
    again = fit(part_of(glmix_data, new), changed(settings, prior_weight=1.0), earlier=first).model
    for before, after in zip(first.effects[1:], again.effects[1:], strict=True):
        assert isinstance(before, RandomEffect)
        assert isinstance(after, RandomEffect)
        np.testing.assert_array_equal(before.entities, after.entities)
        np.testing.assert_array_equal(before.cells, after.cells)
    users, known = first.effects[1], again.effects[1]
    assert isinstance(users, RandomEffect)
    old = users.entities[users.cells // users.columns] >= 104
    np.testing.assert_array_equal(users.coefficients[old], known.coefficients[old])
    assert users.variances is not None
    assert known.variances is not None
    np.testing.assert_array_equal(users.variances[old], known.variances[old])
    assert np.all(users.coefficients[~old] != known.coefficients[~old])

    # Rows that do not train say nothing either, with a prior and without.
    weights = np.where(glmix_data.ids["user_id"] < 104, glmix_data.weights, 0.0)
    for weight in (0.0, 1.0):
        held = fit(replace(glmix_data, weights=weights), changed(settings, prior_weight=weight), earlier=first)
        after = held.model.effects[1]
        assert isinstance(after, RandomEffect)
        np.testing.assert_array_equal(users.coefficients[old], after.coefficients[old])
        np.testing.assert_array_equal(users.variances[old], after.variances[old])
        np.testing.assert_allclose(
            held.descent.scores.sum(axis=1) + glmix_data.offsets, scores(held.model, glmix_data), atol=1e-12
        )


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_features_that_a_fit_leaves_out_lose_their_earlier_coefficients(
    glmix_data: LocalData, glmix_settings: FitSettings, weight: float
) -> None:
    first = fit(glmix_data, changed(glmix_settings, variances="simple")).model
    fixed, user, film = changed(glmix_settings, prior_weight=weight).coordinates
    # Few features stay, and entities of few rows, which train nothing, keep all that they had.
    chosen = msgspec.structs.replace(user, features_to_samples_ratio=0.03, active_rows_lower_bound=22)
    settings = msgspec.structs.replace(changed(glmix_settings), coordinates=(fixed, chosen, film))
    others = replace(glmix_data, labels=1.0 - glmix_data.labels)
    found = fit(others, settings, earlier=first)
    np.testing.assert_allclose(
        found.descent.scores.sum(axis=1) + others.offsets, scores(found.model, others), atol=1e-12
    )
    known, users = first.effects[1], found.model.effects[1]
    assert isinstance(known, RandomEffect)
    assert isinstance(users, RandomEffect)
    ids, counts = np.unique(glmix_data.ids["user_id"], return_counts=True)
    is_idle = dict(zip(ids.tolist(), (counts < 22).tolist(), strict=True))
    assert 0 < sum(is_idle.values()) < len(ids)
    left = [users.cells[users.cells // 3 == place] % 3 for place in range(len(users.entities))]
    for place, entity in enumerate(users.entities.tolist()):
        if is_idle[entity]:
            own, old = users.cells // 3 == place, known.cells // 3 == place
            np.testing.assert_array_equal(users.coefficients[own], known.coefficients[old])
        else:
            assert len(left[place]) == 2  # the intercept, and one


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_column_without_new_rows_is_held_by_a_prior_alone(
    glmix_data: LocalData, glmix_settings: FitSettings, weight: float
) -> None:
    first = fit(glmix_data, changed(glmix_settings, variances="simple")).model
    matrix = glmix_data.shards["user"].to_dense()
    matrix[glmix_data.ids["user_id"] == 102, 1] = 0.0
    later = replace(glmix_data, shards={**glmix_data.shards, "user": SparseRows.from_dense(matrix)})
    again = fit(later, changed(glmix_settings, prior_weight=weight), earlier=first).model
    known, users = first.effects[1], again.effects[1]
    assert isinstance(known, RandomEffect)
    assert isinstance(users, RandomEffect)
    cell = 2 * users.columns + 1
    old = known.coefficients[known.cells == cell]
    assert len(old) == 1
    np.testing.assert_array_equal(users.coefficients[users.cells == cell], old if weight else old[:0])


def test_new_entities_join_those_of_the_earlier_model(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    settings = changed(glmix_settings)
    is_old = glmix_data.ids["user_id"] % 2 == 0
    first = fit(part_of(glmix_data, np.flatnonzero(is_old)), settings).model
    second = fit(part_of(glmix_data, np.flatnonzero(~is_old)), settings, earlier=first).model
    users = second.effects[1]
    assert isinstance(users, RandomEffect)
    np.testing.assert_array_equal(users.entities, np.unique(glmix_data.ids["user_id"]))
    assert np.all(np.diff(users.cells) > 0)


@pytest.mark.parametrize("normalisation", ["none", "standardization"])
def test_a_warm_start_at_the_optimum_stops_at_once(
    glmix_data: LocalData, glmix_settings: FitSettings, normalisation: str
) -> None:
    settings = changed(glmix_settings, normalisation=normalisation)
    first = fit(glmix_data, settings)
    again = fit(glmix_data, settings, earlier=first.model)
    assert len(again.descent.sweeps) == 2  # one, and one that says there is no more to gain
    np.testing.assert_allclose(again.descent.objective, first.descent.objective, rtol=1e-12)
    assert again.descent.steps[0].fitness.evaluations == 1
    np.testing.assert_allclose(scores(again.model, glmix_data), scores(first.model, glmix_data), atol=1e-5)


def test_a_strong_prior_holds_the_model(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    settings = changed(glmix_settings, variances="simple")
    first = fit(glmix_data, settings).model
    others = replace(glmix_data, labels=1.0 - glmix_data.labels)
    held = fit(others, changed(settings, prior_weight=1e9), earlier=first).model
    np.testing.assert_allclose(scores(held, glmix_data), scores(first, glmix_data), atol=1e-5)


def test_a_prior_takes_an_earlier_model_with_variances(glmix_data: LocalData, alone: FitSettings) -> None:
    with pytest.raises(ConfigurationError, match=r"global: prior_weight: 1.0 without an earlier"):
        fit(glmix_data, changed(alone, prior_weight=1.0))
    plain = fit(glmix_data, alone).model
    with pytest.raises(ConfigurationError, match="the earlier model has no variances"):
        fit(glmix_data, changed(alone, prior_weight=1.0), earlier=plain)
    other = GlmixModel("logistic", (FixedEffect("global", "global", np.zeros(3)),))
    with pytest.raises(BadDataError, match="another kind of effect or number of columns"):
        fit(glmix_data, alone, earlier=other)


def test_an_earlier_model_of_another_task_is_refused_with_what_mends_it(
    glmix_data: LocalData, alone: FitSettings
) -> None:
    earlier = fit(glmix_data, changed(alone)).model
    with pytest.raises(ConfigurationError) as raised:
        fit(glmix_data, changed(alone, task="linear"), earlier=earlier)
    for said in ("the earlier model is logistic", "linear, as the settings say", "fit the task logistic"):
        assert said in str(raised.value)


def test_variances_are_saved(glmix_data: LocalData, glmix_settings: FitSettings, tmp_path: Path) -> None:
    model = fit(glmix_data, changed(glmix_settings, variances="simple")).model
    records = tuple(
        EffectRecord(name=one.name, shard=one.shard, columns=glmix_data.shards[one.shard].columns, entity=one.entity)
        for one in glmix_settings.coordinates
    )
    save_model(tmp_path, ModelRecord(task="logistic", effects=records), iter(model.effects))
    opened = load_model(tmp_path)
    for one, other in zip(model.effects, opened.effects, strict=True):
        assert one.variances is not None
        assert np.all(one.variances > 0.0)
        np.testing.assert_array_equal(one.variances, other.variances)
    np.save(tmp_path / "effects" / "per_user" / "variances.npy", np.ones(2))
    with pytest.raises(BadDataError, match=r"per_user/variances.npy: 2 variances"):
        load_model(tmp_path)


def test_a_locked_fixed_effect_keeps_its_variances(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    first = fit(glmix_data, changed(glmix_settings, variances="simple")).model
    settings = changed(glmix_settings)
    fixed, *others = settings.coordinates
    locked = msgspec.structs.replace(settings, coordinates=(msgspec.structs.replace(fixed, locked=True), *others))
    again = fit(glmix_data, locked, earlier=first).model.effects[0]
    np.testing.assert_array_equal(again.coefficients, first.effects[0].coefficients)
    assert again.variances is first.effects[0].variances


def test_ids_of_another_kind_are_refused(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    settings = changed(glmix_settings)
    first = fit(glmix_data, settings).model
    text = replace(glmix_data, ids={**glmix_data.ids, "user_id": glmix_data.ids["user_id"].astype(np.str_)})
    with pytest.raises(BadDataError, match="user_id is <U21 here and int64 in the earlier model"):
        fit(text, settings, earlier=first)
