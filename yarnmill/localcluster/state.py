"""What is known of a cluster at one moment: one record, printed as a table or as JSON."""

import os
import shlex
import sys
from pathlib import Path
from typing import Final, Literal

from yarnmill.localcluster import realm
from yarnmill.localcluster.layout import Layout, owner
from yarnmill.records import Record

NO_GRPC_PROXY: Final = "no_grpc_proxy"
"""gRPC reads this name in small letters only."""


class DaemonState(Record, frozen=True):
    """One daemon; ``pid`` is None when it does not run."""

    name: str
    pid: int | None
    rss_mib: int
    address: str
    web: str
    log: str


class NodeState(Record, frozen=True):
    """One NodeManager as the ResourceManager sees it."""

    id: str
    state: str
    containers: int
    memory_used_mib: int
    memory_mib: int
    vcores_used: int
    vcores: int
    gpus_used: int
    gpus: int


class HdfsState(Record, frozen=True):
    """HDFS as its NameNode sees it."""

    url: str
    safe_mode: bool
    live_datanodes: int
    capacity_bytes: int
    used_bytes: int
    remaining_bytes: int


class QueueState(Record, frozen=True):
    """One queue of the scheduler."""

    name: str
    state: str
    capacity_percent: float
    used_percent: float
    applications: int


class ClusterState(Record, frozen=True):
    """The whole cluster.

    ``up``: all daemons run, HDFS takes writes and every NodeManager is RUNNING. ``down``: none runs.
    ``partial``: anything else.
    """

    root: str
    state: Literal["up", "partial", "down"]
    java_home: str
    daemons: tuple[DaemonState, ...]
    nodes: tuple[NodeState, ...]
    hdfs: HdfsState | None
    queues: tuple[QueueState, ...]
    secure: bool = False

    @property
    def rss_mib(self) -> int:
        """Resident memory of all daemons."""
        return sum(daemon.rss_mib for daemon in self.daemons)

    @property
    def hdfs_url(self) -> str:
        """URL of the root of HDFS, without a slash at the end; empty if the cluster was never started."""
        return next((f"hdfs://{daemon.address}" for daemon in self.daemons if daemon.name == "namenode"), "")

    @property
    def resourcemanager_web(self) -> str:
        """Address of the ResourceManager's pages and REST API; empty if the cluster was never started."""
        return next((daemon.web for daemon in self.daemons if daemon.name == "resourcemanager"), "")

    @property
    def path_first(self) -> tuple[str, ...]:
        """Folders that must come first on PATH: the cluster's programs and its Java."""
        return (str(Path(self.root) / "bin"), f"{self.java_home}/bin")

    @property
    def path_last(self) -> str:
        """Folder for the end of PATH: ``skein`` and ``spark-submit`` are found, the user's ``python`` stays his."""
        return str(Path(sys.executable).parent)

    def environment(self) -> dict[str, str]:
        """Return the variables with which Hadoop's, Skein's and Spark's own programs meet this cluster."""
        named = {*self.path_first, self.path_last}
        others = [folder for folder in os.environ.get("PATH", os.defpath).split(":") if folder not in named]
        direct = [host for host in os.environ.get(NO_GRPC_PROXY, "").split(",") if host]
        conf = str(Layout(Path(self.root)).conf)
        return {
            "JAVA_HOME": self.java_home,
            "HADOOP_HOME": self.root,
            "HADOOP_CONF_DIR": conf,
            "YARN_CONF_DIR": conf,
            "PYSPARK_PYTHON": sys.executable,
            # Spark in client mode would bind the address of the machine's name, open to the network.
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_HOSTNAME": "localhost",
            # Skein's client would send the calls to its driver on this machine through a proxy.
            **(realm.user_variables(Layout(Path(self.root)), owner()) if self.secure else {}),
            NO_GRPC_PROXY: ",".join(dict.fromkeys([*direct, "localhost", "127.0.0.1"])),
            "PATH": ":".join([*self.path_first, *others, self.path_last]),
        }

    def render_exports(self) -> list[str]:
        """Return :meth:`environment` as lines for a shell: there PATH is extended, so a login file may keep them."""
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.environment().items() if name != "PATH"]
        first, last = shlex.quote(":".join(self.path_first)), shlex.quote(self.path_last)
        return [*lines, f'export PATH={first}:"$PATH":{last}']


class Lack(Record, frozen=True):
    """What keeps a cluster from being up, and the daemon whose log says why."""

    what: str
    daemon: str


def lacking(state: ClusterState) -> Lack | None:
    """Return the first thing that a cluster of this state still lacks; None if it serves."""
    for daemon in state.daemons:
        if daemon.pid is None:
            return Lack(what=f"the {daemon.name} to run", daemon=daemon.name)
    return _lack_of_hdfs(state.hdfs) or _lack_of_nodes(state)


def _lack_of_hdfs(hdfs: HdfsState | None) -> Lack | None:
    if hdfs is None:
        return Lack(what="the NameNode to answer", daemon="namenode")
    if not hdfs.live_datanodes:
        return Lack(what="the DataNode to register", daemon="datanode")
    if not hdfs.capacity_bytes:  # registered, but until its first heartbeat no block can be placed on it
        return Lack(what="the DataNode to report its storage", daemon="datanode")
    return Lack(what="HDFS to leave safe mode", daemon="namenode") if hdfs.safe_mode else None


def _lack_of_nodes(state: ClusterState) -> Lack | None:
    wanted = {daemon.address: daemon.name for daemon in state.daemons if daemon.name.startswith("nodemanager-")}
    if not state.nodes and wanted:
        return Lack(what="the first NodeManager to register", daemon="resourcemanager")
    running = {node.id for node in state.nodes if node.state == "RUNNING"}
    absent = [name for address, name in wanted.items() if address not in running]
    return Lack(what=f"{absent[0]} to be RUNNING", daemon=absent[0]) if absent else None
