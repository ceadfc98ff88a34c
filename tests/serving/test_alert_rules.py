"""The registry's alerts as rules: what Prometheus' own test of rules makes of them over series as a tier has them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus import prometheus_program

from serving.alertrules import render_rules
from serving.metrics import Metrics
from yarnmill.cli.main import run, yarnmill
from yarnmill.config import load_config
from yarnmill.records import convert
from yarnmill.registry import Candidate, Registry
from yarnmill.registry.records import Alert, Metric

pytestmark = pytest.mark.slow

NOBODY_ELSE: dict[str, Any] = {"receiver": "team", "enabled": True, "revision": 1}


def alert(metric: Metric, bound: float, comparison: str = "above", **others: Any) -> Alert:
    condition = {"metric": metric, "comparison": comparison, "bound": bound, "for_s": 60.0}
    moment = {"created_at": "2026-01-01T00:00:00Z", "changed_at": "2026-01-01T00:00:00Z"}
    known = {"model": "rank", "environment": "production", "name": metric, **NOBODY_ELSE, **moment}
    return convert({**known, "condition": condition, **others}, Alert, source="an alert")


ALERTS = [
    alert("error_rate", 0.05),
    alert("latency_p99_s", 0.25),
    alert("latency_p50_s", 0.25),
    alert("requests_per_s", 1.0, "below"),
    alert("drift_psi", 0.2),
    alert("requests_per_s", 1.0, "below", name="nobody asks", model="quiet"),
    alert("requests_per_s", 0.0, name="off", enabled=False),
    alert("requests_per_s", 0.0, name="elsewhere", environment="staging"),
]
# Ten requests a second, of which one fails; half of the answers within 0.1 s, all within 0.5 s; two workers' PSI.
SERIES = {
    'yarnmill_requests_total{model="rank",status="200"}': "0+540x60",
    'yarnmill_requests_total{model="rank",status="503"}': "0+60x60",
    'yarnmill_request_seconds_bucket{model="rank",le="0.1"}': "0+300x60",
    'yarnmill_request_seconds_bucket{model="rank",le="0.5"}': "0+600x60",
    'yarnmill_request_seconds_bucket{model="rank",le="+Inf"}': "0+600x60",
    'yarnmill_drift_psi_max{model="rank",instance="a"}': "0.1x60",
    'yarnmill_drift_psi_max{model="rank",instance="b"}': "0.3x60",
}


@pytest.fixture
def promtool() -> str:
    return prometheus_program("promtool")


def test_each_condition_is_raised_by_the_series_that_meet_it(promtool: str, tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(render_rules(ALERTS, "production"))
    raised = {
        "rank: error_rate": "rank in production: share of its requests that failed is 10%, above 0.05",
        "rank: latency_p99_s": "rank in production: 99th percentile of the time to its answers is 492ms, above 0.25",
        "rank: drift_psi": "rank in production: largest PSI of its inputs and scores is 0.3, above 0.2",
        "quiet: nobody asks": "quiet in production: requests a second is 0, below 1",
        "rank: latency_p50_s": None,
        "rank: requests_per_s": None,
    }
    looks = [look(name, summary) for name, summary in raised.items()]
    series = [{"series": name, "values": values} for name, values in SERIES.items()]
    tests = {
        "rule_files": ["rules.yml"],
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": looks}],
    }
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(tests))
    for command in (["check", "rules", "rules.yml"], ["test", "rules", "tests.yml"]):
        done = subprocess.run([promtool, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def look(name: str, summary: str | None) -> dict[str, Any]:
    model = name.partition(":")[0]
    labels = {"severity": "warning", "receiver": "team", "model": model, "environment": "production"}
    expected = [] if summary is None else [{"exp_labels": labels, "exp_annotations": {"summary": summary}}]
    return {"eval_time": "20m", "alertname": name, "exp_alerts": expected}


def test_what_is_off_or_elsewhere_is_no_rule_and_names_cannot_break_out(promtool: str, tmp_path: Path) -> None:
    odd = alert("error_rate", 0.5, model='a"} or {b="c', receiver="{{ evil", name="x: y\n- z")
    text = render_rules([*ALERTS, odd], "production", 'job="serving"')
    rules = yaml.safe_load(text)["groups"][0]["rules"]
    assert [one["alert"] for one in rules[-2:]] == ["quiet: nobody asks", 'a"} or {b="c: x: y\n- z']
    assert all('job="serving"' in one["expr"] for one in rules)
    (tmp_path / "rules.yml").write_text(text)
    subprocess.run([promtool, "check", "rules", "rules.yml"], cwd=tmp_path, check=True, capture_output=True)


def test_alerts_are_set_listed_and_printed_as_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(tmp_path)]
    registry = Registry(load_config(home=str(tmp_path)).registry_url)
    registry.versions.register(
        Candidate(model="rank", bundle_id="0" * 64, blobs_url=f"file://{tmp_path}", flavour="onnx", run_id="one")
    )
    slow = ["models", "alerts", "set", "rank", "slow", "--metric", "latency_p99_s", "--receiver", "team", *home]
    assert run(yarnmill, slow) == 2
    assert run(yarnmill, [*slow, "--above", "0.25", "--for", "5 min", "--severity", "critical"]) == 0
    assert "alert slow of rank in production: latency_p99_s above 0.25 for 300 s" in capsys.readouterr().out
    assert run(yarnmill, ["models", "alerts", "list", *home]) == 0
    assert "critical" in capsys.readouterr().out
    assert run(yarnmill, ["models", "alerts", "rules", *home]) == 0
    (rule,) = yaml.safe_load(capsys.readouterr().out)["groups"][0]["rules"]
    assert (rule["alert"], rule["for"], rule["labels"]["severity"]) == ("rank: slow", "300000ms", "critical")
    assert run(yarnmill, ["models", "alerts", "rm", "rank", "slow", *home, "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "slow", "removed": True}
    assert registry.alerts.find() == []


def test_models_that_alerts_look_at_have_labels_of_their_own() -> None:
    metrics = Metrics()
    for number in range(120):
        metrics.count_answer(f"model-{number}", 1, 0.01)
    metrics.count_answer("watched", 1, 0.01)
    assert b'model="watched"' not in metrics.render()
    metrics.watch(["watched"])
    metrics.count_answer("watched", 1, 0.01)
    text = metrics.render().decode()
    assert 'yarnmill_requests_total{model="watched",status="200"} 1.0' in text
    assert 'model="model-119"' not in text
