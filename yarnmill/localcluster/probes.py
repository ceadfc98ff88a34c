"""Asking the daemons how they are, over HTTP: milliseconds each, where a Hadoop client takes a JVM's start."""

import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any, Final, TypeVar

import msgspec

from yarnmill import kerberos
from yarnmill.errors import ConfigurationError
from yarnmill.localcluster.state import HdfsState, NodeState, QueueState

T = TypeVar("T")
_TIMEOUT_S: Final = 5.0
_GPU: Final = "yarn.io/gpu"
# A proxy of the user's shell must not be asked for loopback.
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class _Bean(msgspec.Struct):
    """The attributes of a NameNode's beans that matter here."""

    safe_mode: str = msgspec.field(name="Safemode", default="")
    total: int = msgspec.field(name="Total", default=0)
    used: int = msgspec.field(name="Used", default=0)
    free: int = msgspec.field(name="Free", default=0)
    live_nodes: str = msgspec.field(name="LiveNodes", default="{}")


class _Beans(msgspec.Struct):
    beans: list[_Bean]


class _Amount(msgspec.Struct):
    name: str
    value: int


class _Resource(msgspec.Struct):
    amounts: list[_Amount] = msgspec.field(name="resourceInformation", default_factory=list)


class _Resources(msgspec.Struct):
    resource_informations: _Resource = msgspec.field(name="resourceInformations", default_factory=_Resource)

    def gpus(self) -> int:
        return sum(each.value for each in self.resource_informations.amounts if each.name == _GPU)


class _Node(msgspec.Struct, rename="camel"):
    id: str
    state: str
    num_containers: int
    used_memory_mb: int = msgspec.field(name="usedMemoryMB")
    avail_memory_mb: int = msgspec.field(name="availMemoryMB")
    used_virtual_cores: int
    available_virtual_cores: int
    used_resource: _Resources = msgspec.field(default_factory=_Resources)
    total_resource: _Resources = msgspec.field(default_factory=_Resources)


class _Nodes(msgspec.Struct):
    node: list[_Node] = msgspec.field(default_factory=list)


class _NodesAnswer(msgspec.Struct):
    nodes: _Nodes | None


def _ask(url: str, answer: type[T]) -> T | None:
    """Return an answer, or None from a daemon that does not (yet) give one; one that starts may answer with a page."""
    try:
        with _open(url) as response:
            return msgspec.json.decode(response.read(), type=answer)
    except (OSError, HTTPException, msgspec.DecodeError, ConfigurationError):
        return None


def _open(url: str) -> Any:  # noqa: ANN401  # as urllib has it
    """Return what a daemon answers, in a secured cluster to whoever shows a ticket."""
    try:
        return _DIRECT.open(url, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as refusal:
        if not kerberos.asks_for_ticket(refusal.code, refusal.headers.get("WWW-Authenticate")):
            raise
    shown = urllib.request.Request(url, headers={"Authorization": kerberos.authorization(url)})  # noqa: S310  # http
    return _DIRECT.open(shown, timeout=_TIMEOUT_S)


def hdfs_state(web: str, url: str) -> HdfsState | None:
    """Return how HDFS is, or None while its NameNode does not answer."""
    answer = _ask(f"{web}/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo", _Beans)
    if answer is None or not answer.beans:
        return None
    bean = answer.beans[0]
    return HdfsState(
        url=url,
        safe_mode=bool(bean.safe_mode),
        live_datanodes=len(msgspec.json.decode(bean.live_nodes, type=dict[str, msgspec.Raw])),
        capacity_bytes=bean.total,
        used_bytes=bean.used,
        remaining_bytes=bean.free,
    )


class _Actor(msgspec.Struct):
    state: str = msgspec.field(name="ActorState", default="")


class _DataNodeBean(msgspec.Struct):
    actors: str = msgspec.field(name="BPServiceActorInfo", default="[]")


class _DataNodeBeans(msgspec.Struct):
    beans: list[_DataNodeBean]


def has_registered(web: str) -> bool:
    """Return whether a DataNode has registered by its own word: a NameNode takes one that died for live for minutes."""
    answer = _ask(f"{web}/jmx?qry=Hadoop:service=DataNode,name=DataNodeInfo", _DataNodeBeans)
    if answer is None or not answer.beans:
        return False
    actors = msgspec.json.decode(answer.beans[0].actors, type=list[_Actor])
    return bool(actors) and all(actor.state == "RUNNING" for actor in actors)


def node_states(web: str) -> tuple[NodeState, ...]:
    """Return the nodes that the ResourceManager knows; none while it does not answer."""
    answer = _ask(f"{web}/ws/v1/cluster/nodes", _NodesAnswer)
    nodes = answer.nodes.node if answer and answer.nodes else []
    return tuple(sorted((_node_state(node) for node in nodes), key=lambda node: node.id))


def _node_state(node: _Node) -> NodeState:
    return NodeState(
        id=node.id,
        state=node.state,
        containers=node.num_containers,
        memory_used_mib=node.used_memory_mb,
        memory_mib=node.used_memory_mb + node.avail_memory_mb,
        vcores_used=node.used_virtual_cores,
        vcores=node.used_virtual_cores + node.available_virtual_cores,
        gpus_used=node.used_resource.gpus(),
        gpus=node.total_resource.gpus(),
    )


class _Queue(msgspec.Struct, rename="camel"):
    queue_name: str
    state: str
    absolute_capacity: float
    absolute_used_capacity: float
    num_applications: int = 0
    queues: "_Queues | None" = None


class _Queues(msgspec.Struct):
    queue: list[_Queue] = msgspec.field(default_factory=list)


class _SchedulerInfo(msgspec.Struct):
    queues: _Queues | None = None


class _Scheduler(msgspec.Struct):
    info: _SchedulerInfo = msgspec.field(name="schedulerInfo")


class _SchedulerAnswer(msgspec.Struct):
    scheduler: _Scheduler


def queue_states(web: str) -> tuple[QueueState, ...]:
    """Return the scheduler's queues, parents before children; none while it does not answer."""
    answer = _ask(f"{web}/ws/v1/cluster/scheduler", _SchedulerAnswer)
    return tuple(_flatten(answer.scheduler.info.queues)) if answer else ()


def _flatten(queues: _Queues | None) -> list[QueueState]:
    found = []
    for queue in queues.queue if queues else []:
        state = QueueState(
            name=queue.queue_name,
            state=queue.state,
            capacity_percent=queue.absolute_capacity,
            used_percent=queue.absolute_used_capacity,
            applications=queue.num_applications,
        )
        found += [state, *_flatten(queue.queues)]
    return found
