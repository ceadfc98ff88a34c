"""Whether an application can ever get what it asks for: answered before it is sent, for YARN would wait in silence.

What is refused here can never be granted, whatever else ends on the cluster; what is let through may still
have to wait. Of an elastic type only the least counts, and stages that follow each other count one by one.
"""

from collections.abc import Sequence
from typing import Final, Literal

from tony_py.application import Application, stages
from yarnmill.errors import ConfigurationError
from yarnmill.records import Record
from yarnmill.scheduler import Cluster, Queue
from yarnmill.yarn import Capacity, NodeCapacity

_Dimension = Literal["memory_mib", "vcores", "gpus"]

_UNITS: Final[dict[_Dimension, str]] = {"memory_mib": "MiB", "vcores": "vcores", "gpus": "GPUs"}
_KEYS: Final[dict[_Dimension, str]] = {"memory_mib": "memory", "vcores": "vcores", "gpus": "gpus"}
_NOT_SENT: Final = "the application was not sent"


class Ask(Record, frozen=True, kw_only=True):
    """Containers of one size: the key that asks for them, how many, and the label of their nodes."""

    key: str
    count: int
    size: Capacity
    label: str

    def total(self, dimension: _Dimension) -> int:
        """Return what all of them together have."""
        return self.count * _of(self.size, dimension)


def refuse_impossible(application: Application, cluster: Cluster) -> None:
    """Raise unless the queue takes the application, each container fits some node, and each stage fits as a whole.

    Raises
    ------
    ConfigurationError
        Naming the key, what it asks for, the most there is, and what mends it.
    """
    if not cluster.nodes:
        raise ConfigurationError(
            "the cluster has no running node", mend="yarnmill cluster status; yarn node -list -all"
        )
    queue = _queue(application, cluster)
    driver, asks = _asks(application, queue)
    for ask in (driver, *asks.values()):
        _refuse_label(ask, cluster, queue)
        _refuse_container(ask, cluster, queue)
    for names in stages(application):
        _refuse_stage([driver, *(asks[name] for name in _together(application, names))], cluster, queue)


def _queue(application: Application, cluster: Cluster) -> Queue | None:
    scheduler = cluster.scheduler
    found = scheduler.find(application.queue)
    if found is None:
        parent = scheduler.find(application.queue.rpartition(".")[0])
        if scheduler.makes_queues or (parent is not None and parent.grows):
            return None
        leaves = ", ".join(queue.path for queue in scheduler.queues if queue.is_leaf)
        raise ConfigurationError(
            f"queue: {application.queue} is no queue of this cluster",
            expected=f"one of {leaves}",
            mend="set queue, or training.queue in the platform's configuration",
        )
    if not found.is_leaf and not scheduler.makes_queues and not found.grows:
        below = [queue.path for queue in scheduler.queues if queue.path.startswith(f"{found.path}.") and queue.is_leaf]
        raise ConfigurationError(
            f"queue: {found.path} only holds other queues", expected=f"one of {', '.join(below)}", mend="set queue"
        )
    if found.state != "RUNNING":
        raise ConfigurationError(
            f"queue: {found.path} is {found.state} and takes no applications",
            expected="a queue that is RUNNING",
            mend="set another queue, or ask whoever runs the cluster to start it",
        )
    return found


def _asks(application: Application, queue: Queue | None) -> tuple[Ask, dict[str, Ask]]:
    default = queue.default_label if queue else ""
    driver = application.driver
    first = Ask(
        key="driver",
        count=1,
        size=Capacity(memory_mib=int(driver.memory), vcores=driver.vcores, gpus=driver.gpus),
        label=application.node_label or default,
    )
    return first, {
        name: Ask(
            key=f"types.{name}",
            count=kind.least,
            size=Capacity(memory_mib=int(kind.memory), vcores=kind.vcores, gpus=kind.gpus),
            label=kind.node_label or application.node_label or default,
        )
        for name, kind in application.types.items()
    }


def _together(application: Application, stage: tuple[str, ...]) -> list[str]:
    """Return the types that hold containers while a stage runs: its own, and the untracked ones of those before."""
    found: list[str] = []
    for names in stages(application):
        if names == stage:
            return [*found, *names]
        found += [name for name in names if not application.types[name].is_tracked]
    return found


def _refuse_label(ask: Ask, cluster: Cluster, queue: Queue | None) -> None:
    key = f"{ask.key}.node_label" if ask.key != "driver" else "node_label"
    if ask.label and ask.label not in cluster.labels:
        raise ConfigurationError(
            f"{key}: {ask.label} is no node label of this cluster",
            expected=f"one of {', '.join(sorted(cluster.labels)) or '(it has none)'}",
            mend=f"yarn cluster --list-node-labels; {_NOT_SENT}",
        )
    if not cluster.nodes_for(ask.label):
        what = f"label {ask.label}" if ask.label else "no label"
        raise ConfigurationError(
            f"{key}: no running node has {what}",
            expected=f"one of {', '.join(sorted({node.label for node in cluster.nodes if node.label}))}",
            mend=f"set node_label; {_NOT_SENT}",
        )
    if queue is not None and not queue.may_use(ask.label):
        raise ConfigurationError(
            f"{key}: queue {queue.path} may not use nodes with label {ask.label}",
            expected=f"one of {', '.join(queue.labels)}",
            mend=f"set another queue or another label; {_NOT_SENT}",
        )


def _refuse_container(ask: Ask, cluster: Cluster, queue: Queue | None) -> None:
    nodes = cluster.nodes_for(ask.label)
    counted = _counted(cluster)
    for dimension, unit in _UNITS.items():
        asked = _of(ask.size, dimension)
        limits = []
        if dimension in counted:
            limits.append((max(_of(node, dimension) for node in nodes), f"the best node{_with(ask.label)} has"))
        if queue is not None and queue.largest is not None:
            limits.append((_of(queue.largest, dimension), f"one container in queue {queue.path} may have"))
        for most, owner in limits:
            _refuse(f"{ask.key}.{_KEYS[dimension]}", unit, asked, most, owner)
    if not any(all(_of(node, each) >= _of(ask.size, each) for each in counted) for node in nodes):
        raise ConfigurationError(
            f"{ask.key}: no node{_with(ask.label)} has {_size(ask.size)} together",
            mend=f"lower {ask.key}; {_NOT_SENT}",
        )


def _refuse_stage(asks: Sequence[Ask], cluster: Cluster, queue: Queue | None) -> None:
    whole = f"all containers together ({', '.join(f'{ask.count} x {ask.key}' for ask in asks)})"
    for label in sorted({ask.label for ask in asks}):
        same = [ask for ask in asks if ask.label == label]
        nodes = cluster.nodes_for(label)
        _refuse_sums(whole, same, nodes, cluster, queue)
        for ask in same:
            room = sum(
                min(_of(node, each) // _of(ask.size, each) for each in _counted(cluster) if _of(ask.size, each))
                for node in nodes
            )
            if room < ask.count:
                raise ConfigurationError(
                    f"{ask.key}: {ask.count} containers of {_size(ask.size)} asked for, "
                    f"the empty nodes{_with(label)} have room for {room}",
                    mend=f"ask for fewer or smaller ones, or add nodes; {_NOT_SENT}",
                )


def _refuse_sums(
    whole: str, asks: Sequence[Ask], nodes: Sequence[NodeCapacity], cluster: Cluster, queue: Queue | None
) -> None:
    label = asks[0].label
    for dimension in _counted(cluster):
        asked = sum(ask.total(dimension) for ask in asks)
        there = sum(_of(node, dimension) for node in nodes)
        _refuse(whole, _UNITS[dimension], asked, there, f"the cluster{_with(label)} has")
        if queue is None or label not in queue.most:
            continue
        borrowed = sum(_of(node, dimension) for node in nodes if node.label != label)
        most = _of(queue.most[label], dimension) + borrowed
        _refuse(whole, _UNITS[dimension], asked, most, f"queue {queue.path} may have at most")
        if label in queue.most_of_user and not borrowed:
            # YARN looks before it gives: the last container may go beyond the user's share.
            last = max(_of(ask.size, dimension) for ask in asks)
            share = _user_share(queue, label, nodes, cluster)
            if asked - last > share * there:
                raise ConfigurationError(
                    f"{whole}: {asked} {_UNITS[dimension]} asked for, "
                    f"one user of queue {queue.path} gets about {int(share * there)}",
                    expected="no more than the user's share, its last container left out",
                    mend=f"ask for less, take another queue, or raise the queue's user-limit-factor; {_NOT_SENT}",
                )


def _user_share(queue: Queue, label: str, nodes: Sequence[NodeCapacity], cluster: Cluster) -> float:
    """Return the part of the nodes that one user gets; of several resources the one with the largest part counts."""
    shares = []
    for dimension in _counted(cluster):
        there = sum(_of(node, dimension) for node in nodes)
        if there:
            shares.append(_of(queue.most_of_user[label], dimension) / there)
    return max(shares, default=1.0)


def _counted(cluster: Cluster) -> tuple[_Dimension, ...]:
    return ("memory_mib", "vcores", "gpus") if cluster.scheduler.counts_vcores else ("memory_mib", "gpus")


def _of(capacity: Capacity, dimension: _Dimension) -> int:
    value: int = getattr(capacity, dimension)
    return value


def _with(label: str) -> str:
    return f" with label {label}" if label else ""


def _size(size: Capacity) -> str:
    return f"{size.memory_mib} MiB, {size.vcores} vcores and {size.gpus} GPUs"


def _refuse(key: str, unit: str, asked: int, most: int, owner: str) -> None:
    if asked > most:
        raise ConfigurationError(
            f"{key}: {asked} {unit} asked for, {owner} {most}",
            expected=f"at most {most} {unit}",
            mend=f"ask for less, or add nodes or share: {_NOT_SENT}",
        )
