"""The frameworks themselves, with a worker killed in the middle: the end is that of an uninterrupted run.

The programs are those of ``examples/``, as processes of this machine; the executors, coordinator and restarts are real.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from waiting import eventually

from tony_py.history import Event, read_history
from tony_py.loading import load_application

pytestmark = pytest.mark.programs

LocalRun = Callable[..., Any]


def pid_of(task: str, folder: Path) -> int:
    """Return the process of a task's program, of the run whose output is in ``folder``."""
    kind, _, index = task.partition(":")
    wanted = {f"TONY_JOB_TYPE={kind}".encode(), f"TONY_TASK_INDEX={index}".encode()}
    checkpoints = f"TONY_CHECKPOINT_DIR={folder}/".encode()
    for entry in Path("/proc").iterdir():
        try:
            variables = set((entry / "environ").read_bytes().split(b"\0")) if entry.name.isdigit() else set()
        except OSError:
            continue
        if wanted <= variables and any(each.startswith(checkpoints) for each in variables):
            return int(entry.name)
    raise AssertionError(f"{task}: no process")


def events_of(output: str, *names: str) -> list[Event]:
    return [event for event in read_history(f"{output}/history.jsonl") if event.event in names]


def saved_steps(folder: Path) -> list[int]:
    return sorted(int(path.name[5:]) for path in folder.glob(".output.*/checkpoints/step-*"))


def run(
    local_run: LocalRun,
    example: Path,
    folder: Path,
    python: Path,
    *changes: str,
    kill: str = "",
    by: signal.Signals = signal.SIGKILL,
) -> Any:
    """Run an example whose output is in ``folder``; with ``kill``, end that task's program after some saved steps."""
    folder.mkdir()
    overrides = [f"output={folder}/output", f"environment.python={python}", "timeouts.grace=1 s", *changes]
    application = load_application(example, overrides)

    def act() -> None:
        assert eventually(lambda: max(saved_steps(folder), default=0) >= 3)
        os.kill(pid_of(kill, folder), by)

    killer = Thread(target=act)
    if kill:
        killer.start()
    report, _ = local_run(application)
    if kill:
        killer.join()
    assert report.state == "succeeded", report.exit_reason
    return report


def assert_recovered(cut: Any, whole: Any, folder: Path, victim: str, end: str) -> None:
    """The killed worker is the cause, whatever its peers said; all keep their containers; the end is the same."""
    output = f"{folder}/output"
    (restart,) = events_of(output, "restart")
    assert restart.task == victim, restart.detail
    assert end in restart.detail
    asked = [event.task for event in events_of(output, "requested")]
    assert asked == [task.task for task in cut.tasks]
    assert cut.metrics["resumed_at"] > 3
    assert cut.metrics["test_loss"] == pytest.approx(whole.metrics["test_loss"], abs=1e-6)


def test_killed_torch_workers_leave_no_trace_in_the_model(
    local_run: LocalRun, training_python: Path, repository: Path, tmp_path: Path
) -> None:
    example = repository / "examples" / "torch" / "app.yaml"
    changes = ("types.worker.instances=3", "parameters.epochs=40", "parameters.pause=0.05")
    whole = run(local_run, example, tmp_path / "whole", training_python, *changes)
    for victim, by, end in (
        ("worker:0", signal.SIGKILL, "exit code 137 (SIGKILL)"),
        ("worker:2", signal.SIGKILL, "exit code 137 (SIGKILL)"),
        ("worker:1", signal.SIGSEGV, "exit code 139 (SIGSEGV)"),  # its own fault, and gloo's errors are its peers'
    ):
        folder = tmp_path / f"{victim}-{by.name}"
        cut = run(local_run, example, folder, training_python, *changes, kill=victim, by=by)
        assert_recovered(cut, whole, folder, victim, end)


def test_killed_tensorflow_workers_leave_no_trace_in_the_model(
    local_run: LocalRun, training_python: Path, repository: Path, tmp_path: Path
) -> None:
    example = repository / "examples" / "tensorflow" / "mirrored.yaml"
    changes = ("parameters.epochs=40", "parameters.pause=0.05")
    whole = run(local_run, example, tmp_path / "whole", training_python, *changes)
    for victim in ("worker:1", "worker:0"):
        cut = run(local_run, example, tmp_path / victim, training_python, *changes, kill=victim)
        assert_recovered(cut, whole, tmp_path / victim, victim, "exit code 137 (SIGKILL)")


def test_a_killed_parameter_server_has_all_go_on_from_the_last_checkpoint(
    local_run: LocalRun, training_python: Path, repository: Path, tmp_path: Path
) -> None:
    example = repository / "examples" / "tensorflow" / "parameter_server.yaml"
    cut = run(local_run, example, tmp_path / "cut", training_python, "parameters.epochs=100", kill="ps:0")
    (restart,) = events_of(f"{tmp_path}/cut/output", "restart")
    assert restart.task == "ps:0", restart.detail
    assert cut.metrics["resumed_at"] > 3
    assert cut.metrics["test_loss"] < 0.01
