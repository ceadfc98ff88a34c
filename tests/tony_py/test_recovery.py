"""What goes wrong is made to go wrong: processes are really killed and stopped, ports really taken."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from waiting import eventually

from tony_py.application import Application, Budget, DriverSettings, Retries, TaskType, Timeouts
from tony_py.driver.tasks import TaskId
from tony_py.history import Event, read_history
from yarnmill.units import Mebibytes, Seconds

pytestmark = pytest.mark.programs

Make = Callable[..., Application]
LocalRun = Callable[..., Any]
PROGRAM = Path(__file__).parent / "programs" / "reduce.py"
QUICK = Timeouts(gang=Seconds(120.0), heartbeat=Seconds(5.0), grace=Seconds(1.0), elastic=Seconds(1.0))


def trains(application: Make, tmp_path: Path, *, instances: int = 3, steps: int = 12, **changes: Any) -> Application:
    """Return an application that trains by ``reduce.py``, its checkpoints beside its output."""
    worker = TaskType(command=f"python reduce.py {steps} 0.1", instances=instances, **changes.pop("worker", {}))
    values = {"types": {"worker": worker}, "framework": "torch", "timeouts": QUICK, "source": (str(PROGRAM),)}
    return application(output=str(tmp_path / "output"), **{**values, **changes})


def starts(folder: Path, index: int) -> list[list[int]]:
    """Return what each start of a worker wrote: its process, its executor's, the step it resumed at, the world."""
    path = folder / f"starts-{index}"
    return [list(map(int, line.split())) for line in path.read_text().splitlines()] if path.exists() else []


def executor_of(pid: int) -> int:
    """Return the executor above a program, a shell between them or not."""
    while "executor.zip" not in Path(f"/proc/{pid}/cmdline").read_text():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        assert pid > 1
    return pid


def staging(tmp_path: Path) -> Path:
    """Return the folder that programs write to while they run; it is there once the driver is up."""
    assert eventually(lambda: any(tmp_path.glob(".output.*/output")))
    return next(tmp_path.glob(".output.*/output"))


def events_of(output: Path, *names: str) -> list[Event]:
    return [event for event in read_history(f"{output}/history.jsonl") if event.event in names]


def interfering(act: Callable[[], None]) -> Thread:
    thread = Thread(target=act)
    thread.start()
    return thread


@pytest.mark.parametrize("victim", ["program", "executor", "stopped executor"])
def test_a_killed_worker_ends_with_the_weights_of_an_uninterrupted_run(
    victim: str, application: Make, local_run: LocalRun, tmp_path: Path
) -> None:
    steps = 100 if victim == "stopped executor" else 12  # silence is noticed after five seconds
    whole, _ = local_run(trains(application, tmp_path / "whole", steps=steps))
    (tmp_path / "cut").mkdir()
    told: list[list[int]] = []

    def kill() -> None:
        folder = staging(tmp_path / "cut")
        assert eventually((folder.parent / "checkpoints" / "step.json").exists)
        time.sleep(0.3)
        told.extend(starts(folder, index)[0] for index in range(3))
        program = told[1][0]
        if victim == "program":
            os.kill(program, signal.SIGKILL)
        else:
            os.kill(executor_of(program), signal.SIGKILL if victim == "executor" else signal.SIGSTOP)

    killer = interfering(kill)
    cut, containers = local_run(trains(application, tmp_path / "cut", steps=steps))
    killer.join()
    assert cut.state == "succeeded"
    assert cut.metrics["weight"] == whole.metrics["weight"]
    output = tmp_path / "cut" / "output"
    assert cut.counts["restarts"] == 1
    (restart,) = events_of(output, "restart")
    assert restart.task == "worker:1", restart.detail
    resumed_at = starts(output, 0)[1][2]
    assert 1 <= resumed_at < steps
    # Only the dead slot got a new container.
    asked = [event.task for event in events_of(output, "requested")]
    assert asked == ["worker:0", "worker:1", "worker:2", *([] if victim == "program" else ["worker:1"])]
    assert eventually(lambda: all(process.poll() is not None for process in containers.processes.values()))


def test_an_error_of_its_own_spends_retries_and_then_fails(
    application: Make, local_run: LocalRun, tmp_path: Path
) -> None:
    command = f'echo x >> {tmp_path}/tries; python3 -c "raise ValueError(42)"'
    retries = Retries(user=Budget(retries=2, backoff=Seconds(0.1)))
    report, _ = local_run(application(command, instances=1, retries=retries, timeouts=QUICK))
    assert report.state == "failed"
    assert (tmp_path / "tries").read_text().count("x") == 3
    assert report.exit_reason.startswith("worker:0: exit code 1; user: 2 retries spent (retries.user)\nTraceback")


def test_the_error_of_the_victims_is_not_the_cause(application: Make, local_run: LocalRun, tmp_path: Path) -> None:
    def kill() -> None:
        folder = staging(tmp_path)
        assert eventually(lambda: bool(starts(folder, 2)))
        os.kill(starts(folder, 2)[0][0], signal.SIGKILL)

    killer = interfering(kill)
    report, _ = local_run(trains(application, tmp_path, retries=Retries(infra=0)))
    killer.join()
    # Workers 0 and 1 fail with "Connection closed by peer", and at about the same moment.
    assert report.exit_reason.startswith("worker:2: exit code 137 (SIGKILL)")


def test_standalone_tasks_start_over_alone(application: Make, local_run: LocalRun, tmp_path: Path) -> None:
    command = (
        f"echo $TONY_GENERATION >> {tmp_path}/$TONY_TASK_INDEX; "
        f"if [ $TONY_TASK_INDEX = 1 ] && [ $(wc -l < {tmp_path}/1) = 1 ]; then exit 3; fi; sleep 1"
    )
    report, _ = local_run(application(command, instances=3, retries=Retries(user=1), timeouts=QUICK))
    assert report.state == "succeeded"
    assert [len((tmp_path / name).read_text().splitlines()) for name in "012"] == [1, 2, 1]


def test_too_little_memory_is_named_with_what_was_in_use(application: Make, local_run: LocalRun) -> None:
    hog = "import os, time; x = b'x' * (200 << 20); time.sleep(5); os.kill(os.getpid(), 9)"
    worker = TaskType(command=f'exec python3 -c "{hog}"', memory=Mebibytes(220), env={})
    app = application(types={"worker": worker}, timeouts=QUICK)
    os.environ["SKEIN_RESOURCE_MEMORY"] = "220"  # as Skein tells each container
    try:
        report, _ = local_run(app)
    finally:
        del os.environ["SKEIN_RESOURCE_MEMORY"]
    assert report.state == "failed"
    assert "of 220 MiB in use" in report.exit_reason


BINDS = "import os, socket; {}s = socket.socket(); {}s.bind(('', int(os.environ['TONY_PORT']))); s.listen()"


def test_a_stolen_port_means_a_new_generation_and_no_retry_of_the_users(application: Make, local_run: LocalRun) -> None:
    shared = "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); "
    thief = BINDS.format("import time; ", shared) + "; time.sleep(60)"
    program = BINDS.format("", shared)
    command = f'if [ $TONY_GENERATION = 1 ]; then python3 -c "{thief}" & sleep 1.5; fi; exec python3 -c "{program}"'
    app = application(types={"worker": TaskType(command=command)}, framework="torch", timeouts=QUICK)
    report, _ = local_run(app)
    assert report.state == "succeeded", report.exit_reason
    assert report.counts["restarts"] == 1
    (restart,) = events_of(Path(app.output), "restart")
    assert restart.detail.startswith("retry 1 of 5 (retries.port)")


def test_a_program_that_shares_no_port_gets_it_in_the_next_generation(application: Make, local_run: LocalRun) -> None:
    command = f'exec python3 -c "{BINDS.format("", "")}"'
    report, _ = local_run(application(command, instances=1, framework="torch", timeouts=QUICK))
    assert (report.state, report.counts["restarts"]) == ("succeeded", 1), report.exit_reason


def test_a_program_that_hangs_shows_its_stacks_and_starts_over(
    application: Make, local_run: LocalRun, tmp_path: Path
) -> None:
    (tmp_path / "hangs.py").write_text(
        "import os, pathlib, time\n"
        "def wait_for_godot():\n    time.sleep(1000)\n"
        "pathlib.Path(os.environ['TONY_PROGRESS_FILE']).write_text('{\"step\": 1}')\n"
        "if os.environ['TONY_GENERATION'] == '1':\n    wait_for_godot()\n"
    )
    timeouts = Timeouts(gang=Seconds(120.0), grace=Seconds(1.0), progress=Seconds(2.0))
    app = application(
        "python hangs.py", source=(str(tmp_path / "hangs.py"),), framework="torch", timeouts=timeouts, instances=2
    )
    report, containers = local_run(app)
    assert report.state == "succeeded", report.exit_reason
    (hang,) = events_of(Path(app.output), "hang")
    assert "no further step for 2.0 s (timeouts.progress); the last one was step 1" in hang.detail
    for index in range(2):
        log = containers.log(TaskId("worker", index))
        assert "wait_for_godot" in log
        assert "tony_py: process" in log


def test_a_program_that_never_tells_a_step_is_told_how(application: Make, local_run: LocalRun) -> None:
    timeouts = Timeouts(gang=Seconds(120.0), grace=Seconds(1.0), progress=Seconds(1.0))
    report, _ = local_run(application("sleep 60", instances=1, timeouts=timeouts, retries=Retries(hang=0)))
    assert "none was ever told in TONY_PROGRESS_FILE" in report.exit_reason


def test_a_chief_that_fails_is_the_cause(application: Make, local_run: LocalRun) -> None:
    types = {"chief": TaskType(command="sleep 0.3; exit 7", role="chief"), "worker": TaskType(command="sleep 60")}
    report, _ = local_run(application(types=types, framework="tensorflow", timeouts=QUICK))
    assert report.exit_reason == "chief:0: exit code 7"


def test_a_chief_that_ends_well_ends_the_application(application: Make, local_run: LocalRun) -> None:
    types = {"chief": TaskType(command="sleep 0.3", role="chief"), "worker": TaskType(command="sleep 60")}
    report, _ = local_run(application(types=types, framework="tensorflow", timeouts=QUICK))
    assert report.state == "succeeded"
    assert {task.task: task.exit_code for task in report.tasks} == {"chief:0": 0, "worker:0": 143}


def test_a_sidecar_that_crashes_and_an_evaluator_that_never_ends(application: Make, local_run: LocalRun) -> None:
    types = {
        "worker": TaskType(command="[ $WORLD_SIZE = 2 ] && sleep 1"),
        "board": TaskType(command="exit 9", role="sidecar"),
        "evaluator": TaskType(command="sleep 100", role="untracked"),
    }
    app = application(types=types, framework="torch", timeouts=QUICK)
    report, _ = local_run(app)
    assert report.state == "succeeded", report.exit_reason
    (event,) = events_of(Path(app.output), "sidecar failed")
    assert event.detail == "board:0: exit code 9"


def test_stop_on_failure_spends_no_retry(application: Make, local_run: LocalRun, tmp_path: Path) -> None:
    worker = TaskType(command=f"echo x >> {tmp_path}/tries; exit 5", stop_on_failure=True)
    report, _ = local_run(application(types={"worker": worker}, retries=Retries(user=5), timeouts=QUICK))
    assert (tmp_path / "tries").read_text() == "x\n"
    assert report.exit_reason == "worker:0: exit code 5\ntypes.worker.stop_on_failure is set"


def test_some_may_fail_for_good(application: Make, local_run: LocalRun) -> None:
    worker = TaskType(command="[ $TONY_TASK_INDEX != 1 ]", instances=3, tolerate=1)
    report, _ = local_run(application(types={"worker": worker}, timeouts=QUICK))
    assert (report.state, report.exit_reason) == ("succeeded", "2 tasks ended well, worker:1 failed and may")
    worker = TaskType(command="[ $TONY_TASK_INDEX = 1 ]", instances=3, tolerate=1)
    report, _ = local_run(application(types={"worker": worker}, timeouts=QUICK))
    assert report.state == "failed"


def test_an_elastic_gang_goes_on_with_fewer(application: Make, local_run: LocalRun, tmp_path: Path) -> None:
    app = trains(application, tmp_path, worker={"min_instances": 2})
    report, _ = local_run(app, withheld=("worker:2",))
    assert report.state == "succeeded", report.exit_reason
    output = tmp_path / "output"
    assert [each[3] for each in starts(output, 0)] == [2]
    assert "without worker:2" in events_of(output, "barrier")[0].detail


def test_an_elastic_gang_takes_a_latecomer_in_at_a_checkpoint(
    application: Make, local_run: LocalRun, tmp_path: Path
) -> None:
    app = trains(application, tmp_path, steps=30, worker={"min_instances": 2})
    late: dict[TaskId, Mapping[str, str]] = {}

    def come_later(containers: Any) -> None:
        def add(task: TaskId, env: Mapping[str, str]) -> None:
            if task == TaskId("worker", 2):
                late[task] = env
            else:
                type(containers).add(containers, task, env)

        containers.add = add

    def join() -> None:
        folder = staging(tmp_path)
        assert eventually(lambda: bool(starts(folder, 0)))
        time.sleep(0.5)
        containers_seen[0].withheld = frozenset()
        for task, env in late.items():
            type(containers_seen[0]).add(containers_seen[0], task, env)

    containers_seen: list[Any] = []

    def before(containers: Any) -> None:
        containers_seen.append(containers)
        come_later(containers)
        joiner.start()

    joiner = Thread(target=join)
    report, _ = local_run(app, before=before)
    joiner.join()
    assert report.state == "succeeded", report.exit_reason
    output = tmp_path / "output"
    assert [each[3] for each in starts(output, 0)] == [2, 3]
    assert starts(output, 0)[1][2] > 0  # it resumed, and did not begin again
    assert [event.detail for event in events_of(output, "grow")] == ["taking in worker:2"]


def test_a_gang_that_stays_incomplete_gives_everything_back_and_asks_again(
    application: Make, local_run: LocalRun, tmp_path: Path
) -> None:
    timeouts = Timeouts(gang=Seconds(1.0), heartbeat=Seconds(5.0), grace=Seconds(1.0))
    retries = Retries(gang=Budget(retries=2, backoff=Seconds(0.2)))
    app = trains(application, tmp_path, steps=2, timeouts=timeouts, retries=retries)

    def come_back() -> None:
        histories = lambda: "".join(path.read_text() for path in tmp_path.glob(".output.*/history.jsonl"))  # noqa: E731
        assert eventually(lambda: "given back" in histories())
        seen[0].withheld = frozenset()

    seen: list[Any] = []

    def before(containers: Any) -> None:
        seen.append(containers)
        opener.start()

    opener = Thread(target=come_back)
    report, _ = local_run(app, withheld=("worker:1",), before=before)
    opener.join()
    assert report.state == "succeeded", report.exit_reason
    back = events_of(tmp_path / "output", "given back")
    assert back
    assert "worker:1: no container yet" in back[0].detail
    assert "worker:0" not in back[0].detail


def test_stages_run_one_after_the_other_and_sidecars_beside_them(
    application: Make, local_run: LocalRun, tmp_path: Path
) -> None:
    types = {
        "prepare": TaskType(command=f"sleep 0.5; echo prepared >> {tmp_path}/order"),
        "board": TaskType(command=f"echo board >> {tmp_path}/order; sleep 100", role="sidecar"),
        "worker": TaskType(command=f"echo $TONY_RANK >> {tmp_path}/order; sleep 0.3", depends_on=("prepare",)),
    }
    report, _ = local_run(application(types=types, timeouts=QUICK))
    assert report.state == "succeeded", report.exit_reason
    assert (tmp_path / "order").read_text().split() == ["board", "prepared", "0"]


def test_what_the_driver_prepares_reaches_the_tasks(application: Make, local_run: LocalRun, tmp_path: Path) -> None:
    (tmp_path / "count.sh").write_text('echo "{\\"classes\\": 17, \\"rate\\": 0.5}" > $TONY_PARAMETERS_FILE\n')
    driver = DriverSettings(prepare="bash count.sh")
    command = "[ $TONY_PARAM_CLASSES = 17 ] && [ $TONY_PARAM_RATE = 0.5 ] && [ $TONY_PARAM_OWN = x ]"
    source = (str(tmp_path / "count.sh"),)
    report, _ = local_run(application(command, driver=driver, source=source, parameters={"own": "x"}, timeouts=QUICK))
    assert report.state == "succeeded", report.exit_reason


def test_what_the_driver_prepares_ends_no_process_of_somebody_else(application: Make, local_run: LocalRun) -> None:
    """A program that drives a run may have children of its own: Spark's JVM, a server."""
    with subprocess.Popen(["/bin/sleep", "600"]) as stranger:
        try:
            report, _ = local_run(application(driver=DriverSettings(prepare="true"), timeouts=QUICK))
            assert report.state == "succeeded", report.exit_reason
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_preparation_that_fails_asks_for_no_container(application: Make, local_run: LocalRun) -> None:
    from yarnmill.errors import JobFailedError  # noqa: PLC0415  # raised to the driver's main, which reports it

    driver = DriverSettings(prepare="echo no such table >&2; exit 4")
    with pytest.raises(JobFailedError, match=r"driver\.prepare: exit code 4\nno such table"):
        local_run(application("true", driver=driver))


def test_several_processes_a_container_have_ranks_of_their_own(
    application: Make, local_run: LocalRun, tmp_path: Path
) -> None:
    command = f"echo $RANK/$WORLD_SIZE $LOCAL_RANK/$LOCAL_WORLD_SIZE > {tmp_path}/rank-$RANK"
    worker = TaskType(command=command, instances=2, processes=3)
    report, _ = local_run(application(types={"worker": worker}, framework="torch", timeouts=QUICK))
    assert report.state == "succeeded", report.exit_reason
    found = [(tmp_path / f"rank-{rank}").read_text().strip() for rank in range(6)]
    assert found == [f"{rank}/6 {rank % 3}/3" for rank in range(6)]


def test_one_process_that_fails_ends_its_container_mates(application: Make, local_run: LocalRun) -> None:
    worker = TaskType(command="[ $LOCAL_RANK = 1 ] && exit 6; sleep 100", processes=3)
    report, _ = local_run(application(types={"worker": worker}, framework="torch", timeouts=QUICK))
    assert report.exit_reason == "worker:0: exit code 6"


DRIVER = """
import datetime as dt, sys
from pathlib import Path
from tony_py.driver.main import Run, drive
from tony_py.local import LocalContainers
from tony_py.plan import Launch, Shipment
from yarnmill.records import parse_json
folder, certificates = Path(sys.argv[1]), Path(sys.argv[2])
launch = parse_json((folder / "launch.json").read_bytes(), Launch, source="launch")
shipment = parse_json((folder / "shipment.json").read_bytes(), Shipment, source="shipment")
containers = LocalContainers(folder / sys.argv[3], certificates, launch.application.environment, shipment)
now = dt.datetime.now(dt.UTC)
run = Run(launch=launch, application_id="application_1", started_at=now, folder=folder / sys.argv[3])
pair = {"certificate": certificates / "skein.crt", "key": certificates / "skein.pem"}
report = drive(run, containers, host="127.0.0.1", **pair)
containers.shutdown(succeeded=True, diagnostics="")
print(report.state, report.exit_reason)
"""


def test_the_next_driver_resumes_and_one_after_the_end_does_nothing(
    application: Make, certificates: Path, config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tony_py.packing import prepare  # noqa: PLC0415
    from tony_py.resolving import resolved  # noqa: PLC0415
    from yarnmill.records import canonical_json  # noqa: PLC0415

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    launch, shipment = prepare(resolved(trains(application, tmp_path, steps=20), config))
    (tmp_path / "launch.json").write_bytes(canonical_json(launch))
    (tmp_path / "shipment.json").write_bytes(canonical_json(shipment))

    def start(name: str) -> subprocess.Popen[str]:
        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", DRIVER, str(tmp_path), str(certificates), name]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    first = start("first")
    folder = staging(tmp_path)
    assert eventually((folder.parent / "checkpoints" / "step.json").exists)
    time.sleep(0.5)
    programs = [starts(folder, index)[0][0] for index in range(3)]
    first.kill()
    first.communicate()
    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in programs), 20.0)  # no zombies

    second = start("second")
    out, err = second.communicate(timeout=120)
    assert out.startswith("succeeded"), err
    output = tmp_path / "output"
    assert starts(output, 0)[0][2] > 0
    names = [event.event for event in read_history(f"{output}/history.jsonl")]
    assert (names[0], names.count("resumed")) == ("submitted", 1)

    third = start("third")
    out, err = third.communicate(timeout=120)
    assert out.startswith("succeeded"), err
    assert list((tmp_path / "third").iterdir()) == []  # it asked for no container
