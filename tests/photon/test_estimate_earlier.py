"""Priors that are estimated beside an earlier model: it is a start and what stays, and changes no optimum."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from fitting import part_of

from photon.covariance import Covariance, in_prior, untransformed
from photon.empirical_bayes import EmpiricalBayesSettings, Variances, estimate
from photon.estimable import check_estimable
from photon.local import LocalData, fit
from photon.local_posterior import LocalPosterior
from photon.model import FixedEffect, GlmixModel, RandomEffect
from photon.rows import Floats
from photon.scoring import margins
from photon.settings import FitSettings
from yarnmill.errors import ConfigurationError

change = msgspec.structs.replace
OPTIONS = EmpiricalBayesSettings(max_iterations=200, tolerance=1e-8)
"""A smaller change is rounding's: what is extrapolated from it wanders where the likelihood is flat."""


def estimating(settings: FitSettings, task: str, **of_effect: Mapping[str, Any]) -> FitSettings:
    """Return settings that estimate what users are like, with other changes by effect."""
    plain = {one.name: one for one in settings.coordinates}
    users = {"estimate": "covariance", "l2": 0.0}
    changes = {"per_user": users} | {name: dict(each) for name, each in of_effect.items()}
    coordinates = tuple(change(one, **changes.get(name, {})) for name, one in plain.items())
    return change(settings, task=task, coordinates=coordinates, max_sweeps=200, tolerance=1e-13)


def found(
    data: LocalData, settings: FitSettings, earlier: GlmixModel | None = None
) -> tuple[GlmixModel, Variances, LocalPosterior]:
    """Return the model under the priors that the rows make likeliest, and these."""
    correlates = {one.name: one.estimate == "covariance" for one in settings.coordinates if one.estimate != "none"}
    posterior = LocalPosterior(data, settings, correlates, OPTIONS, earlier)
    variances = estimate(posterior, posterior.start(), OPTIONS, has_residual=settings.task == "linear").variances
    relative = variances.relative()
    return posterior.model(posterior.mode(relative), relative), variances, posterior


@pytest.fixture
def data(glmix_data: LocalData) -> LocalData:
    """Return the rows with labels that say of users that they differ."""
    random = np.random.default_rng(8)
    _, user = np.unique(glmix_data.ids["user_id"], return_inverse=True)
    own = np.sum(glmix_data.shards["user"].to_dense() * random.normal(size=(11, 3))[user], axis=1)
    chance = 1.0 / (1.0 + np.exp(-own - glmix_data.offsets))
    return replace(glmix_data, labels=(random.random(240) < chance).astype(np.float64))


@pytest.fixture
def first(glmix_data: LocalData, glmix_settings: FitSettings) -> GlmixModel:
    """Return a model of other labels, with variances, far from any optimum of the rows above."""
    coordinates = tuple(change(one, variances="simple") for one in glmix_settings.coordinates)
    return fit(glmix_data, change(glmix_settings, coordinates=coordinates, max_sweeps=50, tolerance=1e-12)).model


@pytest.mark.slow
@pytest.mark.parametrize("task", ["logistic", "linear"])
def test_where_every_entity_has_rows_the_start_changes_no_optimum(
    data: LocalData, glmix_settings: FitSettings, first: GlmixModel, task: str
) -> None:
    settings = estimating(glmix_settings, task)
    plain, variances, _ = found(data, settings)
    again, others, posterior = found(data, settings, replace(first, task=task))
    assert np.all(variances.effects["per_user"].variances > 0.005)
    np.testing.assert_allclose(others.effects["per_user"].matrix, variances.effects["per_user"].matrix, rtol=1e-4)
    np.testing.assert_allclose(others.residual, variances.residual, rtol=1e-6)
    for one, other in zip(plain.effects, again.effects, strict=True):
        np.testing.assert_allclose(other.coefficients, one.coefficients, atol=1e-4)
    # Under the same prior the two are one optimum, to rounding.
    fresh = LocalPosterior(data, settings, {"per_user": True}, OPTIONS)
    one, other = (each.mode(variances.relative()) for each in (fresh, posterior))
    np.testing.assert_allclose(one.margins, other.margins, atol=1e-5)


@pytest.mark.slow
def test_an_estimation_begins_at_the_earlier_model(data: LocalData, glmix_settings: FitSettings) -> None:
    settings = estimating(glmix_settings, "logistic")
    plain, variances, _ = found(data, settings)
    prior = variances.relative()
    nothing, warm = (LocalPosterior(data, settings, {"per_user": True}, OPTIONS, one) for one in (None, plain))
    assert warm.mode(prior).steps <= 2 < nothing.mode(prior).steps
    np.testing.assert_allclose(warm.mode(prior).value, nothing.mode(prior).value, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["covariance", "variances"])
def test_entities_without_a_row_that_trains_keep_their_coefficients(
    data: LocalData, glmix_settings: FitSettings, first: GlmixModel, kind: str
) -> None:
    settings = estimating(glmix_settings, "logistic", per_user={"estimate": kind, "l2": 0.0})
    is_old = data.ids["user_id"] >= 108
    resting = replace(data, weights=np.where(is_old, 0.0, data.weights))
    again, variances, _ = found(resting, settings, first)
    gone, others, _ = found(part_of(data, np.flatnonzero(~is_old)), settings, first)
    # What rests tells nothing of the prior, and rows that are not there tell no less.
    np.testing.assert_allclose(
        variances.effects["per_user"].matrix, others.effects["per_user"].matrix, rtol=1e-5, atol=1e-9
    )
    known = _by_entity(first.effects[1])
    for model in (again, gone):
        kept = _by_entity(model.effects[1])
        assert kept.keys() == known.keys()
        for entity in (108, 109, 110):
            np.testing.assert_array_equal(kept[entity], known[entity])
        assert not any(np.allclose(kept[entity], known[entity]) for entity in (100, 101, 102))


@pytest.mark.slow
def test_locked_effects_do_not_move_and_are_offsets(
    data: LocalData, glmix_settings: FitSettings, first: GlmixModel
) -> None:
    locked = {"locked": True}
    again, variances, _ = found(data, estimating(glmix_settings, "logistic", per_film=locked), first)
    assert again.effects[2] is first.effects[2]
    film = GlmixModel(first.task, (first.effects[2],))
    offset = replace(data, offsets=margins(film, data.shards, data.ids, data.offsets))
    settings = estimating(glmix_settings, "logistic")
    alone, others, _ = found(offset, change(settings, coordinates=settings.coordinates[:2]), None)
    np.testing.assert_allclose(
        variances.effects["per_user"].matrix, others.effects["per_user"].matrix, rtol=1e-4, atol=1e-8
    )
    for one, other in zip(alone.effects, again.effects, strict=False):
        np.testing.assert_allclose(other.coefficients, one.coefficients, atol=1e-4)
    # The only fixed effect may stay as well.
    again, _, _ = found(data, estimating(glmix_settings, "logistic", **{"global": locked}), first)
    assert again.effects[0] is first.effects[0]


@pytest.mark.slow
def test_a_fixed_effect_may_have_the_earlier_model_as_its_prior(
    data: LocalData, glmix_settings: FitSettings, first: GlmixModel
) -> None:
    known = first.effects[0]
    assert isinstance(known, FixedEffect)
    apart: list[Floats] = []
    for weight in (1e-3, 1.0, 1e9):
        settings = estimating(glmix_settings, "logistic", **{"global": {"prior_weight": weight}})
        again, _, _ = found(data, settings, first)
        apart.append(np.abs(again.effects[0].coefficients - known.coefficients))
    assert apart[0].max() > apart[1].max() > apart[2].max()
    assert apart[2].max() < 1e-6
    # With penalties alone it is the optimum of the descent.
    coordinates = (change(glmix_settings.coordinates[0], prior_weight=1.0), *glmix_settings.coordinates[1:])
    settings = change(glmix_settings, coordinates=coordinates, max_sweeps=200, tolerance=1e-14)
    mode = LocalPosterior(data, settings, {}, OPTIONS, first).mode({})
    expected = fit(data, settings, earlier=first)
    np.testing.assert_allclose(mode.value, expected.descent.objective, rtol=1e-10)
    np.testing.assert_allclose(mode.coefficients[0], expected.model.effects[0].coefficients, atol=1e-5)


@pytest.mark.parametrize("changes", [{"prior_weight": 1.0}, {"locked": True}])
def test_a_prior_that_is_estimated_and_known_at_once_is_refused(
    data: LocalData, glmix_settings: FitSettings, first: GlmixModel, changes: dict[str, Any]
) -> None:
    (key,) = changes
    users = {"estimate": "covariance", "l2": 0.0} | changes
    settings = estimating(glmix_settings, "logistic", per_user=users)
    with pytest.raises(ConfigurationError, match=rf"coordinates\[1\].{key}: .*while a prior is estimated") as refused:
        LocalPosterior(data, settings, {"per_user": True}, OPTIONS, first)
    assert refused.value.expected
    assert f"drop {key} of per_user" in refused.value.mend
    # A fixed effect of the same key has its place, a random one with a prior of its own has none.
    check_estimable(estimating(glmix_settings, "logistic", **{"global": changes}))
    if key == "locked":
        check_estimable(estimating(glmix_settings, "logistic", per_film=changes))


def test_a_round_begins_at_a_fixed_effect_that_moves_where_there_is_one(glmix_settings: FitSettings) -> None:
    fixed, user, film = glmix_settings.coordinates
    locked, other = change(fixed, locked=True), change(fixed, name="other")
    several = change(glmix_settings, coordinates=(locked, user, other, film))
    assert [one.name for one in several.cycle] == ["other", "per_film", "global", "per_user"]
    alone = change(glmix_settings, coordinates=(user, locked, film))
    assert [one.name for one in alone.cycle] == ["global", "per_film", "per_user"]


def test_the_way_into_a_prior_s_coordinates_and_back() -> None:
    random = np.random.default_rng(1)
    root = random.normal(size=(3, 3)) * np.array([[1.0], [1e-4], [30.0]])
    values, cells = random.normal(size=12), np.arange(12)
    for covariance in (Covariance(root @ root.T), Covariance(np.array([2.0, 0.0, 1e-8]))):
        factor = covariance.factor()
        back = untransformed(cells, in_prior(cells, values, factor), factor)
        has_variance = np.tile(covariance.variances > 0.0, 4)
        np.testing.assert_allclose(back, np.where(has_variance, values, 0.0), atol=1e-9)


def _by_entity(effect: object) -> dict[int, Floats]:
    assert isinstance(effect, RandomEffect)
    owner = effect.cells // effect.columns
    return {entity: effect.coefficients[owner == place] for place, entity in enumerate(effect.entities.tolist())}
