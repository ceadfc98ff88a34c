"""Alerts of model endpoints as Merlin's clients know them: all of an endpoint's conditions at once.

They are the registry's, which knows more: what Merlin has no word for is neither shown nor changed here.
"""

import math
from http import HTTPStatus
from typing import Final, NamedTuple

from flask import Blueprint, Response

from serving.control import objects
from serving.control.access import may_see
from serving.control.bodies import ROW, AlertBody, ConditionBody, read_body
from serving.control.control import Control
from serving.control.rendering import answer
from serving.openapi.operation import Operation, described
from serving.refusals import BadRequestError, NotOfferedError
from yarnmill.errors import ConflictError, NotFoundError
from yarnmill.registry.alerts import Wanted
from yarnmill.registry.records import Alert, Condition, Metric, Model, ModelEndpoint

_ALERT: Final = f"/models/<{ROW}:model_id>/endpoints/<{ROW}:endpoint_id>/alert"
_LATENCIES: Final[dict[float, Metric]] = {
    50.0: "latency_p50_s",
    90.0: "latency_p90_s",
    95.0: "latency_p95_s",
    99.0: "latency_p99_s",
}
_FOR_S: Final = 60.0
"""Merlin's conditions do not say for how long."""


class _Kind(NamedTuple):
    name: objects.AlertMetric
    factor: float
    unit: str


_KINDS: Final[dict[Metric, _Kind]] = {
    "requests_per_s": _Kind("throughput", 1.0, "rps"),
    "error_rate": _Kind("error_rate", 100.0, "%"),
    **dict.fromkeys(_LATENCIES.values(), _Kind("latency", 1000.0, "ms")),
}
"""What Merlin calls a metric, and how many of its units are one of the registry's."""


def add_alerts(pages: Blueprint, control: Control) -> None:
    """Add the addresses of alerts."""

    @pages.get("/alerts/teams")
    @described(Operation(answer=list[str]))
    def alert_teams() -> Response:
        """List who may be told: the teams of projects. Anybody else may be named too."""
        return answer(sorted({one.team for one in control.registry.projects.find() if one.team and may_see(one.name)}))

    @pages.get(f"/models/<{ROW}:model_id>/alerts")
    @described(Operation(answer=list[objects.Alert]))
    def alerts_of_model(model_id: int) -> Response:
        """List the alerts of a model's endpoints, an entry an endpoint."""
        model = control.model(model_id)
        alerts = control.registry.alerts.find(model.name)
        endpoints = control.registry.endpoints.everywhere(model=model.name)
        shown = [_object(model, one, _of(one, alerts)) for one in endpoints if _of(one, alerts)]
        return answer(shown)

    @pages.get(_ALERT)
    @described(Operation(answer=objects.Alert))
    def alerts_of_endpoint(model_id: int, endpoint_id: int) -> Response:
        """Answer the alerts of an endpoint."""
        model, endpoint = control.endpoint(model_id, endpoint_id)
        return answer(_object(model, endpoint, _present(control, model, endpoint)))

    @pages.post(_ALERT)
    @described(Operation(answer=objects.Alert, status=201, body=AlertBody, refusals=(400, 409, 413, 501)))
    def set_alerts(model_id: int, endpoint_id: int) -> Response:
        """Set the alerts of an endpoint that has none."""
        body, (model, endpoint) = read_body(AlertBody), control.endpoint(model_id, endpoint_id)
        if _of(endpoint, control.registry.alerts.find(model.name)):
            raise ConflictError(f"{model.name} in {endpoint.environment} has alerts", mend="change them with PUT")
        return answer(_object(model, endpoint, _replaced(control, model, endpoint, body, [])), HTTPStatus.CREATED)

    @pages.put(_ALERT)
    @described(Operation(answer=objects.Alert, body=AlertBody, refusals=(400, 409, 413, 501)))
    def change_alerts(model_id: int, endpoint_id: int) -> Response:
        """Set the alerts of an endpoint anew, all at once; those that are not named are taken away."""
        body, (model, endpoint) = read_body(AlertBody), control.endpoint(model_id, endpoint_id)
        before = _present(control, model, endpoint)
        return answer(_object(model, endpoint, _replaced(control, model, endpoint, body, before)))


def _of(endpoint: ModelEndpoint, alerts: list[Alert]) -> list[Alert]:
    return [one for one in alerts if one.environment == endpoint.environment and one.condition.metric in _KINDS]


def _present(control: Control, model: Model, endpoint: ModelEndpoint) -> list[Alert]:
    found = _of(endpoint, control.registry.alerts.find(model.name))
    if not found:
        raise NotFoundError(f"{model.name} in {endpoint.environment} has no alerts", mend="set them with POST")
    return found


def _replaced(
    control: Control, model: Model, endpoint: ModelEndpoint, body: AlertBody, before: list[Alert]
) -> list[Alert]:
    if not body.alert_conditions:
        raise BadRequestError("alert_conditions: is empty", expected="one condition or more")
    wanted: dict[str, Wanted] = {}
    for index, one in enumerate(body.alert_conditions):
        path = f"alert_conditions[{index}]"
        condition = _condition(one, path)
        name = f"{condition.metric.removesuffix('_s').replace('_', '-')}-{condition.severity}"
        if name in wanted:
            raise BadRequestError(f"{path}: a second {name}", expected="one condition a metric and severity")
        wanted[name] = Wanted(name=name, condition=condition, enabled=bool(one.enabled))
    return control.registry.alerts.replace(
        model.name,
        wanted.values(),
        receiver=body.team_name,
        environment=endpoint.environment,
        among=[one.name for one in before],
    )


def _condition(one: ConditionBody, path: str) -> Condition:
    if not math.isfinite(one.target) or one.target < 0:
        raise BadRequestError(f"{path}.target: {one.target}", expected="a number, 0 or more")
    metric: Metric | None
    match one.metric_type:
        case "throughput":
            metric = "requests_per_s"
        case "error_rate":
            metric = "error_rate"
        case "latency":
            metric = _LATENCIES.get(99.0 if one.percentile is None else one.percentile)
            if metric is None:
                shares = ", ".join(f"{share:g}" for share in _LATENCIES)
                raise BadRequestError(f"{path}.percentile: {one.percentile}", expected=f"one of {shares}")
        case _:
            raise NotOfferedError(
                f"{path}.metric_type: {one.metric_type}: all versions share the tier's processes",
                expected="throughput, latency or error_rate",
            )
    return Condition(
        metric=metric,
        comparison="below" if metric == "requests_per_s" else "above",
        bound=one.target / _KINDS[metric].factor,
        for_s=_FOR_S,
        severity="critical" if one.severity == "CRITICAL" else "warning",
    )


def _object(model: Model, endpoint: ModelEndpoint, alerts: list[Alert]) -> objects.Alert:
    return objects.Alert(
        model_id=model.id,
        model_endpoint_id=endpoint.id,
        environment_name=endpoint.environment,
        team_name=alerts[0].receiver,
        alert_conditions=[_shown(one) for one in alerts],
    )


def _shown(alert: Alert) -> objects.AlertCondition:
    condition = alert.condition
    kind = _KINDS[condition.metric]
    return objects.AlertCondition(
        enabled=alert.enabled,
        metric_type=kind.name,
        severity="CRITICAL" if condition.severity == "critical" else "WARNING",
        target=condition.bound * kind.factor,
        unit=kind.unit,
        percentile=next((share for share, metric in _LATENCIES.items() if metric == condition.metric), None),
    )
