"""Fixtures of the whole suite: a real SparkSession, a real Hadoop, a real training environment, a real browser.

A test's markers follow from the fixtures it asks for, so nobody forgets one; quick tests run first.
"""

import base64
import fcntl
import gc
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from postgresql import running_postgres

from yarnmill import environments, fs
from yarnmill.config import load_config
from yarnmill.localcluster.cluster import ClusterState, LocalCluster
from yarnmill.sparkclasses import class_sharing

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# From the quickest to the slowest; a test with several fixtures has several markers and runs with its slowest.
MARKER_OF_FIXTURE = {
    "browser": "programs",
    "shared_browser": "programs",
    "peak_memory_of": "programs",
    "postgres": "programs",
    "ambry": "programs",
    "start_prometheus": "programs",
    "spark": "spark",
    "cluster": "cluster",
    "hdfs": "cluster",
    "training_python": "training",
    "horovod_python": "training",
    "secured_cluster": "secured",
}
ORDER = ("slow", "programs", "spark", "cluster", "training", "secured", "e2e")
REPOSITORY = Path(__file__).resolve().parent.parent

# A shell starts what it sends to the background with Ctrl-C ignored; all that tests start would be so too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("suite", deadline=None)  # no test fails by the clock
hypothesis.settings.load_profile("suite")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in MARKER_OF_FIXTURE:
                item.add_marker(MARKER_OF_FIXTURE[fixture])
            if fixture == "horovod_python":
                item.add_marker(pytest.mark.timeout(1800))  # the first of them may have to compile Horovod
    items.sort(key=_slowness)
    for item in items:
        group = _group(item)
        if group:
            item.add_marker(pytest.mark.xdist_group(group))


def _group(item: pytest.Item) -> str:
    """Return what is to run in one process: a cluster's tests, or those of a session whose default is local files."""
    slowness = _slowness(item)
    if slowness < ORDER.index("spark") + 1:
        return ""
    own = ORDER[slowness - 1]  # the main job and a secured cluster bring a Hadoop of their own
    if own == "training" and item.get_closest_marker("cluster") is None:
        return own
    return own if own in ("spark", "secured", "e2e") else "hadoop"


def _slowness(item: pytest.Item) -> int:
    return max((ORDER.index(mark.name) + 1 for mark in item.iter_markers() if mark.name in ORDER), default=0)


@pytest.fixture(scope="module", autouse=True)
def _what_a_module_leaves_open_is_its_own_failure() -> Iterator[None]:
    yield
    _collect_garbage()  # else a file that nobody closed fails whatever test Python happens to collect garbage in


def pytest_collection_finish() -> None:
    _collect_garbage()


def _collect_garbage() -> None:
    gc.collect()
    gc.freeze()  # what is left was imported or is shared: looking through it each time is a third of the quick tests


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def spark() -> "Iterator[SparkSession]":
    from pyspark.sql import SparkSession  # noqa: PLC0415  # unit tests must not pay for it

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else Spark's workers run the first python3 on the path
    session = (
        SparkSession.builder.master("local[2]")
        .appName("yarnmill-tests")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.python.daemon.module", "photon.spark.daemon")  # its workers need not import anything
        # The JVM's second compiler pays off in hours; in the minutes of a test run it is half of the JVM's work.
        .config("spark.driver.extraJavaOptions", f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC {class_sharing()}")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")  # this and the next as jobs.entry sets them
        .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterState]:
    """Yield a running Hadoop; its environment is this process's until the end of the session.

    YARNMILL_TEST_CLUSTER names the home of a cluster that is up already and stays up; without it one is
    started under build/ and stopped at the end.
    """
    kept = os.environ.get("YARNMILL_TEST_CLUSTER")
    config = load_config(home=kept or str(REPOSITORY / "build" / "test"))
    local = LocalCluster(config.home_path, config.cluster)
    state = local.up(lambda _message: None)
    before = dict(os.environ)
    os.environ.update(state.environment())
    yield state
    if not kept:
        local.down()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def secured_cluster() -> Iterator[ClusterState]:
    """Yield a running Hadoop with Kerberos; whoever uses it takes its environment, another's may be this process's.

    YARNMILL_TEST_SECURED_CLUSTER names the home of one that is up already and stays up.
    """
    if shutil.which("krb5kdc", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        pytest.skip("no KDC here: make kerberos")
    kept = os.environ.get("YARNMILL_TEST_SECURED_CLUSTER")
    shape = ("cluster.secure=true", "cluster.nodemanagers=1")
    config = load_config(overrides=shape, home=kept or str(REPOSITORY / "build" / "secured-test"))
    local = LocalCluster(config.home_path, config.cluster)
    yield local.up(lambda _message: None)
    if not kept:
        local.down()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Yield the URL of a real PostgreSQL."""
    with running_postgres() as server:
        yield server.get_uri()


@pytest.fixture
def hdfs(cluster: ClusterState) -> Iterator[str]:  # noqa: ARG001  # the URL below resolves through its environment
    url = f"hdfs:///tests/{secrets.token_hex(6)}"
    fs.make_folder(url)
    yield url
    fs.delete(url)


@pytest.fixture(params=["file", pytest.param("hdfs", marks=pytest.mark.cluster)])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a fresh folder's URL on each file system in turn: one behaviour suite runs over all."""
    return str(request.getfixturevalue("hdfs")) if request.param == "hdfs" else f"file://{tmp_path}/root"


@pytest.fixture(scope="session")
def training_python() -> Path:
    """Return the training environment's Python; built on first use (gigabytes), kept in the user cache."""
    return environments.ensure("training", lambda _message: None)


@pytest.fixture(scope="session")
def native_models(training_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of models that cannot be ONNX; see native_tensorflow.py and native_torch.py in tests/support."""
    folder = tmp_path_factory.mktemp("native-models")
    for library in ("tensorflow", "torch"):  # they do not bear each other in one process
        program = REPOSITORY / "tests" / "support" / f"native_{library}.py"
        done = subprocess.run([training_python, program, folder], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def horovod_python() -> Path:
    """Return the Python of Horovod's environment; `make test` has it built before, for Horovod must be compiled."""
    return environments.ensure("horovod", lambda _message: None)


class Browser:
    """A headless Chromium, spoken to over a pipe in its own protocol (CDP)."""

    def __init__(self, program: str, profile: Path) -> None:
        reads, self._writes = os.pipe()
        self._reads, writes = os.pipe()
        # Chromium reads from 3 and writes to 4; the copies lie above, so that neither covers the other.
        ends = fcntl.fcntl(reads, fcntl.F_DUPFD, 10), fcntl.fcntl(writes, fcntl.F_DUPFD, 10)
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--hide-scrollbars"]
        self._process = subprocess.Popen(
            [program, *options, f"--user-data-dir={profile}", "--no-first-run", "--disable-background-networking"],
            preexec_fn=lambda: (os.dup2(ends[0], 3), os.dup2(ends[1], 4)),  # noqa: PLW1509  # nothing else runs in between
            close_fds=False,
            stderr=subprocess.DEVNULL,
        )
        for descriptor in (reads, writes, *ends):
            os.close(descriptor)
        self._buffer, self._number, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to one command; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._buffer:
                data = os.read(self._reads, 1 << 20)
                assert data, "the browser has ended"
                self._buffer += data
            one, _, self._buffer = self._buffer.partition(b"\0")
            answer = json.loads(one)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def open(self, url: str, *, width: int, height: int = 900) -> None:
        """Show a page in a window of this size (CSS pixels), and wait until it is there."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Page.navigate", url=url)
        assert self.wait(f"document.readyState === 'complete' && location.href === {json.dumps(url)}")

    def value(self, expression: str) -> Any:
        """Return what an expression is in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression: str, seconds: float = 20.0) -> bool:
        """Wait until an expression holds in the page; return whether it does."""
        deadline = time.monotonic() + seconds
        while not (holds := bool(self.value(expression))) and time.monotonic() < deadline:
            time.sleep(0.1)
        return holds

    def picture(self) -> bytes:
        """Return the whole page as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def complaints(self) -> list[str]:
        """Return what the page's console has: errors, and what the security policy refused."""
        kinds = {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"}
        return [json.dumps(event) for event in self.events if event.get("method") in kinds]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._writes)
        os.close(self._reads)


@contextmanager
def running_browser(profile: Path) -> Iterator[Browser]:
    """Yield a browser; where none is installed `make browser` installs one."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium here: make browser")
    started = Browser(program, profile)
    try:
        yield started
    finally:
        started.close()


@pytest.fixture
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Yield a browser of the test's own."""
    with running_browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture(scope="module")
def shared_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Yield a browser that the tests of a module use one after the other."""
    with running_browser(tmp_path_factory.mktemp("browser")) as started:
        yield started
