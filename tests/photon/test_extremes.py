"""Penalties at their ends: L1 that leaves nothing, L1 that changes nothing, labels that nothing holds back."""

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from photon.local import LocalData, LocalFit, fit
from photon.loss import RowLoss
from photon.rows import Floats, SparseRows
from photon.scoring import margins
from photon.settings import CoordinateSettings, FitSettings


def told(settings: FitSettings, loss: RowLoss, **fields: Any) -> FitSettings:
    """Return the settings of another task, with these fields in every coordinate."""
    coordinates = tuple(msgspec.structs.replace(one, **fields) for one in settings.coordinates)
    return msgspec.structs.replace(settings, task=loss.task, coordinates=coordinates, max_sweeps=200, tolerance=1e-12)


def fitted(data: LocalData, settings: FitSettings) -> LocalFit:
    found = fit(data, settings)
    assert found.descent.converged
    assert not any(step.fitness.unconverged for step in found.descent.steps)
    return found


@pytest.fixture
def labelled(glmix_data: LocalData, loss: RowLoss) -> LocalData:
    """Return rows with labels that the task can have."""
    return replace(glmix_data, labels=glmix_data.labels + float(loss.task == "gamma"))


@pytest.mark.parametrize("l1", [1e4, 1e300])
@pytest.mark.parametrize("fields", [{}, {"l2": 0.0}])
def test_a_very_large_l1_leaves_the_free_intercept_alone(
    labelled: LocalData, glmix_settings: FitSettings, loss: RowLoss, l1: float, fields: dict[str, float]
) -> None:
    found = fitted(labelled, told(glmix_settings, loss, l1=l1, **fields)).model.effects
    intercept = labelled.intercepts["global"]
    for effect in found:
        penalised = np.delete(effect.coefficients, intercept if effect.name == "global" else [])
        np.testing.assert_array_equal(penalised, 0.0)
    mean = CoordinateSettings(name="mean", kind="fixed", shard="film")
    alone = fitted(labelled, FitSettings(task=loss.task, coordinates=(mean,)))
    np.testing.assert_allclose(found[0].coefficients[intercept], alone.model.effects[0].coefficients[0], atol=2e-5)


@pytest.mark.parametrize("l1", [1e-300, 1e-9])
@pytest.mark.parametrize("optimizer", ["auto", "lbfgs"])
def test_a_tiny_l1_changes_nothing(
    labelled: LocalData, glmix_settings: FitSettings, loss: RowLoss, l1: float, optimizer: str
) -> None:
    settings = told(glmix_settings, loss)
    fixed, *others = settings.coordinates
    fixed = msgspec.structs.replace(fixed, optimizer=optimizer)
    settings = msgspec.structs.replace(settings, coordinates=(fixed, *others))
    without, beside = fitted(labelled, settings), fitted(labelled, told(settings, loss, l1=l1))
    scores, others_scores = (
        margins(one.model, labelled.shards, labelled.ids, labelled.offsets) for one in (without, beside)
    )
    np.testing.assert_allclose(scores, others_scores, atol=5e-5)
    np.testing.assert_allclose(beside.descent.objective, without.descent.objective, rtol=1e-8)


def joint_optimum(data: LocalData, settings: FitSettings, loss: RowLoss, l2: float) -> float:
    """Return the least joint objective, by Newton's method on the dense columns, from strong penalties to ``l2``."""
    blocks = []
    for one in settings.coordinates:
        dense = data.shards[one.shard].to_dense()
        ids = np.zeros(len(dense)) if one.entity is None else data.ids[one.entity]
        blocks += [dense * (ids == entity)[:, None] for entity in np.unique(ids)]
    matrix = np.hstack(blocks)
    free = np.arange(matrix.shape[1]) == data.intercepts["global"]

    def value(point: Floats, strength: Floats) -> float:
        rows = data.weights @ loss.value(matrix @ point, data.labels)
        return float(rows + 0.5 * strength @ (point * point))

    point = np.zeros(matrix.shape[1])
    for strength in [*np.geomspace(1.0, l2, 1 + round(-np.log10(l2))), l2]:
        penalty = np.where(free, 0.0, strength)
        for _ in range(100):
            at = matrix @ point
            gradient = matrix.T @ (data.weights * loss.first(at, data.labels)) + penalty * point
            curvature = data.weights * loss.second(at, data.labels)
            hessian = matrix.T @ (matrix * curvature[:, None]) + np.diag(penalty + 1e-14)
            step, length = np.linalg.solve(hessian, gradient), 1.0
            while length > 1e-12 and value(point - length * step, penalty) > value(point, penalty):
                length *= 0.5
            point = point - length * step
            if gradient @ step <= 1e-12 * value(point, penalty):
                break
    return value(point, np.where(free, 0.0, l2))


@pytest.mark.parametrize("l2", [1.0, 1e-2, 1e-4, 1e-8, 1e-12, 1e-300])
@pytest.mark.parametrize("optimizer", ["auto", "lbfgs", "tron"])
@pytest.mark.parametrize("loss", ["smoothed_hinge"], indirect=True)
def test_labels_that_can_be_told_apart_end_at_the_optimum_or_it_is_said_that_they_do_not(
    glmix_data: LocalData, glmix_settings: FitSettings, loss: RowLoss, l2: float, optimizer: str
) -> None:
    columns = glmix_data.shards["global"].to_dense()
    labels = (columns[:, 0] + 0.3 * columns[:, 1] > 0.1).astype(np.float64)
    data = replace(glmix_data, labels=labels, offsets=np.zeros(240))
    settings = told(glmix_settings, loss, l2=l2)
    fixed, *others = settings.coordinates
    fixed = msgspec.structs.replace(fixed, optimizer=optimizer)
    settings = msgspec.structs.replace(settings, coordinates=(fixed, *others), max_sweeps=20, tolerance=1e-6)
    found = fit(data, settings)
    objective = found.descent.objective
    assert all(np.isfinite(one.coefficients).all() for one in found.model.effects)
    assert found.descent.converged or l2 < 1.0
    if l2 > 1e-100:
        optimum = joint_optimum(data, settings, loss, l2)
        assert objective >= optimum * (1.0 - 1e-9)
        assert not found.descent.converged or objective <= optimum * (1.0 + 1e-4)
    if l2 <= 1e-4:
        assert not found.descent.converged
        scores = margins(found.model, data.shards, data.ids, data.offsets)
        np.testing.assert_array_equal(scores > 0.0, labels > 0.5)


def test_a_fit_of_one_effect_says_itself_that_it_has_told_all_labels_apart(glmix_data: LocalData) -> None:
    rows = SparseRows.from_dense(np.linspace(-1.0, 1.0, 240)[:, None])
    data = replace(glmix_data, labels=np.repeat([0.0, 1.0], 120), offsets=np.zeros(240), shards={"s": rows})
    one = CoordinateSettings(name="g", kind="fixed", shard="s", l2=1e-12)
    settings = FitSettings(task="smoothed_hinge", coordinates=(one,))
    found = fitted(replace(data, intercepts={}), settings)
    assert found.descent.steps[-1].fitness.data_loss <= 1e-9
