from pathlib import Path

import pytest
import yaml

from tony_py.application import Application, DriverSettings, Environment, TaskType
from tony_py.driver.containers import import_skein
from tony_py.plan import Shipment, plan, render_plan
from yarnmill.units import Mebibytes

GOLDEN = Path(__file__).parent / "golden"
SHIPMENT = Shipment(launch="/c/launch.json", driver_code="/c/driver.zip", executor_code="/c/executor.zip")


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
