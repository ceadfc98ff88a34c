"""When a new version may have more of the traffic, when it must go back: a decision from two tallies.

Each guard compares the new version with the one that answered before, over the same time. The new version goes back as
soon as a guard is *sure* that it is worse by more than it may be, and goes on when it has held its share for long
enough over enough requests. Both are looked at all the time, so the guards' intervals are confidence sequences
(:mod:`yarnmill.experiments.intervals`); the probability that a version which is no worse goes back anywhere on its way
is at most ``alpha``.
"""

import math
from typing import Literal

from yarnmill.experiments.intervals import Interval, mean_difference, share_difference
from yarnmill.experiments.tallies import Tally
from yarnmill.records import Record
from yarnmill.units import Seconds

Guard = Literal["errors", "slower", "drift"]


class Ramp(Record, frozen=True, kw_only=True):
    """How a version comes to answer everything.

    Parameters
    ----------
    shares
        Its shares of the requests one after the other, in percent, growing; the last is 100.
    hold_s, least
        How long it keeps each share at least, and how many requests it answers there at least.
    dark_s
        How long it is only mirrored to before the first share; 0: not at all.
    errors, slower
        By how much larger its share of requests without a prediction, and of those slower than ``slow_s``, may be: as
        parts of 1. None: it is not looked at.
    drift
        How far the mean of its scores may be from the other's, in standard deviations of the other's scores; None: it
        is not looked at.
    alpha
        Probability that a version which is no worse than it may be goes back nevertheless.
    """

    shares: tuple[float, ...] = (1.0, 5.0, 25.0, 50.0, 100.0)
    hold_s: Seconds = Seconds(600.0)
    least: int = 500
    dark_s: Seconds = Seconds(0.0)
    errors: float | None = 0.01
    slower: float | None = 0.02
    slow_s: Seconds = Seconds(0.1)
    drift: float | None = None
    alpha: float = 0.05

    def __post_init__(self) -> None:
        """Refuse what is no ramp."""
        growing = all(one < other for one, other in zip((0.0, *self.shares), self.shares, strict=False))
        if not growing or not self.shares or self.shares[-1] != 100.0:
            raise ValueError(f"shares {', '.join(f'{one:g}' for one in self.shares)}: they grow, and end at 100")
        if not 0.0 < self.alpha < 1.0:
            raise ValueError(f"alpha {self.alpha:g} is no probability between 0 and 1")
        for name, limit in (("errors", self.errors), ("slower", self.slower), ("drift", self.drift)):
            if limit is not None and not (math.isfinite(limit) and limit >= 0.0):
                raise ValueError(f"{name} {limit:g} is no limit: 0 or more")
        if self.hold_s < 0 or self.dark_s < 0 or self.least < 1:
            raise ValueError("hold and dark are times, least is 1 or more")

    @property
    def looks_alpha(self) -> float:
        """The part of ``alpha`` that one guard has at one share."""
        guards = sum(limit is not None for limit in (self.errors, self.slower, self.drift))
        return self.alpha / max(guards * (len(self.shares) + (self.dark_s > 0)), 1)


class Finding(Record, frozen=True, kw_only=True):
    """What a guard saw: by how much the new version is worse, between which ends, and how much it may be."""

    guard: Guard
    difference: Interval
    limit: float

    @property
    def is_broken(self) -> bool:
        """Whether it is sure that the new version is worse than it may be."""
        return self.difference.lower > self.limit

    def __str__(self) -> str:
        """Return the finding in one line."""
        if self.guard == "drift":
            scale, unit, name = 1.0, " deviations", "mean score"
        else:
            scale, unit, name = 100.0, " points", {"errors": "errors", "slower": "slow answers"}[self.guard]
        if math.isnan(self.difference.estimate):
            return f"{name} not known yet"
        ends = ", ".join(f"{end * scale:+.2f}" for end in (self.difference.lower, self.difference.upper))
        return f"{name} {self.difference.estimate * scale:+.2f} [{ends}]{unit}, allowed {self.limit * scale:.2f}"


def findings(ramp: Ramp, before: Tally, after: Tally) -> tuple[Finding, ...]:
    """Return what each guard sees.

    Parameters
    ----------
    ramp
        The guards.
    before, after
        What the version that answered before did, and the new one, over the same time.
    """
    alpha, found = ramp.looks_alpha, []
    if ramp.errors is not None:
        errors = share_difference((before.errors, before.requests), (after.errors, after.requests), alpha)
        found.append(Finding(guard="errors", difference=errors, limit=ramp.errors))
    if ramp.slower is not None:
        slower = share_difference((before.slower, before.timed), (after.slower, after.timed), alpha)
        found.append(Finding(guard="slower", difference=slower, limit=ramp.slower))
    if ramp.drift is not None:
        found.append(Finding(guard="drift", difference=_drift(before, after, alpha), limit=ramp.drift))
    return tuple(found)


def _drift(before: Tally, after: Tally, alpha: float) -> Interval:
    """Return the distance of the means in deviations: without a sign, for either way is away."""
    means, deviation = mean_difference(before.scores, after.scores, alpha), before.scores.deviation
    if not math.isfinite(means.lower):
        return Interval(estimate=math.nan, lower=0.0, upper=math.inf)
    if deviation == 0.0:  # it scored all alike
        deviation = abs(before.scores.mean) or 1.0
    nearest = max(means.lower, -means.upper, 0.0)
    farthest = max(abs(means.lower), abs(means.upper))
    return Interval(estimate=abs(means.estimate) / deviation, lower=nearest / deviation, upper=farthest / deviation)


def broken(found: tuple[Finding, ...]) -> str:
    """Return what the guards are sure of, in one line; empty if nothing."""
    return "; ".join(str(one) for one in found if one.is_broken)
