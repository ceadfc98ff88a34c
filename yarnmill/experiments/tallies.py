"""What each version did, read from the counters of the serving tiers: how often, how well, how quickly, what it scored.

Counters are looked at twice and the growth is what counts, so that a rule's effect is not mixed with what was before
it. A tier that was started anew meanwhile, which shows by a counter that fell, has grown by all that it says.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import requests
from prometheus_client.parser import text_string_to_metric_families

from yarnmill.errors import ConfigurationError
from yarnmill.experiments.intervals import Moments
from yarnmill.records import Record

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A series: its name, and its labels in order."""

_TIMEOUT_S: Final = 5.0
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


class Growth:
    """What the series of a model have grown by since the first look, over all tiers that answer for it.

    Parameters
    ----------
    model
        Whose series.
    tiers
        URLs of the serving tiers: every replica, for each counts on its own.
    read
        Returns what a tier says at a URL; OSError if it does not answer.
    """

    def __init__(self, model: str, tiers: Sequence[str], read: Callable[[str], str] | None = None) -> None:
        self._model = model
        self._tiers = tuple(dict.fromkeys(tiers))
        self._read = _read if read is None else read
        self._last: dict[str, dict[Series, float]] = {}
        self._grown: dict[Series, float] = {}

    @property
    def tiers(self) -> int:
        """How many tiers are looked at."""
        return len(self._tiers)

    def look(self) -> list[str]:
        """Look at every tier once; return what is wrong with those that do not answer."""
        troubles = []
        for tier in self._tiers:
            try:
                text = self._read(f"{tier.rstrip('/')}/metrics")
            except OSError as problem:
                troubles.append(f"{tier}: {problem}")
                continue
            self._add(tier, _series_of(text, self._model))
        return troubles

    def begin(self) -> None:
        """Forget what has grown: what comes now is counted from the last look."""
        self._grown = {}

    def since_the_start(self) -> None:
        """Count all that the tiers have counted since they were started."""
        self._grown = {}
        for now in self._last.values():
            for series, value in now.items():
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

    def _add(self, tier: str, now: dict[Series, float]) -> None:
        before = self._last.get(tier)
        self._last[tier] = now
        if before is None:
            return
        fell = any(now.get(one, 0.0) < value for one, value in before.items() if one[0] != _FALLING)
        for series, value in now.items():
            grown = value - (0.0 if fell else before.get(series, 0.0))
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


def _series_of(text: str, model: str) -> dict[Series, float]:
    found: dict[Series, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("model") == model and not sample.name.endswith("_created"):
                found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def _read(url: str) -> str:
    answer = requests.get(url, timeout=_TIMEOUT_S)
    answer.raise_for_status()
    return answer.text
