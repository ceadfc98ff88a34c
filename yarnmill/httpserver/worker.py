"""gunicorn's threaded worker, ended sooner, and awake to what a connection has sent already."""

import math
import select
import socket
import sys
import threading
import time
from typing import Any, Final

from gunicorn.workers.gthread import ThreadWorker

_DRAIN_S: Final = 5.0
_AT_ONCE_S: Final = 0.002
"""How soon a request follows the one before it for a thread to wait for it."""


class PromptWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn is untyped
    """Threads that answer requests; told to stop, it finishes what runs and closes what idles.

    Clients that keep idle connections open must not hold up a stop. And a request that was read together with the
    end of the one before it is answered: gunicorn would wait for the socket to have more, until it gave up. So it is
    with every client that sends on after a refusal for which its body was not read.

    A client that sends its next request at once is answered by the same thread, as long as another one is free: each
    way over the main loop would wake two threads, which costs more than a small answer.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401  # gunicorn's own
        super().__init__(*arguments, **named)
        self._busy = 0
        self._count = threading.Lock()

    def handle(self, conn: Any) -> Any:  # noqa: ANN401  # gunicorn's untyped connection
        """Answer a request, those that were read with it, and those that follow at once."""
        with self._count:
            self._busy += 1
        try:
            idle_s = time.monotonic() - getattr(conn, "idle_since", -math.inf)
            follows = idle_s <= _AT_ONCE_S or not conn.initialized
            result = super().handle(conn)
            while result is True and self.alive:
                if not conn.parser.unreader.buf.getbuffer().nbytes:
                    follows = follows and self._busy < self.cfg.threads and _has_more(conn.sock)
                    if not follows:
                        break
                result = super().handle(conn)
            conn.idle_since = time.monotonic()
            return result
        finally:
            with self._count:
                self._busy -= 1

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:  # noqa: ANN401, FBT001  # gunicorn's own
        """Read the rest of a body that nobody wanted, as long as that does not take long: a client sends all of it."""
        drained = {"deadline": time.monotonic() + _DRAIN_S, "max_bytes": sys.maxsize}
        return keepalive and bool(conn.parser.finish_body(**drained))

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:  # noqa: ANN401  # gunicorn's own
        """Take up a connection that idled, unless it was closed since the poller named it."""
        if conn in self.keepalived_conns:
            super().on_client_socket_readable(conn, client)

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:  # noqa: ANN401  # gunicorn's own
        """Take up a connection that had sent nothing yet, unless it was closed since the poller named it."""
        if conn in self.pending_conns:
            super().on_pending_socket_readable(conn, client)

    def handle_exit(self, sig: int, frame: Any) -> None:  # noqa: ANN401  # a signal handler's frame
        """Begin the stop; the connections are closed on the main loop, which owns them."""
        super().handle_exit(sig, frame)
        self.method_queue.defer(self._expire_idle)

    def _expire_idle(self) -> None:
        for connections in (self.keepalived_conns, self.pending_conns):
            for connection in connections:
                connection.timeout = 0.0
        self.murder_keepalived()
        self.murder_pending()


def _has_more(connection: socket.socket) -> bool:
    readable = select.poll()
    readable.register(connection, select.POLLIN)
    return bool(readable.poll(_AT_ONCE_S * 1000))
