from pathlib import Path

import pytest

from tony_py.application import Application, TaskType, Timeouts
from tony_py.driver import watch
from tony_py.driver.containers import Container
from tony_py.driver.members import Member, Progress
from tony_py.driver.tasks import Endpoint, TaskId
from yarnmill.units import Seconds

LIMITS = Timeouts(register=Seconds(10.0), start=Seconds(10.0), heartbeat=Seconds(5.0), progress=Seconds(20.0))
APPLICATION = Application(
    name="a", framework="torch", types={"worker": TaskType(command="x", instances=3)}, output="o", timeouts=LIMITS
)
FIRST, SECOND, THIRD = (TaskId("worker", index) for index in range(3))


def running(step: int | None = None, *, moved_at: float | None = None) -> Member:
    return Member(
        attempt=1,
        state="started",
        has_executor=True,
        is_released=True,
        endpoint=Endpoint("h", 1),
        seen_at=100.0,
        progress=Progress(step=step, moved_at=moved_at),
    )


def test_silence_counts_from_the_last_word() -> None:
    members = {FIRST: running()}
    assert list(watch.silent_executors(APPLICATION, members, 105.0)) == []
    (loss,) = watch.silent_executors(APPLICATION, members, 105.1)
    assert (loss.task, loss.kind) == (FIRST, "infra")


def test_an_executor_that_hung_up_has_a_moment_to_come_back() -> None:
    member = running()
    member.hung_up_at = 100.0
    assert list(watch.silent_executors(APPLICATION, {FIRST: member}, 102.0)) == []
    (loss,) = watch.silent_executors(APPLICATION, {FIRST: member}, 103.5)
    assert "is gone" in loss.cause


def test_yarns_word_waits_for_the_executors_unless_it_hung_up() -> None:
    found = {FIRST: Container(state="ended", container_id="c1", message="Container released on a *lost* node")}
    members, ended_at = {FIRST: running()}, {}  # type: ignore[var-annotated]  # filled by what is tested
    assert list(watch.lost_containers(members, found, ended_at, 100.0)) == []
    assert list(watch.lost_containers(members, found, ended_at, 102.0)) == []
    (loss,) = watch.lost_containers(members, found, ended_at, 103.0)
    assert loss.cause == "container c1 ended before its program did: Container released on a *lost* node"
    members[FIRST].hung_up_at = 100.0
    assert list(watch.lost_containers(members, found, {}, 100.0))


@pytest.mark.parametrize(
    ("state", "is_released", "words"),
    [("allocated", False, "timeouts.register"), ("registered", True, "timeouts.start"), ("requested", False, "")],
)
def test_each_state_has_a_limit_of_its_own(state: str, is_released: bool, words: str) -> None:  # noqa: FBT001
    member = Member(attempt=1, state=state, since=0.0, is_released=is_released)  # type: ignore[arg-type]
    assert list(watch.overdue(APPLICATION, {FIRST: member}, 10.0)) == []
    causes = [loss.cause for loss in watch.overdue(APPLICATION, {FIRST: member}, 10.5)]
    assert [words in cause for cause in causes] == ([True] if words else [])


def test_the_one_that_stopped_first_is_named_for_the_hang() -> None:
    members = {FIRST: running(7, moved_at=50.0), SECOND: running(6, moved_at=49.0), THIRD: running()}
    assert watch.hanging(APPLICATION, members, 69.0) is None
    hang = watch.hanging(APPLICATION, members, 70.0)
    assert hang is not None
    assert (hang.task, hang.kind) == (SECOND, "hang")
    assert "the last one was step 6" in hang.cause


def test_stragglers_are_those_with_half_the_steps_of_the_others() -> None:
    assert watch.stragglers({FIRST: running(100), SECOND: running(98), THIRD: running(48)}) == [THIRD]
    assert watch.stragglers({FIRST: running(100), SECOND: running(98), THIRD: running(60)}) == []
    assert watch.stragglers({FIRST: running(8), SECOND: running(8), THIRD: running(1)}) == []  # too early to say


def test_nothing_of_ours_waits_on_skeins_key_value_store(repository: Path) -> None:
    # Its watches hang or raise when a put meets one being made (docs: "racy"), so nobody may rely on them.
    forbidden = ("kv.wait", "kv.events", "kv.event_queue", ".event_queue(")
    sources = [
        path
        for name in ("tony_py", "yarnmill", "jobs", "oozie", "examples")
        for path in (repository / name).rglob("*.py")
    ]
    assert len(sources) > 100
    found = [f"{path}: {word}" for path in sources for word in forbidden if word in path.read_text()]
    assert found == []
