"""One row's CPU time at our tier and at its rivals: the same logistic regression of ten features, side by side.

    python benchmarks/serving_rivals.py [--requests 3000] [--mlserver VENV] [--bentoml VENV] [--kserve VENV]

MLflow's server is the one of this environment. The others pin other libraries, so each has an environment of its own,
which may be made so:

    uv venv --python 3.11 build/mlserver
    uv pip install --python build/mlserver mlserver==1.7.1 mlserver-sklearn==1.7.1 uvloop==0.21.0
    uv venv --python 3.11 build/bentoml
    uv pip install --python build/bentoml bentoml scikit-learn
    uv venv --python 3.11 build/kserve
    uv pip install --python build/kserve kserve==0.21.0 scikit-learn onnxruntime

One worker process each, JSON, one row a request, once with one connection and once with many: a worker that sleeps
between two requests pays for waking, which is most of what a cheap one costs. What is compared is the CPU time of all
processes of a server, since wall time on a shared machine is noise. Granian has one thread, which is its fast form:
several hand Python's lock to one another. Needs the extras ``test`` and ``granian``.
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import joblib
import mlflow.sklearn
import numpy as np
from closed_loop import cpu_us
from serving_data import FEATURES, running
from sklearn.linear_model import LogisticRegression

from yarnmill.config import load_config
from yarnmill.lifecycle.estimators import write_estimator
from yarnmill.lifecycle.publish import publish
from yarnmill.sdk import Platform

ROW = [0.5] * FEATURES
TENSOR = {"name": "x", "shape": [1, FEATURES], "datatype": "FP64", "data": ROW}
KSERVE = """
import sys

import joblib
import kserve
import numpy as np
import onnxruntime


class Plain(kserve.Model):
    def load(self):
        self.model = joblib.load("model.joblib")
        self.ready = True

    def predict(self, payload, headers=None):
        return {"predictions": self.model.predict_proba(np.asarray(payload["instances"]))[:, 1].tolist()}


class Graph(kserve.Model):
    def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession("model.onnx", options)
        (self.asked,) = (one.name for one in self.session.get_inputs())
        self.ready = True

    def predict(self, payload, headers=None):
        rows = np.asarray(payload["instances"], np.float32)
        return {"predictions": self.session.run(None, {self.asked: rows})[0].tolist()}


models = [Plain("plain"), Graph("graph")]
for model in models:
    model.load()
kserve.ModelServer(http_port=int(sys.argv[-1]), workers=1, enable_grpc=False).start(models)
"""
BENTO = """
import bentoml
import joblib
import numpy as np

@bentoml.service(workers=1)
class Rank:
    def __init__(self) -> None:
        self.model = joblib.load("model.joblib")

    @bentoml.api
    def predict(self, rows: list[list[float]]) -> list[float]:
        return self.model.predict_proba(np.asarray(rows))[:, 1].tolist()
"""


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--connections", type=int, default=16, help="of the second column")
    parser.add_argument("--mlserver", type=Path, help="an environment that has mlserver and mlserver-sklearn")
    parser.add_argument("--bentoml", type=Path, help="an environment that has bentoml and scikit-learn")
    parser.add_argument("--kserve", type=Path, help="an environment that has kserve, scikit-learn and onnxruntime")
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    features = rng.normal(size=(1000, FEATURES))
    model = LogisticRegression().fit(features, features.sum(axis=1) > 0)
    environments = {"mlserver": options.mlserver, "bentoml": options.bentoml, "kserve": options.kserve}
    loads = (1, options.connections)
    print(f"CPU microseconds a request, all processes of a server; load {os.getloadavg()[0]:.1f}")
    costs: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        servers = (ours(Path(folder), model, features), rivals(Path(folder), model, environments))
        for name, address, processes, path, body in (one for some in servers for one in some):
            costs[name] = [cpu_us(address, processes, path, body, options.requests, load) for load in loads]
    own = [min(cost[k] for name, cost in costs.items() if name.startswith("yarnmill")) for k in range(len(loads))]
    print(f"{'':<40}" + "".join(f"{f'{load} connections':>22}" for load in loads))
    for name, cost in costs.items():
        print(f"{name:<40}" + "".join(f"{us:>12.0f}{us / best:>8.1f} x" for us, best in zip(cost, own, strict=True)))
    print(f"load {os.getloadavg()[0]:.1f} at the end")


class Server(NamedTuple):
    """A server that runs: what it is called, where and by which processes it answers, and what it is asked."""

    name: str
    address: str
    processes: list[int]
    path: str
    body: bytes


def ours(folder: Path, model: LogisticRegression, features: np.ndarray) -> Iterator[Server]:
    """Yield our tier, by server and by form of the model."""
    home = folder / "home"
    config = load_config(None, [f"storage.blobs=file://{home}/blobs"], home=str(home))
    platform = Platform(config, progress=lambda _line: None)
    platform.deploy(platform.publish(model, "plain", example=features[:8]))
    output = folder / "output"
    output.mkdir()
    flavour = write_estimator(output, model, features[:8].astype(np.float32), {})
    publish(str(output), "graph", flavour, config, as_onnx=True)
    platform.deploy("graph/1")
    body = json.dumps({"instances": [ROW]}).encode()
    for server, settings in (("gunicorn", []), ("granian", ["serving.threads=1"])):
        with running(home, f"serving.server={server}", *settings) as tier:
            for name, said in (("plain", "scikit-learn"), ("graph", "ONNX")):
                path = f"/v1/models/{name}:predict"
                yield Server(f"yarnmill, {server}, {said}", tier.address, [tier.worker], path, body)


def rivals(folder: Path, model: LogisticRegression, environments: Mapping[str, Path | None]) -> Iterator[Server]:
    """Yield the others, those that have an environment."""
    mlflow.sklearn.save_model(model, folder / "mlflow", serialization_format="cloudpickle")
    serve = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--workers", "1"]
    with started([*serve, "-m", str(folder / "mlflow"), "-p"], "/ping", folder) as found:
        yield Server("mlflow models serve", *found, "/invocations", json.dumps({"inputs": [ROW]}).encode())
    joblib.dump(model, folder / "model.joblib")
    if mlserver := environments["mlserver"]:
        settings = {"name": "rank", "implementation": "mlserver_sklearn.SKLearnModel"}
        parameters = {"parameters": {"uri": str(folder / "model.joblib")}}
        (folder / "model-settings.json").write_text(json.dumps({**settings, **parameters}))
        infer = json.dumps({"inputs": [TENSOR], "outputs": [{"name": "predict_proba"}]}).encode()
        with started([str(mlserver / "bin" / "mlserver"), "start", "."], "/v2/health/ready", folder) as found:
            yield Server("MLServer, scikit-learn", *found, "/v2/models/rank/infer", infer)
    if kserve := environments["kserve"]:
        shutil.copy(next((folder / "home").rglob("model.onnx")), folder)
        (folder / "service_kserve.py").write_text(KSERVE)
        rows = json.dumps({"instances": [ROW]}).encode()
        command = [str(kserve / "bin" / "python"), "service_kserve.py", "--port"]
        with started(command, "/v2/health/ready", folder) as found:
            yield Server("KServe, scikit-learn", *found, "/v1/models/plain:predict", rows)
            yield Server("KServe, ONNX", *found, "/v1/models/graph:predict", rows)
    if bentoml := environments["bentoml"]:
        (folder / "service.py").write_text(BENTO)
        command = [str(bentoml / "bin" / "bentoml"), "serve", "service:Rank", "--port"]
        with started(command, "/readyz", folder) as found:
            yield Server("BentoML, scikit-learn", *found, "/predict", json.dumps({"rows": [ROW]}).encode())


@contextmanager
def started(command: Sequence[str], ready: str, folder: Path) -> Iterator[tuple[str, list[int]]]:
    """Run a server at a free port; yield its address and its processes once it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "MLSERVER_HTTP_PORT": str(port), "MLSERVER_PARALLEL_WORKERS": "0"}
    environment |= {"MLSERVER_GRPC_PORT": "0", "MLSERVER_METRICS_PORT": "0", "BENTOML_DO_NOT_TRACK": "1"}
    environment["PATH"] = f"{Path(command[0]).absolute().parent}:{os.environ['PATH']}"
    whole = [*command, str(port)] if command[-1] in {"-p", "--port"} else list(command)
    with (folder / "rival.log").open("a") as log:
        process = subprocess.Popen(whole, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    address = f"127.0.0.1:{port}"
    try:
        wait_until_ready(address, ready, process, folder / "rival.log")
        yield address, tree(process.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def wait_until_ready(address: str, path: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return when a server says that it is ready."""
    for _ in range(300):
        try:
            connection = http.client.HTTPConnection(address, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        if process.poll() is not None:
            break
        time.sleep(0.3)
    raise SystemExit(f"{process.args}: not ready\n{log.read_text()[-2000:]}")


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in tree(int(child)))]


if __name__ == "__main__":
    main()
