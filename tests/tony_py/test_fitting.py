"""What no cluster could ever grant is refused by key; what could be granted once others have ended is not."""

import json
from pathlib import Path
from typing import Any

import pytest

from tony_py.application import Application, DriverSettings, TaskType
from tony_py.fitting import refuse_impossible
from yarnmill.errors import ConfigurationError
from yarnmill.scheduler import Cluster, Queue, Scheduler, parse_labels, parse_scheduler
from yarnmill.units import Mebibytes
from yarnmill.yarn import Capacity, NodeCapacity, parse_node

ANSWERS = Path(__file__).parent.parent / "answers"
NODE = NodeCapacity(node="n1:1", memory_mib=4096, vcores=4, gpus=2)


def app(worker: TaskType | None = None, *, types: dict[str, TaskType] | None = None, **changes: Any) -> Application:
    values: dict[str, Any] = {
        "name": "rater",
        "framework": "torch",
        "queue": "default",
        "types": types or {"worker": worker or task()},
        "driver": DriverSettings(memory=Mebibytes(512)),
        "output": "hdfs:///runs/rater",
        **changes,
    }
    return Application(**values)


def task(memory: int = 1024, *, vcores: int = 1, gpus: int = 0, **changes: Any) -> TaskType:
    return TaskType(command="x", memory=Mebibytes(memory), vcores=vcores, gpus=gpus, **changes)


def two_nodes(*, counts_vcores: bool = True) -> Cluster:
    scheduler = Scheduler(queues=(Queue(path="root.default"),), counts_vcores=counts_vcores, makes_queues=False)
    return Cluster(nodes=(NODE, NODE), scheduler=scheduler)


def recorded() -> Cluster:
    """Return the cluster of the recorded answers: two nodes of 5 GiB, 4 vcores, 2 GPUs; one with label gpu."""
    answers = {path.stem: json.loads(path.read_text()) for path in ANSWERS.glob("*.json")}
    return Cluster(
        nodes=tuple(parse_node(entry) for entry in answers["nodes"]["nodes"]["node"]),
        scheduler=parse_scheduler(answers["capacity_scheduler"]),
        labels=parse_labels(answers["node_labels"]),
    )


def refusal(application: Application, cluster: Cluster) -> str:
    with pytest.raises(ConfigurationError) as error:
        refuse_impossible(application, cluster)
    assert error.value.mend
    return str(error.value)


@pytest.mark.parametrize(
    ("worker", "words"),
    [
        (task(5000), ["types.worker.memory", "5000 MiB", "the best node has 4096"]),
        (task(vcores=8), ["types.worker.vcores", "8 vcores", "has 4"]),
        (task(gpus=3), ["types.worker.gpus", "3 GPUs", "has 2"]),
        (task(gpus=1, instances=5), ["all containers together", "5 GPUs", "the cluster has 4"]),
        (task(4096, instances=3), ["all containers", "12800 MiB", "8192", "3 x types.worker"]),
        (task(2560, instances=3), ["types.worker: 3 containers of 2560 MiB", "room for 2"]),
    ],
)
def test_more_than_the_cluster_has_is_refused_by_name(worker: TaskType, words: list[str]) -> None:
    text = refusal(app(worker), two_nodes())
    assert all(word in text for word in words), text


def test_no_node_with_both_is_refused() -> None:
    large = NodeCapacity(node="n2:1", memory_mib=65536, vcores=16, gpus=0)
    text = refusal(app(task(8192, gpus=1)), Cluster(nodes=(NODE, large)))
    assert "no node has 8192 MiB, 1 vcores and 1 GPUs together" in text


def test_what_fits_is_let_through() -> None:
    refuse_impossible(app(task(2048, gpus=1, instances=3)), two_nodes())
    refuse_impossible(
        app(task(512, instances=10)), two_nodes(counts_vcores=False)
    )  # YARN's default counts memory alone


def test_no_node_at_all_is_said() -> None:
    assert "no running node" in refusal(app(), Cluster(nodes=()))


def test_of_an_elastic_type_only_the_least_must_fit() -> None:
    refuse_impossible(app(task(4000, instances=9, min_instances=1, max_instances=20)), two_nodes())
    assert "3 x types.worker" in refusal(app(task(4000, instances=9, min_instances=3)), two_nodes())


def test_stages_count_one_by_one_but_a_server_goes_on() -> None:
    prepare = task(3800, role="worker")
    train = task(3800, depends_on=("prepare",))
    refuse_impossible(app(types={"prepare": prepare, "train": train, "again": train}), two_nodes())
    server = task(3800, role="untracked")
    text = refusal(app(types={"prepare": prepare, "server": server, "train": train, "again": train}), two_nodes())
    assert "1 x types.server, 1 x types.train, 1 x types.again" in text


def test_a_queue_must_be_there_take_applications_and_run() -> None:
    unknown = refusal(app(queue="nowhere"), recorded())
    assert "queue: nowhere is no queue" in unknown
    assert "root.default, root.closed, root.ml.train, root.ml.serve" in unknown
    assert "queue: root.ml only holds other queues" in refusal(app(queue="ml"), recorded())
    assert "queue: root.closed is STOPPED" in refusal(app(queue="closed"), recorded())


def test_a_queue_that_yarn_makes_is_let_through() -> None:
    parent = Queue(path="root.users", is_leaf=False, grows=True)
    grown = Scheduler(queues=(parent,), makes_queues=False)
    refuse_impossible(app(queue="root.users.ann"), Cluster(nodes=(NODE,), scheduler=grown))
    refuse_impossible(app(queue="made.up"), Cluster(nodes=(NODE,)))


def test_a_queue_limits_one_container_all_of_them_and_the_user() -> None:
    train = app(task(4500), queue="train")
    assert "4500 MiB asked for, one container in queue root.ml.train may have 4096" in refusal(train, recorded())
    assert "queue root.default may have at most 3072" in refusal(app(task(1536, instances=2)), recorded())


def test_what_one_user_gets_counts_but_for_the_last_container() -> None:
    share = {"": Capacity(memory_mib=2048, vcores=1, gpus=0)}
    most = {"": Capacity(memory_mib=8192, vcores=8, gpus=4)}
    queue = Queue(path="root.default", most=most, most_of_user=share)
    cluster = Cluster(nodes=(NODE, NODE), scheduler=Scheduler(queues=(queue,), makes_queues=False))
    refuse_impossible(app(task(1536, instances=2)), cluster)
    refuse_impossible(app(task(4096)), cluster)
    text = refusal(app(task(1600, instances=2)), cluster)
    assert "3712 MiB asked for, one user of queue root.default gets about 2048" in text


def test_a_queues_default_label_and_its_labels_count() -> None:
    refuse_impossible(app(task(2048, gpus=2), queue="train"), recorded())
    too_many = app(types={"worker": task(512, gpus=2), "other": task(512, gpus=1)}, queue="train")
    assert "the cluster with label gpu has 2" in refusal(too_many, recorded())


def test_a_label_must_be_there_have_nodes_and_be_the_queues() -> None:
    assert "types.worker.node_label: fast is no node label" in refusal(app(task(node_label="fast")), recorded())
    assert "one of big, gpu" in refusal(app(node_label="fast"), recorded())
    assert "no running node has label big" in refusal(app(node_label="big"), recorded())
    only_gpu = Scheduler(queues=(Queue(path="root.q", labels=("gpu",)),), makes_queues=False)
    node = NodeCapacity(node="n:1", memory_mib=4096, vcores=4, gpus=0, label="big")
    cluster = Cluster(nodes=(NODE, node), scheduler=only_gpu, labels={"big": True, "gpu": True})
    assert "may not use nodes with label big" in refusal(app(task(node_label="big"), queue="q"), cluster)


def test_the_fair_schedulers_limits_count() -> None:
    fair = parse_scheduler(json.loads((ANSWERS / "fair_scheduler.json").read_text()))
    cluster = Cluster(nodes=(NODE, NODE), scheduler=fair)
    assert "may have 2048" in refusal(app(task(3000), queue="ml.train"), cluster)
    assert "queue root.ml.train may have at most 4096" in refusal(
        app(task(2048, instances=2), queue="ml.train"), cluster
    )


def test_an_amount_of_nothing_needs_no_room() -> None:
    nothing = Capacity(memory_mib=0, vcores=0, gpus=0)
    queue = Queue(path="root.default", most={"": nothing})
    cluster = Cluster(nodes=(NODE,), scheduler=Scheduler(queues=(queue,), makes_queues=False))
    assert "may have at most 0" in refusal(app(), cluster)
