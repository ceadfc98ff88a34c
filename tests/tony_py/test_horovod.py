"""Horovod's ranks, rendezvous and rounds, without Horovod."""

import json
import subprocess
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tony_py.application import Application, TaskType, Timeouts
from tony_py.driver.frameworks import task_environments
from tony_py.driver.horovod import Worker, assign, render_slot
from tony_py.driver.rendezvous import Rendezvous
from tony_py.driver.rounds import Rounds
from tony_py.driver.store import Page, RoundStore
from tony_py.driver.tasks import Endpoint, TaskId
from tony_py.resolving import resolved
from yarnmill.config import Config
from yarnmill.errors import BadDataError, ConfigurationError, ConflictError
from yarnmill.units import Seconds

Make = Callable[..., Application]

# ---- ranks ---------------------------------------------------------------------------------------------------------

workers = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4)), min_size=1, max_size=8).map(
    lambda found: [Worker(name=f"w{at}", host=host, processes=n) for at, (host, n) in enumerate(found)]
)


@given(workers)
def test_every_process_has_a_place_of_its_own(found: list[Worker]) -> None:
    slots = assign(found)
    assert [slot.rank for slot in slots] == list(range(sum(worker.processes for worker in found)))
    assert {slot.size for slot in slots} == {len(slots)}
    assert slots[0].worker == found[0].name
    hosts = {worker.name: worker.host for worker in found}
    walk = [hosts[slot.worker] for slot in slots]
    assert sum(here != there for here, there in pairwise(walk)) == len(set(walk)) - 1
    for worker in found:
        mine = [slot for slot in slots if slot.worker == worker.name]
        assert [slot.local_rank for slot in mine] == list(range(worker.processes))
        assert {slot.local_size for slot in mine} == {worker.processes}
        assert [slot.rank for slot in mine] == list(range(mine[0].rank, mine[0].rank + worker.processes))
    for local_rank in range(4):
        across = [slot for slot in slots if slot.local_rank == local_rank]
        assert [slot.cross_rank for slot in across] == list(range(len(across)))
        assert {slot.cross_size for slot in across} <= {len(across)}


def test_the_places_are_those_that_horovod_itself_assigns(horovod_python: Path) -> None:
    found = [Worker(name=f"w{at}", host=f"w{at}", processes=n) for at, n in enumerate([2, 1, 3, 2])]
    program = """if True:
        import json, sys
        from horovod.runner.common.util.hosts import HostInfo, get_host_assignments
        hosts = [HostInfo(name, slots) for name, slots in json.loads(sys.argv[1])]
        print(json.dumps([slot.to_response_string() for slot in get_host_assignments(hosts, 1)]))
    """
    hosts = json.dumps([(worker.name, worker.processes) for worker in found])
    done = subprocess.run([horovod_python, "-c", program, hosts], capture_output=True, text=True, check=True)
    assert [render_slot(slot) for slot in assign(found)] == json.loads(done.stdout)


def test_only_tasks_that_are_waited_for_have_ranks(application: Make) -> None:
    types = {
        "board": TaskType(command="b", role="sidecar"),
        "chief": TaskType(command="c", role="chief"),
        "worker": TaskType(command="w", instances=2, processes=2),
    }
    app = application(framework="horovod", types=types)
    tasks = [TaskId("board", 0), TaskId("chief", 0), TaskId("worker", 0), TaskId("worker", 1)]
    endpoints = {task: Endpoint(host, 1) for task, host in zip(tasks, ["h1", "h1", "h2", "h1"], strict=True)}
    found = {str(task): task_environments(app, task, endpoints) for task in tasks}
    assert not any(name.startswith("HOROVOD") for name in found["board:0"][0])
    ranks = {name: [env["HOROVOD_RANK"] for env in envs] for name, envs in found.items() if name != "board:0"}
    assert ranks == {"chief:0": ["0"], "worker:1": ["1", "2"], "worker:0": ["3", "4"]}
    last = found["worker:0"][1]
    assert (last["HOROVOD_SIZE"], last["HOROVOD_LOCAL_RANK"], last["HOROVOD_LOCAL_SIZE"]) == ("5", "1", "2")
    assert (last["HOROVOD_CROSS_RANK"], last["HOROVOD_CROSS_SIZE"]) == ("1", "2")
    assert last["HOROVOD_CONTROLLER"] == last["HOROVOD_CPU_OPERATIONS"] == "gloo"


def test_an_elastic_gang_learns_its_ranks_when_it_starts(application: Make, config: Config) -> None:
    worker = TaskType(command="w", instances=2, min_instances=1, env={"HOROVOD_GLOO_TIMEOUT_SECONDS": "7"})
    app = resolved(application(framework="horovod", restart="task", types={"worker": worker}), config)
    task = TaskId("worker", 0)
    (environment,) = task_environments(app, task, {task: Endpoint("h", 1)})
    assert environment["HOROVOD_ELASTIC"] == "1"
    assert environment["HOROVOD_GLOO_TIMEOUT_SECONDS"] == "7"  # what the application says itself comes last
    assert "HOROVOD_RANK" not in environment
    with pytest.raises(ConfigurationError, match="min_instances without restart"):
        resolved(application(framework="torch", restart="task", types={"worker": worker}), config)


# ---- the store -----------------------------------------------------------------------------------------------------


PAGE = Page(1, "global")


def test_the_store_hands_out_what_is_new() -> None:
    store = RoundStore()
    store.put(PAGE, "0", b"\x00\xff")
    store.put(PAGE, "0", b"\x00\xff")  # said twice, for the answer was lost
    store.put(Page(1, "local"), "0", b"elsewhere")
    assert store.entries(PAGE, 0, 0.0) == [("0", b"\x00\xff")]
    assert store.entries(PAGE, 1, 0.0) == []
    store.put(PAGE, "1", b"two")
    store.put(PAGE, "0", b"another")
    assert store.entries(PAGE, 1, 0.0) == [("1", b"two"), ("0", b"another")]


def test_who_waits_hears_at_once() -> None:
    store = RoundStore()
    threading.Timer(0.1, lambda: store.put(PAGE, "1", b"two")).start()
    began = time.monotonic()
    assert store.entries(PAGE, 0, 300.0) == [("1", b"two")]
    assert time.monotonic() - began < 200  # it did not wait for the end


def test_an_answer_is_bounded_and_the_rest_comes_next() -> None:
    store = RoundStore()
    for number in range(5):
        store.put(PAGE, str(number), bytes(400_000))
    first = store.entries(PAGE, 0, 0.0)
    assert [key for key, _ in first] == ["0", "1"]
    assert [key for key, _ in store.entries(PAGE, len(first), 0.0)] == ["2", "3"]


def test_who_comes_back_to_a_scope_never_reads_what_was_said_before() -> None:
    store = RoundStore()
    for life in range(3):
        page = PAGE._replace(life=life)
        assert store.entries(page, 0, 0.0) == []
        store.put(page, "0", bytes([life]))
    assert store.entries(PAGE._replace(life=1), 0, 0.0) == [("0", b"\x01")]  # the others come a little later
    assert store.entries(PAGE, 0, 0.0) == []  # nobody is there any more: it was forgotten


def test_late_messages_of_an_older_round_are_refused() -> None:
    store = RoundStore()
    store.put(PAGE, "0", b"old")
    newer = PAGE._replace(round=2)
    threading.Timer(0.1, lambda: store.put(newer, "0", b"new")).start()
    with pytest.raises(ConflictError, match="round 1 is over: Horovod is in round 2"):
        store.entries(PAGE, 1, 20.0)
    with pytest.raises(ConflictError):
        store.put(PAGE, "1", b"late")
    assert store.entries(newer, 0, 0.0) == [("0", b"new")]


# ---- rounds --------------------------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Gang:
    """An elastic gang as its driver sees it, one process a worker unless told."""

    def __init__(self, application: Make, **worker: int) -> None:
        kind = TaskType(command="w", **{"instances": 3, "min_instances": 2, "max_instances": 4, **worker})  # type: ignore[arg-type]
        timeouts = Timeouts(elastic=Seconds(10.0))
        app = application(framework="horovod", restart="task", types={"worker": kind}, timeouts=timeouts)
        self.clock = Clock()
        self.told: list[str] = []
        self.rounds = Rounds(app, clock=self.clock, record=self.told.append)
        self.running: dict[TaskId, int] = {}
        self.done: set[TaskId] = set()

    def see(self, **generations: int) -> None:
        for name, generation in generations.items():
            task = TaskId("worker", int(name[1:]))
            self.running.pop(task, None)
            if generation:
                self.running[task] = generation
        self.rounds.see(self.running, self.done)

    def join(self, index: int) -> list[str] | None:
        task = TaskId("worker", index)
        place = self.rounds.join(task, self.running.get(task, 0), f"h{index}", 0.0)
        return None if place is None else [render_slot(slot) for slot in place.slots]

    def ready(self, index: int, round_: int, local_rank: int = 0) -> str | None:
        task = TaskId("worker", index)
        place = self.rounds.ready(task, self.running.get(task, 0), local_rank, round_, 0.0)
        return None if place is None else render_slot(place.slots[local_rank])


@pytest.fixture
def gang(application: Make) -> Gang:
    """Return a gang of three in its first round."""
    gang = Gang(application)
    gang.see(w0=1, w1=1, w2=1)
    assert [gang.join(index) for index in (2, 0)] == [None, None]  # nobody starts before all have come
    gang.join(1)
    assert [gang.join(index) for index in range(3)] == [["0,3,0,1,0,3"], ["1,3,0,1,1,3"], ["2,3,0,1,2,3"]]
    assert gang.told == ["round 1: 3 processes; 0 workers stayed, 3 are new"]
    return gang


def test_the_others_go_on_without_a_lost_worker_once_their_patience_has_ended(gang: Gang) -> None:
    assert gang.ready(1, 1) is None
    assert gang.ready(2, 1) is None
    gang.clock.now += 100  # no patience runs before the driver knows of the loss
    assert gang.ready(1, 1) is None
    gang.see(w0=0)
    assert gang.ready(2, 1) is None
    gang.clock.now += 9
    assert gang.ready(1, 1) is None
    gang.clock.now += 2
    assert gang.ready(1, 1) == "0,2,0,1,0,2"
    assert gang.ready(2, 1) == gang.ready(2, 1) == "1,2,0,1,1,2"  # asked twice, for the answer was lost
    assert gang.told[-1] == "round 2: 2 processes; 2 workers stayed, 0 are new"


def test_a_successor_that_comes_in_time_is_in_the_same_round_and_never_first(gang: Gang) -> None:
    gang.see(w0=0)
    gang.ready(1, 1)
    gang.ready(2, 1)
    gang.see(w0=2)
    assert gang.join(0) == ["2,3,0,1,2,3"]
    assert [gang.ready(1, 1), gang.ready(2, 1)] == ["0,3,0,1,0,3", "1,3,0,1,1,3"]


def test_too_few_wait_for_as_long_as_it_takes(gang: Gang) -> None:
    gang.see(w0=0, w1=0)
    gang.ready(2, 1)
    gang.clock.now += 1000
    assert gang.ready(2, 1) is None
    gang.see(w1=2)
    assert gang.join(1) is None  # enough now, but a third may come
    gang.clock.now += 11
    assert gang.join(1) == ["1,2,0,1,1,2"]
    assert gang.ready(2, 1) == "0,2,0,1,0,2"


def test_a_newcomer_is_announced_and_let_in_when_all_have_come(gang: Gang) -> None:
    assert not gang.rounds.is_pending(1, 0.0)
    gang.see(w3=2)
    assert not gang.rounds.is_pending(1, 0.0)  # its executor has not asked yet
    assert gang.join(3) is None
    assert gang.rounds.is_pending(1, 0.0)
    assert [gang.ready(index, 1) for index in range(3)][:2] == [None, None]
    assert gang.join(3) == ["3,4,0,1,3,4"]
    assert not gang.rounds.is_pending(1, 0.0)
    assert not gang.rounds.is_pending(2, 0.0)


def test_a_newcomer_that_died_meanwhile_is_not_waited_for(gang: Gang) -> None:
    gang.see(w3=2)
    gang.join(3)
    gang.see(w3=0)
    assert not gang.rounds.is_pending(1, 0.0)
    for index in range(3):
        gang.ready(index, 1)
    assert gang.told[-1] == "round 2: 3 processes; 3 workers stayed, 0 are new"


def test_who_was_left_out_is_told_so(gang: Gang) -> None:
    gang.see(w0=0)
    gang.ready(1, 1)
    gang.ready(2, 1)
    gang.clock.now += 11
    gang.ready(1, 1)
    gang.running[TaskId("worker", 0)] = 1  # it was only thought to be lost
    with pytest.raises(ConflictError, match=r"worker-0\.1: round 2 began without it"):
        gang.ready(0, 1)


def test_every_process_of_a_container_must_have_come(application: Make) -> None:
    gang = Gang(application, processes=2)
    gang.see(w0=1, w1=1)
    gang.join(0)
    assert gang.join(1) == ["2,4,0,2,1,2", "3,4,1,2,1,2"]
    for index, local_rank in [(0, 0), (0, 1), (1, 0)]:
        assert gang.ready(index, 1, local_rank) is None
    gang.clock.now += 11
    assert gang.ready(1, 1, 1) is None  # the third worker is waited for, from here on
    gang.clock.now += 11
    assert gang.ready(1, 1, 1) == "3,4,1,2,1,2"


def test_all_start_together_again_when_nobody_is_left_who_has_the_state(gang: Gang) -> None:
    gang.see(w0=0, w1=0, w2=0)
    gang.see(w0=2, w1=3)
    assert gang.join(0) is None
    gang.join(1)
    gang.see(w2=4)
    gang.join(2)
    assert [gang.join(index) for index in range(3)] == [["0,3,0,1,0,3"], ["1,3,0,1,1,3"], ["2,3,0,1,2,3"]]


def test_nobody_begins_anew_what_others_have_done(gang: Gang) -> None:
    gang.done = {TaskId("worker", 0), TaskId("worker", 1)}
    gang.see(w0=0, w1=0, w3=2)
    assert gang.join(3) is None  # one still runs that has the state
    assert not gang.rounds.is_pending(1, 0.0)
    gang.done.add(TaskId("worker", 2))
    gang.see(w2=0)
    assert gang.join(3) == []
    assert len(gang.told) == 1


def test_the_last_survivor_of_those_who_are_done_goes_on_alone(gang: Gang) -> None:
    gang.done = {TaskId("worker", 0), TaskId("worker", 1)}
    gang.see(w0=0, w1=0)
    assert gang.ready(2, 1) == "0,1,0,1,0,1"


def test_who_is_not_connected_yet_does_not_wait_for_a_lost_worker(gang: Gang) -> None:
    gang.rounds.refuse_broken(1)
    gang.see(w2=0)
    with pytest.raises(ConflictError, match=r"round 1 is broken: worker-2\.1 was lost before all were connected"):
        gang.rounds.refuse_broken(1)
    gang.done.add(TaskId("worker", 2))
    gang.see()
    gang.rounds.refuse_broken(1)


def test_a_message_that_cannot_be_meant_is_refused(gang: Gang) -> None:
    with pytest.raises(BadDataError, match=r"worker-0\.1: has no process 1"):
        gang.ready(0, 1, 1)
    with pytest.raises(BadDataError, match="board:0: no task with ranks"):
        gang.rounds.join(TaskId("board", 0), 1, "h", 0.0)


def test_a_wrong_message_is_refused_with_a_reason(application: Make) -> None:
    rendezvous = Rendezvous(application(framework="horovod"), clock=time.monotonic, record=print)
    with pytest.raises(BadDataError, match="/v1/horovod/nothing: no such resource"):
        rendezvous.answer("/v1/horovod/nothing", b"{}")
    with pytest.raises(BadDataError, match="missing key"):
        rendezvous.answer("/v1/horovod/put", b"{}")
    with pytest.raises(BadDataError, match="not JSON"):
        rendezvous.answer("/v1/horovod/join", b"\x80")
