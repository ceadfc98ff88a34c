"""Which rows and features a coordinate trains on: functions of the rows alone, and unbiased."""

import dataclasses
from collections.abc import Callable

import hypothesis.strategies as st
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings

from photon.entities import EntityRows, group
from photon.local import LocalData, LocalFit, fit
from photon.loss import LOGISTIC, SQUARED
from photon.model import RandomEffect
from photon.rows import Examples, Floats, Longs, SparseRows
from photon.sampling import bounded, down_sampled, trained_rows, uid_hashes
from photon.scoring import score_effect
from photon.settings import CoordinateSettings, FitSettings, checked
from yarnmill.errors import ConfigurationError

RANDOM = CoordinateSettings(name="per_key", kind="random", shard="s", entity="key", l2=1.0)


def rows_of(keys: Longs, matrix: Floats | None = None, labels: Floats | None = None) -> tuple[EntityRows, Longs]:
    count = len(keys)
    dense = np.ones((count, 1)) if matrix is None else matrix
    zeros = np.zeros(count)
    return group(
        keys, Examples(SparseRows.from_dense(dense), zeros if labels is None else labels, np.ones(count), zeros)
    )


def test_hashes_are_spread_evenly() -> None:
    counts = np.bincount((uid_hashes(np.arange(64_000)) >> np.uint64(58)).astype(int), minlength=64)
    assert np.abs(counts - 1000).max() < 6 * np.sqrt(1000)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=60),
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(4, 9)),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_bounds_hold_in_every_order(keys: list[int], lower: int, upper: int | None, random: object) -> None:
    uids = np.arange(len(keys)) * 31
    order = np.arange(len(keys))
    random.shuffle(order)  # type: ignore[attr-defined]

    def kept(chosen: Longs) -> dict[int, float]:
        rows, by_key = rows_of(np.array(keys)[chosen])
        own = uids[chosen][by_key]
        return dict(zip(own.tolist(), bounded(rows, own, np.ones(len(keys)), lower, upper).tolist(), strict=True))

    weights = kept(np.arange(len(keys)))
    assert weights == kept(order)
    for key in set(keys):
        own = np.array([weights[uid] for uid, one in zip(uids.tolist(), keys, strict=True) if one == key])
        if len(own) < lower:
            assert not own.any()
        else:
            assert np.count_nonzero(own) == min(len(own), upper or len(own))
            assert own.sum() == pytest.approx(len(own))


def test_rows_without_weight_do_not_count() -> None:
    rows, _ = rows_of(np.zeros(4, int))
    np.testing.assert_array_equal(bounded(rows, np.arange(4), np.array([1.0, 0.0, 0.0, 1.0]), 3, None), np.zeros(4))
    np.testing.assert_array_equal(bounded(rows, np.arange(4), np.array([1.0, 0.0, 2.0, 1.0]), 3, 3), [1, 0, 2, 1])


def test_down_sampling_thins_negatives_and_keeps_the_expected_weight() -> None:
    uids, labels = np.arange(40_000), (np.arange(40_000) % 4 == 0).astype(float)
    weights = down_sampled(uids, labels, np.ones(40_000), 0.25, LOGISTIC)
    assert np.all(weights[labels == 1.0] == 1.0)
    assert set(weights[labels == 0.0]) == {0.0, 4.0}
    assert weights[labels == 0.0].sum() == pytest.approx(30_000, rel=0.03)
    assert np.mean(down_sampled(uids, labels, np.ones(40_000), 0.25, SQUARED) > 0.0) == pytest.approx(0.25, abs=0.01)
    assert down_sampled(uids, labels, labels, 1.0, SQUARED) is labels


@pytest.mark.parametrize("ratio", [0.1, 0.25, 0.5, 10.0])
def test_the_features_kept_are_those_of_largest_correlation(ratio: float) -> None:
    random = np.random.default_rng(5)
    keys, labels = np.repeat([3, 8], 12), random.integers(0, 2, 24).astype(float)
    matrix = np.where(random.random((24, 7)) < 0.7, random.normal(size=(24, 7)), 0.0)
    matrix[:, -1], matrix[:, 2] = 1.0, 1.0
    rows, _ = rows_of(keys, matrix, labels)
    chosen = msgspec.structs.replace(RANDOM, features_to_samples_ratio=ratio)
    trained = trained_rows(rows, np.arange(24), chosen, intercept=6)
    for place in (0, 1):
        own = slice(12 * place, 12 * place + 12)
        strength = [abs(np.corrcoef(matrix[own, j], labels[own])[0, 1]) if j not in {2, 6} else 0.0 for j in range(7)]
        best = sorted(range(6), key=lambda j: -strength[j])[: int(np.ceil(ratio * 12))]
        cells = trained.cells[trained.cell_ptr[place] : trained.cell_ptr[place + 1]]
        assert set(cells % 7) == {*best, 6}
        np.testing.assert_allclose(
            trained.examples.rows.slice(own.start, own.stop).to_dense(),
            np.where(np.isin(np.arange(7), [*best, 6]), matrix[own], 0.0),
        )
    np.testing.assert_array_equal(trained.entities, rows.entities)


def _with(settings: FitSettings, place: int, **changes: object) -> FitSettings:
    coordinates = list(settings.coordinates)
    coordinates[place] = msgspec.structs.replace(coordinates[place], **changes)
    return msgspec.structs.replace(settings, coordinates=tuple(coordinates))


def _random(fitted: LocalFit, place: int) -> RandomEffect:
    effect = fitted.model.effects[place]
    assert isinstance(effect, RandomEffect)
    return effect


def test_entities_below_the_lower_bound_get_no_model(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    users = glmix_data.ids["user_id"]
    counts = dict(zip(*(part.tolist() for part in np.unique(users, return_counts=True)), strict=True))
    bound = int(np.median(list(counts.values())))
    effect = _random(fit(glmix_data, _with(glmix_settings, 1, active_rows_lower_bound=bound)), 1)
    for place, user in enumerate(effect.entities.tolist()):
        own = effect.coefficients[effect.cells // effect.columns == place]
        assert own.any() == (counts[user] >= bound)


def test_an_upper_bound_is_a_fit_to_the_rows_kept(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    found = fit(glmix_data, _with(glmix_settings, 1, active_rows_upper_bound=10))
    rows, order = group(glmix_data.ids["user_id"], Examples(glmix_data.shards["user"], *[glmix_data.weights] * 3))
    weights = np.empty(240)
    weights[order] = bounded(rows, order, glmix_data.weights[order], 1, 10)
    assert np.count_nonzero(weights) < 120
    # The last coordinate sees all rows, as do the offsets of the bounded one; its objective is that of the rows kept.
    assert found.descent.objective > fit(glmix_data, glmix_settings).descent.objective
    assert all(sweep.move == () for sweep in found.descent.sweeps)


def test_any_order_and_several_fixed_effects_reach_the_same_optimum(
    glmix_data: LocalData, glmix_settings: FitSettings
) -> None:
    fixed, user, film = glmix_settings.coordinates
    second = msgspec.structs.replace(fixed, name="fixed_of_user_features", shard="user", penalise_intercept=True)
    long = msgspec.structs.replace(glmix_settings, max_sweeps=100, tolerance=1e-13)
    objectives = [
        fit(glmix_data, msgspec.structs.replace(long, coordinates=order)).descent.objective
        for order in ((fixed, user, film, second), (user, second, film, fixed), (film, user, fixed, second))
    ]
    assert objectives[1] == pytest.approx(objectives[0], rel=1e-9)
    assert objectives[2] == pytest.approx(objectives[0], rel=1e-9)
    one = fit(glmix_data, msgspec.structs.replace(long, coordinates=(user, film, fixed)))
    assert [effect.name for effect in one.model.effects] == [user.name, film.name, fixed.name]


@pytest.mark.parametrize(
    ("place", "changes", "said"),
    [
        (0, {"active_rows_lower_bound": 2}, r"coordinates\[0\]: active rows"),
        (0, {"down_sampling_rate": 0.0}, r"coordinates\[0\].down_sampling_rate: 0.0"),
        (1, {"down_sampling_rate": 0.5}, r"coordinates\[1\].down_sampling_rate: 0.5"),
        (1, {"active_rows_lower_bound": 0}, r"coordinates\[1\].active_rows_lower_bound: 0"),
        (1, {"active_rows_lower_bound": 5, "active_rows_upper_bound": 4}, "active_rows_upper_bound: 4"),
        (1, {"features_to_samples_ratio": 0.0}, "features_to_samples_ratio: 0.0"),
    ],
)
def test_sampling_that_makes_no_sense_is_refused(
    glmix_settings: FitSettings, place: int, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        checked(_with(glmix_settings, place, **changes), source="file.yaml")


def test_weights_of_a_down_sampled_fit_are_those_of_its_sample(make_glm: Callable) -> None:
    glm = make_glm(LOGISTIC, rows=400, weighted=False)
    examples = glm.examples
    data = LocalData(examples.labels, examples.weights, examples.offsets, {"all": examples.rows}, {}, {"all": 5})
    coordinate = CoordinateSettings(name="fixed", kind="fixed", shard="all", l2=1.0, down_sampling_rate=0.5)
    chosen = FitSettings(task="logistic", coordinates=(coordinate,))
    weights = down_sampled(np.arange(400), examples.labels, examples.weights, 0.5, LOGISTIC)
    sample = LocalData(examples.labels, weights, examples.offsets, data.shards, {}, data.intercepts)
    whole = msgspec.structs.replace(chosen, coordinates=(msgspec.structs.replace(coordinate, down_sampling_rate=1.0),))
    found, expected = (one.model.effects[0].coefficients for one in (fit(data, chosen), fit(sample, whole)))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert not np.allclose(found, fit(data, whole).model.effects[0].coefficients, atol=1e-3)


def test_a_locked_effect_does_not_move_and_the_others_are_fitted_around_it(
    glmix_data: LocalData, glmix_settings: FitSettings
) -> None:
    earlier = fit(glmix_data, msgspec.structs.replace(glmix_settings, max_sweeps=1)).model
    locked = _with(msgspec.structs.replace(glmix_settings, max_sweeps=60, tolerance=1e-13), 1, locked=True)
    found = fit(glmix_data, locked, earlier=earlier)
    assert _random(found, 1) is earlier.effects[1]
    known = score_effect(earlier.effects[1], glmix_data.shards["user"], glmix_data.ids["user_id"])
    rest = msgspec.structs.replace(locked, coordinates=(locked.coordinates[0], locked.coordinates[2]))
    expected = fit(dataclasses.replace(glmix_data, offsets=glmix_data.offsets + known), rest)
    assert found.descent.objective == pytest.approx(expected.descent.objective, rel=1e-9)
    with pytest.raises(ConfigurationError, match="per_user: locked and not in the earlier model"):
        fit(glmix_data, locked)
    everything = tuple(msgspec.structs.replace(one, locked=True) for one in locked.coordinates)
    with pytest.raises(ConfigurationError, match="coordinates: all locked"):
        checked(msgspec.structs.replace(locked, coordinates=everything), source="file.yaml")
