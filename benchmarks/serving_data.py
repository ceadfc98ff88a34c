"""The tier under test: linear models of ten features as ONNX graphs, published and deployed, and a server of them."""

import datetime as dt
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
from closed_loop import cpu_s

from yarnmill.blobs import open_store
from yarnmill.bundle.example import write_example
from yarnmill.bundle.manifest import Field, Lineage, Signature
from yarnmill.bundle.pack import pack
from yarnmill.bundle.store import put_bundle
from yarnmill.drift.reference import REFERENCE_NAME
from yarnmill.flavours.example import made_example
from yarnmill.flavours.open import open_model
from yarnmill.flavours.reference import reference_of
from yarnmill.records import canonical_json
from yarnmill.registry import Candidate, Registry, Rule

FEATURES = 10
SIGNATURE = Signature(
    inputs=(Field(name="x", dtype="float32", shape=(FEATURES,)),), outputs=(Field(name="y", dtype="float32"),)
)
_GRAPH = """<ir_version: 9, opset_import: ["" : 19]>
linear (float[N, {features}] x) => (float[N] y) <int64[1] axes = {{1}}, float[1] bias = {{{bias}}}>
{{ sum = ReduceSum <keepdims = 0> (x, axes) y = Add (sum, bias) }}"""


def publish(home: Path, models: int, *, watched: int = 0) -> list[str]:
    """Deploy so many models, each with a graph of its own, the last of them with a reference; return their names."""
    names = [f"linear-{number}" for number in range(models)]
    for number, name in enumerate(names):
        publish_graph(home, name, graph_of(number), SIGNATURE, watched=number >= models - watched)
    return names


def graph_of(bias: float) -> onnx.ModelProto:
    """Return a graph that adds a bias to the sum of its features."""
    return onnx.parser.parse_model(_GRAPH.format(features=FEATURES, bias=bias))


def publish_graph(home: Path, name: str, graph: onnx.ModelProto, signature: Signature, *, watched: bool = False) -> int:
    """Let a graph, whose only input is a vector of numbers, answer as the next version of a model; return its number.

    With ``watched`` it has a reference, so drift is measured.
    """
    blobs = (home / "blobs").as_uri()
    folder = home / "work" / secrets.token_hex(8)
    folder.mkdir(parents=True)
    onnx.save(graph, folder / "model.onnx")
    (field,) = signature.inputs
    asked = {field.name: np.ones((1, *field.shape), np.float32)}
    predictor = open_model("onnx", folder, signature)
    write_example(folder, made_example(asked, predictor.predict(asked)))
    if watched:
        sample = {field.name: np.random.default_rng(1).normal(size=(1000, *field.shape)).astype(np.float32)}
        (folder / REFERENCE_NAME).write_bytes(canonical_json(reference_of(predictor, sample)))
    manifest = pack(
        folder,
        flavour="onnx",
        signature=signature,
        lineage=Lineage(inputs=(), code_version="", run_id=folder.name, application_id="", configuration={}),
        metrics={},
        environment={},
        created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )
    bundle_id = put_bundle(open_store(blobs), folder, manifest)
    registry = registry_of(home)
    candidate = Candidate(model=name, bundle_id=bundle_id, blobs_url=blobs, flavour="onnx", run_id=folder.name)
    version = registry.versions.register(candidate).version
    registry.deployments.started(registry.deployments.begin(name, version))
    registry.endpoints.route(name, Rule.only(version))
    return version


@cache
def registry_of(home: Path) -> Registry:
    """Return the registry of a home."""
    return Registry(f"sqlite:///{home / 'registry.db'}")


@dataclass(frozen=True)
class Tier:
    """A running tier with one worker: its address, the worker's process, seconds from its start to its first answer."""

    address: str
    worker: int
    started_s: float

    def cpu_s(self) -> float:
        """Return the CPU seconds of all the worker's threads so far."""
        return cpu_s([self.worker])

    def memory_mib(self) -> float:
        """Return what the worker has in memory."""
        pages = int(Path(f"/proc/{self.worker}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def descriptors(self) -> int:
        """Return how many files and sockets the worker has open."""
        return sum(1 for _ in Path(f"/proc/{self.worker}/fd").iterdir())


@contextmanager
def running(home: Path, *settings: str) -> Iterator[Tier]:
    """Run the tier of a home within the block, with these settings beside the defaults."""
    command = [sys.executable, "-m", "yarnmill.cli.main", "serve", "--home", str(home), "--port", "0", "--workers", "1"]
    command += ["--access-log", str(home / "access.log")]
    for setting in ("serving.poll=60", *settings):
        command += ["--set", setting]
    begun = dt.datetime.now(dt.UTC)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tier:
        if tier.stdout is None:
            raise SystemExit("the tier has no output")
        address = tier.stdout.readline().rpartition("//")[2].strip()
        started_s = (dt.datetime.now(dt.UTC) - begun).total_seconds()
        worker = int(Path(f"/proc/{tier.pid}/task/{tier.pid}/children").read_text().split()[0])
        try:
            yield Tier(address, worker, started_s)
        finally:
            tier.send_signal(signal.SIGTERM)
