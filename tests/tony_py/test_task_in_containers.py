"""The package ``tony_task`` as programs find it: in real containers, without anybody having shipped it."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tony_py.application import Application, DriverSettings, Retries, TaskType
from tony_py.driver.gang import Gang
from tony_py.driver.tasks import Heartbeat, Registration, TaskId

pytestmark = pytest.mark.programs

Make = Callable[..., Application]
LocalRun = Callable[..., Any]

COUNTS = """
import os, time
from pathlib import Path
import tony_task

saved = tony_task.latest_checkpoint()
first = saved.step + 1 if saved else 1
known = os.environ.get("TONY_CHECKPOINT_STEP", "none")
with open(os.environ["LOG"], "a") as log:
    log.write(f"{first} {known} {tony_task.load_checkpoint()}\\n")
for step in range(first, 5):
    if os.environ["TONY_RANK"] == "0":
        tony_task.save_checkpoint(step, str(step).encode())
    tony_task.report(step=step, total=4, message=f"step {step}", metrics={"loss": 1 / step})
    if step == 2 and not saved:
        time.sleep(2.5)  # the heartbeat takes it along once a second
        raise SystemExit(3)
"""


def test_a_restarted_program_finds_its_checkpoint_and_hears_of_it(
    application: Make, local_run: LocalRun, tmp_path: Path
) -> None:
    (tmp_path / "counts.py").write_text(COUNTS)
    worker = TaskType(command="python counts.py", env={"LOG": str(tmp_path / "log")})
    report, _ = local_run(
        application(
            types={"worker": worker},
            framework="torch",
            source=(str(tmp_path / "counts.py"),),
            retries=Retries(user=1),
        )
    )
    assert report.state == "succeeded", report.exit_reason
    assert (tmp_path / "log").read_text().splitlines() == ["1 none None", "3 2 b'2'"]


def test_modules_and_paths_of_the_users_go_first(application: Make, local_run: LocalRun, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "mine.py").write_text("")
    (tmp_path / "tony_task.py").write_text("name = 'my own'")
    program = "import mine, tony_task; assert tony_task.name == 'my own'"
    (tmp_path / "main.py").write_text(program)
    source = (str(tmp_path / "main.py"), str(tmp_path / "tony_task.py"))
    worker = TaskType(command="python main.py", env={"PYTHONPATH": str(tmp_path / "lib")})
    report, _ = local_run(application(types={"worker": worker}, source=source))
    assert report.state == "succeeded", report.exit_reason


def test_nothing_but_the_one_package_is_put_on_the_path(application: Make, local_run: LocalRun) -> None:
    listing = "import os, zipimport; p = os.environ['PYTHONPATH'].split(os.pathsep)[-1]; z = zipimport.zipimporter(p); "
    check = "assert z.find_spec('tony_task') and not z.find_spec('tony_py') and not z.find_spec('__main__')"
    report, _ = local_run(application(f'python -c "{listing}{check}"', instances=1))
    assert report.state == "succeeded", report.exit_reason


def test_what_runs_in_the_driver_has_it_too(application: Make, local_run: LocalRun) -> None:
    driver = DriverSettings(prepare="echo 42 > answer && python -m tony_task save-output answer answer")
    report, _ = local_run(application("[ $(python -m tony_task read-output answer) = 42 ]", driver=driver))
    assert report.state == "succeeded", report.exit_reason


def test_all_tasks_of_a_generation_hear_of_the_same_step(application: Make) -> None:
    gang = Gang(application(framework="torch"), {}, clock=lambda: 0.0, record=lambda *_: None)
    tasks = [TaskId("worker", 0), TaskId("worker", 1)]

    def join() -> None:
        for task in tasks:
            gang.register(Registration(task=str(task), attempt=1, host="h", port=1, container_id=f"c{task.index}"))
        gang.release(tasks)

    def heard(task: TaskId, generation: int) -> str | None:
        specification = gang.specification(str(task), 1, generation, 0.0)
        assert specification is not None
        return specification.env.get("TONY_CHECKPOINT_STEP")

    for task in tasks:
        gang.request(task)
    join()
    assert [heard(task, 1) for task in tasks] == [None, None]
    gang.heartbeat(Heartbeat(task="worker:0", attempt=1, generation=1, step=7, checkpoint=7))
    gang.start_over(tasks)
    join()
    assert heard(tasks[0], 2) == "7"
    gang.heartbeat(Heartbeat(task="worker:0", attempt=1, generation=2, step=8, checkpoint=8))
    assert heard(tasks[1], 2) == "7"  # the quick one has saved another meanwhile


@pytest.mark.parametrize("package", ["executor", "task"])
def test_what_users_pythons_run_is_of_the_syntax_of_the_oldest(package: str, repository: Path) -> None:
    for file in sorted((repository / "tony_py" / package).glob("*.py")):
        ast.parse(file.read_text(), feature_version=(3, 8))
