"""Answers of real ResourceManagers, recorded with the keys that are read, and the running one's."""

import json
from pathlib import Path
from typing import Any

from yarnmill.localcluster.cluster import ClusterState
from yarnmill.scheduler import Cluster, Scheduler, parse_labels, parse_scheduler, read_cluster
from yarnmill.yarn import Capacity, parse_node

ANSWERS = Path(__file__).parent.parent / "answers"


def answer(name: str) -> Any:
    return json.loads((ANSWERS / f"{name}.json").read_text())


def size(memory_mib: int, vcores: int, gpus: int) -> Capacity:
    return Capacity(memory_mib=memory_mib, vcores=vcores, gpus=gpus)


def test_the_capacity_scheduler_says_what_each_queue_grants() -> None:
    scheduler = parse_scheduler(answer("capacity_scheduler"))
    leaves = {queue.path for queue in scheduler.queues if queue.is_leaf}
    assert leaves == {"root.default", "root.closed", "root.ml.train", "root.ml.serve"}
    assert scheduler.counts_vcores
    assert not scheduler.makes_queues
    default = scheduler.find("default")
    assert default is not None
    assert default.most == {"": size(3072, 2, 1)}
    assert default.most_of_user == {"": size(1536, 1, 0)}
    assert default.may_use("anything")
    train = scheduler.find("train")
    assert train is not None
    assert train == scheduler.find("root.ml.train") == scheduler.find("ml.train")
    assert train.largest == size(4096, 3, 2)
    assert train.most["gpu"] == size(5120, 4, 2)
    assert train.most_of_user["gpu"] == size(51200, 40, 20)
    assert (train.default_label, train.may_use("gpu"), train.may_use("big")) == ("gpu", True, False)
    assert [queue.path for queue in scheduler.queues if queue.state == "STOPPED"] == ["root.closed"]


def test_the_fair_scheduler_says_it_too() -> None:
    scheduler = parse_scheduler(answer("fair_scheduler"))
    train = scheduler.find("ml.train")
    assert train is not None
    assert (train.largest, train.most) == (size(2048, 2, 0), {"": size(4096, 3, 0)})
    assert not scheduler.counts_vcores
    assert scheduler.find("made.up") is None


def test_another_scheduler_limits_nothing() -> None:
    assert parse_scheduler({"scheduler": {"schedulerInfo": {"type": "fifoScheduler"}}}) == Scheduler()


def test_labels_say_whether_they_are_exclusive() -> None:
    assert parse_labels(answer("node_labels")) == {"big": False, "gpu": True}
    assert parse_labels({"nodeLabelInfo": {"name": "one", "exclusivity": False}}) == {"one": False}
    assert parse_labels({}) == parse_labels(None) == {}


def test_nodes_of_an_open_label_take_what_asks_for_none() -> None:
    nodes = tuple(parse_node(entry) for entry in answer("nodes")["nodes"]["node"])
    plain, labelled = nodes
    assert (plain.label, labelled.label) == ("", "gpu")
    closed = Cluster(nodes=nodes, labels={"gpu": True})
    assert (closed.nodes_for(""), closed.nodes_for("gpu")) == ((plain,), (labelled,))
    assert Cluster(nodes=nodes, labels={"gpu": False}).nodes_for("") == nodes


def test_the_running_cluster_is_read(cluster: ClusterState) -> None:
    assert str(cluster)
    found = read_cluster()
    queue = found.scheduler.find("default")
    assert queue is not None
    assert queue.state == "RUNNING"
    assert queue.most[""].memory_mib == sum(node.memory_mib for node in found.nodes)
    assert queue.largest is not None
    assert queue.largest.memory_mib == max(node.memory_mib for node in found.nodes)
    assert found.labels == {}
