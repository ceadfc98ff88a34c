"""MLflow hears of runs: a real server on loopback; one that is away; one that takes calls and never answers."""

import datetime as dt
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from waiting import eventually

from tony_py import client
from tony_py.application import Application, DriverSettings, Environment, Retries, TaskType, Timeouts, Tracking
from tony_py.driver.members import Member, Progress
from tony_py.driver.tasks import TaskId, Usage
from tony_py.history import Event
from tony_py.index import entry_of
from tony_py.plan import Launch
from tony_py.tracking import process, tracker
from tony_py.tracking.messages import APPLICATION_TAG, RunStart, Status, run_end, run_start
from tony_py.tracking.numbers import UseOfMachines, time_metrics
from tony_py.tracking.tracker import Tracker
from yarnmill.config import Config
from yarnmill.errors import JobFailedError
from yarnmill.report import RunReport
from yarnmill.units import Mebibytes, Seconds

pytestmark = pytest.mark.programs

Make = Callable[..., Application]
LocalRun = Callable[..., Any]
QUICK = Timeouts(gang=Seconds(120.0), grace=Seconds(1.0))


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a server with a database of its own."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    store = f"sqlite:///{folder}/mlflow.db"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--port", str(port)]
    command += ["--host", "127.0.0.1", "--workers", "1", "--artifacts-destination", str(folder / "artifacts")]
    log = (folder / "log").open("w")
    quiet = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # seven more processes that nobody here asks
    server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True, env=quiet)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if requests.get(f"{address}/health", timeout=1).ok:
                break
        except requests.RequestException:
            time.sleep(0.2)
    else:
        pytest.fail((folder / "log").read_text())
    yield address
    os.killpg(server.pid, 15)
    server.wait()
    log.close()


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Yield the address of a server that takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def runs_of(address: str, experiment: str) -> list[dict[str, Any]]:
    api = f"{address}/api/2.0/mlflow"
    found = requests.get(f"{api}/experiments/get-by-name", params={"experiment_name": experiment}, timeout=30).json()
    query = {"experiment_ids": [found["experiment"]["experiment_id"]]}
    runs: list[dict[str, Any]] = requests.post(f"{api}/runs/search", json=query, timeout=30).json().get("runs", [])
    return runs


def facts(run: dict[str, Any], kind: str) -> dict[str, Any]:
    return {entry["key"]: entry["value"] for entry in run["data"].get(kind, [])}


def start_of(application: Application, uri: str, application_id: str = "application_7") -> RunStart:
    launch = Launch(application=application, fingerprint="f" * 64)
    start = run_start(launch, application_id, dt.datetime.now(dt.UTC))
    assert start.uri == uri
    return start


def report_of(state: Any = "succeeded", reason: str = "all ended well") -> RunReport:
    now = dt.datetime.now(dt.UTC)
    return RunReport(
        job="j", run_id="r", fingerprint="f", state=state, started_at=now, finished_at=now, exit_reason=reason
    )


def wait_for_run(heard: list[str]) -> None:
    assert eventually(lambda: any(words.startswith("MLflow run") for words in heard))


WORKS = """
import sys, time, tony_task
tony_task.report(step=1, total=2, metrics={"loss": 0.5, "broken": float("nan")})
time.sleep(4)
tony_task.save_output("metrics.json", b'{"auc": 0.75}')
"""


def test_a_run_is_told_from_its_start_to_its_end(
    mlflow: str, application: Make, local_run: LocalRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker, "_SAMPLE_S", 1.0)
    monkeypatch.setattr(tracker, "PATIENCE_S", 60.0)  # this machine may be busy
    (tmp_path / "works.py").write_text(WORKS)
    command = "[ $TONY_TASK_INDEX = 1 ] || exec python works.py; if [ $TONY_GENERATION = 1 ]; then exit 3; fi"
    worker = TaskType(command=command, instances=2, env={"TOKEN": "nobody's business"})
    app = application(
        types={"worker": worker},
        source=(str(tmp_path / "works.py"),),
        tracking=Tracking(uri=mlflow, experiment="raters"),
        parameters={"epochs": 3},
        retries=Retries(user=1),
        timeouts=QUICK,
    )
    report, _ = local_run(app)
    assert report.state == "succeeded", report.exit_reason
    (run,) = runs_of(mlflow, "raters")
    assert run["info"]["status"] == "FINISHED"
    assert run["info"]["run_name"] == "test application_1"
    metrics, parameters, tags = (facts(run, kind) for kind in ("metrics", "params", "tags"))
    assert parameters["parameters.epochs"] == "3"
    assert parameters["types.worker.instances"] == "2"
    assert "nobody's business" not in str(run)
    assert tags[APPLICATION_TAG] == "application_1"
    assert tags["yarnmill.output"] == app.output
    assert app.output in tags["mlflow.note.content"]
    assert metrics["auc"] == 0.75
    assert metrics["loss"] == 0.5
    assert "broken" not in metrics
    assert (metrics["tony.restarts"], metrics["tony.restarts_user"]) == (1, 1)
    assert metrics["tony.gang_s"] > 0
    assert metrics["tony.peak_memory_mib"] > 1
    assert metrics["tony.cpu_s"] > 0


def test_a_run_that_is_prepared_is_told_to_its_end(
    mlflow: str, application: Make, local_run: LocalRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker, "PATIENCE_S", 60.0)
    driver = DriverSettings(prepare="""echo '{"classes": 17}' > $TONY_PARAMETERS_FILE""")
    app = application(name="prepared", tracking=Tracking(uri=mlflow), driver=driver, timeouts=QUICK)
    report, _ = local_run(app)
    assert report.state == "succeeded", report.exit_reason
    (run,) = runs_of(mlflow, "prepared")
    assert run["info"]["status"] == "FINISHED"
    assert facts(run, "params")["parameters.classes"] == "17"


def test_a_failed_run_is_told_with_its_reason(mlflow: str, application: Make) -> None:
    heard: list[str] = []
    app = application(name="failing", tracking=Tracking(uri=mlflow))
    with Tracker(start_of(app, mlflow), heard.append) as told:
        wait_for_run(heard)
        told.finish(run_end(report_of("failed", "worker:0: exit code 1"), {}), 30.0)
    (run,) = runs_of(mlflow, "failing")
    assert run["info"]["status"] == "FAILED"
    assert facts(run, "tags")["yarnmill.exit_reason"] == "worker:0: exit code 1"


def test_an_error_of_the_driver_ends_the_run(mlflow: str, application: Make) -> None:
    heard: list[str] = []
    app = application(name="unprepared", tracking=Tracking(uri=mlflow))
    with Tracker(start_of(app, mlflow), heard.append) as told:
        wait_for_run(heard)
        told.fail("no such table")
    (run,) = runs_of(mlflow, "unprepared")
    assert (run["info"]["status"], facts(run, "tags")["yarnmill.exit_reason"]) == ("FAILED", "no such table")


def test_the_next_driver_goes_on_with_the_run_and_a_client_ends_that_of_a_killed_one(
    mlflow: str, application: Make
) -> None:
    app = application(name="resumed", tracking=Tracking(uri=mlflow))
    for number in range(2):  # two drivers, neither of which comes to an end
        heard: list[str] = []
        with Tracker(start_of(app, mlflow), heard.append) as told:
            told.add_parameters({"found": str(number)})
            wait_for_run(heard)
    (run,) = runs_of(mlflow, "resumed")
    assert run["info"]["status"] == "RUNNING"
    assert facts(run, "params")["parameters.found"] == "0"  # the first driver's: MLflow lets nobody change it
    statuses: tuple[Status, ...] = ("KILLED", "FAILED")
    for status in statuses:  # what was told once stays
        with Tracker(start_of(app, mlflow), heard.append) as told:
            told.finish(run_end(report_of("failed", "killed by ana"), {}, status), 60.0)
    (run,) = runs_of(mlflow, "resumed")
    assert run["info"]["status"] == "KILLED"


@pytest.mark.parametrize("server", ["away", "silent", "no such database"])
def test_a_server_that_is_not_well_costs_a_run_next_to_nothing(
    server: str, application: Make, local_run: LocalRun, silent_server: str, tmp_path: Path
) -> None:
    uris = {
        "away": "http://ana:secret@127.0.0.1:1",
        "silent": silent_server,
        "no such database": f"sqlite:///{tmp_path}/none/\0/mlflow.db".replace("\0", "x" * 300),
    }
    (tmp_path / "end").write_text("")
    app = application(f"sleep 2; date +%s.%N > {tmp_path}/end", tracking=Tracking(uri=uris[server]), timeouts=QUICK)
    report, _ = local_run(app)
    over_at = time.time()
    assert report.state == "succeeded", report.exit_reason
    assert over_at - float((tmp_path / "end").read_text()) < 60.0  # its clients would try for minutes
    assert "secret" not in Path(f"{app.output}/history.jsonl").read_text()


def test_nobody_waits_for_a_server_that_is_known_to_be_away(application: Make) -> None:
    heard: list[str] = []
    uri = "http://u:secret@127.0.0.1:1"
    with Tracker(start_of(application(tracking=Tracking(uri=uri)), uri), heard.append) as told:
        assert eventually(lambda: bool(heard))
        began = time.monotonic()
        told.finish(run_end(report_of(), {}), 300.0)
        assert time.monotonic() - began < 200.0  # it did not wait
    assert heard[0].startswith("MLflow at http://u:***@127.0.0.1:1")
    assert "secret" not in heard[0]


def test_a_server_that_comes_back_hears_it_all(mlflow: str, application: Make) -> None:
    heard: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    app = application(name="patient", tracking=Tracking(uri=f"http://127.0.0.1:{port}"))
    with Tracker(start_of(app, app.tracking.uri), heard.append) as told:
        told.sample({TaskId("worker", 0): Member(progress=Progress(step=4, metrics={"loss": 0.25}))})
        assert eventually(lambda: any("127.0.0.1" in words for words in heard))
        forward(port, int(mlflow.rpartition(":")[2]))
        told.add_parameters({"late": "yes"})
        assert eventually(lambda: any(words.startswith("MLflow run") for words in heard))
        told.finish(run_end(report_of(), {}), 30.0)
    (run,) = runs_of(mlflow, "patient")
    assert run["info"]["status"] == "FINISHED"
    assert facts(run, "metrics")["loss"] == 0.25
    assert facts(run, "params")["parameters.late"] == "yes"


def forward(port: int, to: int) -> None:
    """Let a port lead to another one."""

    def copy(source: socket.socket, target: socket.socket) -> None:
        with source, target, suppress(OSError):  # the other direction has ended, and closed both
            while data := source.recv(65536):
                target.sendall(data)

    def serve(server: socket.socket) -> None:
        while True:
            near, _ = server.accept()
            far = socket.create_connection(("127.0.0.1", to))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=copy, args=pair, daemon=True).start()

    threading.Thread(target=serve, args=(socket.create_server(("127.0.0.1", port)),), daemon=True).start()


@pytest.mark.parametrize("waiting", [0, 300])
def test_nothing_of_a_tracker_is_left(waiting: int, application: Make) -> None:
    before = set(threading.enumerate())
    uri = "http://127.0.0.1:1"
    with Tracker(start_of(application(tracking=Tracking(uri=uri)), uri), lambda _: None) as told:
        for number in range(waiting):  # more than it keeps
            told.add_parameters({str(number): "x" * 5000})
        (child,) = [value for value in vars(told).values() if isinstance(value, subprocess.Popen)]
    assert set(threading.enumerate()) <= before
    assert child.returncode is not None
    assert child.stdin
    assert child.stdin.closed
    assert child.stdout
    assert child.stdout.closed


def test_nothing_is_started_without_a_server(application: Make) -> None:
    heard: list[str] = []
    with Tracker(start_of(application(), ""), heard.append) as told:
        told.sample({})
        told.end(report_of(), {}, [])
    assert heard == []


def test_restarts_count_by_class() -> None:
    kinds = ["infra", "port", "infra"]
    events = [Event(at=1.0, event="submitted"), *(Event(at=2.0, event="restart", kind=kind) for kind in kinds)]
    found = time_metrics(events)
    assert (found["tony.restarts"], found["tony.restarts_infra"], found["tony.restarts_port"]) == (3, 2, 1)


def test_no_password_stands_in_the_index(application: Make) -> None:
    app = application(tracking=Tracking(uri="http://ana:secret@host:5000/x"))
    entry = entry_of(Launch(application=app, fingerprint="f" * 64), "application_7", dt.datetime.now(dt.UTC))
    assert entry.tracking == "http://host:5000/x"


def test_processor_time_adds_up_over_restarts() -> None:
    use, task = UseOfMachines(), TaskId("worker", 0)
    for cpu_s, memory in ((1.0, 10.0), (5.0, 50.0), (0.5, 5.0), (2.0, 20.0)):
        use.see({task: Member(usage=Usage(cpu_s=cpu_s, peak_memory_mib=memory))})
    assert use.metrics() == {"tony.cpu_s": 7.0, "tony.peak_memory_mib": 50.0, "tony.peak_gpu_memory_mib": 0.0}


def test_what_was_not_told_is_kept_within_bounds() -> None:
    untold = process.Untold()
    for at in range(1200):
        untold.add(process.Line(sample=process.RunSample(at_ms=at, step=at, metrics={})))
    assert (len(untold.samples), untold.samples[-1].at_ms) == (1000, 1199)
    assert untold.tell() == ""
    assert not untold.is_over


def on_yarn(url: str, mlflow: str, command: str) -> Application:
    return Application(
        name="tracked",
        framework="standalone",
        types={"worker": TaskType(command=command, memory=Mebibytes(256))},
        output=url,
        environment=Environment(python=sys.executable),
        tracking=Tracking(uri=mlflow, experiment="on yarn"),
    )


def test_the_driver_of_a_real_application_tells_and_a_client_ends_the_run_of_a_killed_one(
    mlflow: str, hdfs: str, config: Config, tmp_path: Path
) -> None:
    told = tmp_path / "told"

    def go_on_when_told(line: str) -> None:
        if line.startswith("tracking MLflow run"):
            told.touch()

    wait = f"while [ ! -e {told} ]; do sleep 0.1; done"
    report, _ = client.run_application(on_yarn(f"{hdfs}/good", mlflow, wait), config, go_on_when_told)
    lines: list[str] = []

    def kill_when_told(line: str) -> None:
        lines.append(line)
        if line.startswith("tracking MLflow run"):
            client.kill(lines[0].partition(":")[0])

    with pytest.raises(JobFailedError, match="killed"):
        client.run_application(on_yarn(f"{hdfs}/killed", mlflow, "sleep 600"), config, kill_when_told)
    runs = {facts(run, "tags")[APPLICATION_TAG]: run for run in runs_of(mlflow, "on yarn")}
    good, killed = runs.pop(report.application_id), next(iter(runs.values()))
    assert (good["info"]["status"], killed["info"]["status"]) == ("FINISHED", "KILLED")
    assert facts(good, "metrics")["tony.queue_s"] > 0
    assert "killed" in facts(killed, "tags")["yarnmill.exit_reason"].lower()
