"""Alerts as Merlin's clients set and read them, and as the registry keeps them."""

from typing import TYPE_CHECKING, Any

import pytest

from yarnmill.registry import Rule
from yarnmill.registry.records import Condition

if TYPE_CHECKING:
    from conftest import Merlin

pytestmark = pytest.mark.slow

LATENCY = {
    "enabled": True,
    "metric_type": "latency",
    "severity": "WARNING",
    "target": 200,
    "percentile": 95,
    "unit": "ms",
}
ERRORS = {"enabled": True, "metric_type": "error_rate", "severity": "CRITICAL", "target": 1.5, "unit": "%"}
IDLE = {"enabled": False, "metric_type": "throughput", "severity": "WARNING", "target": 10, "unit": "rps"}


@pytest.fixture
def address(merlin: "Merlin") -> str:
    """Return where the alerts of the model's endpoint are."""
    merlin.registry.deployments.started(merlin.registry.deployments.begin("rater", 1))
    endpoint = merlin.registry.endpoints.route("rater", Rule.only(1))
    return f"{merlin.path()}/endpoints/{endpoint.id}/alert"


def body(*conditions: dict[str, Any], team: str = "recommenders") -> dict[str, Any]:
    return {"model_id": 1, "environment_name": "production", "team_name": team, "alert_conditions": conditions}


def test_what_is_set_is_read_again_and_kept_in_the_registrys_units(merlin: "Merlin", address: str) -> None:
    merlin.refused("GET", address, status=404)
    assert merlin.send("GET", f"{merlin.path()}/alerts") == []
    made = merlin.send("POST", address, body(LATENCY, ERRORS, IDLE), status=201)
    assert made["team_name"] == "recommenders"
    assert sorted(made["alert_conditions"], key=lambda one: one["target"]) == [ERRORS, IDLE, LATENCY]
    found = merlin.send("GET", address)
    assert {**found, "alert_conditions": None} == {**made, "alert_conditions": None}
    assert merlin.send("GET", f"{merlin.path()}/alerts") == [found]
    kept = {one.name: (one.condition, one.enabled) for one in merlin.registry.alerts.find("rater")}
    assert kept == {
        "latency-p95-warning": (Condition(metric="latency_p95_s", comparison="above", bound=0.2), True),
        "error-rate-critical": (
            Condition(metric="error_rate", comparison="above", bound=0.015, severity="critical"),
            True,
        ),
        "requests-per-warning": (Condition(metric="requests_per_s", comparison="below", bound=10), False),
    }


def test_a_change_is_of_all_that_merlin_knows_and_of_nothing_else(merlin: "Merlin", address: str) -> None:
    drifted = Condition(metric="drift_psi", comparison="above", bound=0.2)
    merlin.registry.alerts.put("rater", "drifted", drifted, receiver="modellers")
    merlin.refused("PUT", address, body(ERRORS), status=404)
    merlin.send("POST", address, body(LATENCY, ERRORS), status=201)
    assert "change them with PUT" in merlin.refused("POST", address, body(ERRORS), status=409)
    changed = merlin.send("PUT", address, body({**ERRORS, "target": 3}, team="others"))
    assert [(one["metric_type"], one["target"]) for one in changed["alert_conditions"]] == [("error_rate", 3.0)]
    assert [(one.name, one.receiver) for one in merlin.registry.alerts.find("rater")] == [
        ("drifted", "modellers"),
        ("error-rate-critical", "others"),
    ]


def test_teams_are_those_of_projects(merlin: "Merlin") -> None:
    merlin.registry.projects.ensure("films")
    merlin.registry.projects.update("films", team="recommenders")
    assert merlin.send("GET", "/alerts/teams") == ["recommenders"]


@pytest.mark.parametrize(
    ("condition", "said", "status"),
    [
        ({"metric_type": "cpu"}, "alert_conditions[1].metric_type: cpu: all versions share", 501),
        ({"metric_type": "mood"}, "alert_conditions[1].metric_type: Invalid enum value 'mood'", 400),
        ({"metric_type": "latency", "percentile": 42}, "alert_conditions[1].percentile: 42", 400),
        ({"target": -1}, "alert_conditions[1].target: -1", 400),
        ({"severity": "AWFUL"}, "alert_conditions[1].severity: Invalid enum value 'AWFUL'", 400),
        ({}, "alert_conditions[1]: a second error-rate-critical", 400),
    ],
)
def test_what_cannot_be_looked_at_is_refused_by_its_path(
    merlin: "Merlin", address: str, condition: dict[str, Any], said: str, status: int
) -> None:
    assert said in merlin.refused("POST", address, body(ERRORS, {**ERRORS, **condition}), status=status)
    assert merlin.registry.alerts.find() == []


def test_somebody_must_be_told_of_something(merlin: "Merlin", address: str) -> None:
    assert "receiver" in merlin.refused("POST", address, body(ERRORS, team=""), status=400)
    assert "alert_conditions: is empty" in merlin.refused("POST", address, body(), status=400)
