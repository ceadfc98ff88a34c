"""Horovod's key-value protocol over plain HTTP, on this machine's loopback only.

Horovod's protocol knows no authentication, so each process gets a secret of its own as the first part of every
path. Horovod makes its URLs as ``http://ADDR:PORT/scope/key``: an address that holds port and secret already
turns the rest into a path.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tony_py.executor.channel import RefusedError


class Request(NamedTuple):
    """What a process asks: ``value`` is what it puts."""

    method: str
    secret: str
    scope: str
    key: str
    value: bytes = b""


class StrangerError(Exception):
    """Nobody here has this secret."""


class Loopback:
    """The server, answering from construction to :meth:`close`.

    Parameters
    ----------
    answer
        Returns the value that was asked for, or None if there is none.
    """

    def __init__(self, answer: Callable[[Request], bytes | None]) -> None:
        self._server = _Server(answer)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="rendezvous", daemon=True
        ).start()

    def variables(self, secret: str) -> dict[str, str]:
        """Return the variables by which the process with this secret finds the server."""
        port = self._server.server_address[1]
        return {
            "HOROVOD_GLOO_RENDEZVOUS_ADDR": f"127.0.0.1:{port}/{secret}",
            "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
        }

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    block_on_close = False

    def __init__(self, answer: Callable[[Request], bytes | None]) -> None:
        self.answer = answer
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  # socketserver's signature
        """Say nothing: a process that hangs up in the middle has ended."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._answer("GET")

    def do_PUT(self) -> None:
        self._answer("PUT", self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401  # http.server's signature
        """Log nothing: Horovod says itself what it cannot do."""

    def _answer(self, method: str, value: bytes = b"") -> None:
        _, mark, scope, key = [*self.path.split("/", 3), "", "", ""][:4]
        try:
            found = self.server.answer(Request(method, mark.partition(":")[0], scope, key, value))
        except StrangerError:
            self._send(403, b"")
        except RefusedError:
            self._send(410, b"")  # the round is over: Horovod asks twice more and gives up
        except OSError:
            self._send(503, b"")
        else:
            self._send(404 if found is None else 200, found or b"")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
