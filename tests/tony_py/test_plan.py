"""The plan as text: byte for byte as it was, and read by Skein itself."""

from pathlib import Path

import pytest
import yaml

from tony_py.application import Access, Application, Docker, DriverSettings, Environment, TaskType
from tony_py.driver.containers import import_skein
from tony_py.plan import Shipment, plan, render_plan
from tony_py.skeinspec import SkeinFile
from yarnmill.units import Mebibytes

GOLDEN = Path(__file__).parent / "golden"
CODE = {"launch": "/c/launch.json", "driver_code": "/c/driver.zip", "executor_code": "/c/executor.zip"}
ARCHIVE = SkeinFile(source="hdfs:///environments/tf.tar.gz", type="ARCHIVE", visibility="PUBLIC")


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


def full_application() -> Application:
    return torch_application(
        types={
            "worker": TaskType(command="python train.py", gpus=1, node_label="a100"),
            "board": TaskType(command="tensorboard", role="sidecar", image="films/board:2"),
        },
        tags=("team-films", "nightly"),
        node_label="gpu",
        environment=Environment(
            archive="/home/ann/.venv",
            docker=Docker(image="films/train:7", mounts=("/data:/data:ro", "/scratch:/scratch:rw")),
        ),
        driver=DriverSettings(python="/opt/platform/bin/python", gpus=1, attempts=3, prepare="python prepare.py"),
        file_systems=("hdfs://archive:8020",),
        access=Access(view_users=("ben",), view_groups=("films",), modify_users=("cy",)),
        pulse=False,
    )


def full_shipment() -> Shipment:
    return Shipment(
        **CODE,
        source="/c/source.zip",
        environment=ARCHIVE,
        files={"vocabulary.txt": SkeinFile(source="file:///home/ann/vocabulary.txt", type="FILE")},
        files_of={"worker": {"images": SkeinFile(source="hdfs:///data/images.zip", type="ARCHIVE")}},
        secrets={"token": "/home/ann/.token"},
    )


def pex_application() -> Application:
    return torch_application(
        environment=Environment(archive="train.pex", python="/opt/python 3.11/bin/python3"), pulse=False
    )


PEX = SkeinFile(source="hdfs:///environments/train.pex", type="FILE", visibility="PRIVATE")


@pytest.mark.parametrize(
    ("name", "application", "shipment"),
    [
        ("torch.yaml", torch_application(), Shipment(**CODE)),
        ("archive.yaml", archive_application(), Shipment(**CODE, source="/c/source.zip", environment=ARCHIVE)),
        ("full.yaml", full_application(), full_shipment()),
        ("pex.yaml", pex_application(), Shipment(**CODE, environment=PEX)),
    ],
)
def test_the_plan_is_byte_stable_and_skein_reads_it(name: str, application: Application, shipment: Shipment) -> None:
    text = render_plan(plan(application, shipment))
    assert text == (GOLDEN / name).read_text()
    specification = import_skein().ApplicationSpec.from_dict(yaml.safe_load(text))
    assert set(specification.services) - {"pulse"} == set(application.types)
    assert all(specification.services[name].instances == 0 for name in application.types)


def test_skein_understands_every_part_of_it() -> None:
    plain = yaml.safe_load(render_plan(plan(full_application(), full_shipment())))
    specification = import_skein().ApplicationSpec.from_dict(plain)
    acls = specification.acls
    assert (acls.enable, acls.view_users, acls.modify_users, acls.ui_users) == (True, ["ben"], ["cy"], ["ben"])
    assert (specification.max_attempts, specification.node_label) == (3, "gpu")
    assert specification.tags == {"tony_py", "tony_py-torch", "team-films", "nightly"}
    assert specification.file_systems == ["hdfs://archive:8020"]
    worker = specification.services["worker"]
    assert (worker.node_label, specification.services["board"].node_label) == ("a100", "")
    assert str(worker.files["environment"].visibility) == "PUBLIC"
    assert str(worker.files["tony_secret_token"].visibility) == "APPLICATION"
    assert "images" not in specification.services["board"].files
    # What driver.prepare runs finds the same as a task.
    shared = {"tony_source.zip", "environment", "vocabulary.txt", "tony_secret_token", "tony_executor.zip"}
    assert shared <= set(specification.master.files)


def test_nobody_named_but_restricted_leaves_it_to_the_owner() -> None:
    found = plan(torch_application(access=Access(restricted=True)), Shipment(**CODE)).acls
    assert found is not None
    assert found.enable
    assert (found.view_users, found.modify_groups) == ((), ())
