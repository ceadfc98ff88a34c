"""How long tasks go on when the others have ended."""

import pytest

from tony_py.application import Application, TaskType
from tony_py.driver.lingering import lingers, overstaying
from tony_py.driver.members import Member
from tony_py.driver.tasks import TaskEnd, TaskId
from yarnmill.units import Seconds

NOW = 1000.0


def application(**types: TaskType) -> Application:
    return Application(name="a", framework="standalone", types=types, output="o")


def running() -> Member:
    return Member(state="started", is_released=True)


def ended(at: float, exit_code: int = 0) -> Member:
    end = TaskEnd(task="t", attempt=1, generation=1, exit_code=exit_code)
    return Member(state="finished", is_released=True, since=at, end=end)


WORKER = TaskType(command="x")
EVALUATOR = TaskType(command="x", linger=Seconds(60.0))


@pytest.mark.parametrize(
    ("members", "is_over"),
    [
        ({"worker": ended(NOW - 61), "evaluator": running()}, True),
        ({"worker": ended(NOW - 59), "evaluator": running()}, False),
        ({"worker": running(), "evaluator": running()}, False),
        ({"worker": ended(NOW - 61, exit_code=1), "evaluator": running()}, False),
        ({"worker": ended(NOW - 61), "evaluator": ended(NOW)}, False),
    ],
)
def test_a_worker_may_be_alone_for_so_long(members: dict[str, Member], *, is_over: bool) -> None:
    app = application(worker=WORKER, evaluator=EVALUATOR, board=TaskType(command="x", role="sidecar"))
    found = {TaskId(name, 0): member for name, member in members.items()} | {TaskId("board", 0): running()}
    loss = overstaying(app, found, NOW)
    assert (loss is not None) == is_over
    if loss is not None:
        assert loss.task == TaskId("evaluator", 0)
        assert loss.cause == "types.evaluator.linger: evaluator:0 was not over 1 min 0 s after all others"


def test_a_worker_without_a_limit_may_go_on() -> None:
    app = application(worker=WORKER, evaluator=TaskType(command="x"))
    assert overstaying(app, {TaskId("worker", 0): ended(0.0), TaskId("evaluator", 0): running()}, NOW) is None


@pytest.mark.parametrize(("since", "is_lingering"), [(NOW - 59, True), (NOW - 61, False)])
@pytest.mark.parametrize("role", ["sidecar", "untracked"])
def test_a_sidecar_goes_on_for_so_long_after_the_last_worker(role: str, since: float, *, is_lingering: bool) -> None:
    board = TaskType(command="x", role=role, linger=Seconds(60.0))  # type: ignore[arg-type]
    app = application(worker=TaskType(command="x", instances=2), board=board)
    members = {TaskId("worker", 0): ended(0.0), TaskId("worker", 1): ended(since), TaskId("board", 0): running()}
    assert lingers(app, members, NOW) == is_lingering
    assert not lingers(app, {**members, TaskId("worker", 1): running()}, NOW)
    assert not lingers(app, {**members, TaskId("board", 0): ended(NOW)}, NOW)


def test_a_sidecar_without_a_limit_ends_at_once_and_a_chief_decides_alone() -> None:
    board = TaskType(command="x", role="sidecar")
    members = {TaskId("worker", 0): ended(NOW), TaskId("board", 0): running()}
    assert not lingers(application(worker=WORKER, board=board), members, NOW)
    lasting = TaskType(command="x", role="sidecar", linger=Seconds(60.0))
    app = application(chief=TaskType(command="x", role="chief"), worker=WORKER, board=lasting)
    members = {TaskId("chief", 0): ended(NOW), TaskId("worker", 0): running(), TaskId("board", 0): running()}
    assert lingers(app, members, NOW)
