"""Every example as its first line says: sent to the real cluster, to its end."""

import subprocess
import sys
from pathlib import Path

import pytest

from tony_py import client
from tony_py.history import read_history
from tony_py.loading import load_application
from yarnmill import fs
from yarnmill.config import Config

EXAMPLES = {
    "standalone/app.yaml": ("sum", 1.64493, 1e-4, {"share-0", "share-1", "share-2"}),
    "torch/app.yaml": ("test_loss", 0.0, 0.01, {"model.pt"}),
    "tensorflow/mirrored.yaml": ("test_loss", 0.0, 0.01, {"weights.npz"}),
    "tensorflow/parameter_server.yaml": ("test_loss", 0.0, 0.01, {"weights.npz"}),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_to_its_end(
    name: str, hdfs: str, training_python: Path, repository: Path, config: Config
) -> None:
    metric, value, tolerance, files = EXAMPLES[name]
    overrides = [f"output={hdfs}/output", f"environment.python={training_python}"]
    application = load_application(repository / "examples" / name, overrides)
    report, _ = client.run_application(application, config, print)
    assert report.state == "succeeded"
    assert report.metrics[metric] == pytest.approx(value, abs=tolerance)
    assert files <= {entry.name for entry in fs.children(report.outputs[0])}
    told = [event for event in read_history(fs.join(report.outputs[0], "history.jsonl")) if event.event == "progress"]
    assert told
    assert not any(entry.name.startswith(".output") for entry in fs.children(hdfs))  # checkpoints are gone


@pytest.mark.programs
def test_a_program_in_another_language_uses_the_command(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "tony_task").symlink_to(repository / "tony_py" / "task")
    variables = {
        "PYTHONPATH": str(tmp_path / "lib"),
        "TONY_PROGRESS_FILE": str(tmp_path / "progress.json"),
        "TONY_CHECKPOINT_DIR": str(tmp_path / "checkpoints"),
        "TONY_OUTPUT": str(tmp_path / "output"),
    }

    def call(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "tony_task", *arguments]
        done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    (tmp_path / "state").write_text("42")
    assert call("load-checkpoint", "back") == (3, "")
    assert call("report", "--step", "3", "--total", "4", "--metric", "loss=0.5") == (0, "")
    assert call("save-checkpoint", "3", "state") == (0, "")
    assert (tmp_path / "progress.json").read_text() == (
        '{"step": 3, "progress": 0.75, "metrics": {"loss": 0.5}, "checkpoint": 3}'
    )
    assert call("load-checkpoint", "back") == (0, "3\n")
    assert (tmp_path / "back").read_text() == "42"
    assert call("save-output", "answer", "state") == (0, "")
    assert call("read-output", "answer") == (0, "42")
    status, words = call("save-output", "answer", "nothing")
    assert status == 1
    assert words.startswith("tony_task: ")
