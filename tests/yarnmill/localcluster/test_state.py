import subprocess
import sys

import msgspec
import pytest

from yarnmill.localcluster.state import ClusterState, DaemonState, HdfsState, NodeState, lacking

DAEMONS = ("namenode", "datanode", "resourcemanager", "nodemanager-1", "nodemanager-2")


def daemon(name: str, *, pid: int | None = 1) -> DaemonState:
    port = 20000 + DAEMONS.index(name)
    return DaemonState(
        name=name, pid=pid, rss_mib=100, address=f"localhost:{port}", web=f"http://localhost:{port + 100}", log="/log"
    )


def node(number: int, state: str = "RUNNING") -> NodeState:
    return NodeState(
        id=f"localhost:{20002 + number}",
        state=state,
        containers=0,
        memory_used_mib=0,
        memory_mib=1024,
        vcores_used=0,
        vcores=4,
        gpus_used=0,
        gpus=2,
    )


@pytest.fixture
def serving() -> ClusterState:
    return ClusterState(
        root="/home/ann/my.mill/cluster",
        state="up",
        java_home="/java",
        daemons=tuple(daemon(name) for name in DAEMONS),
        nodes=(node(1), node(2)),
        hdfs=HdfsState(
            url="hdfs://localhost:20000",
            safe_mode=False,
            live_datanodes=1,
            capacity_bytes=3,
            used_bytes=1,
            remaining_bytes=2,
        ),
        queues=(),
    )


def test_a_cluster_that_serves_lacks_nothing(serving: ClusterState) -> None:
    assert lacking(serving) is None
    assert serving.rss_mib == 500
    assert serving.hdfs_url == "hdfs://localhost:20000"
    assert serving.resourcemanager_web == "http://localhost:20102"


@pytest.mark.parametrize("name", DAEMONS)
def test_a_daemon_that_does_not_run_is_what_it_lacks(serving: ClusterState, name: str) -> None:
    daemons = tuple(daemon(each, pid=None if each == name else 1) for each in DAEMONS)
    lack = lacking(msgspec.structs.replace(serving, daemons=daemons))
    assert lack is not None
    assert lack.daemon == name


def test_a_silent_namenode_a_missing_datanode_and_safe_mode(serving: ClusterState) -> None:
    def blamed(hdfs: HdfsState | None) -> str:
        lack = lacking(msgspec.structs.replace(serving, hdfs=hdfs))
        assert lack is not None
        return lack.daemon

    assert serving.hdfs is not None
    assert blamed(None) == "namenode"
    assert blamed(msgspec.structs.replace(serving.hdfs, live_datanodes=0)) == "datanode"
    assert blamed(msgspec.structs.replace(serving.hdfs, capacity_bytes=0)) == "datanode"
    assert blamed(msgspec.structs.replace(serving.hdfs, safe_mode=True)) == "namenode"


@pytest.mark.parametrize("nodes", [(node(1),), (node(1), node(2, "UNHEALTHY"))])
def test_every_nodemanager_must_be_running(serving: ClusterState, nodes: tuple[NodeState, ...]) -> None:
    lack = lacking(msgspec.structs.replace(serving, nodes=nodes))
    assert lack is not None
    assert lack.daemon == "nodemanager-2"


def test_a_resourcemanager_that_knows_no_node_is_blamed_itself(serving: ClusterState) -> None:
    lack = lacking(msgspec.structs.replace(serving, nodes=()))
    assert lack is not None
    assert lack.daemon == "resourcemanager"


def test_a_node_of_an_earlier_start_does_not_stand_for_one_of_this(serving: ClusterState) -> None:
    stale = msgspec.structs.replace(node(2), id="localhost:1")
    assert lacking(msgspec.structs.replace(serving, nodes=(node(1), stale))) is not None


def test_the_environment_puts_the_clusters_programs_first_and_python_last(
    serving: ClusterState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/java/bin:/bin")
    environment = serving.environment()
    folders = environment["PATH"].split(":")
    assert folders[:4] == ["/home/ann/my.mill/cluster/bin", "/java/bin", "/usr/bin", "/bin"]
    assert len(folders) == 5
    assert sys.executable.startswith(folders[-1])
    assert environment["HADOOP_CONF_DIR"] == "/home/ann/my.mill/cluster/conf"


def test_the_exports_do_in_a_shell_what_the_environment_does_in_a_process(
    serving: ClusterState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("no_grpc_proxy", raising=False)
    script = "\n".join([*serving.render_exports(), "env -0"])
    done = subprocess.run(["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True)
    seen = dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if entry)
    assert serving.environment().items() <= seen.items()


def test_hosts_that_went_past_a_proxy_before_still_do(serving: ClusterState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_grpc_proxy", "intern,localhost")
    assert serving.environment()["no_grpc_proxy"] == "intern,localhost,127.0.0.1"
