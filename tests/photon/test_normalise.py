from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon.cell_terms import CellTerms
from photon.entities import group
from photon.fixed_effect import ExampleSums, solve_fixed
from photon.loss import LOGISTIC, RowLoss, loss_of
from photon.normalise import FeatureStatistics, Scaling, scaling_for
from photon.objective import Penalty
from photon.optimise import Options
from photon.random_effect import solve_entities
from photon.regularisation import Regularisation, regularisation_of, with_prior
from photon.rows import Examples, Floats, SparseRows
from photon.settings import Bound, CoordinateSettings, Normalisation
from yarnmill.errors import ConfigurationError

KINDS: tuple[Normalisation, ...] = ("max_magnitude", "standard_deviation", "standardization")


def statistics_of(matrix: Floats, weights: Floats | None = None) -> FeatureStatistics:
    return FeatureStatistics.of(SparseRows.from_dense(matrix), np.ones(len(matrix)) if weights is None else weights)


def regularisation(glm: Any, kind: Normalisation, l2: float, l1: float = 0.0, *, intercept: bool = False) -> Any:
    settings = CoordinateSettings(
        name="g", kind="fixed", shard="s", l2=l2, l1=l1, normalisation=kind, penalise_intercept=intercept
    )
    statistics = FeatureStatistics.of(glm.examples.rows, glm.examples.weights)
    return regularisation_of(settings, glm.matrix.shape[1], glm.matrix.shape[1] - 1, statistics)


def test_statistics_are_numpys() -> None:
    random = np.random.default_rng(0)
    matrix = np.where(random.random((50, 4)) < 0.5, random.normal(3.0, 2.0, (50, 4)), 0.0)
    matrix[:, 3] = -7.5
    weights = random.choice([0.0, 0.5, 2.0], 50)
    found, kept = statistics_of(matrix, weights), weights > 0.0
    np.testing.assert_allclose(found.mean, np.average(matrix, axis=0, weights=weights))
    np.testing.assert_allclose(found.variance, np.cov(matrix.T, aweights=weights, ddof=0).diagonal(), atol=1e-12)
    np.testing.assert_array_equal(found.minimum, matrix[kept].min(axis=0))
    np.testing.assert_array_equal(found.maximum, matrix[kept].max(axis=0))
    np.testing.assert_array_equal(found.nonzeros, np.count_nonzero(matrix[kept], axis=0))
    np.testing.assert_array_equal(found.max_magnitude, np.abs(matrix[kept]).max(axis=0))
    assert (found.rows, found.weight) == (int(kept.sum()), weights.sum())


@given(st.integers(0, 30), st.integers(0, 30), st.floats(-1e6, 1e6))
def test_statistics_of_parts_add_up(first: int, second: int, centre: float) -> None:
    random = np.random.default_rng(first)
    matrix = np.where(random.random((30, 3)) < 0.7, random.normal(centre, 1.0, (30, 3)), 0.0)
    weights = random.choice([0.0, 1.0, 3.0], 30)
    cuts = sorted((first, second))
    parts = [slice(0, cuts[0]), slice(cuts[0], cuts[1]), slice(cuts[1], 30)]
    one, two, three = (statistics_of(matrix[part], weights[part]) for part in parts)
    whole = statistics_of(matrix, weights)
    for total in (one + two + three, one + (two + three), three + one + two):
        for name in ("rows", "weight", "mean", "squares", "minimum", "maximum", "nonzeros"):
            scale = max(1.0, centre * centre) if name == "squares" else max(1.0, abs(centre))
            np.testing.assert_allclose(getattr(total, name), getattr(whole, name), rtol=1e-9, atol=1e-11 * scale)


def test_weight_two_is_a_row_twice() -> None:
    matrix = np.random.default_rng(1).normal(size=(9, 3))
    times = np.array([0, 1, 2, 1, 1, 2, 0, 3, 1])
    one, other = statistics_of(matrix, times.astype(np.float64)), statistics_of(np.repeat(matrix, times, axis=0))
    np.testing.assert_allclose(one.variance, other.variance)
    np.testing.assert_allclose(one.mean, other.mean)


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind: Normalisation, make_glm: Callable) -> None:
    glm = make_glm(LOGISTIC)
    scaling = scaling_for(kind, statistics_of(glm.matrix), 5)
    assert scaling is not None
    point, other = np.random.default_rng(0).normal(size=(2, 6))
    np.testing.assert_allclose(scaling.original(scaling.normalised(point)), point)
    turned = (glm.matrix - scaling.shifts) * scaling.factors
    np.testing.assert_allclose(turned @ point, glm.matrix @ scaling.original(point), atol=1e-12)
    # Tᵀ is the transpose of T.
    np.testing.assert_allclose(scaling.gradient(other) @ point, other @ scaling.original(point))
    np.testing.assert_allclose(scaling.hessian(glm.matrix.T @ glm.matrix), turned.T @ turned, atol=1e-9)
    l2 = np.arange(6.0)
    inverse = np.linalg.inv(np.column_stack([scaling.original(column) for column in np.eye(6)]))
    np.testing.assert_allclose(scaling.penalty_hessian(l2), inverse.T @ np.diag(l2) @ inverse, atol=1e-10)
    np.testing.assert_allclose(scaling.penalty_diagonal(l2), scaling.penalty_hessian(l2).diagonal())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("method", "l1"), [("newton", 0.0), ("newton", 4.0), ("lbfgs", 0.0), ("owlqn", 4.0), ("tron", 0.0)]
)
def test_folded_is_normalising_the_data(
    loss: RowLoss, make_glm: Callable, kind: Normalisation, method: Any, l1: float
) -> None:
    glm = make_glm(loss)
    terms = regularisation(glm, kind, 2.0, l1)
    options = Options(method, tolerance=1e-14, max_iterations=1000)
    found = solve_fixed(ExampleSums(glm.examples, loss), terms, np.zeros(6), options)
    turned = (glm.matrix - terms.scaling.shifts) * terms.scaling.factors
    examples = Examples(SparseRows.from_dense(turned), glm.examples.labels, glm.examples.weights, glm.examples.offsets)
    plain = Regularisation(terms.penalty, terms.lower, terms.upper)
    expected = solve_fixed(ExampleSums(examples, loss), plain, np.zeros(6), Options("newton", 1e-14))
    assert found.result.reason == "converged"
    np.testing.assert_allclose(terms.normalised(found.coefficients), expected.coefficients, atol=1e-5)
    np.testing.assert_allclose(found.penalty, expected.penalty, rtol=1e-5)
    np.testing.assert_allclose(found.data_loss, expected.data_loss, rtol=1e-5)
    np.testing.assert_allclose(found.result.value, expected.result.value, rtol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["logistic", "linear", "poisson", "gamma", "tweedie"])  # a hinge's optimum is a set
def test_without_penalty_normalisation_changes_nothing(task: str, make_glm: Callable, kind: Normalisation) -> None:
    loss = loss_of(task)
    glm = make_glm(loss)
    sums, options = ExampleSums(glm.examples, loss), Options(tolerance=1e-15)
    plain = solve_fixed(sums, regularisation(glm, "none", 0.0), np.zeros(6), options).coefficients
    found = solve_fixed(sums, regularisation(glm, kind, 0.0), np.zeros(6), options).coefficients
    np.testing.assert_allclose(found, plain, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("l1", [0.0, 1.5])
@pytest.mark.parametrize("bounded", [False, True])
def test_entities_are_fixed_effects_of_their_own_rows(
    loss: RowLoss, make_glm: Callable, kind: Normalisation, l1: float, *, bounded: bool
) -> None:
    glm = make_glm(loss, rows=150)
    terms = regularisation(glm, kind, 1.0, l1, intercept=True)
    if bounded:
        lower, upper = np.full(6, -np.inf), np.full(6, np.inf)
        lower[1], upper[0], upper[2] = 0.05, 0.1, -0.1
        terms = Regularisation(terms.penalty, lower, upper, terms.scaling)
    keys = np.arange(150) % 4
    rows, _ = group(keys, glm.examples)
    random = np.random.default_rng(0)
    has_prior = random.random(len(rows.cells)) < 0.5
    cells = CellTerms.of(rows, terms).with_prior(
        random.normal(scale=0.3, size=len(rows.cells)), np.where(has_prior, 0.5, 0.0), 2.0
    )
    solution = solve_entities(rows, rows.examples.offsets, cells, np.zeros(len(rows.cells)), loss)
    assert solution.unconverged == 0
    total = 0.0
    for entity in range(4):
        own = slice(rows.row_ptr[entity], rows.row_ptr[entity + 1])
        part = slice(rows.cell_ptr[entity], rows.cell_ptr[entity + 1])
        examples = Examples(
            SparseRows.from_dense(rows.examples.rows.slice(own.start, own.stop).to_dense()[:, rows.cell_columns[part]]),
            *(getattr(rows.examples, name)[own] for name in ("labels", "weights", "offsets")),
        )
        size = part.stop - part.start
        expected = solve_fixed(
            ExampleSums(examples, loss), cells.of_entity(entity), np.zeros(size), Options(tolerance=1e-14)
        )
        np.testing.assert_allclose(solution.coefficients[part], expected.coefficients, atol=2e-6)
        total += expected.penalty
    np.testing.assert_allclose(cells.value(solution.coefficients), total, rtol=1e-5)


def test_a_constant_column_stays_as_it_is() -> None:
    matrix = np.column_stack([np.full(7, 0.1), np.arange(7.0), np.zeros(7), np.ones(7)])
    scaling = scaling_for("standardization", statistics_of(matrix), 3)
    assert isinstance(scaling, Scaling)
    np.testing.assert_allclose(scaling.factors, [1.0, 0.5, 1.0, 1.0])
    np.testing.assert_allclose(scaling.shifts, [0.0, 3.0, 0.0, 0.0])


def test_shifts_need_an_intercept_without_bounds(make_glm: Callable) -> None:
    statistics = statistics_of(make_glm(LOGISTIC).matrix)
    with pytest.raises(ConfigurationError, match="standardization without an intercept"):
        scaling_for("standardization", statistics, None)
    settings = CoordinateSettings(
        name="g",
        kind="fixed",
        shard="s",
        l2=1.0,
        normalisation="standardization",
        bounds=(Bound(column=5, lower=0.0),),
    )
    with pytest.raises(ConfigurationError, match="g: bounds: the intercept is bounded"):
        regularisation_of(settings, 6, 5, statistics)


def test_bounds_of_all_leave_the_intercept_free_and_later_ones_win() -> None:
    bounds = (Bound(lower=0.0), Bound(column=1, upper=2.0))
    settings = CoordinateSettings(name="g", kind="fixed", shard="s", l2=1.0, bounds=bounds)
    terms = regularisation_of(settings, 3, 2)
    np.testing.assert_array_equal(terms.lower, [0.0, -np.inf, -np.inf])
    np.testing.assert_array_equal(terms.upper, [np.inf, 2.0, np.inf])
    assert isinstance(terms.penalty, Penalty)
    with pytest.raises(ConfigurationError, match="no column 3"):
        regularisation_of(
            CoordinateSettings(name="g", kind="fixed", shard="s", l2=1.0, bounds=(Bound(column=3, lower=0.0),)), 3, 2
        )


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_hold_to_the_last_bit_under_normalisation(make_glm: Callable, kind: Normalisation) -> None:
    glm = make_glm(LOGISTIC, rows=60, columns=60)
    settings = CoordinateSettings(
        name="g", kind="fixed", shard="s", l2=0.1, normalisation=kind, bounds=(Bound(lower=-0.1, upper=0.1),)
    )
    statistics = FeatureStatistics.of(glm.examples.rows, glm.examples.weights)
    terms = regularisation_of(settings, 60, 59, statistics)
    found = solve_fixed(ExampleSums(glm.examples, LOGISTIC), terms, np.zeros(60)).coefficients[:59]
    assert np.count_nonzero(np.abs(found) == 0.1) > 20
    assert np.all(np.abs(found) <= 0.1)
    rows, _ = group(np.zeros(60, np.int64), glm.examples)
    cells = CellTerms.of(rows, terms)
    own = solve_entities(rows, rows.examples.offsets, cells, np.zeros(len(rows.cells)), LOGISTIC).coefficients
    assert np.all((cells.lower <= own) & (own <= cells.upper))


def test_the_normalised_diagonal_is_that_of_the_whole_hessian(make_glm: Callable) -> None:
    glm = make_glm(LOGISTIC)
    terms = with_prior(regularisation(glm, "standardization", 0.7), np.zeros(6), np.full(6, 0.4), 1.0)
    sums, point, intercept = ExampleSums(glm.examples, LOGISTIC), np.full(6, 0.1), np.eye(6)[5]
    whole = terms.added_to(sums.derivatives(terms.original(point), hessian=True), point).hessian
    found = terms.normalised_diagonal(
        sums.hessian_diagonal(terms.original(point)), sums.products(terms.original(point), intercept)
    )
    assert whole is not None
    np.testing.assert_allclose(found, np.diag(whole), rtol=1e-10)
