"""What tiers counted: growth between two looks, over replicas, through restarts."""

from collections.abc import Callable

import pytest

from serving.metrics import Metrics
from yarnmill.errors import ConfigurationError, NotFoundError
from yarnmill.experiments.comparison import compare
from yarnmill.experiments.sources import Tiers
from yarnmill.experiments.tallies import Growth, Look, Reading, Tally
from yarnmill.registry import Rule
from yarnmill.registry.records import Destination

SLOW_S = 0.1


def growth_of(**tiers: Metrics | None) -> tuple[Growth, dict[str, Metrics | None]]:
    """Return the growth of rater over tiers that a test may replace: None does not answer."""

    def read(url: str) -> str:
        tier = tiers[url.removesuffix("/metrics").removeprefix("http://")]
        if tier is None:
            raise OSError("connection refused")
        return tier.render().decode()

    return Growth("rater", Tiers([f"http://{name}" for name in tiers], read)), tiers


def answers(tier: Metrics, version: int, *seconds: float, score: float = 0.5) -> None:
    for one in seconds:
        tier.count_arm_answer("rater", version, one, score)


def test_what_grows_between_two_looks_is_counted_over_all_tiers() -> None:
    one, other = Metrics(), Metrics()
    answers(one, 2, 0.01)
    growth, _ = growth_of(one=one, other=other)
    assert growth.look() == ()
    answers(one, 2, 0.01, 0.3, score=2.0)
    answers(one, 1, 0.01)
    answers(other, 2, 5.0, score=4.0)
    other.count_arm_refusal("rater", 2, 400)
    other.count_arm_answer("another", 2, 0.1, 1.0)
    growth.look()
    seen = growth.of_arm(2, SLOW_S)
    assert (seen.requests, seen.errors, seen.timed, seen.slower) == (4, 1, 3, 2)
    assert (seen.scores.count, seen.scores.total, seen.scores.squares) == (3, 8.0, 24.0)
    growth.begin()
    growth.look()
    assert growth.of_arm(2, SLOW_S) == Tally()
    growth.since_the_start()
    assert growth.of_arm(2, SLOW_S).requests == 5


def test_a_tier_that_was_started_anew_has_grown_by_all_it_says() -> None:
    before = Metrics()
    answers(before, 2, *[0.01] * 10, score=-1.0)
    growth, tiers = growth_of(one=before)
    growth.look()
    tiers["one"] = after = Metrics()
    answers(after, 2, 0.01, 0.01, score=-1.0)
    growth.look()
    assert growth.of_arm(2, SLOW_S).requests == 2
    assert growth.of_arm(2, SLOW_S).scores.total == -2.0
    answers(after, 2, 0.01, score=-1.0)  # a sum of scores that falls is no restart
    growth.look()
    assert growth.of_arm(2, SLOW_S).requests == 3


class Late:
    """A source that gives what it read at some moment, by its clock, which a test sets."""

    tiers = 1

    def __init__(self) -> None:
        self.now_s = self.read_s = self.count = 0.0

    def look(self, model: str) -> Look:
        series = {("yarnmill_requests_total", (("model", model), ("status", "200"))): self.count}
        return Look({"one": Reading(series, self.read_s)}, now_s=self.now_s)


def test_what_a_late_source_read_before_the_beginning_is_not_counted() -> None:
    late = Late()
    growth = Growth("rater", late)

    def requests(now_s: float, read_s: float, count: float) -> float:
        late.now_s, late.read_s, late.count = now_s, read_s, count
        growth.look()
        return growth.alone(SLOW_S).requests

    assert requests(100, 95, 10) == 0
    assert requests(110, 105, 13) == 3
    growth.begin()
    assert requests(120, 115, 20) == 0  # it knew of 13 when growth began; nobody knows when the 7 came
    assert requests(130, 125, 30) == 0  # nor how many of these came before the look at 120
    assert requests(140, 135, 34) == 4
    assert requests(150, 135, 34) == 4
    assert requests(160, 155, 35) == 5


def test_a_tier_that_does_not_answer_is_told_and_loses_nothing() -> None:
    one = Metrics()
    growth, tiers = growth_of(one=one, other=None)
    assert growth.look() == ("http://other: connection refused",)
    tiers["one"] = None
    answers(one, 1, 0.01)
    assert len(growth.look()) == growth.tiers == 2
    tiers["one"] = one
    growth.look()
    assert growth.of_arm(1, SLOW_S).requests == 1


def test_mirror_and_model_alone() -> None:
    tier = Metrics()
    growth, _ = growth_of(one=tier)
    growth.look()
    tier.count_answer("rater", 7, 0.2)
    tier.count_refusal("rater", 500, "model failed")
    tier.count_mirror("rater", "answered", 0.5, 0.1)
    tier.count_mirror("rater", "failed")
    tier.count_mirror("rater", "dropped")
    growth.look()
    assert growth.alone(SLOW_S) == Tally(requests=2, errors=1, timed=1, slower=1)
    assert growth.of_mirror(SLOW_S) == Tally(requests=2, errors=1, timed=1, slower=1)


def test_only_bounds_that_are_counted_by_may_be_asked_for() -> None:
    tier = Metrics()
    growth, _ = growth_of(one=tier)
    growth.look()
    answers(tier, 1, 0.01)
    growth.look()
    with pytest.raises(ConfigurationError, match=r"0\.3 s is no bound") as caught:
        growth.of_arm(1, 0.3)
    assert "0.25, 0.5" in caught.value.expected
    assert growth.of_arm(1, 0.25).timed == 1


def rule_of(*shares: float, mirror: int | None = None) -> Rule:
    destinations = tuple(Destination(version=number, weight=share) for number, share in enumerate(shares, 1))
    return Rule(destinations=destinations, mirror=mirror)


def counted(count: Callable[[Metrics], None]) -> Growth:
    tier = Metrics()
    growth, _ = growth_of(one=tier)
    growth.look()
    count(tier)
    growth.look()
    return growth


def test_versions_are_compared_with_the_largest_share() -> None:
    def count(tier: Metrics) -> None:
        answers(tier, 1, *[0.01] * 300, score=1.0)
        answers(tier, 2, *[0.5] * 100, score=2.0)
        for _ in range(100):
            tier.count_arm_refusal("rater", 2, 500)

    growth = counted(count)
    comparison = compare(growth, rule_of(75.0, 25.0), beside=None, slow_s=SLOW_S, alpha=0.05)
    one, two = comparison.arms
    assert (comparison.beside, one.version, two.version) == (1, 1, 2)
    assert (one.more_errors, one.more_slower, one.higher_score) == (None, None, None)
    assert two.more_errors is not None
    assert two.more_slower is not None
    assert two.higher_score is not None
    assert two.more_errors.estimate == 0.5
    assert 0.3 < two.more_errors.lower < 0.5 < two.more_errors.upper < 0.7
    assert two.more_slower.lower > 0.8
    assert two.higher_score.lower == two.higher_score.upper == 1.0  # no score but one each
    with pytest.raises(NotFoundError, match="version 9 answers nothing"):
        compare(growth, rule_of(75.0, 25.0), beside=9, slow_s=SLOW_S, alpha=0.05)


def test_a_mirror_comes_last_and_has_no_share() -> None:
    def count(tier: Metrics) -> None:
        tier.count_answer("rater", 1, 0.01)
        tier.count_mirror("rater", "answered", 0.01)

    comparison = compare(counted(count), rule_of(100.0, mirror=2), beside=None, slow_s=SLOW_S, alpha=0.05)
    assert [(arm.version, arm.share, arm.tally.requests) for arm in comparison.arms] == [(1, 100.0, 1), (2, None, 1)]
