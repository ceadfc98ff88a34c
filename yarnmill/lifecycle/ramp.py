"""A new version on its way to all of the traffic: mirrored first, then at growing shares, or back where it began.

The registry's rule is the only state. Whoever is killed in the middle leaves a rule that stands and answers; the same
call again finds the share that the version has and goes on from there.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final, Literal

from yarnmill.config import Config
from yarnmill.errors import ConflictError
from yarnmill.experiments.ramp import Finding, Ramp, broken, findings
from yarnmill.experiments.tallies import Growth, Tally
from yarnmill.lifecycle.deploy import route
from yarnmill.records import Record
from yarnmill.registry import ModelEndpoint, Registry, Rule
from yarnmill.registry.records import Destination
from yarnmill.units import render_seconds

_MOST_BLIND: Final = 5
"""Looks in a row at which no tier answers, after which a version that nobody watches goes back."""


class Step(Record, frozen=True, kw_only=True):
    """One share of a ramp (0: mirrored to) and what both versions did there."""

    share: float
    seconds: float
    before: Tally
    after: Tally
    findings: tuple[Finding, ...]


class Outcome(Record, frozen=True, kw_only=True):
    """How a ramp ended: the version answers everything, or went back for a reason; with the steps that were held."""

    model: str
    version: int
    before: int | None
    state: Literal["finished", "rolled back"]
    reason: str
    revision: int
    steps: tuple[Step, ...]


def planned(ramp: Ramp, rule: Rule, version: int) -> list[tuple[float, Rule]]:
    """Return the rules that a ramp will let stand one after the other from a rule, each with the version's share.

    Raises
    ------
    ConflictError
        If others share the requests: a ramp is between two versions.
    """
    own = next((one.weight for one in rule.destinations if one.version == version), 0.0)
    if own == 100.0:
        return []
    before = _other(rule, version)
    steps = [] if own or not ramp.dark_s else [(0.0, Rule(destinations=Rule.only(before).destinations, mirror=version))]
    for share in ramp.shares:
        if share >= own:
            rest = () if share == 100.0 else (Destination(version=before, weight=round(100.0 - share, 2)),)
            destinations = (*rest, Destination(version=version, weight=share))
            steps.append((share, Rule(destinations=destinations, layer=rule.layer if rest else None)))
    return steps


class Ramping:
    """One run of a ramp.

    Parameters
    ----------
    model, version
        What is to come to answer.
    ramp
        How.
    config
        Names the registry and the caches.
    environment
        Where; None: the default environment.
    growth
        What the tiers count there.
    poll_s
        Between two looks.
    clock, sleep
        Seconds, and how they pass.
    progress
        Called with one line a step, and a look that says something new.
    """

    def __init__(  # noqa: PLR0913  # each by name
        self,
        model: str,
        version: int,
        ramp: Ramp,
        config: Config,
        growth: Growth,
        *,
        environment: str | None = None,
        poll_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        progress: Callable[[str], None] = lambda _message: None,
    ) -> None:
        self._model, self._version, self._ramp, self._config = model, version, ramp, config
        self._growth, self._poll_s, self._clock, self._sleep, self._progress = growth, poll_s, clock, sleep, progress
        self._registry = Registry(config.registry_url)
        self._environment = self._registry.environments.get(environment).name

    def plan(self) -> list[tuple[float, Rule]]:
        """Return the rules that :meth:`run` would let stand; errors as :func:`planned`, and NotFoundError."""
        self._registry.versions.get(self._model, self._version)
        return planned(self._ramp, self._present().rule, self._version)

    def run(self) -> Outcome:
        """Go up step by step; return how it ended.

        Raises
        ------
        NotFoundError
            If there is no such version, or nothing answers for the model yet.
        ConflictError
            If three versions share the requests, or somebody else changes the rule meanwhile: that rule stands.
        BadDataError, ConfigurationError, JobFailedError
            As :func:`yarnmill.lifecycle.deploy.route`.
        """
        steps, present = self.plan(), self._present()
        if not steps:
            return self._outcome(present, None, (), "")
        before, done = _other(present.rule, self._version), tuple[Step, ...]()
        for share, rule in steps:
            present = self._let(present, share, rule)
            step, reason = self._hold(before, share, done)
            done = (*done, step)
            if reason:
                back = self._registry.endpoints.route(
                    self._model, Rule.only(before), self._environment, expected=present.revision, reason=reason
                )
                self._progress(f"{self._model}/{self._version}: back to version {before}: {reason}")
                return self._outcome(back, before, done, reason)
        self._progress(f"{self._model}/{self._version}: answers everything")
        return self._outcome(present, before, done, "")

    def _present(self) -> ModelEndpoint:
        return self._registry.endpoints.get(self._model, self._environment)

    def _let(self, present: ModelEndpoint, share: float, rule: Rule) -> ModelEndpoint:
        name = f"{self._model}/{self._version}"
        self._progress(f"{name}: {'is mirrored to' if share == 0.0 else f'gets {share:g} %'}")
        self._growth.look()  # what was before the rule is none of its doing
        after = route(
            self._model,
            rule,
            self._config,
            environment=self._environment,
            expected=present.revision,
            progress=self._progress,
        )
        self._growth.begin()
        return after

    def _hold(self, before: int, share: float, done: Sequence[Step]) -> tuple[Step, str]:
        """Watch one share; return what was seen, and why the version must go back, if it must."""
        ramp, started, blind = self._ramp, self._clock(), 0
        hold_s = ramp.dark_s if share == 0.0 else ramp.hold_s
        said = ""
        while True:
            self._sleep(self._poll_s)
            troubles = self._growth.look()
            blind = blind + 1 if len(troubles) >= self._growth.tiers else 0
            for trouble in troubles:
                self._progress(f"no answer from {trouble}")
            one, other = self._tallies(before, share, done)
            seconds = self._clock() - started
            found = findings(ramp, one, other)
            step = Step(share=share, seconds=seconds, before=one, after=other, findings=found)
            reason = broken(found)
            if blind >= _MOST_BLIND:
                reason = f"nobody can see how it does: no tier answered {blind} times in a row"
            if reason:
                return step, reason
            line = f"{other.requests:,.0f} requests; {'; '.join(map(str, found))}"
            if line != said:
                self._progress(f"{self._model}/{self._version}, {render_seconds(seconds)}: {line}")
                said = line
            if seconds >= hold_s and other.requests >= ramp.least:
                return step, ""

    def _tallies(self, before: int, share: float, done: Sequence[Step]) -> tuple[Tally, Tally]:
        slow_s = self._ramp.slow_s
        if share == 0.0:
            return self._growth.alone(slow_s), self._growth.of_mirror(slow_s)
        if share == 100.0:
            # Nothing answers beside it any more: what the other did last is what it must be no worse than.
            return (done[-1].before if done else Tally()), self._growth.alone(slow_s)
        return self._growth.of_arm(before, slow_s), self._growth.of_arm(self._version, slow_s)

    def _outcome(self, endpoint: ModelEndpoint, before: int | None, steps: tuple[Step, ...], reason: str) -> Outcome:
        return Outcome(
            model=self._model,
            version=self._version,
            before=before,
            state="rolled back" if reason else "finished",
            reason=reason,
            revision=endpoint.revision,
            steps=steps,
        )


def _other(rule: Rule, version: int) -> int:
    others = [one.version for one in rule.destinations if one.version != version]
    strangers = [*others[1:], *({rule.mirror} - {None, version})]
    if len(others) != 1 or strangers:
        raise ConflictError(
            f"the rule that stands is {rule}",
            expected=f"one version that answers, and version {version} at most beside it",
            mend="yarnmill models route MODEL VERSION=100, when the experiment that runs has ended",
        )
    return others[0]
