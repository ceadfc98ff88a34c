"""Rewards by unit: what is counted, what is compared, and how often the intervals miss the truth."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yarnmill.errors import NotFoundError
from yarnmill.experiments.intervals import Moments, mean_interval
from yarnmill.experiments.rewards import Rewards, compare_rewards, rewards_of
from yarnmill.registry import Rule
from yarnmill.registry.records import Destination

ALPHA = 0.05
RULE = Rule(destinations=(Destination(version=1, weight=80.0), Destination(version=2, weight=20.0)))
LOG = pa.schema({"version": pa.int64(), "arm": pa.string(), "unit": pa.string(), "session_id": pa.string()}).append(
    pa.field("label", pa.float64())
)

names = st.sampled_from(["a", "b", "c"])
log_rows = st.fixed_dictionaries(
    {
        "version": st.integers(1, 3),
        "arm": st.sampled_from(["experiment", "experiment", "mirror", "named", "main"]),
        "unit": st.none() | names,
        "session_id": names,
        "label": st.none() | st.integers(-3, 3).map(float),
    }
)


@pytest.mark.slow
@given(st.lists(log_rows, max_size=40))
def test_a_unit_is_one_observation_and_a_session_stands_for_one_that_has_no_name(rows: list[dict[str, Any]]) -> None:
    labels: dict[int, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["arm"] == "experiment" and row["label"] is not None:
            unit = ("session", row["session_id"]) if row["unit"] is None else ("unit", row["unit"])
            labels[row["version"]][unit].append(row["label"])
    found = rewards_of(pa.Table.from_pylist(rows, LOG))
    assert found.keys() == labels.keys()
    for version, units in labels.items():
        means = [sum(values) / len(values) for values in units.values()]
        assert found[version].labels == sum(map(len, units.values()))
        assert found[version].units.count == len(means)
        assert found[version].units.total == pytest.approx(sum(means))
        assert found[version].units.squares == pytest.approx(sum(mean * mean for mean in means))


def rewards(*means: float) -> Rewards:
    squares = sum(mean * mean for mean in means)
    return Rewards(labels=9 * len(means), units=Moments(count=len(means), total=sum(means), squares=squares))


def test_versions_are_compared_with_the_largest_share_of_those_that_have_labels() -> None:
    found = {1: rewards(*[0.0, 1.0] * 500), 2: rewards(*[0.9, 1.1] * 500), 7: rewards(*[0.4, 0.6] * 20)}
    comparison = compare_rewards(found, RULE, beside=None, alpha=ALPHA)
    one, two, gone = comparison.arms
    assert (comparison.beside, one.higher_reward, gone.share) == (1, None, None)
    assert (two.units, two.labels, two.share) == (1_000, 9_000, 20.0)
    assert two.higher_reward is not None
    assert 0.4 < two.higher_reward.lower < 0.5 == two.higher_reward.estimate < two.higher_reward.upper < 0.6
    assert compare_rewards({2: found[2], 7: found[7]}, RULE, beside=None, alpha=ALPHA).beside == 2
    assert compare_rewards(found, RULE, beside=7, alpha=ALPHA).arms[0].higher_reward is not None
    with pytest.raises(NotFoundError, match="version 3 has no labels"):
        compare_rewards(found, RULE, beside=3, alpha=ALPHA)
    with pytest.raises(NotFoundError, match="no label") as caught:
        compare_rewards({}, RULE, beside=None, alpha=ALPHA)
    assert "feedback" in caught.value.mend


def test_nothing_is_sure_while_nobody_has_had_a_rare_reward() -> None:
    found = {1: rewards(*[0.0] * 1_000), 2: rewards(*[0.0] * 500, *[1.0] * 500)}
    one, two = compare_rewards(found, RULE, beside=None, alpha=ALPHA).arms
    assert two.higher_reward is not None
    for interval in (one.reward, two.higher_reward):
        assert (interval.lower, interval.upper) == (-math.inf, math.inf)
    assert math.isfinite(two.reward.lower)


# Of four units three are rewarded at a tenth of their requests, one at nine tenths.
TRUTH = 0.3
RUNS, REQUESTS = 300, 4_000
LOOKS = np.unique(np.geomspace(40, REQUESTS, 40).astype(int))
Numbers = npt.NDArray[np.int64]


def one_after_another(_rng: np.random.Generator) -> Numbers:
    """Return the unit of each request: each unit makes ten and is not seen again."""
    return np.tile(np.arange(REQUESTS) // 10, (RUNS, 1))


def coming_back(rng: np.random.Generator) -> Numbers:
    """Return the unit of each request: any of those there are, and with every fifth request there is one more."""
    there = 1 + 0.2 * np.arange(REQUESTS)
    return (rng.random((RUNS, REQUESTS)) * there).astype(np.int64)


def all_there_from_the_beginning(rng: np.random.Generator) -> Numbers:
    """Return the unit of each request: any of a hundred."""
    return rng.integers(0, 100, (RUNS, REQUESTS))


def looked_at(units: Numbers, rng: np.random.Generator) -> Iterator[tuple[list[Moments], list[Moments]]]:
    """Yield at each look the moments of all runs by request and by unit."""
    most = int(units.max()) + 1
    rates = np.where(rng.random((RUNS, most)) < 0.25, 0.9, 0.1)
    rewarded = rng.random((RUNS, REQUESTS)) < np.take_along_axis(rates, units, axis=1)
    places = units + most * np.arange(RUNS)[:, np.newaxis]
    counts, sums = np.zeros(RUNS * most), np.zeros(RUNS * most)
    for start, stop in zip((0, *LOOKS), LOOKS, strict=False):
        new = places[:, start:stop].ravel()
        counts += np.bincount(new, minlength=len(counts))
        sums += np.bincount(new, rewarded[:, start:stop].ravel(), minlength=len(sums))
        means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0).reshape(RUNS, most)
        totals, seen = sums.reshape(RUNS, most).sum(1), (counts > 0).reshape(RUNS, most).sum(1)
        by_request = [Moments(count=float(stop), total=total, squares=total) for total in totals]
        squares = (means**2).sum(1)
        by_unit = [
            Moments(count=float(count), total=total, squares=square)
            for count, total, square in zip(seen, means.sum(1), squares, strict=True)
        ]
        yield by_request, by_unit


@pytest.mark.parametrize("arriving", [one_after_another, coming_back, all_there_from_the_beginning])
def test_units_are_covered_at_all_moments_where_requests_are_not(
    arriving: Callable[[np.random.Generator], Numbers],
) -> None:
    rng = np.random.default_rng(5)
    missed = np.zeros((2, RUNS), bool)
    for look in looked_at(arriving(rng), rng):
        for kind, moments in enumerate(look):
            ends = [mean_interval(one, ALPHA) for one in moments]
            missed[kind] |= [not one.lower <= TRUTH <= one.upper for one in ends]
    by_request, by_unit = missed.mean(axis=1)
    assert by_unit <= ALPHA
    assert by_request > 4 * ALPHA
