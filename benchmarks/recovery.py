"""What a run costs beside the training itself: start, end, a lost worker, a silent one. On the real cluster.

    eval "$(yarnmill cluster env)"; python benchmarks/recovery.py [--runs 3] [--warm]

Times come from the run's own history, so they are those of the driver's decisions: from the moment when a
process is killed or stopped to "lost", from there to the barrier that the gang passes again, from the last
program's end to YARN's FINISHED. The program sleeps, so no framework's own start is in any figure. With --warm
submissions go through a Skein driver that is up already, as `skein driver start` leaves it.
"""

import argparse
import os
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tony_py import client
from tony_py.application import Application, Environment, TaskType
from tony_py.history import Event, read_history
from yarnmill import fs, yarn
from yarnmill.config import load_config
from yarnmill.units import Mebibytes

STEPS = """
import json, os, sys, time
from pathlib import Path
last = int(sys.argv[1]) if os.environ["TONY_GENERATION"] == sys.argv[2] else 10**6
for step in range(1, last + 1):
    time.sleep(0.1)
    path = Path(os.environ["TONY_PROGRESS_FILE"])
    path.with_suffix(".tmp").write_text(json.dumps({"step": step, "progress": min(1.0, step / 80)}))
    path.with_suffix(".tmp").replace(path)
"""
Measure = Callable[[str, Path, ThreadPoolExecutor], dict[str, float]]

ASKED_S = {
    "submit → all programs started": 12.0,
    "last exit → application FINISHED": 3.0,
    "killed executor noticed": 6.0,
    "stopped executor noticed": 6.0,
    "killed program noticed": 0.5,
    "noticed → all programs started again": 5.0,
    "executor's memory (MiB)": 60.0,
}


def application(folder: str, program: Path, instances: int, generations: int) -> Application:
    """Return workers whose last generation ends after eight seconds; those before it never end by themselves."""
    worker = TaskType(
        command=f"exec python {program.name} 80 {generations}", instances=instances, memory=Mebibytes(256)
    )
    return Application(
        name="recovery",
        framework="torch",
        types={"worker": worker},
        output=f"{folder}/output",
        source=(str(program),),
        environment=Environment(python=sys.executable),
    )


class Run:
    """One application on the cluster, followed from the side."""

    def __init__(self, app: Application, pool: ThreadPoolExecutor) -> None:
        self.lines: list[str] = []
        self.submitted_at = time.time()
        self._result: Future[object] = pool.submit(client.run_application, app, load_config(), self.lines.append)
        self._output = app.output

    def until(self, line: str) -> None:
        """Wait for a line of progress."""
        while not any(each.startswith(line) for each in self.lines):
            if self._result.done():
                raise SystemExit(f"the run ended early: {self._result.exception() or self.lines}")
            time.sleep(0.02)

    @property
    def application_id(self) -> str:
        """Its id on YARN."""
        return self.lines[0].partition(":")[0]

    def events(self) -> list[Event]:
        """Wait for the end and return what happened."""
        self._result.result(timeout=300)
        return read_history(f"{self._output}/history.jsonl")

    def executor(self, task: str) -> int:
        """Return the process that is a task's executor."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _is_executor(entry, self.application_id, task):
                return int(entry.name)
        raise SystemExit(f"{task}: no executor")


def _is_executor(entry: Path, application_id: str, task: str) -> bool:
    try:
        environment = (entry / "environ").read_bytes().split(b"\0")
        command = (entry / "cmdline").read_bytes()
    except OSError:
        return False
    wanted = {f"SKEIN_APPLICATION_ID={application_id}".encode(), f"TONY_TASK={task}".encode()}
    return wanted <= set(environment) and b"tony_executor.zip" in command and b"python" in command.split(b"\0")[0]


def first(events: list[Event], name: str, after: float = 0.0) -> float:
    """Return when an event happened first."""
    return next(event.at for event in events if event.event == name and event.at >= after)


def last(events: list[Event], name: str, after: float = 0.0) -> float:
    """Return when an event happened last."""
    return max(event.at for event in events if event.event == name and event.at >= after)


def start_and_end(folder: str, program: Path, pool: ThreadPoolExecutor) -> dict[str, float]:
    """Measure a run of two workers that nothing happens to."""
    run = Run(application(folder, program, 2, 1), pool)
    run.until("started worker:1")
    status = Path(f"/proc/{run.executor('worker:0')}/status").read_text()
    resident_mib = int(status.split("VmRSS:")[1].split()[0]) / 1024
    events = run.events()
    finished_at = yarn.application(run.application_id).finished_ms / 1000
    return {
        "submit → all programs started": last(events, "started") - run.submitted_at,
        "last exit → application FINISHED": finished_at - last(events, "finished"),
        "executor's memory (MiB)": resident_mib,
    }


def recover(name: str, folder: str, program: Path, pool: ThreadPoolExecutor) -> dict[str, float]:
    """Measure a run of four workers of which one dies."""
    run = Run(application(folder, program, 4, 2), pool)
    run.until("progress worker:3")
    executor = run.executor("worker:1")
    if name == "killed program":
        victim, how = _child(executor), signal.SIGKILL
    else:
        victim, how = executor, signal.SIGSTOP if name == "stopped executor" else signal.SIGKILL
    hit_at = time.time()
    os.kill(victim, how)
    events = run.events()
    noticed_at = first(events, "finished" if name == "killed program" else "lost", after=hit_at)
    containers = {(e.task, e.detail.split()[-1]) for e in events if e.event == "registered"}
    survivors = [task for task in ("worker:0", "worker:2", "worker:3") if sum(c[0] == task for c in containers) != 1]
    if survivors:
        raise SystemExit(f"{', '.join(survivors)}: not in the container of before")
    return {
        f"{name} noticed": noticed_at - hit_at,
        "noticed → all programs started again": last(events, "started") - noticed_at,
    }


def _child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--warm", action="store_true")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    found: dict[str, list[float]] = {}
    faults = ("killed executor", "stopped executor", "killed program")
    measures: list[Measure] = [start_and_end, *(partial(recover, name) for name in faults)]
    skein = str(Path(sys.executable).with_name("skein"))
    if arguments.warm:
        subprocess.run([skein, "driver", "start"], check=True, capture_output=True)
    try:
        with tempfile.TemporaryDirectory() as local, ThreadPoolExecutor(1) as pool:
            program = Path(local) / "steps.py"
            program.write_text(STEPS)
            for measure in measures * arguments.runs:
                folder = f"hdfs:///benchmarks/{secrets.token_hex(6)}"
                for name, value in measure(folder, program, pool).items():
                    found.setdefault(name, []).append(value)
                fs.delete(folder)
    finally:
        if arguments.warm:
            subprocess.run([skein, "driver", "stop"], check=True, capture_output=True)
    for name, values in found.items():
        middle = statistics.median(values)
        print(
            f"{name:40} median {middle:6.2f}   worst {max(values):6.2f}   asked {ASKED_S[name]:g}   {len(values)} runs"
        )
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
