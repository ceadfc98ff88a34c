"""Guards of a ramp: what breaks them, what does not, and how seldom they break without a reason."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yarnmill.experiments.intervals import Moments
from yarnmill.experiments.ramp import Ramp, broken, findings
from yarnmill.experiments.tallies import Tally

pytestmark = pytest.mark.slow

ALL = Ramp(errors=0.01, slower=0.02, drift=0.5)


def tally(requests: int, errors: int = 0, slower: int = 0, scores: Moments | None = None) -> Tally:
    timed = requests - errors
    normal = Moments(count=timed, total=0.0, squares=float(timed))
    return Tally(requests=requests, errors=errors, timed=timed, slower=slower, scores=scores or normal)


def test_what_is_no_worse_breaks_nothing() -> None:
    found = findings(ALL, tally(10_000, 100, 100), tally(1_000, 10, 10))
    assert [one.guard for one in found] == ["errors", "slower", "drift"]
    assert broken(found) == ""


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        (tally(1_000, errors=100), "errors +9.00 ["),
        (tally(1_000, slower=200), "slow answers +18.99 ["),
        (tally(1_000, scores=Moments(count=1_000, total=-2_000.0, squares=5_000.0)), "mean score +2.00 ["),
    ],
)
def test_what_is_worse_breaks_its_guard_alone(worse: Tally, said: str) -> None:
    found = findings(ALL, tally(10_000, 100, 100), worse)
    assert broken(found).startswith(said)
    assert sum(one.is_broken for one in found) == 1
    few = findings(ALL, tally(10_000, 100, 100), tally(3, errors=1))
    assert broken(few) == ""  # one of three may be chance


def test_guards_that_are_off_see_nothing() -> None:
    off = Ramp(errors=None, slower=None, drift=None)
    assert findings(off, tally(1_000), tally(1_000, 1_000)) == ()
    assert off.looks_alpha == off.alpha


def test_scores_that_were_all_alike_have_a_scale_too() -> None:
    alike = Moments(count=500, total=1_000.0, squares=2_000.0)
    found = findings(
        ALL, tally(500, scores=alike), tally(500, scores=Moments(count=500, total=2_000.0, squares=8_000.0))
    )
    assert "mean score +1.00" in broken(found)


def test_a_version_that_is_no_worse_seldom_goes_back_however_often_it_is_looked_at() -> None:
    rng = np.random.default_rng(8)
    ramp = Ramp(errors=0.0, slower=0.0, alpha=0.2)
    back = 0
    for _ in range(100):
        for _share in ramp.shares:
            errors, slower = (np.cumsum(rng.random((2, 2_000)) < 0.05, axis=1) for _ in range(2))
            for n in (50, 200, 600, 1_200, 2_000):
                one, other = (
                    Tally(requests=n, errors=errors[arm, n - 1], timed=n, slower=slower[arm, n - 1]) for arm in (0, 1)
                )
                if broken(findings(ramp, one, other)):
                    back += 1
                    break
            else:
                continue
            break
    assert back / 100 <= ramp.alpha


@given(
    shares=st.lists(st.floats(-10, 110), max_size=4), hold=st.floats(-5, 5), alpha=st.floats(-1, 2), errors=st.floats()
)
def test_a_ramp_that_cannot_be_is_refused(shares: list[float], hold: float, alpha: float, errors: float) -> None:
    given_values = {"shares": shares, "hold_s": hold, "alpha": alpha, "errors": errors}
    try:
        ramp = msgspec.convert(given_values, Ramp, dec_hook=lambda kind, value: kind(value))
    except msgspec.ValidationError:
        return
    assert list(ramp.shares) == sorted(set(ramp.shares))
    assert ramp.shares[-1] == 100.0
    assert 0 < ramp.looks_alpha <= ramp.alpha < 1
