"""Measures against SciPy's, and against what is true of them whatever the counts."""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2, chi2_contingency, entropy, fisher_exact, ks_2samp

from yarnmill.drift.measures import (
    expected_stability_index,
    jensen_shannon,
    kolmogorov_smirnov,
    population_stability_index,
)
from yarnmill.drift.significance import chi_square_tail, homogeneity_p_value, more_often_p_value

CELLS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=30)
Pairs = list[tuple[int, int]]


def sides(pairs: Pairs) -> tuple[list[int], list[int]]:
    one, other = ([pair[side] for pair in pairs] for side in (0, 1))
    assume(sum(one) and sum(other))
    return one, other


@given(CELLS)
def test_distances_are_those_of_scipy(pairs: Pairs) -> None:
    one, other = sides(pairs)
    assume(sum(one) + sum(other) > 2)  # for a row each SciPy divides by zero
    assert jensen_shannon(one, other) == pytest.approx(jensenshannon(one, other, base=2), abs=1e-7)
    values = [np.repeat(np.arange(len(pairs)), counts) for counts in (one, other)]
    assert kolmogorov_smirnov(one, other) == pytest.approx(ks_2samp(*values, method="asymp").statistic, abs=1e-12)


@given(CELLS)
def test_the_stability_index_is_both_divergences_together(pairs: Pairs) -> None:
    one, other = ([count + 1 for count in side] for side in sides(pairs))
    expected = entropy(one, other) + entropy(other, one)
    assert population_stability_index(one, other) == pytest.approx(expected, abs=1e-9)


@given(CELLS, st.integers(1, 50))
def test_the_same_shares_are_no_distance_whatever_the_rows(pairs: Pairs, times: int) -> None:
    one, _ = sides(pairs)
    more = [count * times for count in one]
    assert population_stability_index(one, more) == pytest.approx(0.0, abs=1e-12)
    assert kolmogorov_smirnov(one, more) == pytest.approx(0.0, abs=1e-12)
    assert jensen_shannon(one, more) == pytest.approx(0.0, abs=1e-7)
    assert homogeneity_p_value(one, more) == pytest.approx(1.0)


@given(CELLS)
def test_distances_are_symmetric_and_bounded(pairs: Pairs) -> None:
    one, other = sides(pairs)
    for measure in (jensen_shannon, kolmogorov_smirnov, population_stability_index):
        assert measure(one, other) == pytest.approx(measure(other, one), abs=1e-9)
        assert measure(one, other) >= 0.0
    assert max(jensen_shannon(one, other), kolmogorov_smirnov(one, other)) <= 1.0 + 1e-12


def test_what_has_nothing_in_common_is_as_far_as_can_be() -> None:
    assert jensen_shannon([5, 0], [0, 9]) == 1.0
    assert kolmogorov_smirnov([5, 0], [0, 9]) == 1.0
    assert population_stability_index([5_000, 0], [0, 9_000]) > 10.0


@given(CELLS, CELLS)
def test_jensen_and_shannon_made_a_metric(pairs: Pairs, more: Pairs) -> None:
    one, other = sides(pairs)
    third = [pair[0] for pair in (more * len(pairs))[: len(pairs)]]
    assume(sum(third))
    direct = jensen_shannon(one, other)
    assert direct <= jensen_shannon(one, third) + jensen_shannon(third, other) + 1e-7


@pytest.mark.parametrize(("rows", "reference_rows"), [(100, 1_000), (400, 400), (5_000, 20_000)])
def test_without_drift_the_index_is_by_chance_what_is_expected(rows: int, reference_rows: int) -> None:
    rng, shares = np.random.default_rng(3), np.full(20, 0.05)
    found, expected = [], []
    for _ in range(400):
        one, other = (rng.multinomial(each, shares).tolist() for each in (reference_rows, rows))
        found.append(population_stability_index(one, other))
        expected.append(expected_stability_index(one, other))
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.15)


@given(st.floats(0.0, 300.0), st.integers(1, 120))
@example(5e-324, 2)
def test_the_chi_square_tail_is_that_of_scipy(statistic: float, degrees: int) -> None:
    assert chi_square_tail(statistic, degrees) == pytest.approx(chi2.sf(statistic, degrees), rel=1e-8, abs=1e-14)


def test_the_test_of_homogeneity_is_pearsons_where_every_cell_is_large() -> None:
    one, other = [50, 60, 70, 80], [40, 90, 60, 75]
    expected = chi2_contingency([one, other], correction=False).pvalue
    assert homogeneity_p_value(one, other) == pytest.approx(expected, rel=1e-9)
    assert homogeneity_p_value(one, other, is_ordered=False) == pytest.approx(expected, rel=1e-9)
    assert homogeneity_p_value([5, 5], [1, 1]) == 1.0  # too few for any cell
    assert homogeneity_p_value([5, 5], [0, 0]) == 1.0


@pytest.mark.parametrize("rows", [20, 60, 200, 1_000])
@pytest.mark.parametrize("is_ordered", [True, False])
def test_p_values_are_small_as_seldom_as_they_should_be(rows: int, is_ordered: bool) -> None:  # noqa: FBT001  # a case
    rng = np.random.default_rng(4)
    shares = rng.dirichlet(np.full(22, 0.7))
    found = []
    for _ in range(1_000):
        one, other = (rng.multinomial(each, shares).tolist() for each in (1_000, rows))
        found.append(homogeneity_p_value(one, other, is_ordered=is_ordered))
    assert np.mean(np.array(found) < 0.05) < 0.075
    assert np.mean(np.array(found) < 0.005) < 0.015


@given(st.integers(0, 60), st.integers(1, 80), st.integers(0, 60), st.integers(1, 80))
def test_rates_are_compared_by_fishers_test(known: int, known_rows: int, seen: int, rows: int) -> None:
    assume(known <= known_rows and seen <= rows)
    expected = fisher_exact([[seen, rows - seen], [known, known_rows - known]], alternative="greater").pvalue
    assert more_often_p_value((known, known_rows), (seen, rows)) == pytest.approx(expected, rel=1e-7, abs=1e-12)


def test_rates_of_many_rows_are_compared_as_well() -> None:
    assert more_often_p_value((3_000, 100_000), (300, 10_000)) == pytest.approx(0.5)
    assert more_often_p_value((3_000, 100_000), (400, 10_000)) < 1e-6
    assert more_often_p_value((3_000, 100_000), (200, 10_000)) > 0.999
    assert more_often_p_value((5_000, 5_000), (5_000, 5_000)) == 1.0
    assert more_often_p_value((0, 100), (0, 0)) == 1.0


def test_nothing_can_be_compared_with_nothing() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        jensen_shannon([1, 2], [0, 0])
