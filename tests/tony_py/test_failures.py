import pytest

from tony_py.application import Budget, Retries
from tony_py.driver.budgets import Budgets
from tony_py.driver.failures import class_of_container, incident_of_end, root_of
from tony_py.driver.tasks import TaskEnd, TaskId, Usage
from yarnmill.units import Seconds

SILENT = "Container failed during execution, see logs for more information."


def end(exit_code: int = 1, *lines: str, peak: float = 0.0, index: int = 0) -> TaskEnd:
    return TaskEnd(
        task=f"worker:{index}",
        attempt=1,
        generation=1,
        exit_code=exit_code,
        last_lines=lines,
        usage=Usage(peak_memory_mib=peak),
        memory_limit_mib=1000.0,
    )


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (end(1, "ValueError: no such film"), "user"),
        (end(137), "infra"),
        (end(137, peak=950.0), "oom"),
        (end(1, "MemoryError"), "oom"),
        (end(1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"), "oom"),
        (end(1, "OSError: [Errno 98] Address already in use"), "port"),
        (end(1, "RuntimeError: The server socket has failed to bind to [::]:4000 (errno: 98)"), "port"),
        (end(139), "user"),
        (end(1, "OSError: [Errno 28] No space left on device"), "infra"),
    ],
)
def test_the_class_of_a_bad_end(message: TaskEnd, kind: str) -> None:
    assert incident_of_end(TaskId("worker", 0), message, 0.0).kind == kind


def test_a_kill_for_memory_tells_how_much_was_in_use() -> None:
    incident = incident_of_end(TaskId("worker", 0), end(137, peak=950.0), 0.0)
    assert incident.cause == "worker:0: exit code 137 with 950 of 1000 MiB in use"


@pytest.mark.parametrize(
    ("message", "ever_registered", "kind"),
    [
        ("Container [pid=1] is running 1 MB beyond the 'PHYSICAL' memory limit", True, "oom"),
        ("Container released on a *lost* node", True, "infra"),
        ("Container preempted by scheduler", False, "infra"),
        (SILENT, True, "infra"),
        (SILENT, False, "user"),
    ],
)
def test_the_class_of_a_container_that_ended(message: str, ever_registered: bool, kind: str) -> None:  # noqa: FBT001
    assert class_of_container(message, ever_registered=ever_registered) == kind


def test_the_loss_of_one_outweighs_the_earlier_errors_of_its_peers() -> None:
    peer = incident_of_end(TaskId("worker", 0), end(1, "RuntimeError: Connection closed by peer"), 1.0)
    own = incident_of_end(TaskId("worker", 1), end(1, "ValueError: no such film", index=1), 2.0)
    lost = incident_of_end(TaskId("worker", 2), end(137, index=2), 3.0)
    assert peer.is_secondhand
    assert not own.is_secondhand
    assert root_of([peer, own]) == own
    assert root_of([peer, own, lost]) == lost


def test_of_two_errors_of_their_own_the_first_counts() -> None:
    first, second = (incident_of_end(TaskId("worker", i), end(1, "KeyError: 'x'", index=i), i) for i in range(2))
    assert root_of([second, first]) == first


def test_a_budget_is_spent_with_growing_pauses_and_then_refuses() -> None:
    budgets = Budgets(Retries(user=Budget(retries=3, backoff=Seconds(2.0))), clock=lambda: 0.0)
    verdicts = [budgets.spend("user") for _ in range(4)]
    assert [verdict.may_retry for verdict in verdicts] == [True, True, True, False]
    assert [verdict.backoff_s for verdict in verdicts[:3]] == [0.0, 2.0, 6.0]
    assert verdicts[0].words == "retry 1 of 3 (retries.user)"
    assert verdicts[3].words == "3 retries spent (retries.user)"
    assert budgets.spend("oom").may_retry is False


def test_a_window_forgets() -> None:
    now = [0.0]
    budgets = Budgets(Retries(infra=Budget(retries=1, window=Seconds(60.0))), clock=lambda: now[0])
    assert budgets.spend("infra").may_retry
    now[0] = 59.0
    assert not budgets.spend("infra").may_retry
    now[0] = 61.0
    assert budgets.spend("infra").may_retry


@pytest.mark.parametrize(
    "words",
    [
        "  what():  HTTP request failed.",
        "  what():  [enforce fail at gloo/transport/tcp/pair.cc:510] op.preamble.length <= op.nbytes. 8 vs 4",
    ],
)
def test_one_loss_spends_one_retry_however_many_are_aborted_by_it(words: str) -> None:
    said = ("terminate called after throwing an instance of 'std::runtime_error'", words)
    now = [0.0]
    budgets = Budgets(Retries(infra=2), clock=lambda: now[0])
    aborted = incident_of_end(TaskId("worker", 0), end(134, *said), 0.0, outlives_peers=True)
    assert (aborted.kind, aborted.is_aftermath) == ("infra", True)
    lost = incident_of_end(TaskId("worker", 1), end(137), 0.0, outlives_peers=True)
    assert not lost.is_aftermath
    assert budgets.spend_for(lost).words == "retry 1 of 2 (retries.infra)"
    assert [budgets.spend_for(aborted).words for _ in range(5)] == ["it lost a peer"] * 5
    now[0] = 61.0
    assert budgets.spend_for(aborted).words == "retry 2 of 2 (retries.infra)"
    now[0] = 122.0
    assert not budgets.spend_for(aborted).may_retry
    alone = incident_of_end(TaskId("worker", 0), end(134, *said), 0.0)
    assert (alone.kind, alone.is_aftermath) == ("user", False)


def test_a_number_stands_for_a_budget() -> None:
    assert Retries(user=2).of("user") == Budget(retries=2)
