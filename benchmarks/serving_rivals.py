"""One row's CPU time at our tier and at its rivals: the same logistic regression of ten features, side by side.

    python benchmarks/serving_rivals.py [--requests 3000] [--mlserver VENV] [--bentoml VENV]

MLflow's server is the one of this environment. MLServer and BentoML pin other libraries, so each has an environment of
its own, which may be made so:

    uv venv --python 3.11 build/mlserver
    uv pip install --python build/mlserver mlserver==1.7.1 mlserver-sklearn==1.7.1 uvloop==0.21.0
    uv venv --python 3.11 build/bentoml
    uv pip install --python build/bentoml bentoml scikit-learn

One worker process each, one client with one connection, JSON, one row a request. What is compared is the CPU time of
all processes of a server, since wall time on a shared machine is noise. Needs the extras ``test`` and ``granian``.
"""

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import joblib
import mlflow.sklearn
import numpy as np
from serving_data import FEATURES, running
from sklearn.linear_model import LogisticRegression

from yarnmill.config import load_config
from yarnmill.lifecycle.estimators import write_estimator
from yarnmill.lifecycle.publish import publish
from yarnmill.sdk import Platform

ROW = [0.5] * FEATURES
TENSOR = {"name": "x", "shape": [1, FEATURES], "datatype": "FP64", "data": ROW}
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
    parser.add_argument("--mlserver", type=Path, help="an environment that has mlserver and mlserver-sklearn")
    parser.add_argument("--bentoml", type=Path, help="an environment that has bentoml and scikit-learn")
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    features = rng.normal(size=(1000, FEATURES))
    model = LogisticRegression().fit(features, features.sum(axis=1) > 0)
    print(f"CPU microseconds a request, all processes of a server; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        costs = ours(Path(folder), model, features, options.requests)
        costs |= rivals(Path(folder), model, options.requests, options.mlserver, options.bentoml)
    own = min(cost for name, cost in costs.items() if name.startswith("yarnmill"))
    for name, cost in costs.items():
        print(f"{name:<44}{cost:>8.0f}{cost / own:>8.1f} x")
    print(f"load {os.getloadavg()[0]:.1f} at the end")


def ours(folder: Path, model: LogisticRegression, features: np.ndarray, requests: int) -> dict[str, float]:
    """Return what a row costs our tier, by server and by form of the model."""
    home = folder / "home"
    config = load_config(None, [f"storage.blobs=file://{home}/blobs"], home=str(home))
    platform = Platform(config, progress=lambda _line: None)
    platform.deploy(platform.publish(model, "plain", example=features[:8]))
    output = folder / "output"
    output.mkdir()
    flavour = write_estimator(output, model, features[:8].astype(np.float32), {})
    publish(str(output), "graph", flavour, config, as_onnx=True)
    platform.deploy("graph/1")
    costs = {}
    body = json.dumps({"instances": [ROW]}).encode()
    for server in ("gunicorn", "granian"):
        with running(home, f"serving.server={server}") as tier:
            for name, said in (("plain", "scikit-learn's predict"), ("graph", "ONNX")):
                cost = cost_us(tier.address, [tier.worker], f"/v1/models/{name}:predict", body, requests)
                costs[f"yarnmill, {server}, {said}"] = cost
    return costs


def rivals(
    folder: Path, model: LogisticRegression, requests: int, mlserver: Path | None, bentoml: Path | None
) -> dict[str, float]:
    """Return what a row costs the others."""
    costs = {}
    mlflow.sklearn.save_model(model, folder / "mlflow", serialization_format="cloudpickle")
    serve = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--workers", "1"]
    frame = json.dumps({"inputs": [ROW]}).encode()
    with started([*serve, "-m", str(folder / "mlflow"), "-p"], "/ping", folder) as (address, processes):
        costs["mlflow models serve"] = cost_us(address, processes, "/invocations", frame, requests)
    joblib.dump(model, folder / "model.joblib")
    if mlserver is not None:
        settings = {"name": "rank", "implementation": "mlserver_sklearn.SKLearnModel"}
        parameters = {"parameters": {"uri": str(folder / "model.joblib")}}
        (folder / "model-settings.json").write_text(json.dumps({**settings, **parameters}))
        infer = json.dumps({"inputs": [TENSOR], "outputs": [{"name": "predict_proba"}]}).encode()
        with started([str(mlserver / "bin" / "mlserver"), "start", "."], "/v2/health/ready", folder) as found:
            costs["MLServer"] = cost_us(*found, "/v2/models/rank/infer", infer, requests)
    if bentoml is not None:
        (folder / "service.py").write_text(BENTO)
        command = [str(bentoml / "bin" / "bentoml"), "serve", "service:Rank", "--port"]
        with started(command, "/readyz", folder) as found:
            costs["BentoML"] = cost_us(*found, "/predict", json.dumps({"rows": [ROW]}).encode(), requests)
    return costs


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


def cpu_s(pids: Sequence[int]) -> float:
    """Return the CPU seconds of processes so far."""
    spent = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def cost_us(address: str, pids: Sequence[int], path: str, body: bytes, requests: int) -> float:
    """Return the CPU microseconds of some processes a request."""
    connection = http.client.HTTPConnection(address, timeout=30)

    def ask(times: int) -> None:
        for _ in range(times):
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{address}{path}: {answer.status} {content[:300]!r}")

    ask(max(requests // 10, 20))
    before = cpu_s(pids)
    ask(requests)
    return (cpu_s(pids) - before) / requests * 1e6


if __name__ == "__main__":
    main()
