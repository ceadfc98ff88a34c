"""What came of an experiment's answers, from the requests of its units to the table that compares its versions."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from registered import let_run

from serving.app import create_app
from serving.metrics import Metrics
from serving.models import ModelTable
from serving.predictionlog.log import PredictionLog
from yarnmill.cli.main import run, yarnmill
from yarnmill.config import LogSettings
from yarnmill.registry import Rule
from yarnmill.registry.records import Destination
from yarnmill.units import Mebibytes, Seconds

if TYPE_CHECKING:
    from conftest import Platform

ROW = {"instances": [{"user_id": 1, "features": [0, 0]}]}


def show(platform: "Platform", *options: str) -> int:
    return run(yarnmill, ["experiments", "show", "rater", "--rewards", "--home", str(platform.home), *options])


@pytest.mark.slow
def test_labels_are_compared_by_the_unit_that_asked(
    platform: "Platform", table: ModelTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for bias in (1.0, 2.0):
        version, _ = platform.publish("rater", bias)
        let_run(platform.registry, "rater", version)
    halves = tuple(Destination(version=version, weight=50.0) for version in (1, 2))
    platform.registry.endpoints.route("rater", Rule(destinations=halves))
    table.refresh()
    url = f"{tmp_path}/log"
    settings = LogSettings(url=url, share=1.0, flush=Seconds(3600), most_rows=10**6, memory=Mebibytes(8))
    log = PredictionLog(settings, Metrics())
    client = create_app(table, Metrics(), max_body_bytes=100_000, log=log).test_client()
    versions: dict[str, str] = {}
    labels = []
    for number in range(600):
        unit, session = f"user-{number % 150}", f"visit-{number}"
        headers = {"X-Unit-Id": unit, "X-Session-Id": session}
        answer = client.post("/v1/models/rater:predict", json=ROW, headers=headers)
        versions[unit] = answer.headers["X-Model-Version"]
        label = int(versions[unit] == "2") + (number % 150) % 2
        labels.append({"session_id": session, "row_id": 0, "label": label})
    assert client.post("/v1/models/rater/feedback", json={"labels": labels}).status_code == 202
    log.stop()
    assert show(platform, "--log", url, "--output", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["beside"] == 1
    assert [arm["units"] for arm in found["arms"]] == [list(versions.values()).count(one) for one in ("1", "2")]
    assert sum(arm["labels"] for arm in found["arms"]) == 600
    higher = found["arms"][1]["higher_reward"]
    assert higher["lower"] < 1.0 < higher["upper"]
    assert abs(higher["estimate"] - 1.0) < 0.3
    assert show(platform, "--log", url, "--since", "1 d") == 0
    assert "higher reward than 1" in capsys.readouterr().out
    assert show(platform, "--log", url, "--since", "0 s") == 3
    assert "no label for an answer of an experiment" in capsys.readouterr().err
    assert run(yarnmill, ["experiments", "show", "rater", "--since", "1 d", "--home", str(platform.home)]) == 2
    assert "--rewards" in capsys.readouterr().err
    assert show(platform) == 2
    assert "serving.log.url is empty" in capsys.readouterr().err
