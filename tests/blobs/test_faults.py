"""A full disk, safe mode, a DataNode that dies in the middle: told, nothing half, and mended by trying again."""

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from yarnmill.blobs import BlobStore, open_store
from yarnmill.blobs.scrub import scrub
from yarnmill.config import load_config
from yarnmill.errors import ClusterUnavailableError, YarnMillError
from yarnmill.localcluster import processes
from yarnmill.localcluster.cluster import ClusterState, LocalCluster

BLOCK = os.urandom(1 << 20)
WHOLE = 48 * len(BLOCK)

FULL = """
import io, os, sys
from pathlib import Path
from yarnmill.blobs import open_store
from yarnmill.blobs.http.app import create_app
from yarnmill.blobs.http.tokens import fresh_rules
from yarnmill.blobs.scrub import scrub
from yarnmill.errors import YarnMillError
from yarnmill.registry import Candidate, Registry
folder = Path(sys.argv[1])
store = open_store(f"file://{folder}/blobs")
small = store.put(io.BytesIO(b"small")).id
registry = Registry(f"sqlite:///{folder}/registry.db")
candidate = Candidate(model="m", bundle_id="a" * 64, blobs_url=store.url, flavour="onnx", run_id="r")
registry.versions.register(candidate)
try:
    store.put(io.BytesIO(bytes(8 << 20)))
except YarnMillError as problem:
    print(type(problem).__name__, problem.what)
rules = fresh_rules()
client = create_app(store, lambda: rules, is_open=True).test_client()
said = {"x-ambry-service-id": "s", "x-ambry-content-type": "a/b"}
paths = (("POST", "/"), ("PUT", "/named/ml/c/n"), ("PUT", "/s3/ml/c/k"))
print(*(client.open(path, method=method, data=bytes(8 << 20), headers=said).status_code for method, path in paths))
assert list(store.ids()) == [small] and scrub(store).damaged == ()
filler = folder / "filler"
with open(filler, "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError:
        pass
try:
    for number in range(1000):
        registry.versions.register(Candidate(model=f"m{number}", bundle_id="b" * 64, blobs_url="x" * 3000,
                                             flavour="onnx", run_id="r"))
except YarnMillError as problem:
    print(type(problem).__name__, problem.what)
filler.unlink()
assert [one.bundle_id for one in registry.versions.find("m")] == ["a" * 64]
registry.versions.register(Candidate(model="last", bundle_id="c" * 64, blobs_url="x", flavour="onnx", run_id="r"))
assert store.read_part(store.put(io.BytesIO(b"next")).id, 0, 9) == b"next"
"""


@pytest.mark.programs
def test_a_full_disk_is_told_and_damages_nothing(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare here: a small disk of one's own needs it")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = f'mount -t tmpfs -o size=6m none {disk} && exec {sys.executable} -c "$PROGRAM" {disk}'
    own = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(
        [unshare, *own, "--mount", "sh", "-c", mounted],
        env={**os.environ, "PROGRAM": FULL},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no disk of one's own here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    blob, http, registry = done.stdout.splitlines()
    assert blob.startswith("StorageFullError")
    assert "No space left on device" in blob
    assert http == "507 507 507"
    assert "full" in registry


@pytest.fixture(scope="module")
def hadoop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Yield a cluster of our own: what is done to it here would trouble others."""
    shape = ("cluster.nodemanagers=1", "cluster.nodemanager_memory=1 GiB", "cluster.daemon_heap=128 MiB")
    cluster = LocalCluster(tmp_path_factory.mktemp("faults"), load_config(overrides=shape).cluster)
    yield cluster
    cluster.down()


@pytest.fixture
def state(hadoop: LocalCluster) -> ClusterState:
    """Return the cluster, up again whatever the test before did."""
    return hadoop.up(lambda _message: None)


@pytest.fixture
def far(state: ClusterState, request: pytest.FixtureRequest) -> BlobStore:
    return open_store(f"{state.hdfs_url}/{request.node.name}")


def kill_datanode(state: ClusterState) -> None:
    pid = next(daemon.pid for daemon in state.daemons if daemon.name == "datanode")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while processes.is_running(pid):
        time.sleep(0.01)


class Interrupted(io.RawIOBase):
    """Bytes in whose middle something happens."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act, self._blocks = act, WHOLE // len(BLOCK)

    def read(self, size: int | None = -1) -> bytes:  # noqa: ARG002  # a whole block each
        if not self._blocks:
            return b""
        self._blocks -= 1
        if self._blocks == 24:
            self._act()
        return BLOCK


@pytest.mark.cluster
def test_in_safe_mode_blobs_are_read_and_none_is_put(state: ClusterState, far: BlobStore) -> None:
    def safe_mode(word: str) -> None:
        environment = {**os.environ, **state.environment()}
        command = ["hdfs", "dfsadmin", "-safemode", word]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    before = far.put(io.BytesIO(b"before")).id
    safe_mode("enter")
    try:
        with pytest.raises(ClusterUnavailableError, match="safe mode"):
            far.put(io.BytesIO(b"during"))
        assert far.read_part(before, 0, 99) == b"before"
    finally:
        safe_mode("leave")
    assert list(far.ids()) == [before]
    assert far.read_part(far.put(io.BytesIO(b"during")).id, 0, 99) == b"during"
    assert scrub(far).damaged == ()


@pytest.mark.cluster
def test_a_datanode_that_dies_in_the_middle_of_a_put(hadoop: LocalCluster, state: ClusterState, far: BlobStore) -> None:
    digest = hashlib.sha256(BLOCK * (WHOLE // len(BLOCK))).hexdigest()
    with pytest.raises(YarnMillError):
        far.put(Interrupted(lambda: kill_datanode(state)))  # type: ignore[arg-type]  # typeshed
    assert list(far.ids()) == []
    hadoop.up(lambda _message: None)
    assert far.put(Interrupted(lambda: None)).id == digest  # type: ignore[arg-type]  # typeshed
    assert far.check(digest).size_bytes == WHOLE


@pytest.mark.cluster
def test_a_datanode_that_dies_in_the_middle_of_a_read(
    hadoop: LocalCluster, state: ClusterState, far: BlobStore
) -> None:
    blob = far.put(Interrupted(lambda: None)).id  # type: ignore[arg-type]  # typeshed
    read = hashlib.sha256()

    def read_on() -> None:
        with far.open(blob) as stream:
            for number in range(WHOLE // len(BLOCK)):
                if number == 4:
                    kill_datanode(state)
                read.update(stream.read(len(BLOCK)))

    with pytest.raises(YarnMillError):  # told, and not taken for the end
        read_on()
    hadoop.up(lambda _message: None)
    assert far.check(blob).sha256 == blob
    assert scrub(far).damaged == ()
