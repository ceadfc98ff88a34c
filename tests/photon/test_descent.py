from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from photon.descent import Sweep
from photon.local import LocalData, fit
from photon.loss import LOGISTIC, loss_of
from photon.model import FixedEffect, RandomEffect
from photon.rows import Floats, SparseRows
from photon.scoring import margins
from photon.settings import Bound, CoordinateSettings, FitSettings, checked
from yarnmill.errors import ConfigurationError


def joint_design(data: LocalData, settings: FitSettings) -> tuple[Floats, Floats]:
    """Return the dense matrix of all effects side by side, and the penalty of each of its columns."""
    blocks, penalties = [], []
    for one in settings.coordinates:
        dense = data.shards[one.shard].to_dense()
        l2 = np.full(dense.shape[1], one.l2)
        if not one.intercept_is_penalised:
            l2[data.intercepts[one.shard]] = 0.0
        ids = np.zeros(len(dense), int) if one.entity is None else data.ids[one.entity]
        for entity in np.unique(ids):
            blocks.append(dense * (ids == entity)[:, None])
            penalties.append(l2)
    return np.hstack(blocks), np.concatenate(penalties)


@pytest.mark.parametrize("task", ["logistic", "linear", "poisson", "tweedie"])
def test_many_sweeps_reach_the_joint_optimum(
    glmix_data: LocalData, glmix_settings: FitSettings, scipy_optimum: Callable, task: str
) -> None:
    settings = msgspec.structs.replace(glmix_settings, task=task, max_sweeps=300, tolerance=1e-15)
    fitted = fit(glmix_data, settings)
    matrix, l2 = joint_design(glmix_data, settings)
    loss = loss_of(task)
    best = scipy_optimum(loss, matrix, glmix_data.labels, glmix_data.weights, glmix_data.offsets, l2)
    expected = matrix @ best + glmix_data.offsets
    value = glmix_data.weights @ loss.value(expected, glmix_data.labels) + 0.5 * l2 @ (best * best)
    assert fitted.descent.converged
    np.testing.assert_allclose(fitted.descent.objective, value, rtol=1e-8)
    found = margins(fitted.model, glmix_data.shards, glmix_data.ids, glmix_data.offsets)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("task", ["logistic", "linear", "gamma"])
def test_with_l1_and_bounds_the_joint_optimum_is_reached_too(
    glmix_data: LocalData, glmix_settings: FitSettings, scipy_constrained_optimum: Callable, task: str
) -> None:
    coordinates = tuple(
        msgspec.structs.replace(one, l1=1.5, bounds=(Bound(lower=-0.02, upper=0.01),), penalise_intercept=True)
        for one in glmix_settings.coordinates
    )
    settings = msgspec.structs.replace(
        glmix_settings, task=task, coordinates=coordinates, max_sweeps=300, tolerance=1e-14
    )
    data = replace(glmix_data, labels=glmix_data.labels + 0.5) if task == "gamma" else glmix_data
    fitted, loss = fit(data, settings), settings.loss
    matrix, l2 = joint_design(data, settings)

    def smooth(point: Floats) -> tuple[float, Floats]:
        totals = matrix @ point + data.offsets
        value = data.weights @ loss.value(totals, data.labels) + 0.5 * l2 @ (point * point)
        return float(value), matrix.T @ (data.weights * loss.first(totals, data.labels)) + l2 * point

    free = np.concatenate([bounded_columns(data, one) for one in settings.coordinates])
    upper, lower = np.where(free, np.inf, 0.01), np.where(free, -np.inf, -0.02)
    _, value = scipy_constrained_optimum(smooth, np.full(len(l2), 1.5), lower, upper)
    np.testing.assert_allclose(fitted.descent.objective, value, rtol=1e-8)
    effect = fitted.model.effects[0]
    assert np.any(np.isin(effect.coefficients, [-0.02, 0.01]))


def bounded_columns(data: LocalData, one: CoordinateSettings) -> np.ndarray:
    """Return which columns of the joint design are intercepts, which bounds of all columns leave free."""
    columns = np.arange(data.shards[one.shard].columns) == data.intercepts[one.shard]
    return np.tile(columns, 1 if one.entity is None else len(np.unique(data.ids[one.entity])))


@pytest.mark.parametrize("task", ["logistic", "tweedie"])
def test_every_optimizer_and_normalisation_without_penalty_of_the_fixed_effect_ends_alike(
    glmix_data: LocalData, glmix_settings: FitSettings, task: str
) -> None:
    objectives = []
    for optimizer in ("newton", "lbfgs", "tron"):
        for normalisation in ("none", "standardization"):
            fixed = msgspec.structs.replace(
                glmix_settings.coordinates[0], l2=0.0, optimizer=optimizer, normalisation=normalisation, tolerance=1e-12
            )
            coordinates = (fixed, *glmix_settings.coordinates[1:])
            settings = msgspec.structs.replace(glmix_settings, task=task, coordinates=coordinates)
            objectives.append(fit(glmix_data, settings).descent.objective)
    np.testing.assert_allclose(objectives, objectives[0], rtol=1e-7)


def test_the_objective_never_rises(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    sweeps: list[Sweep] = []
    fitted = fit(glmix_data, msgspec.structs.replace(glmix_settings, max_sweeps=12))
    sweeps.extend(fitted.descent.sweeps)
    objectives = [sweep.objective for sweep in sweeps]
    assert len(objectives) == 12
    assert all(later <= earlier for earlier, later in pairwise(objectives))
    assert not fitted.descent.converged


def test_the_final_scores_are_those_of_the_model(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    fitted = fit(glmix_data, glmix_settings)
    found = margins(fitted.model, glmix_data.shards, glmix_data.ids, np.zeros(240))
    np.testing.assert_allclose(found, fitted.descent.scores.sum(axis=1), atol=1e-12)


def test_no_random_effect_is_a_plain_glm(
    glmix_data: LocalData, glmix_settings: FitSettings, scipy_optimum: Callable
) -> None:
    settings = msgspec.structs.replace(glmix_settings, coordinates=glmix_settings.coordinates[:1])
    fitted = fit(glmix_data, settings)
    matrix, l2 = joint_design(glmix_data, settings)
    expected = scipy_optimum(LOGISTIC, matrix, glmix_data.labels, glmix_data.weights, glmix_data.offsets, l2)
    effect = fitted.model.effects[0]
    assert isinstance(effect, FixedEffect)
    assert len(fitted.descent.sweeps) == 1
    np.testing.assert_allclose(effect.coefficients, expected, atol=1e-4)


def test_row_order_changes_nothing(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    order = np.random.default_rng(9).permutation(240)
    shuffled = LocalData(
        glmix_data.labels[order],
        glmix_data.weights[order],
        glmix_data.offsets[order],
        {name: rows.take(order) for name, rows in glmix_data.shards.items()},
        {name: ids[order] for name, ids in glmix_data.ids.items()},
        glmix_data.intercepts,
    )
    one, other = fit(glmix_data, glmix_settings), fit(shuffled, glmix_settings)
    for mine, theirs in zip(one.model.effects, other.model.effects, strict=True):
        np.testing.assert_allclose(mine.coefficients, theirs.coefficients, atol=1e-9)
        if isinstance(mine, RandomEffect) and isinstance(theirs, RandomEffect):
            np.testing.assert_array_equal(mine.entities, theirs.entities)
            np.testing.assert_array_equal(mine.cells, theirs.cells)


def test_unknown_entities_and_features_count_zero(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    model = fit(glmix_data, glmix_settings).model
    shards = {name: rows.slice(0, 2) for name, rows in glmix_data.shards.items()}
    ids = {"user_id": np.array([-5, 10**12]), "film": np.array(["", "film-1 with a far longer name"])}
    found = margins(model, shards, ids, np.zeros(2))
    np.testing.assert_array_equal(found, shards["global"].dot(model.effects[0].coefficients))
    nothing = {
        name: SparseRows(np.zeros(3, np.int64), np.zeros(0, np.int32), np.zeros(0), rows.columns)
        for name, rows in shards.items()
    }
    np.testing.assert_array_equal(margins(model, nothing, ids, np.array([0.5, -1.0])), [0.5, -1.0])


FIXED = CoordinateSettings(name="global", kind="fixed", shard="s", l2=1.0)
RANDOM = CoordinateSettings(name="per_user", kind="random", shard="s", entity="user", l2=1.0)


@pytest.mark.parametrize(
    ("coordinates", "said"),
    [
        ((FIXED, FIXED), "a name stands twice"),
        ((RANDOM,), "no fixed effect"),
        ((FIXED, msgspec.structs.replace(RANDOM, l2=0.0)), r"coordinates\[1\].l2: 0.0"),
        ((FIXED, msgspec.structs.replace(RANDOM, entity=None)), r"coordinates\[1\].entity: missing"),
        ((msgspec.structs.replace(FIXED, entity="user"),), r"coordinates\[0\].entity: user"),
        ((msgspec.structs.replace(FIXED, l1=-1.0),), r"coordinates\[0\].l1: -1.0"),
        ((msgspec.structs.replace(FIXED, l2=float("nan")),), r"coordinates\[0\].l2: nan"),
        ((msgspec.structs.replace(FIXED, tolerance=-1.0),), r"coordinates\[0\].tolerance: -1.0"),
        ((msgspec.structs.replace(FIXED, max_iterations=0),), r"coordinates\[0\].max_iterations: 0"),
        ((msgspec.structs.replace(FIXED, prior_weight=float("inf")),), r"coordinates\[0\].prior_weight: inf"),
        ((FIXED, msgspec.structs.replace(RANDOM, optimizer="tron")), r"coordinates\[1\].optimizer: tron"),
        ((msgspec.structs.replace(FIXED, optimizer="tron", l1=1.0),), r"coordinates\[0\].optimizer: tron with l1"),
        ((msgspec.structs.replace(FIXED, bounds=(Bound(),)),), r"coordinates\[0\].bounds\[0\]: neither"),
        ((msgspec.structs.replace(FIXED, bounds=(Bound(lower=1.0, upper=0.0),)),), r"bounds\[0\].lower: 1.0"),
        ((msgspec.structs.replace(FIXED, bounds=(Bound(column=-1, lower=0.0),)),), r"bounds\[0\].column: -1"),
        ((msgspec.structs.replace(FIXED, bounds=(Bound(lower=float("nan")),)),), r"bounds\[0\]: nan to None"),
        ((msgspec.structs.replace(FIXED, bounds=(Bound(lower=float("inf")),)),), r"bounds\[0\]: inf to None"),
        ((msgspec.structs.replace(FIXED, l2=float("inf")),), r"coordinates\[0\].l2: inf"),
        ((FIXED, msgspec.structs.replace(RANDOM, locked=True, variances="full")), r"\[1\].variances: full of a locked"),
        ((FIXED, msgspec.structs.replace(RANDOM, locked=True, prior_weight=1.0)), r"\[1\].prior_weight: 1.0 of a"),
        (
            (FIXED, msgspec.structs.replace(RANDOM, locked=True, features_to_samples_ratio=0.5)),
            r"\[1\].features_to_samples_ratio: 0.5 of a locked",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(coordinates: tuple[CoordinateSettings, ...], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        checked(FitSettings(task="logistic", coordinates=coordinates), source="file.yaml")


def test_a_prior_to_estimate_is_refused_before_a_row_is_looked_at(
    glmix_data: LocalData, glmix_settings: FitSettings
) -> None:
    fixed, user, film = glmix_settings.coordinates
    estimating = msgspec.structs.replace(user, l2=0.0, estimate="variances")
    settings = msgspec.structs.replace(glmix_settings, coordinates=(fixed, estimating, film))
    with pytest.raises(ConfigurationError, match="per_user: estimate: variances"):
        fit(replace(glmix_data, labels=np.full(240, np.nan)), settings)


def test_a_tweedie_power_outside_1_to_2_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"file.yaml: tweedie_power: 2.0"):
        checked(FitSettings(task="tweedie", coordinates=(FIXED,), tweedie_power=2.0), source="file.yaml")


def test_one_effect_has_converged_if_its_solve_has(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    alone = msgspec.structs.replace(glmix_settings.coordinates[0], max_iterations=1)
    for iterations in (1, 100):
        one = msgspec.structs.replace(alone, max_iterations=iterations)
        found = fit(glmix_data, msgspec.structs.replace(glmix_settings, coordinates=(one,))).descent
        assert found.converged == (found.steps[-1].fitness.unconverged == 0) == (iterations > 1)


def test_an_infinite_objective_has_not_converged(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    beyond = replace(glmix_data, offsets=np.full(240, 800.0))
    for coordinates in (glmix_settings.coordinates, glmix_settings.coordinates[:1]):
        settings = msgspec.structs.replace(glmix_settings, task="poisson", coordinates=coordinates, max_sweeps=3)
        found = fit(beyond, settings).descent
        assert (found.converged, found.objective) == (False, np.inf)
