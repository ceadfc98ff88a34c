import json
from pathlib import Path

import pytest

from yarnmill import yarn
from yarnmill.cli.main import run
from yarnmill.cli.tony import tony_py
from yarnmill.localcluster.cluster import ClusterState


def test_a_mistake_is_one_message_and_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tony_py, ["submit", str(tmp_path / "none.yaml")]) == 3
    (tmp_path / "app.yaml").write_text("name: a\nframework: torch\ntypes: {worker: {comand: x}}\noutput: hdfs:///o\n")
    assert run(tony_py, ["submit", str(tmp_path / "app.yaml")]) == 2
    err = capsys.readouterr().err
    assert "types.worker.comand" in err or "comand" in err
    assert "Traceback" not in err


def test_a_cluster_that_is_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "<name>yarn.resourcemanager.webapp.address</name><value>127.0.0.1:1</value>"
    (tmp_path / "yarn-site.xml").write_text(f"<configuration><property>{address}</property></configuration>")
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    for arguments in (
        ["list"],
        ["status", "application_1_1"],
        ["kill", "application_1_1"],
        ["logs", "application_1_1"],
    ):
        assert run(tony_py, arguments) == 10
    assert "does not answer" in capsys.readouterr().err


def test_what_yarn_knows(cluster: ClusterState, capsys: pytest.CaptureFixture[str]) -> None:
    assert str(cluster)
    assert run(tony_py, ["list", "--output", "json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)
    assert run(tony_py, ["status", "application_1_0001"]) == 3
    assert all("tony_py" in found.tags for found in yarn.applications(tag="tony_py"))
