"""What YARN's scheduler would ever grant: the queues with their limits, the node labels, the largest container.

Knows the ResourceManager's answers only, and nothing of who asks for what.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from yarnmill.errors import NotFoundError
from yarnmill.records import Record
from yarnmill.yarn import Capacity, NodeCapacity, get, nodes, parse_capacity

ANY_LABEL: Final = "*"
_BASIC_RESOURCES: Final = frozenset({"memory-mb", "vcores"})


class Queue(Record, frozen=True, kw_only=True):
    """A queue and what it grants at most.

    Parameters
    ----------
    path
        Its full name, such as ``root.ml.train``.
    is_leaf
        Whether it takes applications itself.
    state
        ``RUNNING``, or why it takes none.
    labels
        Node labels that it may use; ``*`` is all.
    default_label
        Label of requests that name none.
    largest
        Most that one container may have.
    most
        Most that all its containers together may have, by label.
    most_of_user
        Most that one user's containers may have, by label.
    grows
        Whether it makes queues below it when they are asked for.
    """

    path: str
    is_leaf: bool = True
    state: str = "RUNNING"
    labels: tuple[str, ...] = (ANY_LABEL,)
    default_label: str = ""
    largest: Capacity | None = None
    most: dict[str, Capacity] = {}
    most_of_user: dict[str, Capacity] = {}
    grows: bool = False

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition(".")[2]

    def may_use(self, label: str) -> bool:
        """Return whether its containers may run on nodes of a label."""
        return not label or label in self.labels or ANY_LABEL in self.labels


class Scheduler(Record, frozen=True, kw_only=True):
    """The scheduler: its queues, and whether it counts vcores at all.

    YARN's default calculator counts memory alone and hands out more vcores than there are. It never says
    which one it has; but GPUs are counted by the other one only.
    """

    queues: tuple[Queue, ...] = ()
    counts_vcores: bool = False
    makes_queues: bool = True

    def find(self, name: str) -> Queue | None:
        """Return the queue that an application names, by its path or by the name of a leaf."""
        for wanted in (name, f"root.{name}"):
            for queue in self.queues:
                if queue.path == wanted:
                    return queue
        return next((queue for queue in self.queues if queue.is_leaf and queue.name == name), None)


class Cluster(Record, frozen=True, kw_only=True):
    """All that a request can be measured against.

    ``labels`` says of each node label whether it is exclusive: the nodes of one that is not also take
    containers that ask for no label.
    """

    nodes: tuple[NodeCapacity, ...]
    scheduler: Scheduler = Scheduler()
    labels: dict[str, bool] = {}

    def nodes_for(self, label: str) -> tuple[NodeCapacity, ...]:
        """Return the nodes on which containers that ask for this label may run."""
        open_labels = {name for name, is_exclusive in self.labels.items() if not is_exclusive}
        return tuple(node for node in self.nodes if node.label == label or (not label and node.label in open_labels))


def read_cluster() -> Cluster:
    """Return the cluster of ``HADOOP_CONF_DIR`` as it is now.

    Raises
    ------
    ClusterUnavailableError
        If no ResourceManager answers.
    """
    found = tuple(nodes())
    labels = {node.label: True for node in found if node.label}
    with suppress(NotFoundError):  # an older YARN
        labels |= parse_labels(get("/ws/v1/cluster/get-node-labels"))
    return Cluster(nodes=found, scheduler=parse_scheduler(get("/ws/v1/cluster/scheduler")), labels=labels)


def parse_labels(answer: dict[str, Any] | None) -> dict[str, bool]:
    """Return which node labels there are and whether each is exclusive."""
    found = (answer or {}).get("nodeLabelInfo") or []
    entries = found if isinstance(found, list) else [found]  # one label comes without its list
    return {entry["name"]: str(entry.get("exclusivity", "true")).lower() != "false" for entry in entries}


def parse_scheduler(answer: dict[str, Any]) -> Scheduler:
    """Return what the capacity scheduler or the fair scheduler says; another one limits nothing."""
    entry = answer["scheduler"]["schedulerInfo"]
    if entry.get("type") == "capacityScheduler":
        return Scheduler(
            queues=tuple(_capacity_queues(entry)),
            counts_vcores=_counts_vcores(entry.get("maximumAllocation") or {}),
            makes_queues=False,
        )
    if entry.get("type") == "fairScheduler":
        # Its queues have a policy each, and only one of the three counts vcores.
        return Scheduler(queues=tuple(_fair_queues(entry["rootQueue"])))
    return Scheduler()


def _counts_vcores(largest: dict[str, Any]) -> bool:
    kinds = (largest.get("resourceInformations") or {}).get("resourceInformation") or []
    return bool({kind.get("name") for kind in kinds} - _BASIC_RESOURCES)


def _capacity_queues(entry: dict[str, Any]) -> Iterator[Queue]:
    below = (entry.get("queues") or {}).get("queue") or []
    partitions = {
        part.get("partitionName") or "": part
        for part in (entry.get("capacities") or {}).get("queueCapacitiesByPartition") or []
        if "effectiveMaxResource" in part
    }
    factor = float(entry.get("userLimitFactor", -1.0))
    largest = entry.get("maximumAllocation")
    yield Queue(
        path=entry.get("queuePath") or entry["queueName"],
        is_leaf=not below and entry.get("queueType", "leaf") == "leaf",
        state=entry.get("state") or "RUNNING",
        labels=tuple(entry.get("nodeLabels") or [ANY_LABEL]),
        default_label=entry.get("defaultNodeLabelExpression") or "",
        largest=parse_capacity(largest) if largest else None,
        most={label: parse_capacity(part["effectiveMaxResource"]) for label, part in partitions.items()},
        most_of_user={
            label: _times(parse_capacity(part["effectiveMinResource"]), factor)
            for label, part in partitions.items()
            if factor >= 0  # -1 switches the limit off
        },
        grows=bool(entry.get("autoCreateChildQueueEnabled")) or entry.get("autoCreationEligibility", "off") != "off",
    )
    for child in below:
        yield from _capacity_queues(child)


def _times(capacity: Capacity, factor: float) -> Capacity:
    return Capacity(
        memory_mib=int(capacity.memory_mib * factor),
        vcores=int(capacity.vcores * factor),
        gpus=int(capacity.gpus * factor),
    )


def _fair_queues(entry: dict[str, Any]) -> Iterator[Queue]:
    below = (entry.get("childQueues") or {}).get("queue") or []
    largest = entry.get("maxContainerAllocation")
    yield Queue(
        path=entry["queueName"],
        is_leaf=not below,
        largest=parse_capacity(largest) if largest else None,
        most={"": parse_capacity(entry["maxResources"])},
    )
    for child in below:
        yield from _fair_queues(child)
