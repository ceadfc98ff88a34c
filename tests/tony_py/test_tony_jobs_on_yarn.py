"""TonY's command line as its users type it, to the end, on the real cluster."""

import json
import re
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from yarnmill import fs, yarn
from yarnmill.cli.main import run
from yarnmill.cli.tony import tony_py
from yarnmill.report import read_report

SHAPES = Path(__file__).parent / "tonyxml"


@pytest.fixture
def line(hdfs: str, tmp_path: Path) -> list[str]:
    """Return what every command line here has: outputs below the test's folder, and a Python that is on the nodes."""
    storage = {"runs": f"{hdfs}/runs", "environments": f"{hdfs}/environments"}
    training = {"python": sys.executable}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"storage": storage, "training": training}))
    return ["submit", "--config", str(tmp_path / "config.yaml"), "-src_dir", str(SHAPES / "src")]


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


def test_resources_and_an_environment_in_a_zip(
    line: list[str], hdfs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The environment's Python is a program that runs the one of this test: small, and found only in the archive."""
    with zipfile.ZipFile(tmp_path / "env.zip", "w") as archive:
        member = zipfile.ZipInfo("Python/bin/python")
        member.external_attr = 0o755 << 16
        archive.writestr(member, f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    with zipfile.ZipFile(tmp_path / "tables.zip", "w") as archive:
        archive.writestr("films.csv", "318")
    (tmp_path / "settings.json").write_text("{}")
    fs.write_bytes(f"{hdfs}/shared/vocabulary.txt", b"crime drama")
    fs.write_bytes(f"{hdfs}/libs/rules.jar", b"jar")
    monkeypatch.chdir(tmp_path)
    resources = f"settings.json,{hdfs}/shared/vocabulary.txt::words.txt,tables.zip::tables#archive"
    tonys = [
        "-conf_file",
        str(SHAPES / "torch.xml"),
        "-conf",
        "tony.worker.node-label=",
        "-conf",
        "tony.worker.command=",
    ]
    tonys += ["-conf", f"tony.worker.resources={resources}", "-hdfs_classpath", f"{hdfs}/libs,{hdfs}/none"]
    tonys += ["-python_venv", "env.zip", "-python_binary_path", "Python/bin/python", "-executes", "look.py"]
    tonys += ["-shell_env", f"SEEN={tmp_path}", "-conf", "tony.application.tags=nightly"]
    assert run(tony_py, [*line, *tonys]) == 0
    err = capsys.readouterr().err
    assert f"--hdfs_classpath: {hdfs}/none is not there" in err
    assert "nightly" in yarn.application(read_report(output_of(err)).application_id).tags
    for index in range(2):
        assert json.loads((tmp_path / f"look-{index}.json").read_text()) == {
            "settings.json": "{}",
            "words.txt": "crime drama",
            "tables/films.csv": "318",
            "rules.jar": "jar",
            "look.py": True,
            "venv/Python/bin/python": True,
        }
