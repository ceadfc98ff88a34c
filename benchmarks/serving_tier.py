"""What one request costs the serving tier: CPU time of a worker per request, whole tier, real HTTP.

CPU time is compared, since wall time on a shared machine is noise. One gunicorn worker, one client with
one connection. Run: ``python benchmarks/serving_tier.py [--requests 5000]``; needs the extras ``test``.
"""

import argparse
import datetime as dt
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnx.parser

from yarnmill.blobs import open_store
from yarnmill.bundle.example import write_example
from yarnmill.bundle.manifest import Field, Lineage, Signature
from yarnmill.bundle.pack import pack
from yarnmill.bundle.store import put_bundle
from yarnmill.flavours.example import made_example
from yarnmill.flavours.open import open_model
from yarnmill.registry import Candidate, Registry

MODEL = "linear"
FEATURES = 10
GRAPH = f"""<ir_version: 9, opset_import: ["" : 19]>
linear (float[N, {FEATURES}] x) => (float[N] y) <int64[1] axes = {{1}}> {{ y = ReduceSum <keepdims = 0> (x, axes) }}"""
SIGNATURE = Signature(
    inputs=(Field(name="x", dtype="float32", shape=(FEATURES,)),), outputs=(Field(name="y", dtype="float32"),)
)


def publish(home: Path) -> None:
    """Deploy a linear model of ten features."""
    folder = home / "work"
    folder.mkdir()
    onnx.save(onnx.parser.parse_model(GRAPH), folder / "model.onnx")
    asked = {"x": np.ones((1, FEATURES), np.float32)}
    write_example(folder, made_example(asked, open_model("onnx", folder, SIGNATURE).predict(asked)))
    manifest = pack(
        folder,
        flavour="onnx",
        signature=SIGNATURE,
        lineage=Lineage(inputs=(), code_version="", run_id="benchmark", application_id="", configuration={}),
        metrics={},
        environment={},
        created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )
    blobs = (home / "blobs").as_uri()
    bundle_id = put_bundle(open_store(blobs), folder, manifest)
    registry = Registry(f"sqlite:///{home / 'registry.db'}")
    candidate = Candidate(model=MODEL, bundle_id=bundle_id, blobs_url=blobs, flavour="onnx", run_id="benchmark")
    registry.deploy(MODEL, registry.register(candidate).version)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of all threads of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cost_us(address: str, worker: int, path: str, body: bytes | None, requests: int) -> float:
    """Return the worker's CPU microseconds a request."""
    connection = http.client.HTTPConnection(address)
    method = "GET" if body is None else "POST"

    def ask(times: int) -> None:
        for _ in range(times):
            connection.request(method, path, body)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"{path}: {answer.status}")

    ask(requests // 10)
    before = cpu_s(worker)
    ask(requests)
    spent = cpu_s(worker) - before
    connection.close()
    return spent / requests * 1e6


def run(home: Path, requests: int) -> None:
    """Start the tier, measure, print."""
    publish(home)
    command = [sys.executable, "-m", "yarnmill.cli.main", "serve", "--home", str(home), "--port", "0", "--workers", "1"]
    command += ["--access-log", str(home / "access.log"), "--set", "serving.poll=60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tier:
        if tier.stdout is None:
            raise SystemExit("the tier has no output")
        address = tier.stdout.readline().rpartition("//")[2].strip()
        worker = int(Path(f"/proc/{tier.pid}/task/{tier.pid}/children").read_text().split()[0])
        one = json.dumps({"instances": [[0.5] * FEATURES]}).encode()
        many = json.dumps({"instances": [[0.5] * FEATURES] * 1000}).encode()
        predict = f"/v1/models/{MODEL}:predict"
        print("CPU microseconds a request, one gunicorn worker")
        print(f"  one row of {FEATURES} features   {cost_us(address, worker, predict, one, requests):8.0f}")
        print(f"  1,000 such rows         {cost_us(address, worker, predict, many, requests // 20):8.0f}")
        print(f"  GET /healthz (Flask)    {cost_us(address, worker, '/healthz', None, requests):8.0f}")
        tier.send_signal(signal.SIGTERM)


def main() -> None:
    """Run the benchmark in a folder that is gone afterwards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), arguments.requests)


if __name__ == "__main__":
    main()
