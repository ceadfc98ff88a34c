"""The shapes of TonY's users, run: the same driver and executors as on YARN, and small programs of TonY's kind."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tony_py.application import Application
from tony_py.history import read_history
from tony_py.tonyconf.local import load_tony_application
from tony_py.tonyconf.options import Options
from yarnmill.errors import JobFailedError

pytestmark = pytest.mark.programs

SHAPES = Path(__file__).parent / "tonyxml"
LocalRun = Callable[..., Any]


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Application]:
    """Return a function that reads a shape; its programs leave what they saw in ``seen``."""
    (tmp_path / "seen").mkdir()

    def read(name: str, *conf: str, **options: Any) -> Application:
        line = Options(src_dir=str(SHAPES / "src"), shell_env=(f"SEEN={tmp_path / 'seen'}",), **options)
        found = load_tony_application(str(SHAPES / f"{name}.xml"), conf, line, runs=str(tmp_path / "runs"))
        environment = msgspec.structs.replace(found.application.environment, python=sys.executable)
        return msgspec.structs.replace(found.application, environment=environment)

    return read


def seen(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / "seen").iterdir()}


def test_parameter_servers_and_workers(job: Callable[..., Application], local_run: LocalRun, tmp_path: Path) -> None:
    app = job(
        "ps",
        *("tony.execution.envs=GREETING=hello world", "tony.worker.gpus=0"),
        executes="train.py",
        python_binary_path="python3",
        task_params="--dir '${HOME}' --all",
    )
    report, _ = local_run(app)
    assert report.state == "succeeded", report.exit_reason
    assert {task.task: task.exit_code for task in report.tasks} == {
        **{f"worker:{index}": 0 for index in range(3)},
        "ps:0": 143,
    }
    found = {name: json.loads(text) for name, text in seen(tmp_path).items()}
    assert sorted(found) == ["worker-0.json", "worker-1.json", "worker-2.json"]
    first = found["worker-0.json"]
    assert first["total"] == 111
    assert first["arguments"] == ["--dir", "${HOME}", "--all"]
    assert (first["TASK_NUM"], first["DISTRIBUTED_MODE"], first["GREETING"]) == ("3", "GANG", "hello world")
    assert [name for name, values in found.items() if values.get("IS_CHIEF") == "true"] == ["worker-0.json"]
    assert [name for name, values in found.items() if "TB_PORT" in values] == ["worker-0.json"]


def test_workers_of_pytorch_meet(job: Callable[..., Application], local_run: LocalRun, tmp_path: Path) -> None:
    app = job("torch", "tony.worker.command=python3 ranks.py", "tony.worker.instances=3", "tony.worker.resources=")
    report, _ = local_run(app)
    assert report.state == "succeeded", report.exit_reason
    assert json.loads(seen(tmp_path)["ranks.json"]) == [0, 1, 2]


def test_stages(job: Callable[..., Application], local_run: LocalRun, tmp_path: Path) -> None:
    report, _ = local_run(job("stages"))
    assert report.state == "succeeded", report.exit_reason
    assert sorted(seen(tmp_path)) == ["db-is-up", "loaded-0", "loaded-1", "trained-0", "trained-1"]
    ends = {task.task: task.exit_code for task in report.tasks}
    assert ends == {**{f"{name}:{index}": 0 for name in ("load", "worker") for index in range(2)}, "db:0": 143}


def test_preprocessing_gives_the_tasks_their_parameters(
    job: Callable[..., Application], local_run: LocalRun, tmp_path: Path
) -> None:
    app = job("preprocess", "tony.am.resources=")
    report, _ = local_run(app)
    assert report.state == "succeeded", report.exit_reason
    assert seen(tmp_path) == {f"trained-{index}": '--films 9066 --title "A \\ B"\n' for index in range(2)}


def test_a_preprocessing_that_fails_is_the_cause(
    job: Callable[..., Application], local_run: LocalRun, tmp_path: Path
) -> None:
    app = job("preprocess", "tony.am.resources=", "tony.am.command=echo no sample >&2; exit 9")
    with pytest.raises(JobFailedError, match=r"^driver\.prepare: exit code 9\nno sample$"):
        local_run(app)
    assert seen(tmp_path) == {}


def test_a_single_node_serves_its_page(job: Callable[..., Application], local_run: LocalRun, tmp_path: Path) -> None:
    report, _ = local_run(job("single", "tony.am.gpus=0", executes="bash serve.sh"))
    assert report.state == "succeeded", report.exit_reason
    assert list(seen(tmp_path)) == ["served"]
    assert [(task.task, task.exit_code) for task in report.tasks] == [("single:0", 0)]


def test_a_tensorboard_beside_the_tasks(job: Callable[..., Application], local_run: LocalRun, tmp_path: Path) -> None:
    app = job("tensorboard", "tony.tensorboard.command=bash board.sh", "tony.containers.command=bash visit.sh")
    report, _ = local_run(app)
    assert report.state == "succeeded", report.exit_reason
    assert sorted(seen(tmp_path)) == ["chief", "evaluated", "worker"]
    ends = {task.task: task.exit_code for task in report.tasks}
    assert ends.pop("tensorboard:0") in {0, 143}  # told to stop, perhaps before its server was up
    assert set(ends.values()) == {0}


def test_a_sidecar_that_crashes_ends_nothing(job: Callable[..., Application], local_run: LocalRun) -> None:
    app = job("tensorboard", "tony.tensorboard.command=exit 1", "tony.containers.command=sleep 1")
    report, _ = local_run(app)
    assert report.state == "succeeded", report.exit_reason


def test_retries_of_tonys_master_start_the_gang_again(
    job: Callable[..., Application], local_run: LocalRun, tmp_path: Path
) -> None:
    once = f"[ -e {tmp_path}/failed ] || {{ touch {tmp_path}/failed; exit 1; }}"
    command = f'if [ $TASK_INDEX = 1 ]; then {once}; fi; echo "$SESSION_ID" >> $SEEN/sessions'
    app = job("torch", f"tony.worker.command={command}", "tony.worker.resources=")
    report, _ = local_run(app)
    assert report.state == "succeeded", report.exit_reason
    events = [event.event for event in read_history(f"{app.output}/history.jsonl")]
    assert events.count("barrier") == 2
    assert seen(tmp_path)["sessions"].split()[-2:] == ["1", "1"]


def test_workers_go_on_without_another_but_not_without_the_first(
    job: Callable[..., Application], local_run: LocalRun
) -> None:
    fails = '[ "$JOB_NAME:$TASK_INDEX" != {} ] || exit 1; [ $JOB_NAME = worker ] && sleep 1 || sleep 60'
    conf = ["tony.worker.gpus=0", "tony.worker.vcores=1"]
    app = job("ps", *conf, f"tony.worker.command={fails.format('worker:2')}", executes="sleep 60")
    report, _ = local_run(app)
    assert report.state == "succeeded", report.exit_reason
    app = job("ps", *conf, f"tony.worker.command={fails.format('worker:0')}", executes="sleep 60")
    report, _ = local_run(app)
    assert report.state == "failed"
    assert report.exit_reason.startswith("worker:0: exit code 1")


def test_an_evaluator_that_never_ends(job: Callable[..., Application], local_run: LocalRun, tmp_path: Path) -> None:
    after = "tony.application.dependency.evaluator.timeout.after.training"
    conf = [f"{after}=1", "tony.tensorboard.command=sleep 60", "tony.containers.command=sleep 0.1"]
    conf.append("tony.evaluator.command=sleep 300")
    report, _ = local_run(job("tensorboard", *conf))
    assert report.state == "failed"
    assert report.exit_reason == "types.evaluator.linger: evaluator:0 was not over 1.0 s after all others"
    conf += [f"{after}.ignored=true", "tony.evaluator.command=touch $SEEN/evaluated; sleep 300"]
    report, _ = local_run(job("tensorboard", *conf))
    assert report.state == "succeeded", report.exit_reason
    assert list(seen(tmp_path)) == ["evaluated"]


def test_a_sidecar_lingers(job: Callable[..., Application], local_run: LocalRun, tmp_path: Path) -> None:
    conf = ["tony.application.group.training=chief,worker,evaluator", "tony.containers.command=true"]
    conf += ["tony.application.dependency.tensorboard.timeout.after.training=60"]
    conf += ["tony.tensorboard.command=sleep 1; touch $SEEN/last-look"]
    conf += ["tony.application.dependency.evaluator.timeout.after.training=60"]
    report, _ = local_run(job("tensorboard", *conf))
    assert report.state == "succeeded", report.exit_reason
    assert list(seen(tmp_path)) == ["last-look"]
