"""The container's side of Horovod's rendezvous: real sockets on the loopback, the driver's side called directly."""

import base64
import hashlib
import hmac
import json
import pickle
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tony_py.application import Application, TaskType
from tony_py.driver import rendezvous as driver
from tony_py.driver.frameworks import task_environments
from tony_py.driver.tasks import Endpoint, TaskId
from tony_py.executor.hostupdates import Listener, host_update, signed
from tony_py.executor.rendezvous import Rendezvous, interface_of
from tony_py.executor.severing import gloo_endpoints, sever
from yarnmill.records import compact_json

Make = Callable[..., Application]
PROCESSES = 2


class Direct:
    """A way to a driver in this process: the messages are the real ones, only TLS is missing."""

    def __init__(self, side: driver.Rendezvous) -> None:
        self._side = side

    def post(self, path: str, message: dict[str, Any]) -> dict[str, Any]:
        answer = self._side.answer(path, json.dumps(message).encode())
        return json.loads(compact_json(answer)) if answer is not None else {}

    def own_address(self) -> str:
        return "127.0.0.1"

    def close(self) -> None:
        pass


@pytest.fixture
def environments(application: Make) -> Iterator[list[dict[str, str]]]:
    """Yield the variables of the two processes of the two containers of a static gang."""
    worker = TaskType(command="w", instances=2, processes=PROCESSES)
    app = application(framework="horovod", types={"worker": worker})
    side = driver.Rendezvous(app, clock=time.monotonic, record=print)
    endpoints = {TaskId("worker", index): Endpoint("h", 1) for index in range(2)}
    servers = [Rendezvous(lambda: Direct(side), str(task), 1) for task in endpoints]  # type: ignore[arg-type,return-value]
    found: list[dict[str, str]] = []
    for server, task in zip(servers, endpoints, strict=True):
        found += server.environments(task_environments(app, task, endpoints), lambda: False) or []
    yield found
    for server in servers:
        server.close()


def ask(environment: dict[str, str], method: str, path: str, body: bytes | None = None) -> bytes:
    """Ask as Horovod does: its URLs are address, colon, port, path."""
    url = f"http://{environment['HOROVOD_GLOO_RENDEZVOUS_ADDR']}:{environment['HOROVOD_GLOO_RENDEZVOUS_PORT']}{path}"
    with urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=30) as answer:
        return bytes(answer.read())


def test_each_process_has_its_place_and_its_own_way_to_the_rendezvous(environments: list[dict[str, str]]) -> None:
    assert [env["HOROVOD_RANK"] for env in environments] == ["0", "1", "2", "3"]
    assert len({env["HOROVOD_GLOO_RENDEZVOUS_ADDR"] for env in environments}) == 4
    assert {env["HOROVOD_GLOO_IFACE"] for env in environments} == {"lo"}


@pytest.mark.slow
def test_bytes_come_back_as_they_were_set_and_all_wait_for_all(environments: list[dict[str, str]]) -> None:
    values = [bytes(range(256)) + bytes([rank]) for rank in range(4)]

    def connect(rank: int) -> list[bytes]:
        time.sleep(0.3 * rank)
        ask(environments[rank], "PUT", f"/global/rank_{rank}", b"machine")
        ask(environments[rank], "PUT", f"/global/{rank}", values[rank])
        return [ask(environments[rank], "GET", f"/global/{peer}") for peer in range(4)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(connect, range(4))) == [values] * 4


@pytest.mark.slow
def test_a_key_of_a_smaller_scope_that_is_not_there_is_not_waited_for_long(environments: list[dict[str, str]]) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(environments[0], "GET", "/local_worker-0/1")
    assert caught.value.code == 404
    ask(environments[1], "PUT", "/local_worker-0/1", b"\x00")
    assert ask(environments[0], "GET", "/local_worker-0/1") == b"\x00"
    ask(environments[0], "DELETE", "/local_worker-0/0")
    with pytest.raises(urllib.error.HTTPError):
        ask(environments[0], "GET", "/local_worker-0/1")


def test_without_the_secret_there_is_no_answer(environments: list[dict[str, str]]) -> None:
    port = environments[0]["HOROVOD_GLOO_RENDEZVOUS_PORT"]
    stranger = {**environments[0], "HOROVOD_GLOO_RENDEZVOUS_ADDR": f"127.0.0.1:{port}/guessed"}
    for method, body in [("GET", None), ("PUT", b"x"), ("DELETE", None)]:
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(stranger, method, "/global/0", body)
        assert caught.value.code == 403


def test_an_interface_is_found_by_its_address() -> None:
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("192.0.2.1") == ""


# ---- host updates --------------------------------------------------------------------------------------------------


def test_what_a_listener_gives_is_read_and_nothing_in_it_is_run() -> None:
    plain = base64.b64encode(pickle.dumps(({"lo": [("127.0.0.1", 4242)]}, b"k" * 32), protocol=5))
    assert vars(Listener.parse(plain)) == {"_port": 4242, "_key": b"k" * 32}
    with pytest.raises(ValueError, match=r"builtins\.print in what must be plain data"):
        Listener.parse(base64.b64encode(pickle.dumps(print)))
    for wrong in (b"", b"no base64!", base64.b64encode(b"no pickle"), base64.b64encode(pickle.dumps(1))):
        with pytest.raises(ValueError, match="no address of a listener"):
            Listener.parse(wrong)


def test_a_listener_is_told_under_its_own_key() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def hear() -> bytes:
            connection, _ = server.accept()
            with connection:
                said = connection.recv(4096)
                connection.sendall(b"taken")
            return said

        heard = pool.submit(hear)
        Listener(server.getsockname()[1], b"key").tell(7)
        said = heard.result(20)
    digest, length, message = said[:32], said[32:36], said[36:]
    assert said == signed(b"key", host_update(7))
    assert digest == hmac.new(b"key", message, hashlib.sha256).digest()
    assert struct.unpack("i", length) == (len(message),)


def test_horovod_reads_what_is_said_to_it(horovod_python: Path) -> None:
    program = """if True:
        import base64, sys, cloudpickle
        from horovod.runner.elastic.worker import HostUpdateResult, HostsUpdatedRequest
        request = cloudpickle.loads(base64.b64decode(sys.argv[1]))
        assert type(request) is HostsUpdatedRequest and request.res is HostUpdateResult.added, vars(request)
        print(request.timestamp)
    """
    text = base64.b64encode(host_update(7)).decode()
    done = subprocess.run([horovod_python, "-c", program, text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "7"


# ---- severing ------------------------------------------------------------------------------------------------------


def gloo_address(address: str, port: int) -> bytes:
    head = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(address)
    return head.ljust(128, b"\x00") + struct.pack("=q", -1)


def test_where_gloo_listens_is_read_from_what_its_processes_tell_each_other() -> None:
    value = gloo_address("10.0.0.1", 4242) + gloo_address("10.0.0.1", 65535)
    assert gloo_endpoints(value) == {("10.0.0.1", 4242), ("10.0.0.1", 65535)}
    assert gloo_endpoints(b"name of a machine") == gloo_endpoints(b"") == set()


def test_only_the_connections_to_peers_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    program = """if True:
        import socket, sys
        peer, other = (socket.create_connection(("127.0.0.1", int(port))) for port in sys.argv[1:])
        print(repr(peer.recv(1)), flush=True)
        print(repr(other.recv(1)), flush=True)
    """
    monkeypatch.setenv("SECRET_OF_THIS_TEST", "aeW7shai")
    with socket.create_server(("127.0.0.1", 0)) as peer, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [str(server.getsockname()[1]) for server in (peer, other)]
        child = subprocess.Popen([sys.executable, "-c", program, *ports], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        with peer.accept()[0] as from_child, other.accept()[0] as kept, child:
            endpoints = gloo_endpoints(gloo_address("127.0.0.1", int(ports[0])))
            assert sever("another secret", set(), endpoints) == 0
            assert sever("aeW7shai", set(), endpoints) == 1
            assert from_child.recv(1) == b""
            assert child.stdout.readline().strip() == "b''"
            kept.sendall(b"y")
            assert child.stdout.readline().strip() == "b'y'"
