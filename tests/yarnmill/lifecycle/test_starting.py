"""Prediction jobs that processes of their own see through: how many at once, and what is noted when one dies."""

import sys
from pathlib import Path

import pytest
from registered import bundle, fresh_sqlite
from waiting import eventually

from yarnmill.errors import ClusterUnavailableError
from yarnmill.lifecycle.starting import PredictionStarter
from yarnmill.registry import Candidate, Registry

FIRST = Candidate(model="rank", bundle_id="0" * 64, blobs_url="file:///none", flavour="onnx", run_id="one")
WAITS = """
import pathlib, sys, time
print("job", sys.argv[-1], flush=True)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.02)
sys.exit(7)
"""


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(fresh_sqlite(tmp_path / "registry.db"))
    registry.versions.register(bundle(FIRST, 1))
    return registry


def test_as_many_run_as_may_and_what_dies_is_a_failure(tmp_path: Path, registry: Registry) -> None:
    let_die, logs = tmp_path / "let die", tmp_path / "logs"
    command = [sys.executable, "-c", WAITS, str(let_die)]
    url = f"sqlite:///{tmp_path}/registry.db"
    start = PredictionStarter(command, logs, 1, lambda: Registry(url))
    first, second = (registry.jobs.create("rank", 1, "nightly", {}) for _ in range(2))
    start(first)
    with pytest.raises(ClusterUnavailableError, match="1 prediction jobs run"):
        start(second)
    let_die.touch()
    assert eventually(lambda: registry.jobs.get(first.id).status == "failed")
    log = logs / f"{first.id}.log"
    assert registry.jobs.get(first.id).message == f"what saw it through ended with status 7: {log}"
    assert log.read_text() == f"job {first.id}\n"
    registry.jobs.move(second.id, "terminated", message="stopped")
    start(second)  # there is room again, and what has ended stays as it ended
    assert eventually(lambda: (logs / f"{second.id}.log").is_file() and not start.running)
    assert registry.jobs.get(second.id).message == "stopped"


def test_a_command_that_is_not_there_is_told(tmp_path: Path, registry: Registry) -> None:
    start = PredictionStarter(["/nowhere/yarnmill"], tmp_path / "logs", 1, lambda: registry)
    for _ in range(2):  # the first leaves room
        with pytest.raises(ClusterUnavailableError, match="cannot be started: No such file"):
            start(registry.jobs.create("rank", 1, "nightly", {}))


def test_the_command_notes_why_it_did_not_predict(tmp_path: Path, registry: Registry) -> None:
    start = PredictionStarter(
        [sys.executable, "-m", "yarnmill.cli.main", "jobs", "predict", "--home", str(tmp_path)],
        tmp_path / "logs",
        1,
        lambda: Registry(f"sqlite:///{tmp_path}/registry.db"),
    )
    asked = {"training_set": f"file://{tmp_path}/rows", "output": f"file://{tmp_path}/scores", "splits": "test"}
    job = registry.jobs.create("rank", 1, "nightly", asked)
    start(job)
    assert eventually(lambda: registry.jobs.get(job.id).status == "failed")
    assert f"file://{tmp_path}/rows" in registry.jobs.get(job.id).message
    assert eventually(lambda: not start.running)
    assert "Traceback" not in (tmp_path / "logs" / f"{job.id}.log").read_text()
