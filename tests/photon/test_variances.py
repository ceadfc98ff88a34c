from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import statsmodels.api as sm

from photon.cell_terms import CellTerms
from photon.entities import group
from photon.fixed_effect import ExampleSums, fixed_variances, inverse_diagonal, solve_fixed
from photon.loss import LOGISTIC, POISSON, SQUARED, RowLoss
from photon.normalise import FeatureStatistics
from photon.optimise import NEWTON_LIMIT, Options
from photon.random_effect import entity_variances, solve_entities
from photon.regularisation import Regularisation, regularisation_of
from photon.rows import Examples, Floats, SparseRows
from photon.settings import CoordinateSettings, Normalisation
from yarnmill.errors import ConfigurationError

SETTINGS = CoordinateSettings(name="g", kind="fixed", shard="s", l2=1.5, penalise_intercept=True)


def dense_hessian(loss: RowLoss, examples: Examples, terms: Regularisation, point: Floats) -> Floats:
    """Return the Hessian by differences of the gradient of the objective of original coefficients."""

    def gradient(at: Floats) -> Floats:
        data = ExampleSums(examples, loss).derivatives(at, hessian=False).gradient
        steps = 1e-4 * np.eye(len(at))
        return data + np.array([(terms.value(at + step) - terms.value(at - step)) / 2e-4 for step in steps])

    return np.array([(gradient(point + step) - gradient(point - step)) / 2e-4 for step in 1e-4 * np.eye(len(point))])


@pytest.mark.parametrize("kind", ["none", "standard_deviation", "standardization"])
def test_variances_are_inverses_of_the_hessian(loss: RowLoss, make_glm: Callable, kind: Normalisation) -> None:
    glm = make_glm(loss)
    settings = CoordinateSettings(
        name="g", kind="fixed", shard="s", l2=1.5, penalise_intercept=True, normalisation=kind
    )
    statistics = FeatureStatistics.of(glm.examples.rows, glm.examples.weights)
    terms, sums = regularisation_of(settings, 6, 5, statistics), ExampleSums(glm.examples, loss)
    point = solve_fixed(sums, terms, np.zeros(6)).coefficients
    hessian = dense_hessian(loss, glm.examples, terms, point)
    tolerance = 0.05 if loss.task == "smoothed_hinge" else 1e-4  # its second derivative has steps
    simple, full = (fixed_variances(sums, terms, point, each) for each in ("simple", "full"))
    np.testing.assert_allclose(simple, 1.0 / hessian.diagonal(), rtol=tolerance)
    np.testing.assert_allclose(full, np.linalg.inv(hessian).diagonal(), rtol=tolerance)
    assert fixed_variances(sums, terms, point, "none") is None


def test_full_variances_are_squared_standard_errors(make_glm: Callable) -> None:
    glm = make_glm(POISSON)
    ex = glm.examples
    peer = sm.GLM(ex.labels, glm.matrix, sm.families.Poisson(), offset=ex.offsets, freq_weights=ex.weights).fit()
    free = regularisation_of(CoordinateSettings(name="g", kind="fixed", shard="s", l2=0.0), 6, 5)
    found = fixed_variances(ExampleSums(ex, POISSON), free, peer.params, "full")
    np.testing.assert_allclose(found, peer.bse**2, rtol=1e-6)


@pytest.mark.parametrize("kind", ["none", "standardization"])
@pytest.mark.parametrize("which", ["simple", "full"])
def test_entities_have_the_variances_of_fixed_effects(
    loss: RowLoss, make_glm: Callable, kind: Normalisation, which: Literal["simple", "full"]
) -> None:
    glm = make_glm(loss)
    settings = CoordinateSettings(
        name="g", kind="random", entity="e", shard="s", l2=1.5, normalisation=kind, variances=which
    )
    statistics = FeatureStatistics.of(glm.examples.rows, glm.examples.weights)
    rows, _ = group(np.arange(120) % 3, glm.examples)
    cells = CellTerms.of(rows, regularisation_of(settings, 6, 5, statistics))
    cells = cells.with_prior(np.zeros(18), np.where(np.arange(18) % 5 == 0, 0.7, 0.0), 1.0)
    offsets = rows.examples.offsets
    point = solve_entities(rows, offsets, cells, np.zeros(18), loss).coefficients
    found = entity_variances(rows, offsets, cells, point, loss, which)
    for entity in range(3):
        own, part = slice(40 * entity, 40 * (entity + 1)), slice(6 * entity, 6 * (entity + 1))
        examples = Examples(
            rows.examples.rows.slice(own.start, own.stop),
            *(getattr(rows.examples, name)[own] for name in ("labels", "weights", "offsets")),
        )
        expected = fixed_variances(ExampleSums(examples, loss), cells.of_entity(entity), point[part], which)
        np.testing.assert_allclose(found[part], expected, rtol=1e-9)


def test_a_column_without_curvature_has_an_infinite_variance(make_glm: Callable) -> None:
    matrix = make_glm(SQUARED).matrix.copy()
    matrix[:, 2] = 0.0
    ones = np.ones(120)
    sums = ExampleSums(Examples(SparseRows.from_dense(matrix), ones, ones, 0 * ones), SQUARED)
    free = regularisation_of(CoordinateSettings(name="g", kind="fixed", shard="s", l2=0.0), 6, None)
    for kind in ("simple", "full"):
        found = fixed_variances(sums, free, np.zeros(6), kind)
        assert found is not None
        assert np.isinf(found).tolist() == [False, False, True, False, False, False]
    assert np.isinf(inverse_diagonal(np.ones((2, 2)))).all()


def test_full_variances_of_too_many_columns_are_refused() -> None:
    columns = NEWTON_LIMIT + 1
    none = SparseRows(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0), columns)
    sums = ExampleSums(Examples(none, np.zeros(0), np.zeros(0), np.zeros(0)), SQUARED)
    with pytest.raises(ConfigurationError, match="variances: full for 1025 columns"):
        fixed_variances(sums, regularisation_of(SETTINGS, columns, None), np.zeros(columns), "full")


def test_an_entity_of_very_many_columns_is_solved_too() -> None:
    columns, random = NEWTON_LIMIT + 200, np.random.default_rng(0)
    matrix = np.where(random.random((300, columns)) < 0.05, random.normal(size=(300, columns)), 0.0)
    labels = (random.random(300) < 0.5).astype(np.float64)
    examples = Examples(SparseRows.from_dense(matrix), labels, np.ones(300), np.zeros(300))
    rows, _ = group(np.arange(300) // 290, examples)
    assert np.diff(rows.cell_ptr)[0] > NEWTON_LIMIT
    l2 = np.ones(len(rows.cells))
    options = Options(max_iterations=100, tolerance=1e-12)
    terms = CellTerms.ridge(rows, np.ones(columns))
    solution = solve_entities(rows, np.zeros(300), terms, 0.0 * l2, LOGISTIC, options)
    assert solution.unconverged == 0
    gradient = np.zeros(len(rows.cells))
    slopes = LOGISTIC.first(solution.margins, rows.examples.labels)
    entity = np.repeat(np.arange(2), np.diff(rows.row_ptr))[rows.examples.rows.row_of]
    np.add.at(
        gradient,
        rows.cell_ptr[entity] + rows.local,
        rows.examples.rows.values * slopes[rows.examples.rows.row_of],
    )
    np.testing.assert_allclose(gradient + solution.coefficients, 0.0, atol=1e-4)
    variances = entity_variances(rows, np.zeros(300), terms, solution.coefficients, LOGISTIC, "simple")
    assert np.all((variances > 0.0) & (variances <= 1.0))


def test_the_units_of_columns_are_those_of_their_variances(make_glm: Callable) -> None:
    examples, units = make_glm(LOGISTIC).examples, 10.0 ** np.array([-9.0, 0.0, 9.0, 3.0, -3.0, 0.0])
    free = regularisation_of(CoordinateSettings(name="g", kind="fixed", shard="s", l2=0.0), 6, None)
    rows = SparseRows.from_dense(examples.rows.to_dense() * units)
    scaled = fixed_variances(ExampleSums(replace(examples, rows=rows), LOGISTIC), free, np.zeros(6), "full")
    plain = fixed_variances(ExampleSums(examples, LOGISTIC), free, np.zeros(6), "full")
    assert scaled is not None
    np.testing.assert_allclose(scaled * units * units, plain, rtol=1e-6)


def test_an_entity_s_directions_without_curvature_are_those_of_a_fixed_effect() -> None:
    # Columns 1 and 3 are alike, column 4 says nothing, and the second entity has fewer rows than columns.
    matrix = np.random.default_rng(0).normal(size=(12, 6))
    matrix[:10, 3], matrix[:10, 4] = 2.0 * matrix[:10, 1], 0.0
    dense = SparseRows(np.arange(13) * 6, np.tile(np.arange(6, dtype=np.int32), 12), matrix.ravel(), 6)
    examples = Examples(dense, np.ones(12), np.ones(12), np.zeros(12))
    rows, _ = group(np.arange(12) // 10, examples)
    cells, point = CellTerms.ridge(rows, np.zeros(6)), np.zeros(12)
    found = entity_variances(rows, np.zeros(12), cells, point, SQUARED, "full")
    for entity, own in enumerate((slice(0, 10), slice(10, 12))):
        expected = inverse_diagonal(matrix[own].T @ matrix[own])
        np.testing.assert_allclose(found[6 * entity : 6 * entity + 6], expected, rtol=1e-9)
    assert np.isinf(found).tolist() == [False, True, False, True, True, False] + [True] * 6
