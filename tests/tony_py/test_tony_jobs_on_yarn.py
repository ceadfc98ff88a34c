"""TonY's command line as its users type it, to the end, on the real cluster."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from yarnmill import yarn
from yarnmill.cli.main import run
from yarnmill.cli.tony import tony_py
from yarnmill.report import read_report

SHAPES = Path(__file__).parent / "tonyxml"


@pytest.fixture
def line(hdfs: str, tmp_path: Path) -> list[str]:
    """Return what every command line here has: outputs below the test's folder, and a Python that is on the nodes."""
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"storage": {"runs": f"{hdfs}/runs"}}))
    python = ["--set", f"environment.python={sys.executable}"]
    return ["submit", "--config", str(tmp_path / "config.yaml"), *python, "-src_dir", str(SHAPES / "src")]


def output_of(said: str) -> str:
    match = re.search(r"report and history go to (\S+)", said)
    assert match is not None, said
    return match[1]


def test_parameter_servers_and_workers(line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tonys = ["-conf_file", str(SHAPES / "ps.xml"), "-conf", "tony.yarn.queue=default", "-executes", "train.py"]
    tonys += ["-conf", "tony.worker.instances=2", "-python_binary_path", "python3", "-task_params", "--steps 3"]
    tonys += ["-shell_env", f"SEEN={tmp_path}", "-container_env", "GREETING=hello"]
    assert run(tony_py, [*line, *tonys]) == 0
    err = capsys.readouterr().err
    assert "tony.history.location: the history stands in" in err
    report = read_report(output_of(err))
    assert {task.task: task.exit_code for task in report.tasks} == {"worker:0": 0, "worker:1": 0, "ps:0": 143}
    status = yarn.application(report.application_id)
    assert (status.name, status.final_status) == ("click model (nightly)", "SUCCEEDED")
    found = json.loads((tmp_path / "worker-1.json").read_text())
    assert (found["total"], found["arguments"], found["GREETING"]) == (11, ["--steps", "3"], "hello")


def test_a_failing_worker_is_the_exit_status(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    tonys = [
        "-conf_file",
        str(SHAPES / "torch.xml"),
        "-conf",
        "tony.worker.node-label=",
        "-conf",
        "tony.worker.resources=",
    ]
    tonys += ["-conf", "tony.am.retry-count=0", "-conf", "tony.worker.command=python3 -c 'raise ValueError(RANK)'"]
    assert run(tony_py, [*line, *tonys]) == 20
    assert "NameError: name 'RANK' is not defined" in capsys.readouterr().err
