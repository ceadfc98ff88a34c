"""The tier as its users run it: real processes, real HTTP, deployments, damage and death while requests run."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import requests
from waiting import eventually

if TYPE_CHECKING:
    from conftest import Platform, Start

pytestmark = pytest.mark.programs

ROW = {"user_id": 7, "features": [1.0, 2.0]}


def predict(url: str, model: str, **body: Any) -> requests.Response:
    return requests.post(f"{url}/v1/models/{model}:predict", json=body or {"instances": [ROW]}, timeout=10)


def test_a_registered_model_answers_over_http(platform: "Platform", start_tier: "Start") -> None:
    platform.deploy("rater", 0.5)
    with start_tier() as tier:
        answer = predict(tier.url, "rater", instances=[ROW, {"user_id": 0, "features": [0, 0]}])
        assert answer.json() == {"predictions": [10.5, 0.5]}
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["X-Model-Version"] == "1"
        without_type = requests.Request(
            "POST", f"{tier.url}/v1/models/rater:predict", data=json.dumps({"instances": [ROW]})
        )
        with requests.Session() as session:
            assert session.send(without_type.prepare(), timeout=10).json() == {"predictions": [10.5]}
        chunked = requests.post(
            f"{tier.url}/v1/models/rater/versions/1:predict",
            data=iter([b'{"instances": [', json.dumps(ROW).encode(), b"]}"]),
            timeout=10,
        )
        assert chunked.json() == {"predictions": [10.5]}
        assert predict(tier.url, "nobody").status_code == 404
        assert requests.get(f"{tier.url}/healthz", timeout=10).json() == {"status": "ok"}
        assert requests.get(f"{tier.url}/readyz", timeout=10).json()["ready"] is True
    assert tier.process.returncode == 0
    lines = [json.loads(line) for line in tier.log.read_text().splitlines() if line.startswith("{")]
    lines.sort(key=lambda line: str(line["time"]))  # two workers write theirs when they see fit
    assert {(line["path"], line["status"]) for line in lines} >= {("/v1/models/rater:predict", 200), ("/healthz", 200)}
    assert lines[0]["model"] == "rater"
    assert lines[0]["rows"] == 2
    assert "features" not in tier.log.read_text()


def test_no_request_fails_while_versions_change(platform: "Platform", start_tier: "Start") -> None:
    platform.deploy("rater", 1.0)
    answers: list[tuple[int, float]] = []
    stop = threading.Event()

    def ask(url: str) -> None:
        with requests.Session() as session:
            while not stop.is_set():
                answer = session.post(f"{url}/v1/models/rater:predict", json={"instances": [ROW]}, timeout=10)
                answers.append((answer.status_code, answer.json()["predictions"][0]))

    with start_tier() as tier:
        threads = [threading.Thread(target=ask, args=(tier.url,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for bias in (2.0, 3.0):
            platform.deploy("rater", bias)
            assert eventually(lambda bias=bias: {score for _, score in answers[-20:]} == {10.0 + bias})  # type: ignore[misc]
        platform.answer("rater", 1)
        assert eventually(lambda: {score for _, score in answers[-20:]} == {11.0})
        stop.set()
        for thread in threads:
            thread.join()
    assert {status for status, _ in answers} == {200}
    assert {score for _, score in answers} == {11.0, 12.0, 13.0}


def test_a_damaged_blob_is_refused_and_its_neighbours_answer(platform: "Platform", start_tier: "Start") -> None:
    platform.deploy("good", 0.0)
    platform.deploy("bad", 5.0)
    blob = platform.blob_of_model(5.0, "bad")
    whole = blob.read_bytes()
    blob.chmod(0o644)
    blob.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with start_tier() as tier:
        refused = predict(tier.url, "bad")
        assert refused.status_code == 503
        assert blob.name in refused.json()["error"]
        ready = requests.get(f"{tier.url}/readyz", timeout=10)
        assert ready.status_code == 503
        assert [entry["model"] for entry in ready.json()["models"] if "reason" in entry] == ["bad"]
        assert predict(tier.url, "good").json() == {"predictions": [10.0]}
        status = requests.get(f"{tier.url}/v1/models/bad", timeout=10).json()["model_version_status"]
        assert [entry["state"] for entry in status] == ["END"]
        blob.write_bytes(whole)
        assert eventually(lambda: all(predict(tier.url, "bad").status_code == 200 for _ in range(10)))
        assert requests.get(f"{tier.url}/readyz", timeout=10).status_code == 200


def test_a_bad_deployment_leaves_the_last_good_version_answering(platform: "Platform", start_tier: "Start") -> None:
    platform.deploy("rater", 1.0)
    with start_tier() as tier:
        version, _ = platform.publish("rater", 2.0)
        platform.blob_of_model(2.0, "rater").unlink()
        platform.answer("rater", version)

        def refused() -> bool:
            answer = requests.post(
                f"{tier.url}/v1/models/rater/versions/2:predict", json={"instances": [ROW]}, timeout=10
            )
            return answer.status_code == 503

        assert eventually(lambda: all(refused() for _ in range(10)))
        answer = predict(tier.url, "rater")
        assert (answer.json(), answer.headers["X-Model-Version"]) == ({"predictions": [11.0]}, "1")

        def said() -> bool:  # a worker that has not tried it yet refuses it as well
            ready = requests.get(f"{tier.url}/readyz", timeout=10)
            assert ready.status_code == 200
            return bool(ready.json()["models"][0].get("reason"))

        assert eventually(lambda: all(said() for _ in range(10)))


def test_registry_and_store_may_go_and_a_new_worker_still_answers(platform: "Platform", start_tier: "Start") -> None:
    platform.deploy("rater", 1.0)
    with start_tier("--workers", "1") as tier:
        for name in platform.home.glob("registry.db*"):
            name.unlink()
        (platform.home / "registry.db").write_bytes(b"no database" * 1000)
        (platform.home / "blobs").rename(platform.home / "away")
        assert eventually(lambda: "registry" in requests.get(f"{tier.url}/readyz", timeout=10).json()["registry"])
        assert predict(tier.url, "rater").json() == {"predictions": [11.0]}
        (worker,) = tier.workers()
        os.kill(worker, signal.SIGKILL)
        assert eventually(lambda: tier.workers() not in ([worker], []))
        assert predict(tier.url, "rater").json() == {"predictions": [11.0]}


def test_a_killed_worker_is_replaced(platform: "Platform", start_tier: "Start") -> None:
    platform.deploy("rater", 1.0)
    with start_tier("--workers", "2") as tier:
        before = tier.workers()
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        assert eventually(lambda: len(tier.workers()) == 2 and tier.workers() != before)
        assert {predict(tier.url, "rater").status_code for _ in range(20)} == {200}
        assert eventually(lambda: "yarnmill_models_loaded 1.0" in metrics(tier.url))


def metrics(url: str) -> list[str]:
    return requests.get(f"{url}/metrics", timeout=10).text.splitlines()


def test_metrics_are_summed_over_the_workers(platform: "Platform", start_tier: "Start") -> None:
    platform.deploy("rater", 1.0)
    with start_tier("--workers", "2") as tier:
        for _ in range(30):
            predict(tier.url, "rater")
        predict(tier.url, "nobody")
        predict(tier.url, "rater", instances=[])
        lines = metrics(tier.url)
    assert 'yarnmill_requests_total{model="rater",status="200"} 30.0' in lines
    assert 'yarnmill_requests_total{model="rater",status="400"} 1.0' in lines
    assert 'yarnmill_requests_total{model="(other)",status="404"} 1.0' in lines
    assert 'yarnmill_rows_total{model="rater"} 30.0' in lines
    assert 'yarnmill_request_seconds_count{model="rater"} 30.0' in lines
    assert 'yarnmill_errors_total{kind="bad request"} 1.0' in lines


def test_both_signals_end_it_with_all_workers(platform: "Platform", start_tier: "Start") -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        pid_file = platform.home / "tier.pid"
        with start_tier("--pid-file", str(pid_file)) as tier:
            assert int(pid_file.read_text()) == tier.process.pid
            workers = tier.workers()
            tier.process.send_signal(number)
            assert tier.process.wait(timeout=20) == 0
        assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
        assert not pid_file.exists()
        assert "Traceback" not in tier.log.read_text()


def test_a_taken_port_is_said_before_anything_starts(platform: "Platform") -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "yarnmill.cli.main",
            "serve",
            "--home",
            str(platform.home),
            "--port",
            str(port),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 4
    assert f"port {port} of 127.0.0.1 is taken" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_bodies_over_the_limit_cost_nothing(platform: "Platform", start_tier: "Start") -> None:
    platform.deploy("rater", 1.0)
    with start_tier("--set", "serving.max_body=1 MiB") as tier:
        for data in (b" " * (1024 * 1024 + 1), iter([b" " * 700_000, b" " * 700_000])):
            refused = requests.post(f"{tier.url}/v1/models/rater:predict", data=data, timeout=10)
            assert refused.status_code == 413
            assert "1.0 MiB" in refused.json()["error"]
        assert predict(tier.url, "rater").status_code == 200


@pytest.mark.parametrize("server", ["gunicorn"], indirect=True)  # Granian waits: it belongs behind a proxy
def test_clients_that_stall_are_left(platform: "Platform", start_tier: "Start") -> None:
    platform.deploy("rater", 1.0)
    with start_tier("--set", "serving.timeout=1 s") as tier:
        host, port = tier.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as stalled:
            stalled.sendall(b'POST /v1/models/rater:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"ins')
            assert stalled.recv(100).startswith(b"HTTP/1.1 408")
        assert predict(tier.url, "rater").status_code == 200


def test_bundles_come_from_hdfs(platform: "Platform", start_tier: "Start", hdfs: str) -> None:
    remote = msgspec.structs.replace(platform, blobs_url=f"{hdfs}/blobs")
    remote.deploy("rater", 1.0)
    with start_tier() as tier:
        assert predict(tier.url, "rater").json() == {"predictions": [11.0]}
        remote.deploy("rater", 2.0)
        assert eventually(lambda: all(predict(tier.url, "rater").json() == {"predictions": [12.0]} for _ in range(10)))
        remote.deploy("rater", 3.0)
        assert eventually(lambda: all(predict(tier.url, "rater").json() == {"predictions": [13.0]} for _ in range(10)))
    assert tier.process.returncode == 0
