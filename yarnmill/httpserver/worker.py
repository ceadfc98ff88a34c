"""gunicorn's threaded worker, ended sooner: clients that keep idle connections open must not hold up a stop."""

from typing import Any

from gunicorn.workers.gthread import ThreadWorker


class PromptWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn is untyped
    """Threads that answer requests; told to stop, it finishes what runs and closes what idles."""

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
