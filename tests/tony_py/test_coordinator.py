import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tony_py.application import Application, Timeouts
from tony_py.driver.containers import import_skein
from tony_py.driver.coordinator import Coordinator
from tony_py.driver.gang import Gang
from tony_py.driver.tasks import TaskId
from tony_py.executor.channel import Channel, RefusedError
from yarnmill.units import Seconds

TOKEN = "the application's own"  # noqa: S105  # a test's


@pytest.fixture
def events() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def gang(application: Callable[..., Application], events: list[tuple[str, str]]) -> Gang:
    app = application("run me", instances=48, timeouts=Timeouts(heartbeat=Seconds(0.5)))

    def record(event: str, task: TaskId | None, _detail: str, _kind: str = "") -> None:
        events.append((event, str(task or "")))

    asked = Gang(app, {"TONY_OUTPUT": "hdfs:///o"}, clock=time.monotonic, record=record)
    for task in asked.members():
        asked.request(task)
    events.clear()
    return asked


def missing(gang: Gang) -> list[TaskId]:
    return [task for task, member in gang.members().items() if member.endpoint is None]


@pytest.fixture
def coordinator(gang: Gang, certificates: Path) -> Iterator[Coordinator]:
    pair = {"certificate": certificates / "skein.crt", "key": certificates / "skein.pem"}
    with Coordinator(gang, TOKEN, host="127.0.0.1", **pair) as server:
        yield server


def channel(coordinator: Coordinator, folder: Path, token: str = TOKEN) -> Channel:
    return Channel(f"127.0.0.1:{coordinator.port}", token, str(folder / "skein.crt"), str(folder / "skein.pem"))


def registration(index: int, container: str = "") -> dict[str, object]:
    return {
        "task": f"worker:{index}",
        "attempt": 1,
        "host": "h",
        "port": 1000 + index,
        "container_id": container or f"c{index}",
    }


@pytest.mark.slow
def test_48_at_once_pass_the_barrier_together(coordinator: Coordinator, certificates: Path, gang: Gang) -> None:
    def join(index: int) -> dict[str, object]:
        mine = channel(coordinator, certificates)
        generation = mine.post("/v1/register", registration(index))["generation"]
        specification = None
        while specification is None:
            specification = mine.get(specification_of(index, generation, wait_s=20))
        mine.close()
        return specification

    with ThreadPoolExecutor(48) as pool:
        joined = [pool.submit(join, index) for index in range(48)]
        assert gang.wait(lambda: not missing(gang), 30.0)
        gang.release(gang.members())
        specifications = [future.result() for future in joined]
    assert [spec["processes"][0]["TONY_RANK"] for spec in specifications] == [str(rank) for rank in range(48)]  # type: ignore[index]
    assert {spec["command"] for spec in specifications} == {"run me"}


@pytest.mark.slow
def test_a_specification_waits_and_comes_back_empty(coordinator: Coordinator, certificates: Path) -> None:
    mine = channel(coordinator, certificates)
    mine.post("/v1/register", registration(0))
    assert mine.get(specification_of(0, 1, wait_s=0.1)) is None
    mine.close()


def test_the_same_executor_may_register_twice_and_another_one_may_not(
    coordinator: Coordinator, certificates: Path, events: list[tuple[str, str]]
) -> None:
    mine = channel(coordinator, certificates)
    mine.post("/v1/register", registration(0))
    mine.post("/v1/register", registration(0))
    with pytest.raises(RefusedError, match="worker:0: c0 holds this slot"):
        mine.post("/v1/register", registration(0, "another"))
    mine.close()
    assert events == [("allocated", "worker:0"), ("registered", "worker:0")]  # its word came before YARN's


def specification_of(index: int, generation: int, *, wait_s: float) -> str:
    return f"/v1/specification?task=worker:{index}&attempt=1&generation={generation}&wait={wait_s}"


@pytest.mark.parametrize(
    ("path", "message", "words"),
    [
        ("/v1/register", {**registration(0), "task": "worker:99"}, "worker:99: no such task"),
        ("/v1/register", {**registration(0), "task": "worker"}, "is no task"),
        ("/v1/register", {"task": "worker:0"}, "missing key"),
        ("/v1/heartbeat", {"task": "worker:0", "mood": "good"}, "mood"),
        ("/v1/nothing", {}, "no such resource"),
    ],
)
def test_a_wrong_message_is_refused_with_a_reason(
    coordinator: Coordinator, certificates: Path, path: str, message: dict[str, object], words: str
) -> None:
    mine = channel(coordinator, certificates)
    with pytest.raises(RefusedError, match=words):
        mine.post(path, message)
    mine.close()


def test_another_applications_token_is_refused(coordinator: Coordinator, certificates: Path, gang: Gang) -> None:
    stranger = channel(coordinator, certificates, token="another application's")  # noqa: S106
    with pytest.raises(RefusedError, match="token"):
        stranger.post("/v1/register", registration(0))
    stranger.close()
    assert len(missing(gang)) == 48


def test_another_users_certificate_is_refused_by_both_sides(
    coordinator: Coordinator, tmp_path: Path, certificates: Path, gang: Gang
) -> None:
    import_skein().Security.new_credentials().to_directory(str(tmp_path))
    stranger = channel(coordinator, tmp_path)
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        stranger.post("/v1/register", registration(0))
    # One that trusts the server but shows its own certificate does not get in either.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(certificates / "skein.crt")
    context.load_cert_chain(tmp_path / "skein.crt", tmp_path / "skein.pem")
    connection = http.client.HTTPSConnection("127.0.0.1", coordinator.port, context=context, timeout=10)

    def register() -> None:
        connection.request("POST", "/v1/register", json.dumps(registration(0)), {"Authorization": f"Bearer {TOKEN}"})
        connection.getresponse()

    with pytest.raises((OSError, http.client.HTTPException)):
        register()
    connection.close()
    assert len(missing(gang)) == 48


def test_a_silent_connection_holds_up_nobody(coordinator: Coordinator, certificates: Path) -> None:
    with socket.create_connection(("127.0.0.1", coordinator.port)):
        mine = channel(coordinator, certificates)
        mine.post("/v1/register", registration(0))
        mine.close()


def test_an_order_to_stop_reaches_a_waiting_heartbeat_at_once(
    coordinator: Coordinator, certificates: Path, gang: Gang
) -> None:
    mine = channel(coordinator, certificates)
    mine.post("/v1/register", registration(0))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(
            mine.post, "/v1/heartbeat", {"task": "worker:0", "attempt": 1, "generation": 1, "wait_s": 5.0}
        )
        gang.stop()
        assert answer.result(timeout=4.0) == {"order": "stop", "stacks": False}
    mine.close()


def test_what_comes_late_is_known_as_late(coordinator: Coordinator, certificates: Path, gang: Gang) -> None:
    mine = channel(coordinator, certificates)
    mine.post("/v1/register", registration(0))
    task = TaskId("worker", 0)
    gang.release([task])
    gang.start_over([task])
    end = {"task": "worker:0", "attempt": 1, "generation": 1, "exit_code": 1}
    mine.post("/v1/exit", end)  # of the generation before: no incident
    assert gang.incidents() == []
    answer = mine.post("/v1/heartbeat", {"task": "worker:0", "attempt": 1, "generation": 1, "wait_s": 5.0})
    assert answer["order"] == "restart"
    assert mine.post("/v1/register", registration(0))["generation"] == 2
    gang.lose(task, "infra", "gone")
    gang.request(task)
    with pytest.raises(RefusedError, match="attempt 1 was given up, attempt 2 holds this slot"):
        mine.post("/v1/heartbeat", {"task": "worker:0", "attempt": 1, "generation": 2})
    mine.close()


@pytest.mark.slow
def test_a_broken_connection_is_noticed_while_its_heartbeat_waits(
    coordinator: Coordinator, certificates: Path, gang: Gang
) -> None:
    mine = channel(coordinator, certificates)
    mine.post("/v1/register", registration(0))
    body = json.dumps({"task": "worker:0", "attempt": 1, "generation": 1, "wait_s": 5.0}).encode()
    address = ("127.0.0.1", coordinator.port)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(certificates / "skein.crt")
    context.load_cert_chain(certificates / "skein.crt", certificates / "skein.pem")
    with context.wrap_socket(socket.create_connection(address)) as raw:
        head = f"POST /v1/heartbeat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        raw.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        time.sleep(0.3)
        assert gang.members()[TaskId("worker", 0)].hung_up_at is None
    assert gang.wait(lambda: gang.members()[TaskId("worker", 0)].hung_up_at is not None, 2.0)
    mine.post("/v1/heartbeat", {"task": "worker:0", "attempt": 1, "generation": 1})  # it has come back
    assert gang.members()[TaskId("worker", 0)].hung_up_at is None
    mine.close()
