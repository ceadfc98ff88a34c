"""The coordinator: executors talk to their driver over HTTP with mutual TLS and the application's token.

Skein puts one certificate pair of the user into every container. It is self-signed and names no host,
so it is pinned instead of checked against a name; and because it is the user's, each application adds
a token of its own, so that no application can speak in another.
"""

import hmac
import select
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tony_py.driver.background import BackgroundServer
from tony_py.driver.gang import Gang
from tony_py.driver.tasks import Heartbeat, Registration, TaskEnd
from yarnmill.errors import BadDataError, ConflictError, YarnMillError
from yarnmill.records import Record, compact_json, parse_json

_MAX_BODY_BYTES: Final = 1 << 20
_MAX_WAIT_S: Final = 30.0
_HANDSHAKE_TIMEOUT_S: Final = 10.0
_IDLE_TIMEOUT_S: Final = 120.0
_WATCH_S: Final = 0.2


class Accepted(Record, frozen=True, kw_only=True):
    """The answer where there is nothing else to say."""

    accepted: bool = True


class Refusal(Record, frozen=True, kw_only=True):
    """The answer to a message that cannot be taken."""

    error: str


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a context that shows the pair and accepts only a client who shows the same."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class Coordinator(BackgroundServer):
    """The server, listening from construction on; a context manager that stops it.

    Parameters
    ----------
    gang
        What the messages are about.
    token
        The application's secret; every message must bring it.
    certificate, key
        Files of the pinned pair (PEM).
    """

    def __init__(self, gang: Gang, token: str, *, certificate: Path, key: Path, host: str = "") -> None:
        self._server = _Server((host, 0), gang, token, server_context(certificate, key))
        super().__init__(self._server, "coordinator")

    @property
    def port(self) -> int:
        """The port that was free."""
        return int(self._server.server_address[1])

    def route(self, prefix: str, answer: Callable[[str, bytes], Record | None]) -> None:
        """Have messages whose path begins with ``prefix`` answered by a function of path and body."""
        self._server.routes[prefix] = answer


class _HangUps:
    """Notices at once when an executor's connection breaks while its heartbeat waits for an answer."""

    def __init__(self, gang: Gang) -> None:
        self._gang = gang
        self._poll = select.epoll()
        self._waiting: dict[int, tuple[str, int]] = {}
        self._closed = Event()
        self._thread = Thread(target=self._watch, name="hang-ups", daemon=True)
        self._thread.start()

    @contextmanager
    def watching(self, connection: socket.socket, task: str, attempt: int) -> Iterator[None]:
        """Watch a connection: nothing is to come over it before the answer, so whatever comes is its end."""
        descriptor = connection.fileno()
        self._waiting[descriptor] = (task, attempt)
        self._poll.register(descriptor, select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLONESHOT)
        try:
            yield
        finally:
            with suppress(OSError):
                self._poll.unregister(descriptor)
            self._waiting.pop(descriptor, None)

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()
        self._thread.join()
        self._poll.close()

    def _watch(self) -> None:
        while not self._closed.is_set():
            for descriptor, _ in self._poll.poll(_WATCH_S):
                who = self._waiting.get(descriptor)
                if who is not None:
                    self._gang.hang_up(*who)


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024  # a large gang registers all at once
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], gang: Gang, token: str, context: ssl.SSLContext) -> None:
        self.gang = gang
        self.token = token
        self.routes: dict[str, Callable[[str, bytes], Record | None]] = {}
        self._context = context
        self.hang_ups = _HangUps(gang)
        super().__init__(address, _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  # socketserver's signature
        # The handshake happens here, on the connection's own thread: a client that says nothing holds up nobody.
        request.settimeout(_HANDSHAKE_TIMEOUT_S)
        with self._context.wrap_socket(request, server_side=True) as secured:
            secured.settimeout(_IDLE_TIMEOUT_S)
            super().finish_request(secured, client_address)
            with suppress(OSError):
                secured.shutdown(socket.SHUT_RDWR)

    def server_close(self) -> None:
        super().server_close()
        self.hang_ups.close()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  # socketserver's signature
        """Say nothing: whoever fails the handshake or hangs up is no concern of the application."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: in two, the second would wait for the first's acknowledgement
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        self._guarded(self._get)

    def do_POST(self) -> None:
        self._guarded(self._post)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401  # http.server's signature
        """Log nothing: a line a heartbeat would bury the program's own."""

    def _guarded(self, answer: Callable[[], Record | None]) -> None:
        offered = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(offered.encode(), self.server.token.encode()):
            self.close_connection = True
            self._send(401, Refusal(error="this application's token is missing or wrong"))
            return
        try:
            self._send(200, answer())
        except ConflictError as error:
            self._send(409, Refusal(error=str(error)))
        except YarnMillError as error:
            self._send(400, Refusal(error=str(error)))

    def _get(self) -> Record | None:
        url = urlsplit(self.path)
        if url.path != "/v1/specification":
            raise BadDataError(f"{url.path}: no such resource")
        query = parse_qs(url.query)
        try:
            wait_s = min(float(query["wait"][0]), _MAX_WAIT_S)
            task, attempt, generation = query["task"][0], int(query["attempt"][0]), int(query["generation"][0])
        except (KeyError, ValueError):
            raise BadDataError(
                f"{url.query!r} is no query", expected="task=worker:0&attempt=1&generation=1&wait=20"
            ) from None
        with self.server.hang_ups.watching(self.connection, task, attempt):
            return self.server.gang.specification(task, attempt, generation, wait_s)

    def _post(self) -> Record:
        body = self._body()
        gang = self.server.gang
        match self.path:
            case "/v1/register":
                return gang.register(parse_json(body, Registration, source=self.path))
            case "/v1/heartbeat":
                message = parse_json(body, Heartbeat, source=self.path)
                with self.server.hang_ups.watching(self.connection, message.task, message.attempt):
                    return gang.heartbeat(message)
            case "/v1/exit":
                gang.finish(parse_json(body, TaskEnd, source=self.path))
            case _:
                return self._routed(body) or Accepted()
        return Accepted()

    def _routed(self, body: bytes) -> Record | None:
        for prefix, answer in self.server.routes.items():
            if self.path.startswith(prefix):
                return answer(self.path, body)
        raise BadDataError(f"{self.path}: no such resource")

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _MAX_BODY_BYTES:
            self.close_connection = True
            raise BadDataError("a message without a length, or larger than 1 MiB")
        return self.rfile.read(int(length))

    def _send(self, status: int, body: Record | None) -> None:
        data = compact_json(body) if body is not None else b""
        self.send_response(status if body is not None else 204)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
