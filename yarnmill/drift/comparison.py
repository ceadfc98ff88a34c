"""The rows of a time against the reference: each series measured and judged."""

import datetime as dt
from collections.abc import Sequence

import msgspec

from yarnmill.drift.measures import (
    expected_stability_index,
    jensen_shannon,
    kolmogorov_smirnov,
    population_stability_index,
)
from yarnmill.drift.profile import Profile
from yarnmill.drift.reference import Reference, Series
from yarnmill.drift.rules import Finding, RuleName, Rules, Verdict, verdict_of, worst
from yarnmill.drift.scale import Kind, Scale
from yarnmill.drift.series import Side
from yarnmill.drift.significance import homogeneity_p_value, more_often_p_value
from yarnmill.records import Record


class Summary(Record, frozen=True, kw_only=True):
    """What is said of one side: rows, parts of 1 of them, mean and deviation of numbers. None: not known, or no such.

    ``new`` are texts that the scale has no cell for, and bags with a term that it has none for.
    """

    rows: int
    missing: float | None = None
    zeros: float | None = None
    new: float | None = None
    mean: float | None = None
    deviation: float | None = None


class Distance(Record, frozen=True, kw_only=True):
    """How far apart two profiles are.

    ``psi_by_chance`` is what the PSI would be about if nothing had changed, ``p_value`` how probable a difference like
    this is then. ``ks`` is None where cells have no order.
    """

    psi: float
    psi_by_chance: float
    ks: float | None
    js: float
    p_value: float


class SeriesDrift(Record, frozen=True, kw_only=True):
    """One series: how far it is from its reference. ``distance`` is None while there is nothing to compare."""

    side: Side
    name: str
    kind: Kind
    now: Summary
    reference: Summary
    distance: Distance | None
    findings: tuple[Finding, ...]
    verdict: Verdict


class VersionDrift(Record, frozen=True, kw_only=True):
    """A version: its series, and since when its rows are counted. ``reason`` says why there are none."""

    version: int
    bundle_id: str
    rows: int = 0
    verdict: Verdict = "unknown"
    since: dt.datetime | None = None
    series: tuple[SeriesDrift, ...] = ()
    reason: str = ""

    @property
    def worst(self) -> float | None:
        """The largest PSI over chance of all series; None while there is none."""
        distances = [one.distance for one in self.series if one.distance is not None]
        return max((one.psi - one.psi_by_chance for one in distances), default=None)


class ModelDrift(Record, frozen=True, kw_only=True):
    """The versions of a model that answer."""

    model: str
    versions: tuple[VersionDrift, ...]

    @property
    def verdict(self) -> Verdict:
        """The verdict on the worst of them."""
        return worst(one.verdict for one in self.versions)


def compare_profiles(reference: Reference, profiles: Sequence[Profile], rules: Rules) -> tuple[SeriesDrift, ...]:
    """Return how far each series is from its reference; all findings share the rules' ``alpha``."""
    measured = [_measured(one, now, rules) for one, now in zip(reference.series, profiles, strict=True)]
    alpha = rules.alpha / max(sum(len(one.findings) for one in measured), 1)
    return tuple(_judged(one, alpha) for one in measured)


def _measured(series: Series, now: Profile, rules: Rules) -> SeriesDrift:
    """Return a series with findings whose ``alpha`` nobody can know yet."""
    distance = _distance(series, now)
    looks: list[tuple[RuleName, float, float]] = []
    if distance is not None:
        looks.append(("psi", distance.psi - distance.psi_by_chance, distance.p_value))
    before = series.profile
    if now.rows and before.rows:
        looks.append(("missing", *_more((before.missing, before.rows), (now.missing, now.rows))))
        if series.scale.kind != "number":
            looks.append(("new", *_more((before.counts[-1], before.rows), (now.counts[-1], now.rows))))
    findings = tuple(
        Finding(rule=rule, excess=excess, limit=rules.limit(rule), p_value=p_value, alpha=rules.alpha)
        for rule, excess, p_value in looks
    )
    return SeriesDrift(
        side=series.side,
        name=series.name,
        kind=series.scale.kind,
        now=_summary(series.scale, now),
        reference=_summary(series.scale, before),
        distance=distance,
        findings=findings,
        verdict="unknown",
    )


def _judged(series: SeriesDrift, alpha: float) -> SeriesDrift:
    findings = tuple(msgspec.structs.replace(one, alpha=alpha) for one in series.findings)
    return msgspec.structs.replace(series, findings=findings, verdict=verdict_of(findings))


def _distance(series: Series, now: Profile) -> Distance | None:
    kind, before = series.scale.kind, series.profile
    if not sum(before.counts) or not sum(now.counts):
        return None
    independent = _independent(before, kind), _independent(now, kind)
    return Distance(
        psi=population_stability_index(before.counts, now.counts),
        psi_by_chance=expected_stability_index(*independent),
        ks=kolmogorov_smirnov(before.counts, now.counts) if kind == "number" else None,
        js=jensen_shannon(before.counts, now.counts),
        p_value=homogeneity_p_value(*independent, is_ordered=kind == "number"),
    )


def _independent(profile: Profile, kind: Kind) -> tuple[float, ...]:
    """Return counts that tests may take for independent: the terms of one bag are together, so it counts once."""
    total, rows = sum(profile.counts), profile.rows - profile.zeros
    shrunk = rows / total if kind == "bag" and total > rows else 1.0
    return tuple(count * shrunk for count in profile.counts)


def _more(before: tuple[int, int], now: tuple[int, int]) -> tuple[float, float]:
    return now[0] / now[1] - before[0] / before[1], more_often_p_value(before, now)


def _summary(scale: Scale, profile: Profile) -> Summary:
    if not profile.rows:
        return Summary(rows=0)
    is_number = scale.kind == "number"
    return Summary(
        rows=profile.rows,
        missing=profile.missing / profile.rows,
        zeros=profile.zeros / profile.rows,
        new=None if is_number else profile.counts[-1] / profile.rows,
        mean=profile.mean(scale.centre) if is_number else None,
        deviation=profile.deviation if is_number else None,
    )
