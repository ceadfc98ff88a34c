"""What came of the answers of each version: the labels of the prediction log, counted by unit.

An experiment draws its versions by unit, and what comes of one unit's requests is alike: a user who likes to buy buys
often. So a unit is one observation, the mean of its labels, and its requests are not: intervals that took them for
independent would be too narrow by about the root of how many a unit makes [1]_. The interval of a version's mean over
its units is the asymptotic confidence sequence of :mod:`yarnmill.experiments.intervals` [2]_, which may be looked at
while units come and come back. A request that names no unit is drawn by itself; those of its session count as one.

Only answers that were drawn, and seen, count: neither those of mirrors nor of versions that were asked by name.

References
----------
.. [1] A. Deng, U. Knoblich, J. Lu, "Applying the delta method in metric analytics", KDD 2018, on randomisation units
   that are not what is analysed.
.. [2] I. Waudby-Smith, D. Arbour, R. Sinha, E. Kennedy, A. Ramdas, "Time-uniform central limit theory and asymptotic
   confidence sequences", Ann. Stat. 52, 2024.
"""

import math
from collections.abc import Mapping
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from yarnmill.errors import NotFoundError
from yarnmill.experiments.intervals import Interval, Moments, mean_difference, mean_interval
from yarnmill.records import Record
from yarnmill.registry.records import Rule

COLUMNS: Final = ("version", "arm", "unit", "session_id")
"""The columns of the log that this needs, beside the label."""

_UNIT: Final = ["version", "unit", "session_id"]


class RewardedArm(Record, frozen=True, kw_only=True):
    """A version: its share in the rule that stands (None: not in it), its labels, and the mean of its units' means.

    ``higher_reward`` is less that of the version that it is compared with; None for that one.
    """

    version: int
    share: float | None
    units: int
    labels: int
    reward: Interval
    higher_reward: Interval | None


class RewardComparison(Record, frozen=True, kw_only=True):
    """All versions that answered in an experiment, and the one that the others are compared with."""

    beside: int
    arms: tuple[RewardedArm, ...]


class Rewards(Record, frozen=True, kw_only=True):
    """How many labels a version has, and the moments of its units' means."""

    labels: int
    units: Moments


def rewards_of(rows: pa.Table) -> dict[int, Rewards]:
    """Return what came of each version's answers.

    Parameters
    ----------
    rows
        The log with labels beside it (:func:`yarnmill.predictions.read_labelled`), at least :data:`COLUMNS` of it.
    """
    labelled = rows.filter((pc.field("arm") == "experiment") & pc.field("label").is_valid())
    place = labelled.schema.get_field_index("session_id")
    session = pc.if_else(pc.is_valid(labelled["unit"]), None, labelled["session_id"])
    labelled = labelled.set_column(place, "session_id", session)
    units = labelled.group_by(_UNIT).aggregate([("label", "mean"), ("label", "count")])
    units = units.append_column("square", pc.multiply(units["label_mean"], units["label_mean"]))
    sums = [("label_mean", "count"), ("label_mean", "sum"), ("square", "sum"), ("label_count", "sum")]
    return {
        one["version"]: Rewards(
            labels=one["label_count_sum"],
            units=Moments(count=float(one["label_mean_count"]), total=one["label_mean_sum"], squares=one["square_sum"]),
        )
        for one in units.group_by("version").aggregate(sums).to_pylist()
    }


def compare_rewards(found: Mapping[int, Rewards], rule: Rule, *, beside: int | None, alpha: float) -> RewardComparison:
    """Return what came of the answers of all versions.

    Parameters
    ----------
    found
        Of each version.
    rule
        The rule that stands.
    beside
        The version to compare with; None: of those found the one with the largest share.
    alpha
        Probability that the intervals of one column miss the truth anywhere at any time.

    Raises
    ------
    NotFoundError
        If there is no label, or none for ``beside``.
    """
    if not found:
        raise NotFoundError(
            "no label for an answer of an experiment",
            expected="labels for answers of versions that share the requests",
            mend="POST /v1/models/MODEL/feedback, or look further back: --since '7 d'",
        )
    shares = {one.version: one.weight for one in rule.destinations}
    base = max(found, key=lambda version: (shares.get(version, 0.0), -version)) if beside is None else beside
    if base not in found:
        known = ", ".join(map(str, sorted(found)))
        raise NotFoundError(f"version {base} has no labels from an experiment", expected=f"one of {known}")
    each = alpha / len(found)
    arms = [
        RewardedArm(
            version=version,
            share=shares.get(version),
            units=int(own.units.count),
            labels=own.labels,
            reward=_known(mean_interval(own.units, each), own.units),
            higher_reward=None if version == base else _difference(found[base].units, own.units, each),
        )
        for version, own in sorted(found.items())
    ]
    return RewardComparison(beside=base, arms=tuple(arms))


def _difference(one: Moments, other: Moments, alpha: float) -> Interval:
    return _known(mean_difference(one, other, alpha), one, other)


def _known(interval: Interval, *seen: Moments) -> Interval:
    """Return an interval without ends while all units are alike: a rare reward may be one that nobody has had yet."""
    if all(one.deviation > 0.0 for one in seen):
        return interval
    return Interval(estimate=interval.estimate, lower=-math.inf, upper=math.inf)
