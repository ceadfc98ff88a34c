"""How a cluster is, read from the machine and from the daemons themselves: never from memory."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress

import msgspec

from yarnmill.errors import BadDataError
from yarnmill.localcluster import probes, processes, realm
from yarnmill.localcluster.daemons import Daemon, Launch, daemons_of
from yarnmill.localcluster.layout import Layout, owner
from yarnmill.localcluster.state import ClusterState, DaemonState, lacking
from yarnmill.records import parse_json


def load_launch(layout: Layout) -> Launch | None:
    """Return what the last start was decided by; None if there was none that this version understands."""
    file = layout.launch_file
    with suppress(FileNotFoundError, BadDataError):
        return parse_json(file.read_bytes(), Launch, source=str(file))
    return None


def inspect(layout: Layout) -> ClusterState:
    """Return how the cluster is, in well under a second; nothing is changed."""
    state = ClusterState(root=str(layout.root), state="down", java_home="", daemons=(), nodes=(), hdfs=None, queues=())
    launch = load_launch(layout)
    if launch is None:
        return state
    running = {process.name: process.pid for process in processes.find_daemons(layout)}
    daemons = tuple(_daemon_state(daemon, layout, launch, running) for daemon in daemons_of(launch.settings))
    secure = launch.settings.secure
    state = msgspec.structs.replace(state, java_home=launch.java_home, daemons=daemons, secure=secure)
    if not running:
        return state
    with _as_owner(state, layout):
        return _ask_daemons(state)


def datanode_has_registered(state: ClusterState, layout: Layout) -> bool:
    """Return whether the DataNode has registered by its own word: a NameNode takes one that died for live."""
    web = next((daemon.web for daemon in state.daemons if daemon.name == "datanode"), "")
    with _as_owner(state, layout):
        return probes.has_registered(web)


def _as_owner(state: ClusterState, layout: Layout) -> AbstractContextManager[None]:
    """Return what shows the owner's ticket to the pages of a secured cluster, which refuse whoever has none."""
    return realm.acting_as(owner(), layout) if state.secure else nullcontext()


def _daemon_state(daemon: Daemon, layout: Layout, launch: Launch, running: Mapping[str, int]) -> DaemonState:
    pid = running.get(daemon.name)
    return DaemonState(
        name=daemon.name,
        pid=pid,
        rss_mib=processes.rss_mib(pid) if pid else 0,
        address=f"localhost:{launch.ports[f'{daemon.name}-rpc']}",
        web=f"http://localhost:{launch.ports[f'{daemon.name}-web']}" if "web" in daemon.ports else "",
        log=str(layout.log(daemon.name)),
    )


def _ask_daemons(state: ClusterState) -> ClusterState:
    """Return ``state`` with what NameNode and ResourceManager say, and whether the whole serves."""
    web = {daemon.name: daemon.web for daemon in state.daemons if daemon.pid}
    yarn = web.get("resourcemanager")
    answered = msgspec.structs.replace(
        state,
        state="partial",
        hdfs=probes.hdfs_state(web["namenode"], state.hdfs_url) if "namenode" in web else None,
        nodes=probes.node_states(yarn) if yarn else (),
        queues=probes.queue_states(yarn) if yarn else (),
    )
    return answered if lacking(answered) else msgspec.structs.replace(answered, state="up")
