"""Without YARN: the same driver, coordinator and executors as processes of this machine.

For notebooks, for trying an application out, and for tests. Memory, cores and labels are not enforced here.
"""

import datetime as dt
import os
import secrets
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tony_py.application import Application, Environment
from tony_py.driver.conclusion import failed_report
from tony_py.driver.containers import Container, import_skein
from tony_py.driver.main import Run, drive, give_up
from tony_py.driver.observer import Observer
from tony_py.driver.pages import DirectPages
from tony_py.driver.tasks import TaskId
from tony_py.history import History
from tony_py.index import FOLDER, Index
from tony_py.layout import container_script
from tony_py.localising import localise
from tony_py.packing import prepare
from tony_py.plan import Launch, Shipment, localised_files, own_files
from tony_py.resolving import resolved
from tony_py.viewing import Glance, Lines, View
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError
from yarnmill.report import RunReport, find_finished

_CERTIFICATE: Final = "skein.crt"
_KEY: Final = "skein.pem"


class LocalContainers:
    """Containers that are folders and process groups; what YARN does, done by hand.

    Parameters
    ----------
    folder
        Each container gets a folder of its own below it.
    certificates
        Folder of the pair that the coordinator and the executors show.
    environment
        The Python of the programs.
    shipment
        The files that travel with the application.
    """

    def __init__(self, folder: Path, certificates: Path, environment: Environment, shipment: Shipment) -> None:
        self.folder = folder
        self._certificates = certificates
        self._python = environment.python
        self._shipment = shipment
        self.processes: dict[TaskId, subprocess.Popen[bytes]] = {}
        self._folders: dict[TaskId, Path] = {}
        self._killed: set[TaskId] = set()
        self._number = 0

    def add(self, task: TaskId, env: Mapping[str, str]) -> None:
        """Start an executor in a fresh folder."""
        self._number += 1
        folder = self.folder / f"container_{self._number:06d}_{task.type}_{task.index}"
        folder.mkdir(parents=True)
        (folder / ".skein.crt").symlink_to(self._certificates / _CERTIFICATE)
        (folder / ".skein.pem").symlink_to(self._certificates / _KEY)
        localise(localised_files(self._shipment, task.type), folder)
        command = f"{shlex.quote(self._python)} {shlex.quote(self._shipment.executor_code)}"
        files = own_files(self._shipment, task.type)
        script = container_script(command, files=files, secrets=self._shipment.secrets)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TONY_")}
        self._folders[task] = folder
        self._killed.discard(task)
        with (folder / "log").open("wb") as log:
            self.processes[task] = subprocess.Popen(
                ["/bin/bash", "-c", script],
                cwd=folder,
                env={**inherited, "CONTAINER_ID": folder.name, "NM_HOST": "127.0.0.1", **env},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, task: TaskId) -> None:
        """Kill the executor and all that it started."""
        process = self.processes.get(task)
        if process is not None and process.poll() is None:
            self._killed.add(task)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def look(self) -> dict[TaskId, Container]:
        """Return the state of each task's last container."""
        return {
            task: Container(
                state="running" if process.poll() is None else "ended",
                container_id=self._folders[task].name,
                message="killed by the driver" if task in self._killed else _ending(process),
            )
            for task, process in self.processes.items()
        }

    def log(self, task: TaskId) -> str:
        """Return what the task's last container wrote."""
        return (self._folders[task] / "log").read_text(errors="replace")

    def set_progress(self, share: float) -> None:
        """Show progress: nobody looks here."""

    def shutdown(self, *, succeeded: bool, diagnostics: str) -> None:  # noqa: ARG002  # the protocol's signature
        """End every container."""
        for task in self.processes:
            self.kill(task)


def _ending(process: subprocess.Popen[bytes]) -> str:
    if process.returncode is None:
        return ""
    return f"Container failed during execution: status {process.returncode}" if process.returncode else "ended"


def local_folder(config: Config) -> Path:
    """Return the folder of the runs of this machine."""
    return config.home_path / "tony_py" / "local"


def local_index(folder: Path) -> Index:
    """Return the index of the runs below a folder."""
    return Index(str(folder / FOLDER))


def run_local(
    application: Application, config: Config, folder: Path, *, overwrite: bool = False, view: View | None = None
) -> RunReport:
    """Run an application on this machine, unless it is done already, and return its report.

    Parameters
    ----------
    application
        As loaded; defaults come from ``config``.
    config
        The platform's configuration.
    folder
        Below it each container gets its folder, with its ``log``.
    overwrite
        Let this run's output take the place of another run's.
    view
        Who sees the run.

    Raises
    ------
    ConfigurationError
        If its Python is in an archive, which only YARN unpacks.
    YarnMillError
        If a file, an input or a parameter is missing or cannot be meant.
    """
    launch, shipment = prepare(resolved(application, config), overwrite=overwrite, index=local_index(folder).url)
    if launch.application.environment.archive:
        raise ConfigurationError("environment.archive: only YARN unpacks it", mend="name environment.python instead")
    view = view or Lines(lambda _line: None)
    finished = find_finished(launch.application.output, launch.fingerprint)
    if finished is not None:
        view.say(f"{launch.application.name}: up to date ({finished.application_id})")
        return finished
    run = _run(launch, folder, shipment)
    view.say(f"{run.application_id}: runs on this machine in {run.folder.parent}")
    certificates = make_certificates(run.folder.parent / "certificates")
    containers = LocalContainers(run.folder.parent, certificates, launch.application.environment, shipment)
    certificate, key = certificates / _CERTIFICATE, certificates / _KEY

    interrupted = threading.Event()

    def watch(observer: Observer, history: History) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        status = observer.status() if view.wants_status else None
        view.show(Glance(run.application_id, "", history.events, status))

    try:
        pages = DirectPages(view.say)
        with _noting_interrupts(interrupted):
            return drive(run, containers, host="127.0.0.1", certificate=certificate, key=key, pages=pages, watch=watch)
    except KeyboardInterrupt:
        give_up(run, failed_report(launch, run.application_id, run.started_at, "interrupted"))
        raise
    finally:
        containers.shutdown(succeeded=False, diagnostics="")


@contextmanager
def _noting_interrupts(came: threading.Event) -> Iterator[None]:
    """Note the first Ctrl-C: raised anywhere it could leave a lock of the gang held. The next one is raised."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def note(_number: int, _frame: object) -> None:
        came.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _run(launch: Launch, folder: Path, shipment: Shipment) -> Run:
    started_at = dt.datetime.now(dt.UTC)
    name = f"local_{started_at:%Y%m%d%H%M%S}_{secrets.token_hex(3)}"
    home = folder / name / "driver"
    home.mkdir(parents=True)
    localise(localised_files(shipment), home)
    script = container_script("true", files=shipment.files, secrets=shipment.secrets)
    subprocess.run(["/bin/bash", "-c", script], cwd=home, check=True)
    return Run(launch=launch, application_id=name, started_at=started_at, folder=home)


def make_certificates(folder: Path) -> Path:
    """Make a fresh pair as Skein has them, and return the folder."""
    folder.mkdir(parents=True)
    import_skein().Security.new_credentials().to_directory(str(folder))
    return folder
