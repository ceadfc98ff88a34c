from collections.abc import Callable

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from photon import optimise
from photon.local import penalised
from photon.loss import LOGISTIC, RowLoss
from photon.objective import Derivatives, Penalty
from photon.rows import Examples, Floats, SparseRows


@pytest.mark.parametrize("method", ["newton", "lbfgs"])
@pytest.mark.parametrize("columns", [1, 6, 25])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("offset", [False, True])
def test_the_optimum_is_scipys(
    loss: RowLoss,
    make_glm: Callable,
    scipy_optimum: Callable,
    monkeypatch: pytest.MonkeyPatch,
    *,
    method: str,
    columns: int,
    weighted: bool,
    offset: bool,
) -> None:
    monkeypatch.setattr(optimise, "NEWTON_LIMIT", 1000 if method == "newton" else 0)
    glm = make_glm(loss, columns=columns, weighted=weighted, offset=offset)
    penalty = Penalty.ridge(0.5, columns, intercept=columns - 1, penalise_intercept=False)
    result = optimise.minimise(
        penalised(glm.examples, loss, penalty), np.zeros(columns), tolerance=1e-13, max_iterations=500
    )
    examples = glm.examples
    expected = scipy_optimum(loss, glm.matrix, examples.labels, examples.weights, examples.offsets, penalty.l2)
    assert result.reason == "converged"
    np.testing.assert_allclose(result.coefficients, expected, atol=2e-6 if method == "newton" else 2e-5)


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
    from photon.loss import SQUARED  # noqa: PLC0415

    glm = make_glm(SQUARED, offset=False)
    penalty = Penalty.ridge(0.5, 6, intercept=5, penalise_intercept=False)
    found = optimise.minimise(penalised(glm.examples, SQUARED, penalty), np.zeros(6))
    peer = Ridge(alpha=0.5).fit(glm.matrix[:, :-1], glm.examples.labels, sample_weight=glm.examples.weights)
    assert found.iterations == 1
    np.testing.assert_allclose(found.coefficients, [*peer.coef_, peer.intercept_], atol=1e-10)


def test_a_warm_start_at_the_optimum_stops_at_once(loss: RowLoss, make_glm: Callable) -> None:
    objective = penalised(make_glm(loss).examples, loss, Penalty(np.full(6, 0.5)))
    first = optimise.minimise(objective, np.zeros(6), tolerance=1e-10)
    again = optimise.minimise(objective, first.coefficients, tolerance=1e-10)
    assert (again.iterations, again.evaluations, again.reason) == (0, 1, "converged")


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

    assert optimise.minimise(uphill, np.zeros(2)).reason == "line_search_failed"
    short = penalised(make_glm(loss).examples, loss, Penalty(np.full(6, 0.5)))
    assert optimise.minimise(short, np.zeros(6), max_iterations=0).reason == "max_iterations"
