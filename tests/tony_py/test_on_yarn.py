"""Small real programs on the real cluster: exit codes, refusals, causes, and nothing left behind."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from plain_skein import run_plan

from tony_py import client
from tony_py.application import Application, Environment, TaskType, Timeouts
from tony_py.history import read_history
from yarnmill import fs, yarn
from yarnmill.cli.main import run
from yarnmill.cli.tony import tony_py
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError, ConflictError, JobFailedError, NotFoundError
from yarnmill.report import read_report
from yarnmill.units import Mebibytes, Seconds

Make = Callable[..., Application]
MEMORY = Mebibytes(256)


def silent(_line: str) -> None:
    pass


def on_yarn(url: str, command: str = "true", *, instances: int = 2, gpus: int = 1, **changes: object) -> Application:
    worker = TaskType(command=command, instances=instances, memory=MEMORY, gpus=gpus)
    values: dict[str, object] = {
        "name": "tony-test",
        "framework": "torch",
        "types": {"worker": worker},
        "output": f"{url}/output",
        "environment": Environment(python=sys.executable),
        "timeouts": Timeouts(gang=Seconds(300.0)),
        **changes,
    }
    return Application(**values)  # type: ignore[arg-type]


def executors_of(application_id: str) -> list[str]:
    """Return the processes of an application's containers on this machine."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"SKEIN_APPLICATION_ID={application_id}".encode() in environment:
                found.append((entry / "cmdline").read_bytes().decode())
    return found


def wait_for_none_left(application_id: str) -> list[str]:
    deadline = time.monotonic() + 60
    while (left := executors_of(application_id)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def test_a_gang_runs_once_and_is_up_to_date_then(hdfs: str, config: Config) -> None:
    command = """[ $WORLD_SIZE = 2 ] && [ -n "$MASTER_ADDR" ] && [ -n "$HADOOP_CONF_DIR" ]"""
    report, ran = client.run_application(on_yarn(hdfs, command), config, silent)
    assert ran
    assert report.state == "succeeded"
    assert [(task.task, task.exit_code) for task in report.tasks] == [("worker:0", 0), ("worker:1", 0)]
    assert all(task.container_id.startswith("container_") for task in report.tasks)
    status = yarn.application(report.application_id)
    assert (status.state, status.final_status) == ("FINISHED", "SUCCEEDED")
    assert "tony_py" in status.tags
    assert wait_for_none_left(report.application_id) == []
    events = [event.event for event in read_history(f"{hdfs}/output/history.jsonl")]
    assert events[0] == "submitted"
    assert events.count("started") == 2

    lines: list[str] = []
    again, ran = client.run_application(on_yarn(hdfs, command), config, lines.append)
    assert (again, ran) == (report, False)
    assert "up to date" in lines[0]
    with pytest.raises(ConflictError, match="already holds the output of another run"):
        client.run_application(on_yarn(hdfs, "true"), config, silent)


def test_a_failing_worker_is_the_applications_cause(hdfs: str, config: Config) -> None:
    program = """if [ $RANK = 1 ]; then python -c "raise RuntimeError('out of films')"; else sleep 100; fi"""
    with pytest.raises(JobFailedError, match="worker:1: exit code 1") as error:
        client.run_application(on_yarn(hdfs, program), config, silent)
    assert "RuntimeError: out of films" in str(error.value)
    report = read_report(f"{hdfs}/output")
    assert {task.task: task.exit_code for task in report.tasks} == {"worker:0": 143, "worker:1": 1}
    status = yarn.application(report.application_id)
    assert status.final_status == "FAILED"
    assert "RuntimeError: out of films" in status.diagnostics
    assert wait_for_none_left(report.application_id) == []


def test_what_cannot_be_is_refused_before_it_is_sent(hdfs: str, config: Config) -> None:
    before = {status.application_id for status in client.applications()}
    most = max(node.gpus for node in yarn.nodes())
    with pytest.raises(ConfigurationError, match=rf"types\.worker\.gpus: {most + 1} GPUs asked for"):
        client.run_application(on_yarn(hdfs, gpus=most + 1), config, silent)
    with pytest.raises(ConfigurationError, match="all containers together"):
        client.run_application(on_yarn(hdfs, instances=100), config, silent)
    with pytest.raises(ConfigurationError, match=r"queue: nowhere is no queue of this cluster"):
        client.run_application(on_yarn(hdfs, queue="nowhere"), config, silent)
    with pytest.raises(ConfigurationError, match=r"node_label: fast is no node label of this cluster"):
        client.run_application(on_yarn(hdfs, node_label="fast"), config, silent)
    with pytest.raises(NotFoundError, match="nowhere"):
        client.run_application(on_yarn(hdfs, inputs=(f"{hdfs}/nowhere",)), config, silent)
    with pytest.raises(NotFoundError, match=r"nothing\.py"):
        client.run_application(on_yarn(hdfs, source=("/nothing.py",)), config, silent)
    assert {status.application_id for status in client.applications()} == before


def test_a_container_that_cannot_start_is_lost_with_its_id(hdfs: str, config: Config) -> None:
    app = on_yarn(hdfs, instances=1, environment=Environment(python="/no/such/python"))
    with pytest.raises(JobFailedError, match=r"worker:0: container container_\w+ ended before its program did"):
        client.run_application(app, config, silent)


def test_the_printed_plan_goes_through_plain_skein(
    hdfs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = (
        "import os, sys; from yarnmill import fs; fs.write_bytes(os.environ['TONY_OUTPUT'] + '/metrics.json', b'%s')"
    )
    (tmp_path / "hello.py").write_text(program.replace("%s", '{"answer": 42}'))
    application = {
        "name": "plain",
        "framework": "standalone",
        "types": {"worker": {"command": "python hello.py ${answer}", "memory": "256 MiB"}},
        "source": ["hello.py"],
        "parameters": {"answer": 42},
        "environment": {"python": sys.executable},
        "output": f"{hdfs}/output",
    }
    (tmp_path / "app.yaml").write_text(yaml.safe_dump(application))
    assert run(tony_py, ["submit", str(tmp_path / "app.yaml"), "--plan"]) == 0
    (tmp_path / "plan.yaml").write_text(capsys.readouterr().out)
    application_id = run_plan(tmp_path / "plan.yaml")
    assert yarn.application(application_id).final_status == "SUCCEEDED"
    report = read_report(f"{hdfs}/output")
    assert (report.application_id, report.metrics) == (application_id, {"answer": 42.0})
    # The command knows the run that went around it.
    assert run(tony_py, ["submit", str(tmp_path / "app.yaml")]) == 0
    assert "up to date" in capsys.readouterr().err


def test_a_killed_application_is_reported_by_the_client_and_leaves_nothing(hdfs: str, config: Config) -> None:
    seen: list[str] = []
    started = threading.Event()

    def watch(line: str) -> None:
        seen.append(line)
        if line.startswith("started worker:1"):
            started.set()

    def kill() -> None:
        assert started.wait(400)
        client.kill(seen[0].partition(":")[0])

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(JobFailedError, match="killed"):
        client.run_application(on_yarn(hdfs, "sleep 500"), config, watch)
    killer.join()
    report = read_report(f"{hdfs}/output")
    assert report.state == "failed"
    assert yarn.application(report.application_id).state == "KILLED"
    assert wait_for_none_left(report.application_id) == []
    assert not fs.exists(f"{hdfs}/output/metrics.json")
