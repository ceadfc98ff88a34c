from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)

from photon import optimise
from photon.fixed_effect import ExampleSums, solve_fixed
from photon.local import penalised
from photon.loss import GAMMA, LOGISTIC, POISSON, SQUARED, RowLoss, tweedie
from photon.objective import Derivatives, Penalty, row_products
from photon.optimise import Corners, Curvature, Options
from photon.regularisation import Regularisation
from photon.rows import Examples, Floats, SparseRows
from yarnmill.errors import ConfigurationError

METHODS = ["newton", "lbfgs", "tron"]


def minimum(glm: Any, penalty: Penalty, options: Options, corners: Corners | None = None) -> optimise.Result:
    def products(point: Floats, vector: Floats) -> Floats:
        return row_products(glm.examples, point, vector, glm.loss) + penalty.l2 * vector

    objective = penalised(glm.examples, glm.loss, penalty)
    return optimise.minimise(
        objective, np.zeros(len(penalty.l2)), options, corners=corners, curvature=Curvature(products)
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("columns", [1, 6, 25])
@pytest.mark.parametrize("plain", [False, True])
def test_the_optimum_is_scipys(
    loss: RowLoss, make_glm: Callable, scipy_optimum: Callable, *, method: Any, columns: int, plain: bool
) -> None:
    glm = make_glm(loss, columns=columns, weighted=not plain, offset=not plain)
    penalty = Penalty.ridge(0.5, columns, intercept=columns - 1, penalise_intercept=False)
    result = minimum(glm, penalty, Options(method, tolerance=1e-14, max_iterations=500))
    examples = glm.examples
    expected = scipy_optimum(loss, glm.matrix, examples.labels, examples.weights, examples.offsets, penalty.l2)
    assert result.reason == "converged"
    assert result.method == method
    np.testing.assert_allclose(result.coefficients, expected, atol=2e-6)


@pytest.mark.parametrize("method", ["newton", "lbfgs"])
@pytest.mark.parametrize("case", ["l1", "l1 alone", "bounds", "both"])
def test_the_constrained_optimum_is_scipys(
    loss: RowLoss, make_glm: Callable, scipy_constrained_optimum: Callable, method: Any, case: str
) -> None:
    glm = make_glm(loss, columns=8)
    penalty = Penalty.ridge(0.0 if case == "l1 alone" else 0.5, 8, intercept=7, penalise_intercept=False)
    corners = Corners.none(8)
    if case != "bounds":
        corners = replace(corners, l1=np.where(np.arange(8) < 7, 14.0, 0.0))
    if case in {"bounds", "both"}:
        corners = replace(corners, lower=np.where(np.arange(8) == 2, 0.1, -0.25), upper=np.full(8, 0.2))
    objective = penalised(glm.examples, loss, penalty)
    result = minimum(glm, penalty, Options(method, tolerance=1e-13, max_iterations=1000), corners)

    def smooth(point: Floats) -> tuple[float, Floats]:
        here = objective(point, hessian=False)
        return here.value, here.gradient

    expected, value = scipy_constrained_optimum(smooth, corners.l1, corners.lower, corners.upper)
    assert result.reason == "converged"
    assert result.value <= value + 1e-9 * abs(value)
    np.testing.assert_allclose(result.coefficients, expected, atol=2e-4)
    assert np.all((result.coefficients >= corners.lower) & (result.coefficients <= corners.upper))
    if case.startswith("l1"):
        assert np.any(result.coefficients == 0.0)
        assert np.any(result.coefficients[:-1] != 0.0)


def test_l1_without_gain_gives_zeros(loss: RowLoss, make_glm: Callable) -> None:
    glm = make_glm(loss)
    corners = Corners(np.full(6, 1e6), np.full(6, -np.inf), np.full(6, np.inf))
    for method in ("newton", "owlqn"):
        result = minimum(glm, Penalty(np.zeros(6)), Options(method), corners)
        assert (result.reason, result.iterations) == ("converged", 0)
        np.testing.assert_array_equal(result.coefficients, np.zeros(6))


def test_the_optimum_is_scikit_learns(make_glm: Callable) -> None:
    glm = make_glm(LOGISTIC, offset=False)
    rows = SparseRows.from_dense(glm.matrix)
    penalty = Penalty.ridge(0.5, 6, intercept=5, penalise_intercept=False)
    examples = Examples(rows, glm.examples.labels, glm.examples.weights, np.zeros(120))
    found = optimise.minimise(penalised(examples, LOGISTIC, penalty), np.zeros(6))
    peer = LogisticRegression(C=2.0, tol=1e-10, max_iter=1000)
    peer.fit(glm.matrix[:, :-1], examples.labels, sample_weight=examples.weights)
    np.testing.assert_allclose(found.coefficients, [*peer.coef_[0], peer.intercept_[0]], atol=1e-5)


def test_a_linear_optimum_takes_one_step_and_is_ridges(make_glm: Callable) -> None:
    glm = make_glm(SQUARED, offset=False)
    penalty = Penalty.ridge(0.5, 6, intercept=5, penalise_intercept=False)
    found = optimise.minimise(penalised(glm.examples, SQUARED, penalty), np.zeros(6))
    peer = Ridge(alpha=0.5).fit(glm.matrix[:, :-1], glm.examples.labels, sample_weight=glm.examples.weights)
    assert found.iterations == 1
    np.testing.assert_allclose(found.coefficients, [*peer.coef_, peer.intercept_], atol=1e-10)


@pytest.mark.parametrize("l1", [0.0, 0.5])
def test_the_elastic_net_is_scikit_learns(make_glm: Callable, l1: float) -> None:
    glm = make_glm(SQUARED, weighted=False, offset=False)
    # scikit-learn divides the squared error by twice the number of rows.
    peer = ElasticNet(alpha=0.2, l1_ratio=l1, tol=1e-12, max_iter=10**6) if l1 else Ridge(alpha=24.0)
    peer.fit(glm.matrix[:, :-1], glm.examples.labels)
    penalty = Penalty.ridge(24.0 * (1.0 - l1), 6, intercept=5, penalise_intercept=False, l1=24.0 * l1)
    corners = Corners(np.zeros(6) if penalty.l1 is None else penalty.l1, np.full(6, -np.inf), np.full(6, np.inf))
    for method in ("newton", "owlqn"):
        found = minimum(glm, penalty, Options(method, tolerance=1e-15), corners)
        np.testing.assert_allclose(found.coefficients, [*peer.coef_, peer.intercept_], atol=1e-6)
        np.testing.assert_allclose(
            found.value,
            penalised(glm.examples, SQUARED, penalty)(found.coefficients, hessian=False).value
            + corners.value(found.coefficients),
        )


@pytest.mark.parametrize(
    ("loss_", "peer"),
    [
        (POISSON, PoissonRegressor(alpha=0.01, tol=1e-10, max_iter=1000)),
        (GAMMA, GammaRegressor(alpha=0.01, tol=1e-10, max_iter=1000)),
        (tweedie(1.4), TweedieRegressor(power=1.4, alpha=0.01, link="log", tol=1e-10, max_iter=1000)),
    ],
)
def test_the_optimum_of_a_log_link_is_scikit_learns(make_glm: Callable, loss_: RowLoss, peer: Any) -> None:
    glm = make_glm(loss_, offset=False)
    peer.fit(glm.matrix[:, :-1], glm.examples.labels, sample_weight=glm.examples.weights)
    # scikit-learn divides by the sum of the weights.
    l2 = 0.01 * float(glm.examples.weights.sum())
    found = minimum(glm, Penalty.ridge(l2, 6, intercept=5, penalise_intercept=False), Options(tolerance=1e-14))
    np.testing.assert_allclose(found.coefficients, [*peer.coef_, peer.intercept_], atol=1e-5)


@pytest.mark.parametrize(
    ("loss_", "family"),
    [
        (LOGISTIC, sm.families.Binomial()),
        (POISSON, sm.families.Poisson()),
        (GAMMA, sm.families.Gamma(sm.families.links.Log())),
        (tweedie(1.5), sm.families.Tweedie(sm.families.links.Log(), var_power=1.5)),
    ],
)
def test_the_unpenalised_optimum_is_statsmodels(make_glm: Callable, loss_: RowLoss, family: Any) -> None:
    glm = make_glm(loss_)
    peer = sm.GLM(
        glm.examples.labels,
        glm.matrix,
        family=family,
        offset=glm.examples.offsets,
        freq_weights=glm.examples.weights,
    ).fit(tol=1e-12)
    found = minimum(glm, Penalty(np.zeros(6)), Options(tolerance=1e-15))
    np.testing.assert_allclose(found.coefficients, peer.params, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_warm_start_at_the_optimum_stops_at_once(loss: RowLoss, make_glm: Callable, method: Any) -> None:
    glm = make_glm(loss)
    penalty = Penalty(np.full(6, 0.5))
    first = minimum(glm, penalty, Options(method, max_iterations=1000))
    again = optimise.minimise(
        penalised(glm.examples, loss, penalty),
        first.coefficients,
        Options(method),
        curvature=Curvature(lambda b, v: row_products(glm.examples, b, v, loss) + 0.5 * v),
        memory=first.memory,
    )
    assert (again.iterations, again.reason) == (0, "converged")
    assert method == "tron" or again.evaluations == 1


@pytest.mark.parametrize("method", ["lbfgs", "tron"])
def test_the_scale_of_columns_costs_no_passes(loss: RowLoss, make_glm: Callable, method: Any) -> None:
    glm = make_glm(loss, columns=12)
    scales = 10.0 ** np.linspace(-3.0, 3.0, 12)
    scales[-1] = 1.0
    scaled = replace(glm.examples, rows=SparseRows.from_dense(glm.matrix * scales))
    results = []
    for examples, l2 in ((glm.examples, np.full(12, 0.1)), (scaled, 0.1 * scales * scales)):
        bare = np.full(12, np.inf)
        terms = Regularisation(Penalty(l2), -bare, bare)
        options = Options(method, tolerance=1e-9)
        results.append(solve_fixed(ExampleSums(examples, loss), terms, np.zeros(12), options).result)
    assert abs(results[0].evaluations - results[1].evaluations) <= 3
    np.testing.assert_allclose(results[0].value, results[1].value, rtol=1e-8)


@pytest.mark.parametrize("method", ["lbfgs", "owlqn", "tron"])
@pytest.mark.parametrize("tolerance", [1e-4, 1e-7, 1e-10])
def test_the_value_is_as_near_the_optimum_as_is_said(make_glm: Callable, method: Any, tolerance: float) -> None:
    glm = make_glm(LOGISTIC, rows=400, columns=60)
    corners = Corners.none(60)
    if method == "owlqn":
        corners = replace(corners, l1=np.where(np.arange(60) < 59, 1.0, 0.0))
    terms = Regularisation(Penalty(np.full(60, 0.01), corners.l1), corners.lower, corners.upper)
    sums = ExampleSums(glm.examples, LOGISTIC)
    best = solve_fixed(sums, terms, np.zeros(60), Options("newton", 1e-15)).result.value
    found = solve_fixed(sums, terms, np.zeros(60), Options(method, tolerance, 500)).result
    assert found.reason == "converged"
    # The gap is an estimate: within an order of magnitude.
    assert found.value - best <= 10.0 * tolerance * best


def test_a_prior_pulls_to_its_means(loss: RowLoss, make_glm: Callable) -> None:
    glm = make_glm(loss)
    means = np.linspace(-1.0, 1.0, 6)
    held = minimum(glm, Penalty(np.full(6, 1e12), centre=means), Options())
    np.testing.assert_allclose(held.coefficients, means, atol=1e-6)
    # Where the data alone have their optimum, a prior of any strength changes nothing.
    alone = minimum(glm, Penalty(np.full(6, 1e-2)), Options(tolerance=1e-15)).coefficients
    both = minimum(glm, Penalty(np.full(6, 7.01), centre=alone * 7.0 / 7.01), Options(tolerance=1e-15))
    np.testing.assert_allclose(both.coefficients, alone, atol=1e-5)


@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(-2, 2), st.floats(0, 2)), min_size=1, max_size=6),
    st.floats(0.0, 3.0),
)
def test_a_separable_quadratic_is_soft_thresholded_and_clipped(
    columns: list[tuple[float, float, float]], l1: float
) -> None:
    centre, lower, width = (np.array(part) for part in zip(*columns, strict=True))
    corners = Corners(np.full(len(centre), l1), lower, lower + width)

    def objective(point: Floats, *, hessian: bool) -> Derivatives:
        eye = np.eye(len(point)) if hessian else None
        return Derivatives(float(0.5 * np.sum((point - centre) ** 2)), point - centre, eye)

    expected = np.clip(np.sign(centre) * np.maximum(np.abs(centre) - l1, 0.0), lower, lower + width)
    for method in ("newton", "owlqn"):
        result = optimise.minimise(objective, np.zeros(len(centre)), Options(method, tolerance=1e-15), corners=corners)
        assert result.reason == "converged"
        np.testing.assert_allclose(result.coefficients, expected, atol=1e-6)


def test_tron_refuses_corners(make_glm: Callable) -> None:
    corners = Corners(np.ones(6), np.full(6, -np.inf), np.full(6, np.inf))
    with pytest.raises(ConfigurationError, match="tron"):
        minimum(make_glm(LOGISTIC), Penalty(np.ones(6)), Options("tron"), corners)


def test_auto_takes_newton_where_the_hessian_fits(make_glm: Callable) -> None:
    wide = SparseRows(np.arange(4), np.array([0, 5, 1999], np.int32), np.ones(3), 2000)
    examples = Examples(wide, np.ones(3), np.ones(3), np.zeros(3))
    objective = penalised(examples, LOGISTIC, Penalty(np.ones(2000)))
    assert optimise.minimise(objective, np.zeros(2000)).method == "lbfgs"
    corners = Corners(np.ones(2000), np.full(2000, -np.inf), np.full(2000, np.inf))
    assert optimise.minimise(objective, np.zeros(2000), corners=corners).method == "owlqn"
    assert minimum(make_glm(LOGISTIC), Penalty(np.ones(6)), Options()).method == "newton"


def test_columns_without_curvature_do_not_stop_newton(make_glm: Callable) -> None:
    matrix = make_glm(LOGISTIC).matrix.copy()
    matrix[:, 0] = 0.0
    matrix[:, 1] = matrix[:, 2]
    examples = make_glm(LOGISTIC).examples
    examples = Examples(SparseRows.from_dense(matrix), examples.labels, examples.weights, examples.offsets)
    result = optimise.minimise(penalised(examples, LOGISTIC, Penalty(np.zeros(6))), np.zeros(6))
    assert result.reason == "converged"
    assert np.isfinite(result.coefficients).all()


def test_why_it_stopped_is_said(loss: RowLoss, make_glm: Callable) -> None:
    def uphill(coefficients: Floats, *, hessian: bool) -> Derivatives:
        slope = np.where(np.any(coefficients != 0.0), 1e3, 1.0)
        return Derivatives(float(np.sum(np.abs(coefficients))), slope * np.ones(2), np.eye(2) if hessian else None)

    for method in ("newton", "lbfgs"):
        assert optimise.minimise(uphill, np.zeros(2), Options(method)).reason == "line_search_failed"
    flat = optimise.minimise(uphill, np.zeros(2), Options("tron"), curvature=Curvature(lambda _, vector: vector))
    assert flat.reason == "line_search_failed"
    short = penalised(make_glm(loss).examples, loss, Penalty(np.full(6, 0.5)))
    assert optimise.minimise(short, np.zeros(6), Options(max_iterations=0)).reason == "max_iterations"
