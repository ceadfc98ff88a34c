"""What runs: the daemons of a cluster as values, their ports and their command lines."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from yarnmill.config import ClusterSettings
from yarnmill.javaoptions import QUICK_JAVA
from yarnmill.localcluster import realm
from yarnmill.localcluster.layout import Layout
from yarnmill.records import Record

_HDFS: Final = "org.apache.hadoop.hdfs.server"
_YARN: Final = "org.apache.hadoop.yarn.server"
NAMENODE_CLASS: Final = f"{_HDFS}.namenode.NameNode"
CLUSTER_MARK: Final = "-Dyarnmill.cluster="
DAEMON_MARK: Final = "-Dyarnmill.daemon="
"""Both stand on every daemon's command line: a pid is ours only if they do, whatever a file says."""


class Daemon(Record, frozen=True):
    """One daemon: its main class and the names of its ports (``<daemon>-<port>``)."""

    name: str
    main_class: str
    ports: tuple[str, ...]


class Launch(Record, frozen=True):
    """Everything a start was decided by: kept, so that a daemon that died comes back as it was.

    ``kdc`` is the program of a secured cluster's KDC, else empty.
    """

    settings: ClusterSettings
    ports: dict[str, int]
    java_home: str
    jars: str
    kdc: str = ""


def nodemanager_names(settings: ClusterSettings) -> list[str]:
    """Return ``nodemanager-1`` … in order."""
    return [f"nodemanager-{number}" for number in range(1, settings.nodemanagers + 1)]


def daemons_of(settings: ClusterSettings) -> list[Daemon]:
    """Return the daemons of a cluster of this shape, in the order in which they are started."""
    kdc = [Daemon(name=realm.KDC, main_class="", ports=("rpc",))] if settings.secure else []
    fixed = [
        *kdc,
        Daemon(name="namenode", main_class=NAMENODE_CLASS, ports=("rpc", "web")),
        Daemon(name="datanode", main_class=f"{_HDFS}.datanode.DataNode", ports=("rpc", "web", "data")),
        Daemon(
            name="resourcemanager",
            main_class=f"{_YARN}.resourcemanager.ResourceManager",
            ports=("rpc", "web", "scheduler", "tracker", "admin"),
        ),
    ]
    nodes = [
        Daemon(
            name=name,
            main_class=f"{_YARN}.nodemanager.NodeManager",
            ports=("rpc", "web", "localizer", "collector"),
        )
        for name in nodemanager_names(settings)
    ]
    return fixed + nodes


def port_names(daemons: list[Daemon]) -> list[str]:
    """Return the name of every port that these daemons bind."""
    return [f"{daemon.name}-{port}" for daemon in daemons for port in daemon.ports]


def java_options(layout: Layout, launch: Launch) -> list[str]:
    """Return the JVM options of every daemon: small, quick to start, nothing outside the cluster's folder."""
    return [
        *([realm.java_option(layout)] if launch.settings.secure else []),
        # By default a JVM takes 1/64 of the machine's memory at once and fills it before it first collects.
        f"-Xms{min(32, int(launch.settings.daemon_heap))}m",
        f"-Xmx{int(launch.settings.daemon_heap)}m",
        "-XX:+UseSerialGC",
        QUICK_JAVA,
        "-Xss512k",
        "--add-opens=java.base/java.lang=ALL-UNNAMED",
        "-Djava.net.preferIPv4Stack=true",
        f"-Djava.io.tmpdir={layout.tmp}",
        f"-Dhadoop.home.dir={layout.root}",
        f"-XX:ErrorFile={layout.logs}/hs_err_%p.log",
    ]


def command_line(daemon: Daemon, layout: Layout, launch: Launch) -> list[str]:
    """Return the command that runs ``daemon`` in the foreground."""
    marks = [f"{CLUSTER_MARK}{layout.root}", f"{DAEMON_MARK}{daemon.name}"]
    if daemon.name == realm.KDC:
        return realm.kdc_command(launch.kdc, layout, marks)
    return [
        f"{launch.java_home}/bin/java",
        *marks,
        *java_options(layout, launch),
        "-Dhadoop.root.logger=INFO,file",
        f"-Dhadoop.log.path={layout.log(daemon.name)}",
        "-cp",
        class_path(layout, launch, daemon.name),
        daemon.main_class,
    ]


def class_path(layout: Layout, launch: Launch, daemon: str) -> str:
    """Return the class path of a daemon: its own settings before the cluster's, then the jars."""
    own = [str(layout.daemon_conf(daemon))] if daemon.startswith("nodemanager-") else []
    return ":".join([*own, str(layout.conf), str(layout.webapps), f"{launch.jars}/*"])


def format_command(layout: Layout, launch: Launch, fresh: Path) -> list[str]:
    """Return the command that formats a NameNode into the folder ``fresh``."""
    return [
        f"{launch.java_home}/bin/java",
        *java_options(layout, launch),
        "-Dhadoop.root.logger=WARN,console",
        "-cp",
        class_path(layout, launch, "namenode"),
        NAMENODE_CLASS,
        "-D",
        f"dfs.namenode.name.dir=file://{fresh}",
        "-format",
        "-nonInteractive",
    ]


def daemon_environment(layout: Layout, launch: Launch, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of daemons, and through the NodeManagers of containers: nothing of the caller's shell.

    What a user happens to export (a proxy, a PYTHONPATH, another cluster) must not decide how a
    container of next week behaves.
    """
    kept = {name: environment[name] for name in ("HOME", "USER", "LOGNAME", "LANG", "TZ") if name in environment}
    return {
        "LANG": "C.UTF-8",
        **kept,
        **(realm.variables(layout) if launch.settings.secure else {}),
        "PATH": f"{layout.bin}:{launch.java_home}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "JAVA_HOME": launch.java_home,
        "HADOOP_HOME": str(layout.root),
        "HADOOP_CONF_DIR": str(layout.conf),
        # Spark would bind the address of the machine's name, open to the network.
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_HOSTNAME": "localhost",
        # glibc's arenas, one a thread, cost a JVM tens of MiB.
        "MALLOC_ARENA_MAX": "2",
        # Goes on to the containers that set none of their own (yarn.nodemanager.env-whitelist).
        **({"JDK_JAVA_OPTIONS": QUICK_JAVA} if launch.settings.quick_java else {}),
    }
