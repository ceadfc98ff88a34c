"""A gang without YARN: real executors in real processes, the real coordinator, real TLS on loopback."""

import datetime as dt
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tony_py.application import Application, Environment, TaskType
from tony_py.driver.main import Run, drive
from tony_py.driver.tasks import TaskId
from tony_py.local import LocalContainers, make_certificates
from tony_py.packing import prepare
from tony_py.resolving import resolved
from yarnmill.config import Config, load_config
from yarnmill.report import RunReport


class Withholding(LocalContainers):
    """Containers of this machine, some of which never come, as when a queue is full."""

    withheld: frozenset[TaskId] = frozenset()

    def add(self, task: TaskId, env: Mapping[str, str]) -> None:
        if task not in self.withheld:
            super().add(task, env)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates") / "pair")


@pytest.fixture
def config() -> Config:
    return load_config()


@pytest.fixture
def application(tmp_path: Path) -> Callable[..., Application]:
    """Return a maker of small applications whose output is a local folder."""

    def make(command: str = "true", *, instances: int = 2, **changes: object) -> Application:
        values: dict[str, object] = {
            "name": "test",
            "framework": "standalone",
            "types": {"worker": TaskType(command=command, instances=instances)},
            "output": str(tmp_path / "output"),
            "environment": Environment(python=sys.executable),
            **changes,
        }
        return Application(**values)  # type: ignore[arg-type]  # the record checks nothing, the tests mean it

    return make


@pytest.fixture
def local_run(
    tmp_path: Path, certificates: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[RunReport, Withholding]]]:
    """Return a function that drives an application to its end on this machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    started: list[Withholding] = []

    def run(
        application: Application,
        *,
        withheld: tuple[str, ...] = (),
        overwrite: bool = False,
        before: Callable[[Withholding], None] = lambda _: None,
    ) -> tuple[RunReport, Withholding]:
        launch, shipment = prepare(resolved(application, config), overwrite=overwrite)
        folder = tmp_path / f"run-{len(started)}"
        (folder / "driver").mkdir(parents=True)
        if shipment.source:
            shutil.copy(shipment.source, folder / "driver" / "tony_source.zip")
        containers = Withholding(folder, certificates, launch.application.environment, shipment)
        containers.withheld = frozenset(TaskId.parse(name) for name in withheld)
        started.append(containers)
        this = Run(
            launch=launch,
            application_id=f"application_{len(started)}",
            started_at=dt.datetime.now(dt.UTC),
            folder=folder / "driver",
        )
        before(containers)
        report = drive(
            this,
            containers,
            host="127.0.0.1",
            certificate=certificates / "skein.crt",
            key=certificates / "skein.pem",
        )
        return report, containers

    yield run
    for containers in started:
        containers.shutdown(succeeded=False, diagnostics="")
