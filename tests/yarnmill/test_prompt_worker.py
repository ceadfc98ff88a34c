"""How long a thread of our gunicorn stays with a connection."""

import math
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from gunicorn.workers.gthread import TConn

from yarnmill.httpserver.accesslog import StructuredLogger
from yarnmill.httpserver.application import Processes, ThreadedApplication
from yarnmill.httpserver.listener import bind
from yarnmill.httpserver.worker import PromptWorker

_REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
_THREADS = 2


class _Logger(StructuredLogger):
    source: ClassVar[str] = "prompt"


class _Application(ThreadedApplication):
    def load(self) -> None:
        """Do nothing: the worker gets what answers by hand."""


def _answer(_environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PromptWorker]:
    monkeypatch.setattr("yarnmill.httpserver.worker._AT_ONCE_S", 30.0)  # no test is to depend on who is quicker
    with bind("127.0.0.1", 0) as listener:
        processes = Processes(
            name="prompt", workers=1, threads=_THREADS, grace_s=1, access_log=str(tmp_path / "access.log")
        )
        application = _Application(processes, listener, _Logger)
        log = _Logger(application.cfg)
        one = PromptWorker(1, 1, [], application, 30, application.cfg, log)
        one.wsgi, one.nr, one.max_requests, one.alive = _answer, 0, 10**6, True
        yield one
        one.tmp.close()
        for handler in log.access_log.handlers:
            handler.close()


@pytest.fixture
def client_and_connection(worker: PromptWorker) -> Iterator[tuple[socket.socket, TConn]]:
    client, served = socket.socketpair()
    with client, served:
        client.settimeout(10)
        yield client, TConn(worker.cfg, served, ("127.0.0.1", 1), ("127.0.0.1", 2))


def _ask(client: socket.socket, times: int) -> None:
    for _ in range(times):
        client.sendall(_REQUEST)
        answer = b""
        while not answer.endswith(b"ok"):
            answer += client.recv(1 << 16)
    client.shutdown(socket.SHUT_WR)


def test_a_client_that_sends_on_at_once_keeps_its_thread(
    worker: PromptWorker, client_and_connection: tuple[socket.socket, TConn]
) -> None:
    client, connection = client_and_connection
    asking = threading.Thread(target=_ask, args=(client, 50))
    asking.start()
    assert worker.handle(connection) is False  # all fifty, and the end
    asking.join()


def test_the_last_free_thread_goes_back(
    worker: PromptWorker, client_and_connection: tuple[socket.socket, TConn]
) -> None:
    client, connection = client_and_connection
    worker._busy = _THREADS - 1  # noqa: SLF001  # as if all others were at work
    asking = threading.Thread(target=_ask, args=(client, 2))
    asking.start()
    assert [worker.handle(connection) for _ in range(3)] == [True, True, False]
    asking.join()


def test_a_client_that_takes_its_time_is_not_waited_for(
    worker: PromptWorker, client_and_connection: tuple[socket.socket, TConn]
) -> None:
    client, connection = client_and_connection
    client.sendall(_REQUEST * 2)
    connection.init()
    for _ in range(2):
        connection.idle_since = -math.inf
        assert worker.handle(connection) is True
        client.sendall(_REQUEST)
    assert worker._busy == 0  # noqa: SLF001
