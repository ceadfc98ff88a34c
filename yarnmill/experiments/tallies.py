"""What each version did, by the counters of the serving tiers: how often, how well, how quickly, what it scored.

Counters are looked at twice and the growth is what counts, so that a rule's effect is not mixed with what was before
it. A tier that was started anew meanwhile, which shows by a counter that fell, has grown by all that it says.

This module does not know how the counters are read.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, Protocol

from yarnmill.errors import ConfigurationError
from yarnmill.experiments.intervals import Moments
from yarnmill.records import Record

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A series: its name, and its labels in order."""

_FALLING: Final = "yarnmill_arm_score_sum"
"""A sum of scores may fall without anything being wrong."""


class Tally(Record, frozen=True, kw_only=True):
    """What a version did: requests, those of them that got no prediction, those slower than a bound, its scores.

    ``timed`` are the requests whose time is known: those that got a prediction.
    """

    requests: float = 0.0
    errors: float = 0.0
    timed: float = 0.0
    slower: float = 0.0
    scores: Moments = Moments()


class Reading(NamedTuple):
    """The series of a model at a tier, and when the tier said so: in seconds of whatever clock its source has."""

    series: Mapping[Series, float]
    at_s: float = math.inf


class Look(NamedTuple):
    """What a source gave: the readings by tier, what is wrong with tiers that gave none, and when, by its clock."""

    readings: Mapping[str, Reading]
    troubles: tuple[str, ...] = ()
    now_s: float = -math.inf


class Source(Protocol):
    """Where the counters of tiers are read."""

    @property
    def tiers(self) -> int:
        """How many may be in trouble: with so many troubles, nothing is seen."""

    def look(self, model: str) -> Look:
        """Return what the tiers count for a model now; raises nothing."""


class Growth:
    """What the series of a model have grown by since the first look, over all tiers that answer for it.

    Parameters
    ----------
    model
        Whose series.
    source
        Where they are read.
    """

    def __init__(self, model: str, source: Source) -> None:
        self._model = model
        self._source = source
        self._last: dict[str, Reading] = {}
        self._grown: dict[Series, float] = {}
        self._begins = False
        self._since_s = -math.inf

    @property
    def tiers(self) -> int:
        """With how many troubles nothing is seen."""
        return self._source.tiers

    def look(self) -> tuple[str, ...]:
        """Look once; return what is wrong with tiers that do not answer."""
        look = self._source.look(self._model)
        if self._begins:
            self._since_s, self._begins = look.now_s, False
        for tier, reading in look.readings.items():
            self._add(tier, reading)
        return look.troubles

    def begin(self) -> None:
        """Forget what has grown; what comes now is counted, and nothing of before.

        A source that gives what it read some time ago may not know yet what was counted up to now. So growth counts
        from a reading on that is no older than the next look; a tier that is asked itself gives no other.
        """
        self._grown = {}
        self._begins = True

    def since_the_start(self) -> None:
        """Count all that the tiers have counted since they were started."""
        self._grown = {}
        for reading in self._last.values():
            for series, value in reading.series.items():
                self._grown[series] = self._grown.get(series, 0.0) + value

    def of_arm(self, version: int, slow_s: float) -> Tally:
        """Return what a version did that shares the requests with others; ConfigurationError as :meth:`alone`."""
        name = str(version)
        statuses = self._by("yarnmill_arm_requests_total", "status", version=name)
        moments = Moments(
            count=self._sum("yarnmill_arm_score_count", version=name),
            total=self._sum("yarnmill_arm_score_sum", version=name),
            squares=self._sum("yarnmill_arm_score_squares_total", version=name),
        )
        timed, slower = self._times("yarnmill_arm_seconds", slow_s, version=name)
        return Tally(
            requests=sum(statuses.values()),
            errors=sum(count for status, count in statuses.items() if status != "200"),
            timed=timed,
            slower=slower,
            scores=moments,
        )

    def of_mirror(self, slow_s: float) -> Tally:
        """Return what the mirror did, but for what was dropped; ConfigurationError as :meth:`alone`."""
        outcomes = self._by("yarnmill_mirror_requests_total", "outcome")
        answered, failed = outcomes.get("answered", 0.0), outcomes.get("failed", 0.0)
        timed, slower = self._times("yarnmill_mirror_seconds", slow_s)
        return Tally(requests=answered + failed, errors=failed, timed=timed, slower=slower)

    def alone(self, slow_s: float) -> Tally:
        """Return what the model as a whole did.

        Raises
        ------
        ConfigurationError
            If the tiers do not count how many requests are slower than ``slow_s``.
        """
        statuses = self._by("yarnmill_requests_total", "status")
        timed, slower = self._times("yarnmill_request_seconds", slow_s)
        return Tally(
            requests=sum(statuses.values()),
            errors=sum(count for status, count in statuses.items() if status != "200"),
            timed=timed,
            slower=slower,
        )

    def _add(self, tier: str, now: Reading) -> None:
        before = self._last.get(tier)
        self._last[tier] = now
        if before is None or before.at_s < self._since_s:
            return
        was = before.series
        fell = any(now.series.get(one, 0.0) < value for one, value in was.items() if one[0] != _FALLING)
        for series, value in now.series.items():
            grown = value - (0.0 if fell else was.get(series, 0.0))
            self._grown[series] = self._grown.get(series, 0.0) + grown

    def _matching(self, name: str, labels: Mapping[str, str]) -> Iterable[tuple[dict[str, str], float]]:
        for (found, of), value in self._grown.items():
            mine = dict(of)
            if found == name and labels.items() <= mine.items():
                yield mine, value

    def _sum(self, name: str, **labels: str) -> float:
        return sum(value for _, value in self._matching(name, labels))

    def _by(self, name: str, key: str, **labels: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for mine, value in self._matching(name, labels):
            found[mine[key]] = found.get(mine[key], 0.0) + value
        return found

    def _times(self, name: str, slow_s: float, **labels: str) -> tuple[float, float]:
        """Return how many were timed, and how many of them took longer than ``slow_s``."""
        within = {float(bound): count for bound, count in self._by(f"{name}_bucket", "le", **labels).items()}
        if not within:
            return 0.0, 0.0
        if slow_s not in within:
            bounds = ", ".join(f"{bound:g}" for bound in sorted(within)[:-1])
            raise ConfigurationError(f"slow: {slow_s:g} s is no bound that the tiers count by", expected=f"{bounds} s")
        timed = within[float("inf")]
        return timed, timed - within[slow_s]
