"""The whole runtime without YARN: driver, coordinator and executors as they are, in real processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from waiting import eventually

from tony_py.application import Application, Retries, TaskType, Timeouts
from tony_py.driver.tasks import TaskId
from tony_py.history import read_history
from tony_py.packing import pack_executor
from yarnmill.report import read_report
from yarnmill.units import Seconds

pytestmark = pytest.mark.programs

Make = Callable[..., Application]
LocalRun = Callable[..., Any]
NO_RETRIES = Retries(infra=0, port=0, hang=0, gang=0)
QUICK = Timeouts(gang=Seconds(120.0), heartbeat=Seconds(5.0), grace=Seconds(1.0))


def is_running(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_gang_that_ends_well_leaves_its_output_and_its_report(application: Make, local_run: LocalRun) -> None:
    command = """cd "$TONY_OUTPUT"; echo '{"test_auc": 0.5}' > metrics.json; echo $TONY_RANK > $TONY_TASK_INDEX"""
    report, containers = local_run(application(command, instances=3))
    output = Path(application().output)
    assert report.state == "succeeded"
    assert report.metrics == {"test_auc": 0.5}
    assert [(task.task, task.exit_code) for task in report.tasks] == [("worker:0", 0), ("worker:1", 0), ("worker:2", 0)]
    assert [(output / name).read_text().strip() for name in "012"] == ["0", "1", "2"]
    assert read_report(str(output)) == report
    events = [event.event for event in read_history(str(output / "history.jsonl"))]
    assert events.count("registered") == 3
    assert events.index("barrier") > max(at for at, event in enumerate(events) if event == "registered")
    assert sorted(path.name for path in output.parent.iterdir() if path.name.startswith(".output")) == []
    ends = {str(task): process.wait(60) for task, process in containers.processes.items()}
    assert set(ends.values()) == {0}, {task: (code, containers.log(task)) for task, code in ends.items()}


def test_nobody_starts_before_everybody_has_registered(application: Make, local_run: LocalRun, tmp_path: Path) -> None:
    timeouts = Timeouts(gang=Seconds(1.5), heartbeat=Seconds(3.0), grace=Seconds(1.0))
    app = application(f"touch {tmp_path}/started-$TONY_TASK_INDEX", timeouts=timeouts, retries=NO_RETRIES)
    report, containers = local_run(app, withheld=("worker:1",))
    assert report.state == "failed"
    assert list(tmp_path.glob("started-*")) == []
    ends = {str(task): process.wait(60) for task, process in containers.processes.items()}
    assert set(ends.values()) == {0}, {task: (code, containers.log(task)) for task, code in ends.items()}


def test_an_incomplete_gang_ends_with_the_names_of_the_missing(application: Make, local_run: LocalRun) -> None:
    timeouts = Timeouts(gang=Seconds(1.5), heartbeat=Seconds(3.0), grace=Seconds(1.0))
    report, _ = local_run(
        application(instances=3, timeouts=timeouts, retries=NO_RETRIES), withheld=("worker:1", "worker:2")
    )
    assert report.state == "failed"
    assert "timeouts.gang" in report.exit_reason
    assert "worker:1: no container yet (1024 MiB, 1 vcores, 0 GPUs asked for)" in report.exit_reason
    assert "worker:2" in report.exit_reason
    assert "worker:0" not in report.exit_reason


def test_the_first_failure_is_the_cause_with_its_traceback(application: Make, local_run: LocalRun) -> None:
    command = """if [ $TONY_RANK = 1 ]; then python3 -c 'raise ValueError("no such film")'; else sleep 60; fi"""
    report, _ = local_run(application(command, timeouts=QUICK))
    assert report.state == "failed"
    assert report.exit_reason.startswith("worker:1: exit code 1\nTraceback (most recent call last):")
    assert report.exit_reason.endswith("ValueError: no such film")
    assert {task.task: task.exit_code for task in report.tasks} == {"worker:0": 143, "worker:1": 1}
    assert read_report(application().output) == report


def test_a_signal_is_named(application: Make, local_run: LocalRun) -> None:
    report, _ = local_run(application("echo about to go >&2; kill -SEGV $$", instances=1))
    assert report.exit_reason == "worker:0: exit code 139 (SIGSEGV)\nabout to go"


def test_no_process_of_a_program_outlives_it(application: Make, local_run: LocalRun, tmp_path: Path) -> None:
    # A daemon in a session of its own, deaf to SIGTERM.
    daemon = f"""setsid bash -c 'trap "" TERM; echo $$ > {tmp_path}/$TONY_TASK_INDEX; while true; do sleep 1; done' &"""
    is_up = f"while [ ! -s {tmp_path}/$TONY_TASK_INDEX ]; do sleep 0.05; done"
    command = f"{daemon} {is_up}; [ $TONY_RANK = 1 ] || exit 3; sleep 60"
    report, _ = local_run(application(command, timeouts=QUICK))
    assert report.exit_reason.startswith("worker:0: exit code 3")
    for index in "01":
        pid = int((tmp_path / index).read_text())
        assert eventually(lambda p=pid: not is_running(p))


def test_an_untracked_task_neither_ends_nor_holds_up_the_application(application: Make, local_run: LocalRun) -> None:
    types = {
        "worker": TaskType(command="sleep 0.3"),
        "ps": TaskType(command="sleep 60", role="untracked"),
        "setup": TaskType(command="true", role="untracked"),
    }
    report, _ = local_run(application(types=types, timeouts=QUICK))
    assert report.state == "succeeded"
    assert {task.task: task.exit_code for task in report.tasks} == {"worker:0": 0, "ps:0": 143, "setup:0": 0}


def test_an_executor_that_falls_silent_is_lost(application: Make, local_run: LocalRun, tmp_path: Path) -> None:
    app = application(f"echo $$ > {tmp_path}/pid-$TONY_TASK_INDEX; sleep 60", timeouts=QUICK, retries=NO_RETRIES)

    def stop_the_executor() -> None:
        assert eventually(lambda: (tmp_path / "pid-1").exists() and (tmp_path / "pid-1").read_text().strip() != "")
        program = int((tmp_path / "pid-1").read_text())
        parent = int(Path(f"/proc/{program}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGSTOP)

    stopper = Thread(target=stop_the_executor)
    stopper.start()
    report, _ = local_run(app)
    stopper.join()
    assert report.state == "failed"
    assert "worker:1: no heartbeat for" in report.exit_reason
    assert {task.task: task.exit_code for task in report.tasks} == {"worker:0": 143, "worker:1": -1}


def test_a_killed_executor_takes_its_program_along(application: Make, local_run: LocalRun, tmp_path: Path) -> None:
    app = application(f"echo $$ > {tmp_path}/pid; exec sleep 60", instances=1, timeouts=QUICK, retries=NO_RETRIES)

    def kill_the_executor() -> None:
        assert eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip() != "")
        program = int((tmp_path / "pid").read_text())
        os.kill(int(Path(f"/proc/{program}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)

    killer = Thread(target=kill_the_executor)
    killer.start()
    report, _ = local_run(app)
    killer.join()
    assert "worker:0" in report.exit_reason
    assert eventually(lambda: not is_running(int((tmp_path / "pid").read_text())))


def test_source_parameters_and_secrets(application: Make, local_run: LocalRun, tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "data.txt").write_text("42")
    (tmp_path / "tool.sh").write_text(
        '#!/bin/bash\ncat pkg/data.txt; echo " $1 $TONY_PARAM_WORD $OWN"; env > "$TONY_OUTPUT/env"\n'
    )
    (tmp_path / "tool.sh").chmod(0o755)
    app = application(
        types={"worker": TaskType(command="./tool.sh ${word}", env={"OWN": 'a "b" $c'})},
        parameters={"word": "two words"},
        source=(str(tmp_path / "tool.sh"), str(tmp_path / "pkg")),
    )
    report, containers = local_run(app)
    assert report.state == "succeeded"
    assert containers.log(TaskId("worker", 0)).strip() == '42 two words two words a "b" $c'
    variables = (Path(app.output) / "env").read_text()
    assert "TONY_TOKEN" not in variables


def test_a_damaged_metrics_file_fails_the_run(application: Make, local_run: LocalRun) -> None:
    report, _ = local_run(application('echo "{\\"auc\\": \\"high\\"}" > "$TONY_OUTPUT/metrics.json"', instances=1))
    assert report.state == "failed"
    assert "metrics.json" in report.exit_reason


def test_checkpoints_outlive_a_failure_and_go_with_success(
    application: Make, local_run: LocalRun, tmp_path: Path
) -> None:
    command = (
        'if [ -e "$TONY_CHECKPOINT_DIR/step" ]; then cp "$TONY_CHECKPOINT_DIR/step" "$TONY_OUTPUT/"; '
        'else echo 7 > "$TONY_CHECKPOINT_DIR/step"; exit 9; fi'
    )
    first, _ = local_run(application(command, instances=1))
    assert first.exit_reason == "worker:0: exit code 9"
    assert read_report(application().output).state == "failed"
    second, _ = local_run(application(command, instances=1))
    assert second.state == "succeeded"
    assert (Path(application().output) / "step").read_text().strip() == "7"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".output")] == []


def test_a_failure_leaves_an_older_good_output_alone(application: Make, local_run: LocalRun) -> None:
    good, _ = local_run(application('echo 1 > "$TONY_OUTPUT/model"', instances=1))
    bad, _ = local_run(application("exit 4", instances=1), overwrite=True)
    assert bad.state == "failed"
    assert read_report(application().output) == good
    better, _ = local_run(application('echo 2 > "$TONY_OUTPUT/model"', instances=1), overwrite=True)
    assert read_report(application().output) == better
    assert (Path(application().output) / "model").read_text().strip() == "2"


def test_progress_reaches_the_history(application: Make, local_run: LocalRun) -> None:
    said = json.dumps({"progress": 0.5, "message": "half way"})
    report, _ = local_run(application(f"echo '{said}' > $TONY_PROGRESS_FILE; sleep 1.5", instances=1))
    assert report.state == "succeeded"
    events = read_history(f"{application().output}/history.jsonl")
    assert [event.detail for event in events if event.event == "progress"] == ["half way"]


def test_the_executor_needs_nothing_but_the_standard_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code = f"import sys; sys.path.insert(0, {pack_executor().path!r}); import tony_py.executor.main"
    # -I and -S: no site-packages, no user's packages, nothing of the environment.
    subprocess.run([sys.executable, "-I", "-S", "-W", "error", "-c", code], check=True)
