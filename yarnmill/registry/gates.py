"""Gates: rules over metrics that a version must pass before it is promoted, as data.

.. code-block:: yaml

    rules:
      - metric: test_auc            # the version's own
        at_least: 0.75
      - metric: test_log_loss       # beside the version that serves: candidate minus serving
        against: serving
        at_most: 0.002
      - metric: AUC                 # both on the same rows, with an interval of the difference
        against: serving
        same_rows: true
        at_least: -0.001
        confidence: 0.95
        together: user_id

A rule without an interval looks at a number; one with an interval holds if the whole interval does. A rule against
the serving version holds where none serves yet: there is nothing to be worse than.
"""

from collections.abc import Mapping
from typing import Literal

from yarnmill.records import Record


class Interval(Record, frozen=True, kw_only=True):
    """A difference on the same rows: candidate minus serving, and the interval that covers it."""

    difference: float
    low: float
    high: float
    rows: int


class GateRule(Record, frozen=True, kw_only=True):
    """A metric between bounds; ``against`` and ``same_rows`` say beside what and on which rows.

    ``together`` names the id whose rows are not independent, such as ``user_id``: the interval is over ids then.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    against: Literal["serving"] | None = None
    same_rows: bool = False
    confidence: float = 0.95
    together: str | None = None

    def __post_init__(self) -> None:
        """Refuse a rule that cannot fail, or cannot be meant."""
        if self.at_least is None and self.at_most is None:
            raise ValueError(f"the rule over {self.metric} has neither at_least nor at_most")
        if self.same_rows and self.against is None:
            raise ValueError(f"the rule over {self.metric} on the same rows needs against: serving")
        if not self.same_rows and self.together is not None:
            raise ValueError(f"the rule over {self.metric} draws nothing together without same_rows: true")
        if not 0.5 < self.confidence < 1:
            raise ValueError(f"the rule over {self.metric} has the confidence {self.confidence}, not one below 1")

    def __str__(self) -> str:
        """Return the rule in words."""
        bounds = [f">= {self.at_least:g}"] if self.at_least is not None else []
        bounds += [f"<= {self.at_most:g}"] if self.at_most is not None else []
        of = f"{self.metric} minus serving's" if self.against else self.metric
        rows = f" on the same rows, {self.confidence:.0%} sure" if self.same_rows else ""
        return f"{of} {' and '.join(bounds)}{rows}"


class Gate(Record, frozen=True, kw_only=True):
    """All rules must hold."""

    rules: tuple[GateRule, ...]
    schema_version: int = 1

    def __post_init__(self) -> None:
        """Refuse a gate that cannot fail."""
        if not self.rules:
            raise ValueError("a gate without rules lets everything pass")


class RuleResult(Record, frozen=True, kw_only=True):
    """How a rule was judged: what was seen, and why that passes or not."""

    rule: GateRule
    passed: bool
    seen: float | None
    low: float | None = None
    high: float | None = None
    rows: int | None = None
    reason: str


def judge(
    gate: Gate,
    candidate: Mapping[str, float],
    serving: Mapping[str, float] | None,
    intervals: Mapping[GateRule, Interval],
) -> list[RuleResult]:
    """Return how each rule is judged.

    Parameters
    ----------
    gate
        The rules.
    candidate
        The metrics of the version that would be promoted.
    serving
        Those of the version that serves; None if none does.
    intervals
        By rule, the differences on the same rows.
    """
    return [_judged(rule, candidate, serving, intervals) for rule in gate.rules]


def _judged(
    rule: GateRule,
    candidate: Mapping[str, float],
    serving: Mapping[str, float] | None,
    intervals: Mapping[GateRule, Interval],
) -> RuleResult:
    if rule.against is not None and serving is None:
        return RuleResult(rule=rule, passed=True, seen=None, reason="nothing serves yet")
    if rule.same_rows:
        interval = intervals.get(rule)
        if interval is None:
            return RuleResult(rule=rule, passed=False, seen=None, reason="no scores of both versions on the same rows")
        passed = _within(rule, interval.low, interval.high)
        seen = f"{interval.difference:+.6g} in [{interval.low:+.6g}, {interval.high:+.6g}] over {interval.rows:,} rows"
        return RuleResult(
            rule=rule,
            passed=passed,
            seen=interval.difference,
            low=interval.low,
            high=interval.high,
            rows=interval.rows,
            reason=seen,
        )
    for metrics, whose in ((candidate, "the version"), (serving if rule.against else candidate, "the serving version")):
        if metrics is None or rule.metric not in metrics:
            return RuleResult(rule=rule, passed=False, seen=None, reason=f"{whose} has no metric {rule.metric}")
    value = candidate[rule.metric] - (serving or {})[rule.metric] if rule.against else candidate[rule.metric]
    return RuleResult(rule=rule, passed=_within(rule, value, value), seen=value, reason=f"{value:.6g}")


def _within(rule: GateRule, low: float, high: float) -> bool:
    above = rule.at_least is None or low >= rule.at_least
    return above and (rule.at_most is None or high <= rule.at_most)
