"""A run as the terminal shows it, character by character."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tony_py.driver.tasks import Usage
from tony_py.history import Event
from tony_py.status import RunStatus, TaskStatus
from tony_py.timeline import Timeline
from yarnmill.cli.tony_table import run_table

GOLDEN = Path(__file__).parent / "golden" / "tony_table.txt"


def shown(status: RunStatus, *, height: int = 40, width: int = 132) -> str:
    page = StringIO()
    Console(width=width, file=page).print(run_table(status, height, width))
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()) + "\n"


def run(*tasks: TaskStatus) -> RunStatus:
    return RunStatus(
        application_id="application_1795630333387_0047",
        name="film-rater",
        framework="torch",
        queue="gpu",
        phase="running",
        started_at=0.0,
        at=100.0,
        output="hdfs:///o",
        progress=0.25,
        tasks=tasks,
        timeline=Timeline(restarts=1, restarts_by_class={"infra": 1}),
        events=(
            Event(at=9.0, event="barrier", detail="generation 2: 3 tasks start"),
            Event(at=9.5, event="restart", task="worker:1", detail="retry 1 of 10\nTraceback: not shown here"),
        ),
    )


def task(name: str, state: str = "running", **changes: object) -> TaskStatus:
    return TaskStatus(task=name, state=state, since=60.0, generation=2, attempt=1, **changes)  # type: ignore[arg-type]


TASKS = (
    task(
        "worker:0",
        host="gpu-07",
        container_id="container_1795630333387_0047_01_000002",
        step=183,
        share=0.46,
        message="loss 0.141",
        usage=Usage(memory_mib=812, peak_memory_mib=930, cpu_s=38.2, gpu_share=0.87, gpu_memory_mib=5120),
        memory_limit_mib=2048.0,
    ),
    task(
        "worker:1",
        "failed",
        exit_code=137,
        is_straggler=True,
        usage=Usage(peak_memory_mib=2000),
        memory_limit_mib=2048.0,
    ),
    TaskStatus(task="tensorboard:0", state="requested", since=98.0, attempt=2),
)


def test_a_run_as_it_is_shown() -> None:
    assert shown(run(*TASKS)) == GOLDEN.read_text()


@pytest.mark.parametrize("height", [15, 24, 40])
def test_of_many_tasks_those_are_shown_that_somebody_may_have_to_act_on(height: int) -> None:
    many = [task(f"worker:{at}") for at in range(200)]
    many[150] = task("worker:150", "lost")
    many[170] = task("worker:170", is_straggler=True)
    text = shown(run(*many), height=height)
    assert len(text.splitlines()) <= height
    assert "worker:150" in text
    assert "worker:170" in text
    assert "more: 199 running, 1 lost in all" in text
    order = [line.split()[0] for line in text.splitlines() if line.startswith("worker:")]
    assert order == sorted(order, key=lambda name: int(name.partition(":")[2]))


def test_a_narrow_terminal_has_fewer_columns() -> None:
    lines = shown(run(*TASKS), width=80).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[3].split() == ["task", "state", "progress", "memory"]
    assert lines[4].split() == [
        "worker:0",
        "running",
        "step",
        "183,",
        "46%,",
        "loss",
        "0.141",
        "812",
        "of",
        "2048",
        "MiB",
    ]
    assert all(len(line) <= 40 for line in shown(run(*TASKS), width=40).splitlines())
