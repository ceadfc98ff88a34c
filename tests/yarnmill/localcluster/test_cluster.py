"""A cluster's life on this machine: real daemons, small ones, in a home of their own.

The tests share one cluster and run in the order in which they stand: each begins with `up`, so each
also shows that `up` mends whatever the one before it left.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests

from yarnmill import fs
from yarnmill.config import ClusterSettings, load_config
from yarnmill.errors import ClusterUnavailableError, ConfigurationError, ConflictError, NotFoundError
from yarnmill.localcluster import ports, processes
from yarnmill.localcluster.cluster import ClusterState, LocalCluster
from yarnmill.localcluster.layout import Layout
from yarnmill.units import Mebibytes, Seconds

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def small() -> ClusterSettings:
    return load_config(
        overrides=[
            "cluster.nodemanagers=1",
            "cluster.nodemanager_memory=1 GiB",
            "cluster.nodemanager_gpus=1",
            "cluster.daemon_heap=128 MiB",
        ]
    ).cluster


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, small: ClusterSettings) -> Iterator[LocalCluster]:
    cluster = LocalCluster(tmp_path_factory.mktemp("home"), small)
    yield cluster
    cluster.down()
    assert processes.find_daemons(cluster.layout) == []


def pids(state: ClusterState) -> dict[str, int | None]:
    return {daemon.name: daemon.pid for daemon in state.daemons}


def kill(state: ClusterState, *names: str) -> None:
    for name in names:
        pid = pids(state)[name]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while processes.is_running(pid):
            time.sleep(0.01)


def test_up_ends_with_nodes_running_and_hdfs_writable(local: LocalCluster) -> None:
    told: list[str] = []
    state = local.up(told.append)
    assert state.state == "up"
    assert [node.state for node in state.nodes] == ["RUNNING"]
    assert (state.nodes[0].memory_mib, state.nodes[0].gpus) == (1024, 1)
    assert [queue.name for queue in state.queues] == ["default"]
    fs.write_bytes(f"{state.hdfs_url}/user/kept", b"kept")
    assert told[-1].startswith("the cluster is up after ")


def test_up_again_does_nothing_and_says_so(local: LocalCluster) -> None:
    told: list[str] = []
    before = pids(local.up())
    assert pids(local.up(told.append)) == before
    assert told == [f"the cluster in {local.layout.root.parent} is up already"]


def test_a_running_cluster_keeps_its_shape_and_says_so(local: LocalCluster, small: ClusterSettings) -> None:
    told: list[str] = []
    other = LocalCluster(local.layout.root.parent, msgspec.structs.replace(small, nodemanager_gpus=7))
    assert other.up(told.append).nodes[0].gpus == 1
    assert "the running cluster keeps the shape it was started with" in told


def test_it_listens_on_loopback_only(local: LocalCluster) -> None:
    wanted = {pid for pid in pids(local.up()).values() if pid}
    inodes = set()
    for pid in wanted:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                inodes.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                listening.append(fields[1].partition(":")[0])
    assert listening
    assert set(listening) <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_plain_hadoop_commands_work_in_its_environment(local: LocalCluster) -> None:
    environment = local.up().environment()
    for command, expected in (
        ("hdfs dfs -cat /user/kept", "kept"),
        ("yarn node -list", "RUNNING"),
        ("hdfs getconf -confKey dfs.replication", "1"),
    ):
        done = subprocess.run(command.split(), env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout


def test_daemons_killed_hard_come_back_and_the_others_stay(local: LocalCluster) -> None:
    state = local.up()
    kill(state, "namenode", "nodemanager-1")
    assert local.status().state == "partial"
    again = local.up()
    assert again.state == "up"
    assert {name for name in pids(state) if pids(state)[name] == pids(again)[name]} == {"datanode", "resourcemanager"}
    assert again.hdfs_url == state.hdfs_url
    assert fs.read_bytes(f"{again.hdfs_url}/user/kept") == b"kept"


def test_down_leaves_no_process_and_no_container(local: LocalCluster, tmp_path: Path) -> None:
    state = local.up()
    orphan = processes.spawn(
        ["/bin/sh", "-c", "sleep 1000 & wait"],
        folder=tmp_path,
        out=tmp_path / "out",
        environment={"PATH": "/bin:/usr/bin", "LOCAL_DIRS": f"{local.layout.root}/nodemanager-1/local/x"},
    )
    assert local.down() >= len(state.daemons) + 1
    assert not processes.is_running(orphan)
    assert processes.find_daemons(local.layout) == []
    assert processes.find_containers(local.layout) == []
    assert local.down() == 0
    assert local.status().state == "down"
    with pytest.raises(ClusterUnavailableError, match="is not up"):
        local.running_state()


def test_a_restart_keeps_its_files_and_avoids_a_port_that_was_taken(local: LocalCluster) -> None:
    local.up()
    local.down()
    remembered = ports.load(local.layout.ports_file)
    with socket.create_server(("127.0.0.1", remembered["resourcemanager-web"])):
        state = local.up()
    assert state.resourcemanager_web != f"http://localhost:{remembered['resourcemanager-web']}"
    assert state.hdfs_url == f"hdfs://localhost:{remembered['namenode-rpc']}"
    assert fs.read_bytes(f"{state.hdfs_url}/user/kept") == b"kept"


def test_a_format_that_was_interrupted_is_made_good(local: LocalCluster) -> None:
    local.down()
    (local.layout.namenode / "current" / "VERSION").unlink(missing_ok=True)
    (local.layout.root / ".namenode.abc.tmp").mkdir()
    told: list[str] = []
    state = local.up(told.append)
    assert state.state == "up"
    assert not fs.exists(f"{state.hdfs_url}/user/kept")
    kept = [folder.name for folder in local.layout.root.glob("*.unusable-*")]
    assert sorted(name.partition(".")[0] for name in kept) == ["datanode", "namenode"]
    assert all(any(name in line for line in told) for name in kept)
    assert not list(local.layout.root.glob(".namenode.*"))


def test_a_second_cluster_lives_beside_the_first(local: LocalCluster, small: ClusterSettings, tmp_path: Path) -> None:
    first = local.up()
    beside = LocalCluster(tmp_path, small)
    try:
        second = beside.up()
        assert {daemon.address for daemon in first.daemons}.isdisjoint(daemon.address for daemon in second.daemons)
        fs.write_bytes(f"{second.hdfs_url}/user/only-here", b"")
        assert not fs.exists(f"{first.hdfs_url}/user/only-here")
        assert [len(state.nodes) for state in (local.status(), beside.status())] == [1, 1]
    finally:
        beside.down()
    assert pids(local.status()) == pids(first)


def test_a_failed_start_tells_the_cause_and_stops_what_it_started(tmp_path: Path, small: ClusterSettings) -> None:
    starved = LocalCluster(tmp_path, msgspec.structs.replace(small, daemon_heap=Mebibytes(1)))
    with pytest.raises(ClusterUnavailableError, match="Too small maximum heap"):
        starved.up()
    assert processes.find_daemons(starved.layout) == []


def test_a_start_that_takes_too_long_blames_a_daemon_and_stops_all(tmp_path: Path, small: ClusterSettings) -> None:
    hasty = LocalCluster(tmp_path, msgspec.structs.replace(small, start_timeout=Seconds(0.1)))
    with pytest.raises(ClusterUnavailableError, match=r"the \S+ did not serve in 0.1 s"):
        hasty.up()
    assert processes.find_daemons(hasty.layout) == []


def test_an_interrupted_start_stops_what_it_started(tmp_path: Path, small: ClusterSettings) -> None:
    def interrupt(text: str) -> None:
        if text.startswith("waiting for"):
            raise KeyboardInterrupt

    impatient = LocalCluster(tmp_path, small)
    with pytest.raises(KeyboardInterrupt):
        impatient.up(interrupt)
    assert processes.find_daemons(impatient.layout) == []


def test_a_log_of_no_application(local: LocalCluster) -> None:
    with pytest.raises(ConfigurationError, match="no application id"):
        local.application_log("--help")
    local.up()
    with pytest.raises(NotFoundError):
        local.application_log("application_1_0001")


def test_daemons_of_another_version_are_not_touched_but_can_be_stopped(small: ClusterSettings, tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path, small)
    cluster.layout.root.mkdir()
    cluster.layout.launch_file.write_text('{"schema": "of tomorrow"}')
    pid = processes.spawn(
        [
            "/bin/sh",
            "-c",
            "sleep 1000 & wait",
            "sh",
            f"-Dyarnmill.cluster={cluster.layout.root}",
            "-Dyarnmill.daemon=x",
        ],
        folder=tmp_path,
        out=tmp_path / "out",
        environment={"PATH": "/bin:/usr/bin"},
    )
    with pytest.raises(ConflictError, match="this version did not start"):
        cluster.up()
    assert processes.is_running(pid)
    assert cluster.down() == 1


def test_two_at_once_take_turns(local: LocalCluster) -> None:
    told: list[str] = []
    waiting = threading.Event()

    def progress(text: str) -> None:
        told.append(text)
        waiting.set()

    local.up()
    with local.layout.lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        other = threading.Thread(target=local.up, args=(progress,))
        other.start()
        assert waiting.wait(60)
        assert told == ["waiting for another `up` or `down` of this cluster"]
    other.join()
    assert told[1:] == [f"the cluster in {local.layout.root.parent} is up already"]


def test_the_log_of_an_application_that_finished(cluster: ClusterState, tmp_path: Path) -> None:
    local = LocalCluster(Path(cluster.root).parent, load_config().cluster)
    (tmp_path / "app.yaml").write_text(
        "name: yarnmill-test\nservices: {one: {instances: 1, script: 'echo seen from inside', "
        "resources: {memory: 128 MiB, vcores: 1, gpus: 1}}}\n"
    )
    environment = cluster.environment()
    submitted = subprocess.run(
        [Path(sys.executable).with_name("skein"), "application", "submit", str(tmp_path / "app.yaml")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    application = submitted.stdout.strip()
    url = f"{cluster.resourcemanager_web}/ws/v1/cluster/apps/{application}"
    while (answer := _application(url))["finalStatus"] == "UNDEFINED":
        time.sleep(0.3)
    assert answer["finalStatus"] == "SUCCEEDED", answer
    while "seen from inside" not in (text := _log(local, application)):
        time.sleep(0.3)  # the NodeManagers bring the logs to HDFS a moment after the end
    assert "application.master.log" in text


def _application(url: str) -> dict[str, Any]:
    answer: dict[str, Any] = requests.get(url, timeout=30).json()["app"]
    return answer


def _log(local: LocalCluster, application: str) -> str:
    try:
        return local.application_log(application)
    except NotFoundError:
        return ""


def test_a_home_that_hadoop_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot hold a cluster"):
        Layout.of_home(tmp_path / "a home, with spaces")
