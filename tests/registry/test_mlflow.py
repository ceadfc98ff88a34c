"""MLflow in the registry's own PostgreSQL: both keep their tables, and MLflow's server shows the runs."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from trained import REPORT, write_output
from waiting import eventually

pytestmark = [pytest.mark.programs, pytest.mark.timeout(900)]


def test_a_label_that_changes_changes_in_mlflow_too(empty_postgres: str, tmp_path: Path) -> None:
    settings = [f"storage.blobs=file://{tmp_path}/blobs", f"registry.url={empty_postgres}"]
    settings += [f"registry.tracking={empty_postgres}"]
    options = [f"--set={key}" for key in settings] + ["--home", str(tmp_path / "home")]

    def said(*arguments: str) -> str:
        command = [sys.executable, "-m", "yarnmill.cli.main", *arguments, *options]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    output = f"file://{tmp_path}/runs/one"
    write_output(output, "one", REPORT)
    said("models", "migrate")
    labels = ("--label", "stage=trial", "--label", "owner=ana")
    assert "rater version 1" in said("models", "publish", output, "--model", "rater", "--flavour", "torch", *labels)
    said("versions", "label", "rater/1", "stage=final", "owner=")
    assert "1 versions brought in step, 0 still behind" in said("mlflow", "sync")
    command = [sys.executable, "-m", "yarnmill.cli.main", "mlflow", "up", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
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
