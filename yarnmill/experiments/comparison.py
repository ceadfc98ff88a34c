"""The versions of an endpoint side by side: what each did, and by how much they differ."""

from yarnmill.errors import NotFoundError
from yarnmill.experiments.intervals import Interval, mean_difference, mean_interval, share_difference, share_interval
from yarnmill.experiments.tallies import Growth, Tally
from yarnmill.records import Record
from yarnmill.registry.records import Rule


class Arm(Record, frozen=True, kw_only=True):
    """A version: its share of the requests in percent (None: the mirror), what it did, and how that differs.

    ``more_errors``, ``more_slower`` and ``higher_score`` are less the version that it is compared with; None for that
    one, and for scores where one of them has none.
    """

    version: int
    share: float | None
    tally: Tally
    errors: Interval
    slower: Interval
    score: Interval
    more_errors: Interval | None
    more_slower: Interval | None
    higher_score: Interval | None


class Comparison(Record, frozen=True, kw_only=True):
    """All versions of a rule, and the one that the others are compared with."""

    beside: int
    arms: tuple[Arm, ...]


def compare(growth: Growth, rule: Rule, *, beside: int | None, slow_s: float, alpha: float) -> Comparison:
    """Return what the versions of a rule did.

    Parameters
    ----------
    growth
        What the tiers counted.
    rule
        Which versions, at which shares.
    beside
        The version to compare with; None: the one with the largest share.
    slow_s
        What is slow.
    alpha
        Probability that the intervals of one column miss the truth anywhere at any time.

    Raises
    ------
    NotFoundError
        If the rule does not name ``beside``, or no version at all.
    ConfigurationError
        If the tiers do not count by ``slow_s``.
    """
    if not rule.destinations:
        raise NotFoundError("nothing answers for this model", mend="yarnmill models deploy MODEL VERSION")
    most = max(rule.destinations, key=lambda one: one.weight).version
    base = most if beside is None else beside
    shares = {one.version: one.weight for one in rule.destinations}
    if base not in shares:
        raise NotFoundError(f"version {base} answers nothing", expected=f"one of {', '.join(map(str, shares))}")
    if len(shares) == 1:
        tallies = {most: growth.alone(slow_s)}
    else:
        tallies = {version: growth.of_arm(version, slow_s) for version in shares}
    if rule.mirror is not None:
        tallies[rule.mirror] = growth.of_mirror(slow_s)
    each = alpha / len(tallies)
    arms = [
        _arm(version, shares.get(version), tally, None if version == base else tallies[base], each)
        for version, tally in tallies.items()
    ]
    return Comparison(beside=base, arms=tuple(sorted(arms, key=lambda arm: (arm.share is None, arm.version))))


def _arm(version: int, share: float | None, own: Tally, base: Tally | None, alpha: float) -> Arm:
    more_errors, more_slower, higher_score = (None, None, None) if base is None else _differences(base, own, alpha)
    return Arm(
        version=version,
        share=share,
        tally=own,
        errors=share_interval(own.errors, own.requests, alpha),
        slower=share_interval(own.slower, own.timed, alpha),
        score=mean_interval(own.scores, alpha),
        more_errors=more_errors,
        more_slower=more_slower,
        higher_score=higher_score,
    )


def _differences(base: Tally, own: Tally, alpha: float) -> tuple[Interval, Interval, Interval | None]:
    return (
        share_difference((base.errors, base.requests), (own.errors, own.requests), alpha),
        share_difference((base.slower, base.timed), (own.slower, own.timed), alpha),
        mean_difference(base.scores, own.scores, alpha) if base.scores.count and own.scores.count else None,
    )
