"""Shares hold, units stay, and a change of shares moves no more of them than it must."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.arms import Arms, place_in_layer

UNITS = [f"user-{number}" for number in range(20_000)]

shares_of_versions = st.lists(st.integers(1, 10_000), min_size=1, max_size=6).map(
    lambda weights: dict(enumerate(weights, 1))
)


@pytest.mark.slow
def test_units_are_divided_by_the_shares() -> None:
    shares = {1: 9_000, 2: 900, 3: 99, 4: 1}
    arms = Arms("rater", shares)
    seen = Counter(arms.choose(f"unit {number}") for number in range(100_000))
    for version, share in shares.items():
        expected = share * 10
        assert abs(seen[version] - expected) <= 5 * expected**0.5 + 1


def test_requests_without_a_unit_are_divided_by_the_shares() -> None:
    arms = Arms("rater", {7: 7_500, 9: 2_500})
    seen = Counter(arms.choose(None) for _ in range(100_000))
    assert set(seen) == {7, 9}
    assert abs(seen[7] - 75_000) < 700


@given(shares_of_versions, st.text())
def test_a_unit_is_answered_by_the_same_version_wherever_it_is_asked(shares: dict[int, int], unit: str) -> None:
    chosen = Arms("rater", shares).choose(unit)
    assert chosen in shares
    assert Arms("rater", dict(reversed(shares.items()))).choose(unit) == chosen
    doubled = {version: 2 * share for version, share in shares.items()}
    assert Arms("rater", doubled).choose(unit) == chosen


@given(shares_of_versions, st.integers(1, 10_000), st.text())
def test_a_version_that_grows_loses_nobody(shares: dict[int, int], growth: int, unit: str) -> None:
    before = Arms("rater", shares).choose(unit)
    after = Arms("rater", {**shares, 1: shares[1] + growth}).choose(unit)
    assert after in {before, 1}


@pytest.mark.slow
def test_a_ramp_keeps_everybody_who_was_moved() -> None:
    moved: set[str] = set()
    for share in (100, 500, 2_500, 5_000, 9_999):
        arms = Arms("rater", {1: 10_000 - share, 2: share})
        now = {unit for unit in UNITS if arms.choose(unit) == 2}
        assert moved < now
        assert abs(len(now) - len(UNITS) * share / 10_000) < 400
        moved = now


def test_another_model_draws_anew() -> None:
    one, other = (Arms(model, {1: 1, 2: 1}) for model in ("rater", "ranker"))
    same = sum(one.choose(unit) == other.choose(unit) for unit in UNITS)
    assert abs(same - len(UNITS) / 2) < 500


@pytest.mark.slow
def test_places_in_a_layer_are_even_and_have_nothing_to_do_with_each_other_or_with_the_draw() -> None:
    arms = Arms("rater", {1: 1, 2: 1})
    units = [f"unit {number}" for number in range(40_000)]
    cells = Counter(
        (place_in_layer("ranking", unit) // 2_500, place_in_layer("colours", unit) // 2_500, arms.choose(unit))
        for unit in units
    )
    assert len(cells) == 32
    expected = len(units) / 32
    assert sum((count - expected) ** 2 / expected for count in cells.values()) < 62  # chi-squared, 31 degrees: 0.1 %
    places = [place_in_layer("ranking", unit) for unit in units]
    assert min(places) >= 0
    assert max(places) < 10_000
