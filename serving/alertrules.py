"""The registry's alerts as rules of Prometheus, which looks at the tiers' metrics and tells who is to be told.

One tier answers for one environment, so rules are those of one; Prometheus adds up all tiers that it scrapes.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

import yaml

from yarnmill.registry.records import Alert, Metric

_WINDOW: Final = "5m"
_UNITS: Final[dict[Metric, tuple[str, str]]] = {
    "error_rate": ("share of its requests that failed", "$value | humanizePercentage"),
    "requests_per_s": ("requests a second", 'printf "%.3g" $value'),
    "drift_psi": ("largest PSI of its inputs and scores", 'printf "%.3g" $value'),
    "latency_p50_s": ("median time to its answers", "$value | humanizeDuration"),
    "latency_p90_s": ("90th percentile of the time to its answers", "$value | humanizeDuration"),
    "latency_p95_s": ("95th percentile of the time to its answers", "$value | humanizeDuration"),
    "latency_p99_s": ("99th percentile of the time to its answers", "$value | humanizeDuration"),
}
"""What a metric is called in a message, and how its value is written there, in Prometheus' templates."""


def render_rules(alerts: Iterable[Alert], environment: str, matchers: str = "") -> str:
    """Return a file of rules, byte for byte the same for the same alerts.

    Parameters
    ----------
    alerts
        Those of other environments, and those that are off, are left out.
    environment
        Whose rules these are.
    matchers
        What else, in Prometheus' own words, the series must match: ``job="serving"``.
    """
    rules = [_rule(one, matchers) for one in alerts if one.enabled and one.environment == environment]
    document = {"groups": [{"name": f"yarnmill-{environment}", "rules": rules}]}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=2**16)


def _rule(alert: Alert, matchers: str) -> dict[str, Any]:
    condition = alert.condition
    what, form = _UNITS[condition.metric]
    sign = ">" if condition.comparison == "above" else "<"
    return {
        "alert": f"{alert.model}: {alert.name}",
        "expr": f"{expression(condition.metric, alert.model, matchers)} {sign} {condition.bound!r}",
        "for": f"{round(condition.for_s * 1000)}ms",
        "labels": {
            "severity": condition.severity,
            "receiver": alert.receiver.replace("{{", '{{"{{"}}'),  # Prometheus takes labels for templates
            "model": alert.model,
            "environment": alert.environment,
        },
        "annotations": {
            "summary": f"{alert.model} in {alert.environment}: {what} is {{{{ {form} }}}}, "
            f"{condition.comparison} {condition.bound:g}",
        },
    }


def expression(metric: Metric, model: str, matchers: str = "") -> str:
    """Return a metric of a model in PromQL, over all tiers and workers."""
    of_model = ",".join(filter(None, (f"model={json.dumps(model, ensure_ascii=False)}", matchers)))
    requests = f"sum(rate(yarnmill_requests_total{{{of_model}}}[{_WINDOW}]))"
    match metric:
        case "requests_per_s":
            # Nobody asking is no series, or one that stands still: both are no requests.
            return f"({requests} or vector(0))"
        case "error_rate":
            failed = f'sum(rate(yarnmill_requests_total{{{of_model},status=~"5.."}}[{_WINDOW}]))'
            return f"({failed} / {requests})"
        case "drift_psi":
            return f"max(yarnmill_drift_psi_max{{{of_model}}})"
        case _:
            share = int(metric.removeprefix("latency_p").removesuffix("_s")) / 100
            buckets = f"sum by (le) (rate(yarnmill_request_seconds_bucket{{{of_model}}}[{_WINDOW}]))"
            return f"histogram_quantile({share:g}, {buckets})"
