from pathlib import Path

import pytest
import yaml

from tony_py.application import Application, DriverSettings, Environment, TaskType
from tony_py.driver.containers import import_skein
from tony_py.plan import Shipment, plan, refuse_impossible, render_plan
from yarnmill.errors import ConfigurationError
from yarnmill.units import Mebibytes
from yarnmill.yarn import NodeCapacity

GOLDEN = Path(__file__).parent / "golden"
SHIPMENT = Shipment(launch="/c/launch.json", driver_code="/c/driver.zip", executor_code="/c/executor.zip")
NODE = NodeCapacity(node="n1:1", memory_mib=4096, vcores=4, gpus=2)


def torch_application(**changes: object) -> Application:
    values: dict[str, object] = {
        "name": "rater",
        "framework": "torch",
        "queue": "gpu",
        "types": {"worker": TaskType(command="python train.py", instances=2, memory=Mebibytes(2048), gpus=1)},
        "environment": Environment(python="/opt/training environment/bin/python"),
        "driver": DriverSettings(python="/opt/platform/bin/python"),
        "output": "hdfs:///runs/rater",
        **changes,
    }
    return Application(**values)  # type: ignore[arg-type]


def archive_application() -> Application:
    return torch_application(
        framework="tensorflow",
        types={
            "chief": TaskType(command="python chief.py", memory=Mebibytes(3072), vcores=2),
            "ps": TaskType(command="python ps.py", role="untracked"),
        },
        environment=Environment(archive="hdfs:///environments/tf.tar.gz"),
        pulse=False,
    )


@pytest.mark.parametrize(
    ("name", "application", "shipment"),
    [
        ("torch.yaml", torch_application(), SHIPMENT),
        (
            "archive.yaml",
            archive_application(),
            Shipment(
                launch="/c/launch.json",
                driver_code="/c/driver.zip",
                executor_code="/c/executor.zip",
                source="/c/source.zip",
            ),
        ),
    ],
)
def test_the_plan_is_byte_stable_and_skein_reads_it(name: str, application: Application, shipment: Shipment) -> None:
    text = render_plan(plan(application, shipment))
    assert text == (GOLDEN / name).read_text()
    specification = import_skein().ApplicationSpec.from_dict(yaml.safe_load(text))
    assert set(specification.services) - {"pulse"} == set(application.types)
    assert all(specification.services[name].instances == 0 for name in application.types)


@pytest.mark.parametrize(
    ("worker", "words"),
    [
        (TaskType(command="x", memory=Mebibytes(5000)), ["types.worker.memory", "5000 MiB", "4096"]),
        (TaskType(command="x", vcores=8), ["types.worker.vcores", "8 vcores", "has 4"]),
        (TaskType(command="x", gpus=3), ["types.worker.gpus", "3 GPUs", "has 2"]),
        (TaskType(command="x", gpus=1, instances=5), ["all containers together", "5 GPUs", "the cluster has 4"]),
        (TaskType(command="x", memory=Mebibytes(4096), instances=3), ["all containers", "13312 MiB", "8192"]),
    ],
)
def test_more_than_the_cluster_has_is_refused_by_name(worker: TaskType, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as error:
        refuse_impossible(torch_application(types={"worker": worker}), [NODE, NODE])
    assert all(word in str(error.value) for word in words)


def test_no_node_with_both_is_refused() -> None:
    nodes = [NODE, NodeCapacity(node="n2:1", memory_mib=65536, vcores=16, gpus=0)]
    worker = TaskType(command="x", memory=Mebibytes(8192), gpus=1)
    with pytest.raises(ConfigurationError, match="no node has 8192 MiB, 1 vcores and 1 GPUs together"):
        refuse_impossible(torch_application(types={"worker": worker}), nodes)


def test_what_fits_is_let_through() -> None:
    refuse_impossible(torch_application(), [NODE, NODE])
