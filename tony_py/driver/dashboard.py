"""The server of the status page: on the loopback interface, read only, behind a path that nobody can guess.

Skein's master runs in the driver's own container and leads people here, behind YARN's proxy, which asks who they
are. Others on that machine could reach the port too, but not the page: its path is the application's secret.
"""

import hmac
import secrets
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any, Final

from tony_py.driver.background import BackgroundServer
from tony_py.page.document import STATUS_NAME, render_page, security_policy
from tony_py.status import RunStatus
from yarnmill.records import canonical_json

_HOST: Final = "127.0.0.1"
_FRESH_S: Final = 0.5
"""How long a record is shown again instead of being made anew: many who look cost as much as one."""

_IDLE_TIMEOUT_S: Final = 30.0


class StatusServer(BackgroundServer):
    """Serves the page and the record; a context manager that stops it.

    Parameters
    ----------
    observe
        Returns the record.
    """

    def __init__(self, observe: Callable[[], RunStatus]) -> None:
        self._server = _Server(observe)
        super().__init__(self._server, "dashboard")

    @property
    def url(self) -> str:
        """The address of the page, with its secret."""
        return f"http://{_HOST}:{self._server.server_address[1]}/{self._server.secret}/"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, observe: Callable[[], RunStatus]) -> None:
        self.secret = secrets.token_urlsafe(24)
        self._observe = observe
        self._lock = Lock()
        self._seen: tuple[float, RunStatus] | None = None
        super().__init__((_HOST, 0), _Handler)

    def status(self) -> RunStatus:
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] > _FRESH_S:
                self._seen = time.monotonic(), self._observe()
            return self._seen[1]

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  # socketserver's signature
        """Say nothing: whoever hangs up is no concern of the application."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _IDLE_TIMEOUT_S
    server: _Server

    def do_GET(self) -> None:
        """Answer with the page, the record, or nothing."""
        path = self.path.partition("?")[0].encode()
        for name, kind, render in (
            ("", "text/html; charset=utf-8", render_page),
            (STATUS_NAME, "application/json", canonical_json),
        ):
            if hmac.compare_digest(path, f"/{self.server.secret}/{name}".encode()):
                self._send(200, kind, render(self.server.status()))
                return
        self._send(404, "text/plain; charset=utf-8", b"no such page\n")

    do_HEAD = do_GET  # noqa: N815  # http.server's name

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401  # http.server's signature
        """Log nothing: the path is a secret, and every look would be a line."""

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", security_policy())
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
