"""Confidence sequences: intervals that may be looked at after every request without losing their meaning.

An ordinary interval holds at one moment that was fixed beforehand; whoever looks again and again, and stops when the
difference is there, finds one sooner or later. A confidence sequence covers the truth at *all* moments at once with
probability 1 - alpha, so stopping when it says so is allowed.

Shares (errors, slow answers) have an exact one for any number of requests: the mixture of binomial likelihoods over
Jeffreys' prior is a martingale beside the true likelihood, and by Ville's inequality exceeds it 1/alpha-fold at no
moment at all, with probability 1 - alpha [1]_ [2]_. Means (scores) have an asymptotic one [3]_.

References
----------
.. [1] H. Robbins, "Statistical methods related to the law of the iterated logarithm", Ann. Math. Stat. 41, 1970.
.. [2] S. R. Howard, A. Ramdas, J. McAuliffe, J. Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence
   sequences", Ann. Stat. 49, 2021.
.. [3] I. Waudby-Smith, D. Arbour, R. Sinha, E. Kennedy, A. Ramdas, "Time-uniform central limit theory and asymptotic
   confidence sequences", Ann. Stat. 52, 2024.
"""

import math
from typing import Final

from scipy.optimize import bisect
from scipy.special import betaln, xlog1py, xlogy

from yarnmill.records import Record

_TIGHTEST_AT: Final = 1_000
"""Observations at which the interval of a mean is as narrow as it can be made."""

_FEWEST: Final = 30
"""Observations below which the interval of a mean, which holds for many of them, says nothing."""

_SMALLEST: Final = 1e-30
_EXACT: Final = 1e-9
"""How near the ends of a share are found: relative to themselves, for a share may be very small."""


class Interval(Record, frozen=True, kw_only=True):
    """An estimate, and the two ends between which the truth is."""

    estimate: float
    lower: float
    upper: float


class Moments(Record, frozen=True, kw_only=True):
    """A number of observations, their sum and the sum of their squares: all that the interval of a mean needs."""

    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    @property
    def mean(self) -> float:
        """Their mean; NaN without any."""
        return self.total / self.count if self.count else math.nan

    @property
    def deviation(self) -> float:
        """Their standard deviation; NaN below two."""
        if self.count < 2:
            return math.nan
        return math.sqrt(max(self.squares - self.total * self.total / self.count, 0.0) / (self.count - 1))


def share_interval(successes: float, trials: float, alpha: float) -> Interval:
    """Return the confidence sequence of a share.

    Parameters
    ----------
    successes, trials
        So many of so many.
    alpha
        Probability that it ever fails to cover the true share.
    """
    if trials <= 0:
        return Interval(estimate=math.nan, lower=0.0, upper=1.0)
    failures = trials - successes
    return Interval(
        estimate=successes / trials,
        lower=_lower_end(successes, failures, alpha),
        upper=1.0 - _lower_end(failures, successes, alpha),
    )


def _lower_end(successes: float, failures: float, alpha: float) -> float:
    if not successes:
        return 0.0
    mixture = betaln(successes + 0.5, failures + 0.5) - betaln(0.5, 0.5) + math.log(alpha)

    def excess(share: float) -> float:
        """Return how far the mixture is above the likelihood of a share, over the limit: negative where it covers."""
        return float(mixture - xlogy(successes, share) - xlog1py(failures, -share))

    return float(bisect(excess, 0.0, successes / (successes + failures), xtol=_SMALLEST, rtol=_EXACT))


def share_difference(one: tuple[float, float], other: tuple[float, float], alpha: float) -> Interval:
    """Return the confidence sequence of the other share less the one; each is ``(successes, trials)``."""
    return _difference(share_interval(*one, alpha / 2), share_interval(*other, alpha / 2))


def mean_interval(seen: Moments, alpha: float) -> Interval:
    """Return the confidence sequence of a mean: without ends below thirty observations."""
    if seen.count < _FEWEST:
        return Interval(estimate=seen.mean, lower=-math.inf, upper=math.inf)
    wide = -2.0 * math.log(alpha)
    spread = (wide + math.log(wide + 1.0)) / _TIGHTEST_AT * seen.count + 1.0  # n rho^2 + 1
    radius = math.sqrt(2.0 * spread / (spread - 1.0) / seen.count * math.log(math.sqrt(spread) / alpha))
    reach = seen.deviation * radius
    return Interval(estimate=seen.mean, lower=seen.mean - reach, upper=seen.mean + reach)


def mean_difference(one: Moments, other: Moments, alpha: float) -> Interval:
    """Return the confidence sequence of the other mean less the one."""
    return _difference(mean_interval(one, alpha / 2), mean_interval(other, alpha / 2))


def _difference(one: Interval, other: Interval) -> Interval:
    return Interval(
        estimate=other.estimate - one.estimate, lower=other.lower - one.upper, upper=other.upper - one.lower
    )
