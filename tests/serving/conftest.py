"""A real platform in a folder: graphs in a blob store, versions in a registry, and the tier that serves them."""

import datetime as dt
import functools
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx.parser
import pytest
from flask.testing import FlaskClient
from registered import fresh_sqlite, let_answer
from snapshots import DAY, Features, Rows, write_snapshot

from examples import add_example
from serving.app import create_app
from serving.metrics import Metrics
from serving.models import ModelTable
from serving.source import RegistrySource
from yarnmill.blobs import open_store
from yarnmill.bundle.manifest import TRANSFORMER_NAME, Field, Flavour, Lineage, Signature
from yarnmill.bundle.pack import pack
from yarnmill.bundle.store import put_bundle
from yarnmill.drift.reference import REFERENCE_NAME, Reference
from yarnmill.flavours.features_files import features_example, prepare_features
from yarnmill.records import canonical_json
from yarnmill.registry import Candidate, Registry
from yarnmill.tables import KeyDtype

SIGNATURE = Signature(
    inputs=(Field(name="user_id", dtype="int64"), Field(name="features", dtype="float32", shape=(2,))),
    outputs=(Field(name="score", dtype="float32"),),
)
# score = user_id + sum(features) + bias; a division by bias - bias, if asked for, makes it NaN.
GRAPH = """<ir_version: 9, opset_import: ["" : 19]>
rater (int64[N] user_id, float[N, 2] features) => (float[N] score)
<int64[1] axes = {{1}}, float[1] bias = {{{bias}}}, float[1] divisor = {{{divisor}}}>
{{
    sum = ReduceSum <keepdims = 0> (features, axes)
    user = Cast <to = 1> (user_id)
    plain = Add (sum, user)
    shifted = Add (plain, bias)
    score = Div (shifted, divisor)
}}"""
READY = re.compile(r"^serving on (?P<url>http://\S+)$")


@functools.cache
def _registry(url: str) -> Registry:
    return Registry(url, actor="tests")


class Platform(msgspec.Struct, frozen=True):
    """A home folder with a registry and a blob store."""

    home: Path
    blobs_url: str
    registry_url: str

    @property
    def registry(self) -> Registry:
        return _registry(self.registry_url)

    def open_table(self, clock: Callable[[], float], limit_bytes: int | None = None, **more: Any) -> ModelTable:
        """Return a table of this platform's models that nobody refreshes yet."""
        source = RegistrySource(self.registry_url, self.home / "cache")
        return ModelTable(source, clock, limit_bytes=limit_bytes, **more)

    def publish(
        self,
        model: str,
        bias: float,
        *,
        divisor: float = 1.0,
        reference: Reference | None = None,
        graph: str = GRAPH,
        transformer: str | None = None,
    ) -> tuple[int, str]:
        """Register a version that adds ``bias``; return its number and its bundle's id."""
        folder = self.home / "work" / f"{model}-{bias}-{divisor}"
        folder.mkdir(parents=True)
        onnx.save(onnx.parser.parse_model(graph.format(bias=bias, divisor=divisor)), folder / "model.onnx")
        asked = {"user_id": np.array([0]), "features": np.array([[-bias, 0]], np.float32)}  # 0 / divisor
        add_example("onnx", folder, SIGNATURE, asked)
        if reference is not None:
            (folder / REFERENCE_NAME).write_bytes(canonical_json(reference))
        if transformer is not None:
            (folder / TRANSFORMER_NAME).write_text(transformer)
        return self.register(model, folder, "onnx", SIGNATURE, f"{model}-{bias}")

    def publish_snapshot(
        self, table: str, key: tuple[str, KeyDtype], features: Features, rows: Rows, ds: dt.date = DAY
    ) -> tuple[int, str]:
        """Register a snapshot of a feature table as :mod:`snapshots` makes it; return its version and bundle."""
        folder = Path(tempfile.mkdtemp(dir=self.home))
        output = write_snapshot(folder / "output", table, key, features, rows, ds=ds)
        (folder / "bundle").mkdir()
        signature = prepare_features(output, folder / "bundle")
        add_example("features", folder / "bundle", signature, features_example(folder / "bundle", signature))
        return self.register(table, folder / "bundle", "features", signature, folder.name)

    def register(
        self, model: str, folder: Path, flavour: Flavour, signature: Signature, run_id: str
    ) -> tuple[int, str]:
        """Pack a folder and make it a version; return its number and its bundle's id."""
        manifest = pack(
            folder,
            flavour=flavour,
            signature=signature,
            lineage=Lineage(inputs=(), code_version="0", run_id=model, application_id="", configuration={}),
            metrics={},
            environment={},
            created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        )
        bundle_id = put_bundle(open_store(self.blobs_url), folder, manifest)
        version = self.registry.versions.register(
            Candidate(
                model=model,
                bundle_id=bundle_id,
                blobs_url=self.blobs_url,
                flavour=flavour,
                run_id=run_id,
            )
        )
        return version.version, bundle_id

    def deploy(self, model: str, bias: float, **more: Any) -> int:
        """Publish a version and let it answer; return its number. What more there is goes to :meth:`publish`."""
        version, _ = self.publish(model, bias, **more)
        self.answer(model, version)
        return version

    def answer(self, model: str, version: int) -> None:
        """Let a version answer alone."""
        let_answer(self.registry, model, version)

    def blob_of_model(self, bias: float, model: str, *, divisor: float = 1.0) -> Path:
        """Return the file in the store that holds a version's graph."""
        graph = (self.home / "work" / f"{model}-{bias}-{divisor}" / "model.onnx").read_bytes()
        files = (path for path in (self.home / "blobs").rglob("*") if path.is_file())
        return next(path for path in files if path.read_bytes().startswith(graph))


class Tier(msgspec.Struct, frozen=True):
    """A running tier: its URL, its parent process, what it writes."""

    url: str
    process: "subprocess.Popen[str]"
    log: Path

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]


def new_platform(home: Path, registry_url: str = "") -> Platform:
    home.mkdir(exist_ok=True)
    registry_url = registry_url or fresh_sqlite(home / "registry.db")
    return Platform(home=home, blobs_url=(home / "blobs").as_uri(), registry_url=registry_url)


def open_client(table: ModelTable) -> FlaskClient:
    return create_app(table, Metrics(), max_body_bytes=100_000).test_client()


@pytest.fixture(scope="session")
def platform_in() -> Callable[[Path, str], Platform]:
    """Return what makes a platform in a folder, for those that many tests share."""
    return new_platform


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return new_platform(tmp_path / "home")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(platform: Platform, clock: Clock) -> ModelTable:
    """Return a table over the platform; a test refreshes it itself."""
    return platform.open_table(clock)


@pytest.fixture
def client(table: ModelTable) -> FlaskClient:
    return open_client(table)


@pytest.fixture(scope="module")
def rater(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """Return a client of a tier with the one model `rater`, which adds a half. Shared: only to be asked."""
    platform = new_platform(tmp_path_factory.mktemp("rater"))
    platform.deploy("rater", 0.5)
    table = platform.open_table(Clock())
    table.refresh()
    return open_client(table)


Start = Callable[..., AbstractContextManager[Tier]]


@contextmanager
def running_tier(home: Path, log: Path, *arguments: str) -> Iterator[Tier]:
    """Start ``yarnmill serve`` on a free port, wait for its line, and end it."""
    command = [sys.executable, "-m", "yarnmill.cli.main", "serve", "--home", str(home), "--port", "0"]
    command += ["--set", "serving.poll=0.1", *arguments]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            match = READY.match(process.stdout.readline())
            assert match is not None, log.read_text()
            yield Tier(url=match["url"], process=process, log=log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)


@pytest.fixture(scope="session")
def tier_in() -> Start:
    """Return what starts a tier in a home folder, for those that many tests share."""
    return running_tier


@pytest.fixture(params=["gunicorn", "granian"])
def server(request: pytest.FixtureRequest) -> str:
    """Return the server of the tier, each in turn."""
    name: str = request.param
    return name


@pytest.fixture
def start_tier(platform: Platform, tmp_path: Path, server: str) -> Start:
    """Return what starts ``yarnmill serve`` on a free port, waits for its line, and ends it."""

    def start(*arguments: str) -> AbstractContextManager[Tier]:
        return running_tier(platform.home, tmp_path / "tier.log", "--server", server, *arguments)

    return start
