"""MLflow in the registry's own PostgreSQL: both keep their tables, and MLflow's server shows the runs."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from trained import REPORT, write_output
from waiting import eventually

from yarnmill.config import load_config
from yarnmill.lifecycle.publish import publish
from yarnmill.registry import Registry
from yarnmill.registry.engine import open_engine
from yarnmill.registry.migrate import migrate
from yarnmill.registry.tracking import Tracking, track_pending

pytestmark = [pytest.mark.programs, pytest.mark.timeout(900)]


def test_a_label_that_changes_changes_in_mlflow_too(empty_postgres: str, tmp_path: Path) -> None:
    engine = open_engine(empty_postgres)
    migrate(engine)
    engine.dispose()
    keys = [f"storage.blobs=file://{tmp_path}/blobs", f"registry.url={empty_postgres}"]
    config = load_config(None, [*keys, f"registry.tracking={empty_postgres}"], home=str(tmp_path / "home"))
    output = f"file://{tmp_path}/runs/one"
    write_output(output, "one", REPORT)
    published = publish(output, "rater", "torch", config, labels={"stage": "trial", "owner": "ana"})
    registry = Registry(config.registry_url)
    assert registry.versions.untracked() == []
    registry.versions.label("rater", published.version, {"stage": "final", "owner": None})
    assert track_pending(registry, Tracking(config.tracking_uri), pytest.fail) == 1
    registry.close()
    command = [
        sys.executable,
        "-m",
        "yarnmill.cli.main",
        "mlflow",
        "up",
        "--port",
        "0",
        "--home",
        str(tmp_path / "home"),
    ]
    settings = [f"--set={key}" for key in (*keys, f"registry.tracking={empty_postgres}")]
    with subprocess.Popen(
        [*command, *settings], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
    ) as server:
        try:
            assert server.stdout
            url = next(match[0] for line in server.stdout if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
            assert eventually(lambda: _answers(url), 300)
            runs = _runs(url)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=60)
            server.stdout.read()
    (run,) = runs
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert (tags["stage"], tags["yarnmill.version"], run["info"]["run_name"]) == ("final", "1", "rater-1")
    assert "owner" not in tags
    assert {metric["key"]: metric["value"] for metric in run["data"]["metrics"]} == REPORT.metrics


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=10).ok
    except requests.ConnectionError:
        return False


def _runs(url: str) -> list[dict[str, dict[str, object]]]:
    experiment = requests.get(
        f"{url}/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": "rater"}, timeout=60
    ).json()["experiment"]
    found = requests.post(
        f"{url}/api/2.0/mlflow/runs/search", json={"experiment_ids": [experiment["experiment_id"]]}, timeout=60
    )
    found.raise_for_status()
    runs: list[dict[str, dict[str, object]]] = found.json()["runs"]
    return runs
