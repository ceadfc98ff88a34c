from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from photon.local import penalised
from photon.loss import RowLoss
from photon.objective import Penalty, row_derivatives
from photon.rows import Examples, SparseRows


def test_gradient_and_hessian_are_finite_differences(loss: RowLoss, make_glm: Callable) -> None:
    glm = make_glm(loss)
    penalty = Penalty.ridge(0.7, 6, intercept=5, penalise_intercept=False)
    objective = penalised(glm.examples, loss, penalty)
    point = np.random.default_rng(1).normal(size=6)
    here = objective(point, hessian=True)
    gradient = approx_fprime(point, lambda b: objective(b, hessian=False).value, 1e-7)
    hessian = approx_fprime(point, lambda b: objective(b, hessian=False).gradient, 1e-7)
    np.testing.assert_allclose(here.gradient, gradient, rtol=1e-4, atol=1e-4)
    assert here.hessian is not None
    np.testing.assert_allclose(here.hessian, hessian, rtol=1e-4, atol=1e-4)


def test_sums_over_blocks_of_rows_add_up(loss: RowLoss, make_glm: Callable) -> None:
    examples = make_glm(loss).examples
    point = np.linspace(-1.0, 1.0, 6)

    def part(start: int, stop: int) -> Examples:
        return Examples(
            examples.rows.slice(start, stop),
            examples.labels[start:stop],
            examples.weights[start:stop],
            examples.offsets[start:stop],
        )

    whole = row_derivatives(examples, point, loss, hessian=True)
    parts = [row_derivatives(part(*ends), point, loss, hessian=True) for ends in ((0, 0), (0, 50), (50, 120))]
    total = parts[0] + parts[1] + parts[2]
    np.testing.assert_allclose(total.value, whole.value, rtol=1e-13)
    np.testing.assert_allclose(total.gradient, whole.gradient, rtol=1e-11)
    np.testing.assert_allclose(total.hessian, whole.hessian, rtol=1e-11)


def test_compiled_passes_are_those_of_numpy(loss: RowLoss, make_glm: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = make_glm(loss, rows=1100).examples  # more than two chunks
    twice = SparseRows(
        examples.rows.indptr, np.where(examples.rows.indices == 3, 2, examples.rows.indices), *(examples.rows.values, 6)
    )
    examples = Examples(twice, examples.labels, examples.weights * (np.arange(1100) % 3 > 0), examples.offsets)
    point = np.linspace(-0.5, 0.5, 6)
    for hessian in (True, False):
        monkeypatch.setattr("photon.objective.COMPILED_ROWS", 10**9)
        plain = row_derivatives(examples, point, loss, hessian=hessian)
        monkeypatch.setattr("photon.objective.COMPILED_ROWS", 0)
        found = row_derivatives(examples, point, loss, hessian=hessian)
        np.testing.assert_allclose(found.value, plain.value, rtol=1e-12)
        np.testing.assert_allclose(found.gradient, plain.gradient, rtol=1e-10)
        if hessian:
            np.testing.assert_allclose(found.hessian, plain.hessian, rtol=1e-10)
    if loss.task in {"poisson", "tweedie"}:
        far = replace(examples, offsets=np.full(1100, 5000.0))
        assert row_derivatives(far, point, loss, hessian=True).value == np.inf


def test_a_free_intercept_costs_nothing() -> None:
    penalty = Penalty.ridge(2.0, 3, intercept=1, penalise_intercept=False)
    assert penalty.value(np.array([1.0, 100.0, 2.0])) == 5.0
    assert Penalty.ridge(2.0, 3, intercept=1, penalise_intercept=True).value(np.array([1.0, 1.0, 2.0])) == 6.0


def test_sparse_rows_are_their_dense_twin() -> None:
    random = np.random.default_rng(5)
    matrix = np.where(random.random((30, 7)) < 0.3, random.normal(size=(30, 7)), 0.0)
    matrix[4] = 0.0
    rows, weights, order = SparseRows.from_dense(matrix), random.random(30), random.permutation(30)
    np.testing.assert_array_equal(rows.to_dense(), matrix)
    np.testing.assert_allclose(rows.dot(np.arange(7.0)), matrix @ np.arange(7.0))
    np.testing.assert_allclose(rows.transposed_dot(weights), matrix.T @ weights)
    np.testing.assert_allclose(rows.gram(weights), matrix.T @ (matrix * weights[:, None]))
    np.testing.assert_array_equal(rows.take(order).to_dense(), matrix[order])
