"""The counts of a model's versions as serving tiers give them: to be added up over tiers, then measured."""

import datetime as dt

from yarnmill.drift.comparison import VersionDrift, compare_profiles
from yarnmill.drift.profile import Profile
from yarnmill.drift.reference import Reference, merge_profiles
from yarnmill.drift.rules import Rules, worst
from yarnmill.records import Record

_NO_REFERENCE = "its bundle has no reference"
_NO_ROWS = "nobody has asked it lately"


class VersionCounts(Record, frozen=True, kw_only=True):
    """What was counted of a version: a profile a series of its reference, or none at all; since when."""

    version: int
    bundle_id: str
    reference: Reference | None
    profiles: tuple[Profile, ...] = ()
    since: dt.datetime | None = None

    def merge(self, other: "VersionCounts") -> "VersionCounts":
        """Return the counts of two tiers of one version."""
        if not (self.profiles and other.profiles):
            return self if self.profiles else other
        moments = [one.since for one in (self, other) if one.since is not None]
        return VersionCounts(
            version=self.version,
            bundle_id=self.bundle_id,
            reference=self.reference,
            profiles=merge_profiles(self.profiles, other.profiles),
            since=min(moments, default=None),
        )


class ModelCounts(Record, frozen=True, kw_only=True):
    """The versions of a model that answer at a tier."""

    model: str
    versions: tuple[VersionCounts, ...]

    def merge(self, other: "ModelCounts") -> "ModelCounts":
        """Return the counts of two tiers; a version that only one of them knows is as that one has it."""
        found = {(one.version, one.bundle_id): one for one in self.versions}
        for one in other.versions:
            key = (one.version, one.bundle_id)
            found[key] = found[key].merge(one) if key in found else one
        return ModelCounts(model=self.model, versions=tuple(found[key] for key in sorted(found)))


def drift_of(counts: VersionCounts, rules: Rules) -> VersionDrift:
    """Return how far a version's inputs and scores are from its reference."""
    version, bundle_id = counts.version, counts.bundle_id
    if counts.reference is None or not counts.profiles:
        reason = _NO_REFERENCE if counts.reference is None else _NO_ROWS
        return VersionDrift(version=version, bundle_id=bundle_id, reason=reason)
    series = compare_profiles(counts.reference, counts.profiles, rules)
    return VersionDrift(
        version=version,
        bundle_id=bundle_id,
        rows=counts.profiles[0].rows,
        verdict=worst(one.verdict for one in series),
        since=counts.since,
        series=series,
    )
