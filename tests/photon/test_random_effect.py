from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from photon.cell_terms import CellTerms
from photon.entities import EntityRows, group
from photon.fixed_effect import FixedSolution, solve_fixed
from photon.local import LocalData, fit, penalised
from photon.loss import LOGISTIC, POISSON, RowLoss, loss_of
from photon.objective import Penalty
from photon.optimise import NEWTON_LIMIT, Options, minimise
from photon.random_effect import cell_margins, rows_by_cell, solve_entities
from photon.rows import Examples, Floats, SparseRows
from photon.scoring import score_effect
from photon.settings import CoordinateSettings, FitSettings


def solved(keys: np.ndarray, examples: Examples, l2: Floats, loss: RowLoss) -> tuple[Floats, Floats]:
    """Return the coefficients ``(entities, columns)`` with their zeros, and the margins in the given order."""
    rows, order = group(keys, examples)
    start = np.zeros(len(rows.cells))
    solution = solve_entities(rows, rows.examples.offsets, CellTerms.ridge(rows, l2), start, loss)
    assert solution.unconverged == 0
    dense = np.zeros(len(rows.entities) * examples.rows.columns)
    dense[rows.cells] = solution.coefficients
    margins = np.empty(len(keys))
    margins[order] = solution.margins
    return dense.reshape(len(rows.entities), examples.rows.columns), margins


def test_every_entity_is_a_glm_on_its_own_rows(loss: RowLoss, make_glm: Callable, scipy_optimum: Callable) -> None:
    glm = make_glm(loss, rows=200)
    keys = np.random.default_rng(2).integers(0, 9, 200)
    l2 = np.array([0.3, 1.0, 2.0, 1.0, 1.0, 0.5])
    coefficients, margins = solved(keys, glm.examples, l2, loss)
    for position, key in enumerate(np.unique(keys)):
        own = keys == key
        ex = glm.examples
        expected = scipy_optimum(loss, glm.matrix[own], ex.labels[own], ex.weights[own], ex.offsets[own], l2)
        np.testing.assert_allclose(coefficients[position], expected, atol=1e-7)
        np.testing.assert_allclose(margins[own], glm.matrix[own] @ expected, atol=1e-6)


def test_weight_two_is_a_row_twice_and_weight_zero_a_row_gone(loss: RowLoss, make_glm: Callable) -> None:
    examples = make_glm(loss, rows=40, weighted=False).examples
    keys = np.arange(40) % 3
    times = np.arange(40) % 4 // 2 + (np.arange(40) % 5 == 0)
    rows = np.repeat(np.arange(40), times)
    weighted = Examples(examples.rows, examples.labels, times.astype(np.float64), examples.offsets)
    repeated = Examples(examples.rows.take(rows), examples.labels[rows], np.ones(len(rows)), examples.offsets[rows])
    one, _ = solved(keys, weighted, np.full(6, 0.5), loss)
    other, _ = solved(keys[rows], repeated, np.full(6, 0.5), loss)
    np.testing.assert_allclose(one, other, atol=1e-9)


@pytest.mark.parametrize(("cells", "width"), [(2**31, np.int32), (2**31 + 1, np.int64), (2**33, np.int64)])
def test_cells_beyond_what_32_bits_number_have_numbers(cells: int, width: type[np.signedinteger[Any]]) -> None:
    # An entity of all cells but two, and one of these; views of one number take the place of gigabytes.
    features = SparseRows(np.array([0, 1, 3]), np.array([0, 0, 1], np.int32), np.array([2.0, 5.0, 7.0]), 2)
    nothing = np.zeros(2)
    rows = EntityRows(
        entities=np.array([1, 2]),
        row_ptr=np.array([0, 1, 2]),
        examples=Examples(features, nothing, np.ones(2), nothing),
        cells=np.broadcast_to(np.int64(0), cells),
        cell_ptr=np.array([0, cells - 2, cells]),
        local=np.array([0, 0, 1], np.int32),
    )
    numbered = rows_by_cell(rows)
    assert numbered.indices.tolist() == [0, cells - 2, cells - 1]
    assert numbered.indices.dtype == width
    np.testing.assert_array_equal(cell_margins(rows, np.broadcast_to(0.5, cells)), [1.0, 6.0])


def test_entity_order_and_partitioning_change_nothing(loss: RowLoss, make_glm: Callable) -> None:
    examples = make_glm(loss, rows=90).examples
    keys = np.array(["b", "a", "ü", "long name"])[np.random.default_rng(0).integers(0, 4, 90)]
    whole, margins = solved(keys, examples, np.full(6, 1.0), loss)
    for position, key in enumerate(np.unique(keys)):
        rows = np.flatnonzero(keys == key)
        part = Examples(examples.rows.take(rows), examples.labels[rows], examples.weights[rows], examples.offsets[rows])
        alone, own = solved(keys[rows], part, np.full(6, 1.0), loss)
        np.testing.assert_array_equal(alone[0], whole[position])
        np.testing.assert_array_equal(own, margins[rows])


def test_separable_entities_stay_finite() -> None:
    rows = SparseRows.from_dense(np.ones((5, 1)) * 1e3)
    examples = Examples(rows, np.ones(5), np.ones(5), np.zeros(5))
    coefficients, _ = solved(np.zeros(5, int), examples, np.array([1e-6]), LOGISTIC)
    assert np.isfinite(coefficients).all()
    assert coefficients[0, 0] > 0.0


def test_overflow_on_the_way_is_backed_off_from() -> None:
    # Newton's first step from 0 goes to a margin of 10⁵, where exp is infinite.
    examples = Examples(SparseRows.from_dense(np.ones((4, 1))), np.full(4, 1e5), np.ones(4), np.zeros(4))
    coefficients, _ = solved(np.zeros(4, int), examples, np.array([1e-9]), POISSON)
    np.testing.assert_allclose(coefficients[0, 0], np.log(1e5), rtol=1e-9)
    result = minimise(penalised(examples, POISSON, Penalty(np.array([1e-9]))), np.zeros(1))
    assert result.reason == "converged"
    np.testing.assert_allclose(result.coefficients[0], np.log(1e5), rtol=1e-6)


@pytest.mark.parametrize("task", ["logistic", "linear", "poisson", "gamma", "tweedie"])
def test_wild_features_counts_and_weights_still_converge(task: str, make_labels: Callable) -> None:
    loss, random = loss_of(task), np.random.default_rng(1)
    rows, keys = 1500, np.repeat(np.arange(300), 5)
    matrix = np.where(random.random((rows, 4)) < 0.7, random.normal(scale=16.0, size=(rows, 4)), 0.0)
    matrix[:, -1] = 1.0
    margins = np.clip(matrix @ random.normal(scale=0.3, size=4), -20.0, 12.0)
    weights, offsets = random.uniform(1.0, 30.0, rows), random.normal(scale=5.0, size=rows)
    examples = Examples(SparseRows.from_dense(matrix), make_labels(loss, margins, random), weights, offsets)
    if task == "gamma":
        examples = replace(examples, labels=np.maximum(examples.labels, 1e-12))
    coefficients, found = solved(keys, examples, np.full(4, 0.01), loss)
    gradient = matrix * (weights * loss.first(found + offsets, examples.labels))[:, None]
    curvature = matrix**2 * (weights * loss.second(found + offsets, examples.labels))[:, None]
    slopes = np.add.reduceat(gradient, np.arange(0, rows, 5)) + 0.01 * coefficients
    bends = np.add.reduceat(curvature, np.arange(0, rows, 5)) + 0.01
    assert np.max(slopes**2 / bends) < 1e-7


def test_entities_that_do_not_train_get_nothing(make_glm: Callable) -> None:
    examples = make_glm(LOGISTIC, rows=30).examples
    keys = np.arange(30) % 2
    passive = Examples(examples.rows, examples.labels, np.where(keys == 1, 0.0, 1.0), examples.offsets)
    coefficients, margins = solved(keys, passive, np.full(6, 1.0), LOGISTIC)
    assert np.all(coefficients[1] == 0.0)
    assert np.all(margins[keys == 1] == 0.0)


def test_no_rows_give_no_coefficients(loss: RowLoss) -> None:
    none = Examples(SparseRows.from_dense(np.zeros((0, 3))), np.zeros(0), np.zeros(0), np.zeros(0))
    coefficients, margins = solved(np.zeros(0, int), none, np.ones(3), loss)
    assert coefficients.size == margins.size == 0


@pytest.mark.parametrize("entities", [1, 4])
def test_one_entity_is_a_plain_glm(make_glm: Callable, scipy_optimum: Callable, entities: int) -> None:
    glm = make_glm(LOGISTIC)
    nothing = SparseRows(np.zeros(121, np.int64), np.zeros(0, np.int32), np.zeros(0), 1)
    keys = np.zeros(120, int) if entities == 1 else np.arange(120) % entities
    data = LocalData(
        glm.examples.labels,
        glm.examples.weights,
        glm.examples.offsets,
        {"none": nothing, "all": glm.examples.rows},
        {"key": keys},
        {"all": 5},
    )
    settings = FitSettings(
        task="logistic",
        coordinates=(
            CoordinateSettings(name="fixed", kind="fixed", shard="none", l2=1.0),
            CoordinateSettings(name="per_key", kind="random", shard="all", entity="key", l2=1.0),
        ),
    )
    fitted = fit(data, settings)
    scores = score_effect(fitted.model.effects[1], glm.examples.rows, keys)
    own = keys == 0
    expected = scipy_optimum(
        LOGISTIC,
        glm.matrix[own],
        *(getattr(glm.examples, n)[own] for n in ("labels", "weights", "offsets")),
        np.ones(6),
    )
    np.testing.assert_allclose(scores[own], glm.matrix[own] @ expected, atol=1e-7)


def test_penalty_of_cells_is_that_of_their_columns(make_glm: Callable) -> None:
    rows, _ = group(np.arange(120) % 5, make_glm(LOGISTIC).examples)
    l2 = Penalty.ridge(3.0, 6, intercept=5, penalise_intercept=False).l2
    np.testing.assert_array_equal(CellTerms.ridge(rows, l2).l2, np.where(rows.cell_columns == 5, 0.0, 3.0))


def test_an_entity_too_large_for_a_hessian_gets_none_whatever_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    random, columns = np.random.default_rng(0), NEWTON_LIMIT + 1
    examples = Examples(SparseRows.from_dense(random.normal(size=(3, columns))), np.ones(3), np.ones(3), np.zeros(3))
    rows, _ = group(np.zeros(3, np.int64), examples)
    methods = []

    def watched(*given: Any) -> FixedSolution:
        methods.append((solution := solve_fixed(*given)).result.method)
        return solution

    monkeypatch.setattr("photon.random_effect.solve_fixed", watched)
    terms = CellTerms.ridge(rows, np.ones(columns))
    solve_entities(rows, np.zeros(3), terms, np.zeros(columns), LOGISTIC, Options("newton", 1e-9, 100))
    assert methods == ["lbfgs"]
