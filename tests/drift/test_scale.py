"""By what series are counted, and that counts add up whatever the order."""

from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yarnmill.drift.profile import Profile
from yarnmill.drift.scale import Kind, Scale, scale_of
from yarnmill.records import canonical_json, parse_json

RNG = np.random.default_rng(11)
NUMBERS = st.lists(st.one_of(st.just(0.0), st.just(float("nan")), st.floats(-1e6, 1e6)), max_size=30)
TEXTS = st.lists(st.one_of(st.none(), st.sampled_from(["", "Bern", "Rome", "Oslo", "new"])), max_size=30)
BAGS = st.lists(st.dictionaries(st.sampled_from(["Drama", "War", "new"]), st.just(1.0)), max_size=30)
SCALES: dict[Kind, Scale] = {
    "number": Scale(kind="number", edges=(-1.0, 0.0, 5.0), centre=1.0),
    "text": Scale(kind="text", terms=("Rome", "Bern", "Oslo")),
    "bag": Scale(kind="bag", terms=("Drama", "War")),
}
ROWS: dict[Kind, Any] = {"number": NUMBERS, "text": TEXTS, "bag": BAGS}


def same(one: Profile, other: Profile) -> None:
    assert (one.counts, one.rows, one.missing, one.zeros) == (other.counts, other.rows, other.missing, other.zeros)
    assert one.total == pytest.approx(other.total, rel=1e-9, abs=1e-3)
    assert one.squares == pytest.approx(other.squares, rel=1e-9, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SCALES)
@given(data=st.data())
def test_profiles_add_up_in_any_order_and_grouping(kind: Kind, data: st.DataObject) -> None:
    scale = SCALES[kind]
    parts = [data.draw(ROWS[kind]) for _ in range(3)]
    one, two, three = (scale.count(part) for part in parts)
    same(one.merge(two), two.merge(one))
    same(one.merge(two).merge(three), one.merge(two.merge(three)))
    same(one.merge(two).merge(three), scale.count([row for part in parts for row in part]))
    assert one.merge(scale.nothing()) == one
    if kind != "bag":
        assert sum(one.counts) == one.known


def test_profiles_by_other_scales_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="shorter"):
        SCALES["text"].nothing().merge(SCALES["bag"].nothing())


def test_bins_hold_about_as_many_rows_each_and_nothing_of_the_reference_lies_outside() -> None:
    values = RNG.lognormal(size=10_000)
    scale = scale_of("number", values)
    counts = scale.count(values).counts
    assert (counts[0], counts[-1], len(counts)) == (0, 0, 22)
    assert min(counts[1:-1]) >= 450
    assert max(counts[1:-1]) <= 550
    assert scale.count([0.0, 1e9]).counts == (1, *[0] * 20, 1)


def test_a_value_that_is_frequent_has_a_bin_of_its_own() -> None:
    values = np.concatenate([np.zeros(600), RNG.normal(size=400)])
    scale = scale_of("number", values)
    own = int(np.searchsorted(scale.edges, 0.0))
    assert scale.count(values).counts[own] == 600
    assert scale.count([-1e-300, 1e-300]).counts[own] == 0


@pytest.mark.parametrize(
    "values", [[5.0] * 40, [np.nan] * 5, [], [1.0, 2.0], [np.inf, -np.inf, 3.0], [0.0, 1.0] * 50, [1e308] * 9]
)
def test_any_reference_gives_a_scale_that_a_file_can_hold(values: list[float]) -> None:
    scale = scale_of("number", np.array(values))
    assert parse_json(canonical_json(scale), Scale, source="scale") == scale
    profile = scale.count([*values, np.inf, 1e308, -1e308, 1e-308])
    assert profile.rows == len(values) + 4
    assert parse_json(canonical_json(profile), Profile, source="profile") == profile
    assert list(scale.edges) == sorted(set(scale.edges))


def test_a_constant_leaves_room_for_what_is_above_and_below() -> None:
    scale = scale_of("number", np.full(100, 5.0))
    assert scale.count([4.9, 5.0, 5.0, 5.1]).counts == (1, 2, 1)


def test_means_and_deviations_of_large_numbers_that_hardly_differ_are_right() -> None:
    values = 1.7e9 + RNG.normal(size=1_000)
    scale = scale_of("number", values)
    profile = scale.count(values[:500]).merge(scale.count(values[500:]))
    assert profile.mean(scale.centre) == pytest.approx(values.mean(), rel=1e-12)
    assert profile.deviation == pytest.approx(values.std(), rel=1e-6)
    assert scale.nothing().mean(0.0) is None


def test_the_most_frequent_texts_are_kept_and_none_that_tells_of_one_row_alone() -> None:
    texts = ["Rome"] * 3 + ["Bern"] * 3 + ["Oslo"] * 2 + ["ann@example.com", "x" * 500, "x" * 500, None]
    scale = scale_of("text", texts)
    assert scale.terms == ("Bern", "Rome", "Oslo")
    profile = scale.count(["Rome", "Paris", None, "", "Oslo"])
    assert (profile.counts, profile.missing, profile.zeros, profile.rows) == ((0, 1, 1, 2), 1, 1, 5)
    assert len(scale_of("text", [str(number % 900) for number in range(3_000)]).terms) == 50


def test_bags_are_counted_by_term_and_by_what_nobody_knows() -> None:
    scale = scale_of("bag", [{"Drama": 1.0, "War": 2.0}, {"Drama": 1.0}, {"War": 1.0}, {"Rare": 1.0}])
    profile = scale.count([{"Drama": 1.0, "Rare": 1.0}, {"Rare": 1.0}, {}, {"War": 1.0, "Drama": 1.0}])
    assert scale.terms == ("Drama", "War")
    assert (profile.counts, profile.missing, profile.zeros) == ((2, 1, 2), 2, 1)


def test_counts_that_nobody_can_have_counted_are_refused() -> None:
    with pytest.raises(ValueError, match="no counts"):
        Profile(counts=(1,), rows=1, missing=2)
    assert reduce(Profile.merge, [Profile(counts=(1,), rows=1)] * 3).rows == 3
