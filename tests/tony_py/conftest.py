"""A gang without YARN: real executors in real processes, the real coordinator, real TLS on loopback."""

import datetime as dt
import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
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


class Terminal:
    """The command ``tony_py`` in a terminal of its own, as a person would have it."""

    def __init__(self, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "yarnmill.cli.tony", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # so that Ctrl-C is a signal
        )
        os.close(slave)
        self._seen = b""

    @property
    def text(self) -> str:
        """All that was shown, without what moves the cursor and sets colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._seen.decode(errors="replace"))

    def see(self, text: str, seconds: float = 120.0, *, after: int = 0) -> bool:
        """Wait until a text is shown behind the first ``after`` characters; return whether it was."""
        deadline = time.monotonic() + seconds
        while text not in self.text[after:] and time.monotonic() < deadline:
            if not self._read():
                break
        return text in self.text[after:]

    def type(self, keys: bytes) -> None:
        """Press keys; Ctrl-C is ``b"\\x03"``."""
        os.write(self._master, keys)

    def wait(self, seconds: float = 120.0) -> int:
        """Wait for the end and return the exit status."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._read():
            pass
        try:
            return self.process.wait(max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"goes on after {seconds:g} s, having shown: {self.text[-4000:]}") from None

    def _read(self) -> bool:
        if select.select([self._master], [], [], 0.2)[0]:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:  # the other side is closed
                return False
            self._seen += data
            return bool(data)
        return self.process.poll() is None

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        with suppress(OSError):
            os.close(self._master)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Yield a function that runs ``tony_py`` with arguments in a terminal."""
    started: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        started.append(Terminal(*arguments))
        return started[-1]

    yield start
    for each in started:
        each.close()
