"""Rules that let a version pass or not."""

import pytest

from yarnmill.errors import ConfigurationError
from yarnmill.records import convert, parse_yaml
from yarnmill.registry.gates import Gate, GateRule, Interval, judge

BETTER = GateRule(metric="AUC", against="serving", same_rows=True, at_least=-0.001)


def passed(rule: GateRule, candidate: float, serving: float | None = None, interval: Interval | None = None) -> bool:
    metrics = None if serving is None else {rule.metric: serving}
    intervals = {} if interval is None else {rule: interval}
    (result,) = judge(Gate(rules=(rule,)), {rule.metric: candidate}, metrics, intervals)
    return result.passed


def test_a_bound_is_kept_or_not() -> None:
    assert passed(GateRule(metric="auc", at_least=0.7), 0.7)
    assert not passed(GateRule(metric="auc", at_least=0.7), 0.69)
    assert passed(GateRule(metric="loss", at_most=0.5), 0.5)
    assert not passed(GateRule(metric="loss", at_least=0.1, at_most=0.5), 0.6)


def test_a_rule_against_serving_looks_at_the_difference() -> None:
    rule = GateRule(metric="loss", against="serving", at_most=0.01)
    assert passed(rule, 0.505, 0.5)
    assert not passed(rule, 0.52, 0.5)
    assert passed(rule, 9.0)  # nothing serves


def test_an_interval_must_lie_within_the_bounds_as_a_whole() -> None:
    assert passed(BETTER, 0.7, 0.7, Interval(difference=0.002, low=-0.0009, high=0.005, rows=10))
    assert not passed(BETTER, 0.7, 0.7, Interval(difference=0.002, low=-0.0011, high=0.005, rows=10))
    assert not passed(BETTER, 0.7, 0.7)
    assert passed(BETTER, 0.7)


def test_a_metric_that_is_not_there_fails() -> None:
    gate = Gate(rules=(GateRule(metric="auc", at_least=0.0), GateRule(metric="auc", against="serving", at_least=0.0)))
    reasons = [result.reason for result in judge(gate, {"rmse": 1.0}, {"rmse": 1.0}, {})]
    assert reasons == ["the version has no metric auc"] * 2
    (_, second) = judge(gate, {"auc": 1.0}, {"rmse": 1.0}, {})
    assert (second.passed, second.reason) == (False, "the serving version has no metric auc")


def test_a_gate_is_read_from_yaml() -> None:
    text = "rules:\n- {metric: AUC, against: serving, same_rows: true, at_least: -0.001, together: user_id}\n"
    gate = parse_yaml(text, Gate, source="gate.yaml")
    assert str(gate.rules[0]) == "AUC minus serving's >= -0.001 on the same rows, 95% sure"


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        ({"rules": []}, "lets everything pass"),
        ({"rules": [{"metric": "auc"}]}, "neither at_least nor at_most"),
        ({"rules": [{"metric": "auc", "at_least": 0, "same_rows": True}]}, "needs against: serving"),
        ({"rules": [{"metric": "auc", "at_least": 0, "together": "user_id"}]}, "without same_rows: true"),
        ({"rules": [{"metric": "auc", "at_least": 0, "confidence": 95}]}, "confidence 95"),
        ({"rules": [{"metric": "auc", "atleast": 0}]}, "atleast"),
    ],
)
def test_a_gate_that_cannot_be_meant_is_refused(gate: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        convert(gate, Gate, source="gate.yaml")
