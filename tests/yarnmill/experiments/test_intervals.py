"""Intervals that hold at all moments at once: their ends by another way, and how often they miss the truth."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from yarnmill.experiments.intervals import Moments, mean_difference, mean_interval, share_difference, share_interval

ALPHA = 0.05


def ratio(successes: int, trials: int, share: float) -> float:
    """Return the mixture's likelihood over a share's: SciPy's own distributions."""
    mixture = stats.betabinom.logpmf(successes, trials, 0.5, 0.5)
    return float(np.exp(mixture - stats.binom.logpmf(successes, trials, share)))


@given(trials=st.integers(1, 5_000), part=st.floats(0, 1), alpha=st.floats(0.001, 0.3))
@example(trials=1, part=0.0, alpha=0.05)
@example(trials=100_000, part=0.0, alpha=0.05)
@example(trials=1_000, part=1.0, alpha=0.05)
@example(trials=235, part=0.996, alpha=0.03)  # an end is as near to one as others are to zero
def test_a_shares_ends_are_where_the_mixture_exceeds_the_likelihood(trials: int, part: float, alpha: float) -> None:
    successes = round(part * trials)
    found = share_interval(successes, trials, alpha)
    assert 0.0 <= found.lower <= found.estimate == successes / trials <= found.upper <= 1.0
    for end, is_open in ((found.lower, successes > 0), (found.upper, successes < trials)):
        assert ratio(successes, trials, end) == pytest.approx(1 / alpha, rel=1e-4) if is_open else end in {0.0, 1.0}


@pytest.mark.slow
def test_a_share_is_covered_at_all_moments_at_once() -> None:
    rng = np.random.default_rng(3)
    trials = np.arange(1, 4_001)
    missed = looked = 0
    for share in (0.005, 0.3):
        successes = np.cumsum(rng.random((400, len(trials))) < share, axis=1)
        likelihood = stats.binom.logpmf(successes, trials, share)
        mixture = stats.betabinom.logpmf(successes, trials, 0.5, 0.5)
        missed += int((mixture - likelihood >= math.log(1 / ALPHA)).any(axis=1).sum())
        deviation = np.sqrt(share * (1 - share) / trials)
        looked += int((np.abs(successes / trials - share) > 1.96 * deviation)[:, 100:].any(axis=1).sum())
    assert missed / 800 <= ALPHA
    assert looked / 800 > 4 * ALPHA  # what looking again and again does to an ordinary interval


def test_a_mean_is_covered_at_all_moments_at_once_and_is_nearly_as_narrow_as_it_can_be() -> None:
    rng = np.random.default_rng(4)
    seen = rng.exponential(2.0, size=(300, 4_000))
    totals, squares = np.cumsum(seen, axis=1), np.cumsum(seen**2, axis=1)
    moments = np.unique(np.geomspace(30, 4_000, 60).astype(int))
    missed = 0
    for total, square in zip(totals, squares, strict=True):
        intervals = [mean_interval(Moments(count=n, total=total[n - 1], squares=square[n - 1]), ALPHA) for n in moments]
        missed += any(not one.lower <= 2.0 <= one.upper for one in intervals)
    assert missed / 300 <= ALPHA
    thousand = mean_interval(Moments(count=1_000, total=0.0, squares=999.0), ALPHA)
    fixed = 1.96 / math.sqrt(1_000)
    assert fixed < thousand.upper < 2 * fixed


def test_without_observations_nothing_is_known() -> None:
    nothing = share_interval(0, 0, ALPHA)
    assert math.isnan(nothing.estimate)
    assert (nothing.lower, nothing.upper) == (0.0, 1.0)
    few = mean_interval(Moments(count=1, total=3.0, squares=9.0), ALPHA)
    assert (few.estimate, few.lower, few.upper) == (3.0, -math.inf, math.inf)
    assert math.isnan(Moments().mean)


def test_a_difference_is_the_other_less_the_one() -> None:
    shares = share_difference((10, 1_000), (300, 1_000), ALPHA)
    assert shares.estimate == pytest.approx(0.29)
    assert 0.2 < shares.lower < 0.29 < shares.upper < 0.4
    one, other = Moments(count=500, total=0.0, squares=500.0), Moments(count=500, total=500.0, squares=1_000.0)
    means = mean_difference(one, other, ALPHA)
    assert means.estimate == 1.0
    assert 0.6 < means.lower < 1.0 < means.upper < 1.4
