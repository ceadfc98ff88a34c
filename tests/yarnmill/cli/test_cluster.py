"""``yarnmill cluster`` as a user calls it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from yarnmill.localcluster import processes
from yarnmill.localcluster.cluster import ClusterState
from yarnmill.localcluster.layout import Layout

pytestmark = pytest.mark.programs

COMMAND = [sys.executable, "-m", "yarnmill.cli.main", "cluster"]


def call(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments, "--home", str(home)], capture_output=True, text=True, check=False)


@pytest.fixture
def home(cluster: ClusterState) -> Path:
    return Path(cluster.root).parent


@pytest.mark.parametrize("command", ["status", "env", "logs", "kinit"])
def test_what_needs_a_cluster_says_how_to_start_one(command: str, tmp_path: Path) -> None:
    done = call(command, home=tmp_path)
    assert done.returncode == {"status": 10, "env": 10, "logs": 3, "kinit": 10}[command]
    assert "Traceback" not in done.stderr
    if command != "status":
        assert "yarnmill cluster up" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_down_of_a_cluster_that_never_was(tmp_path: Path) -> None:
    done = call("down", home=tmp_path)
    assert (done.returncode, done.stdout) == (0, "the cluster was down already\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--nodemanagers", "0"], "--nodemanagers"),
        (["--memory", "much"], "cluster.nodemanager_memory"),
        (["--set", "cluster.nodemanager_vcores=0"], "cluster.nodemanager_vcores"),
        (["--set", "cluster.nodes=3"], "cluster.nodes"),
    ],
)
def test_a_shape_that_cannot_be_meant_is_refused_before_anything_starts(
    arguments: list[str], named: str, tmp_path: Path
) -> None:
    done = call("up", *arguments, home=tmp_path)
    assert done.returncode == 2
    assert named in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_status_shows_daemons_nodes_queues_and_hdfs(home: Path, cluster: ClusterState) -> None:
    done = call("status", home=home)
    assert done.returncode == 0, done.stdout
    for text in ("namenode", "nodemanager-2", "RUNNING", "default", cluster.hdfs_url):
        assert text in done.stdout


def test_status_as_json_is_the_record(home: Path, cluster: ClusterState) -> None:
    state = json.loads(call("status", "--output", "json", home=home).stdout)
    assert state["state"] == "up"
    assert [daemon["name"] for daemon in state["daemons"]] == [daemon.name for daemon in cluster.daemons]
    assert sum(node["gpus"] for node in state["nodes"]) == 2 * len(state["nodes"])


def test_after_evaluating_env_plain_commands_meet_the_cluster(home: Path) -> None:
    script = f"""
        eval "$({sys.executable} -m yarnmill.cli.main cluster env --home {home})"
        hdfs dfs -test -d /user && yarn node -list && command -v skein spark-submit && yarn classpath --glob | wc -c
    """
    variables = {"PATH": "/usr/bin:/bin", "HOME": os.environ["HOME"]}
    done = subprocess.run(["/bin/bash", "-c", script], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("RUNNING") >= 2
    assert "/skein\n" in done.stdout
    assert "/spark-submit\n" in done.stdout


def test_logs_of_one_daemon_and_of_all(home: Path) -> None:
    assert len(call("logs", "namenode", "-n", "3", home=home).stdout.splitlines()) >= 3
    lines = call("logs", "-n", "1", home=home).stdout.splitlines()
    assert {line.partition(":")[0] for line in lines} >= {"namenode", "datanode", "resourcemanager", "nodemanager-1"}
    wrong = call("logs", "namenod", home=home)
    assert wrong.returncode == 3
    assert "resourcemanager" in wrong.stderr


@pytest.mark.cluster
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_that_is_ended_by_a_signal_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    arguments = ["up", "--home", str(tmp_path), "--nodemanagers", "1"]
    with subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True) as program:
        assert program.stderr is not None
        for line in program.stderr:
            if re.match("waiting for", line):
                program.send_signal(number)
                break
        rest = program.stderr.read()
    assert program.returncode == 130
    assert rest.endswith("interrupted\n")
    assert processes.find_daemons(Layout.of_home(tmp_path)) == []


@pytest.mark.cluster
def test_up_leaves_a_cluster_that_outlives_it_and_down_ends_it(tmp_path: Path) -> None:
    shape = ["--nodemanagers", "1", "--memory", "1 GiB", "--gpus", "0", "--set", "cluster.daemon_heap=128 MiB"]
    started = call("up", *shape, "--output", "json", home=tmp_path)
    try:
        assert started.returncode == 0, started.stderr
        state = json.loads(started.stdout)
        assert [(node["memory_mib"], node["gpus"]) for node in state["nodes"]] == [(1024, 0)]
        time.sleep(0.2)
        assert call("status", home=tmp_path).returncode == 0
    finally:
        assert call("down", home=tmp_path).stdout == "the cluster is down\n"
    assert processes.find_daemons(Layout.of_home(tmp_path)) == []
