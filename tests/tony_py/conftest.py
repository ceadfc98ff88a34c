"""A gang without YARN: real executors in real processes, the real coordinator, real TLS on loopback."""

import datetime as dt
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tony_py.application import Application, TaskType
from tony_py.driver.containers import Container, import_skein, without_warnings
from tony_py.driver.main import Run, drive
from tony_py.driver.tasks import TaskId
from tony_py.packing import prepare
from tony_py.plan import Shipment
from tony_py.resolving import resolved
from yarnmill.config import Config, load_config
from yarnmill.report import RunReport


class LocalContainers:
    """Containers that are folders and processes of this machine; what YARN does, done by hand."""

    def __init__(self, folder: Path, certificates: Path, shipment: Shipment) -> None:
        self.folder = folder
        self.certificates = certificates
        self.shipment = shipment
        self.processes: dict[TaskId, subprocess.Popen[bytes]] = {}
        self.withheld: set[TaskId] = set()
        self.outcome: tuple[bool, str] | None = None

    def add(self, task: TaskId, env: Mapping[str, str]) -> None:
        if task in self.withheld:
            return
        folder = self.container(task)
        folder.mkdir(parents=True)
        for name, source in (("crt", "skein.crt"), ("pem", "skein.pem")):
            (folder / f".skein.{name}").symlink_to(self.certificates / source)
        if self.shipment.source:
            (folder / "tony_source.zip").symlink_to(self.shipment.source)
        with (folder / "log").open("wb") as log:
            self.processes[task] = subprocess.Popen(
                [sys.executable, self.shipment.executor_code],
                cwd=folder,
                env={"PATH": os.environ["PATH"], "CONTAINER_ID": f"container_{task.type}_{task.index}", **env},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def container(self, task: TaskId) -> Path:
        return self.folder / str(task).replace(":", "_")

    def log(self, task: str) -> str:
        return (self.container(TaskId.parse(task)) / "log").read_text()

    def look(self) -> dict[TaskId, Container]:
        return {
            task: Container(state="running" if process.poll() is None else "ended", message="killed by the test")
            for task, process in self.processes.items()
        }

    def set_progress(self, share: float) -> None:
        assert 0 <= share <= 1

    def shutdown(self, *, succeeded: bool, diagnostics: str) -> None:
        self.outcome = (succeeded, diagnostics)

    def clear(self) -> None:
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    with without_warnings():
        import_skein().Security.new_credentials().to_directory(str(folder))
    return folder


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
            **changes,
        }
        return Application(**values)  # type: ignore[arg-type]  # the record checks nothing, the tests mean it

    return make


@pytest.fixture
def local_run(
    tmp_path: Path, certificates: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[RunReport, LocalContainers]]]:
    """Return a function that drives an application to its end on this machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    started: list[LocalContainers] = []

    def run(
        application: Application, *, withheld: tuple[str, ...] = (), overwrite: bool = False
    ) -> tuple[RunReport, LocalContainers]:
        launch, shipment = prepare(resolved(application, config), overwrite=overwrite)
        containers = LocalContainers(tmp_path / f"containers-{len(started)}", certificates, shipment)
        containers.withheld = {TaskId.parse(name) for name in withheld}
        started.append(containers)
        this = Run(launch=launch, application_id=f"application_{len(started)}", started_at=dt.datetime.now(dt.UTC))
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
        containers.clear()
