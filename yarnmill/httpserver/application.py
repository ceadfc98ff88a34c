"""gunicorn as our programs use it: configured by the program alone, workers of threads, quick to stop."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gunicorn.app.base import BaseApplication

from yarnmill.httpserver.accesslog import StructuredLogger
from yarnmill.httpserver.listener import BACKLOG
from yarnmill.httpserver.worker import PromptWorker
from yarnmill.records import Record

_HUNG_S: Final = 30
"""A worker whose main loop is silent for so long is replaced. It speaks every second: this limits no request."""

_KEEPALIVE_S: Final = 75
_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108  # a worker's heartbeat is a file there, and must not wait for a disk


class Processes(Record, frozen=True, kw_only=True):
    """How a server runs.

    Parameters
    ----------
    name
        As ``ps`` shows it.
    workers, threads
        Worker processes, and threads in each.
    grace_s
        How long what runs may go on after a stop was asked for.
    access_log
        A file, or ``-`` for standard error.
    pid_file
        Written while the server runs.
    """

    name: str
    workers: int
    threads: int
    grace_s: float
    access_log: str = "-"
    pid_file: Path | None = None


class ThreadedApplication(BaseApplication):  # type: ignore[misc]  # gunicorn is untyped
    """gunicorn, configured from ours alone: neither its files nor its environment variables are read.

    A server of its own defines ``load``, which returns the WSGI application of one worker and is called after the
    fork, and may define ``hooks``.
    """

    def __init__(self, processes: Processes, listener: socket.socket, logger: type[StructuredLogger]) -> None:
        self._processes = processes
        self._listener_fd = listener.detach()
        self._logger = logger
        super().__init__()

    def hooks(self) -> Mapping[str, object]:
        """Return further settings of gunicorn, such as its hooks."""
        return {}

    def load_config(self) -> None:
        """Set gunicorn's settings."""
        run = self._processes
        settings: dict[str, object] = {
            "bind": f"fd://{self._listener_fd}",
            "workers": run.workers,
            "worker_class": PromptWorker,
            "threads": run.threads,
            "timeout": _HUNG_S,
            "graceful_timeout": max(1, round(run.grace_s)),
            "keepalive": _KEEPALIVE_S,
            "backlog": BACKLOG,
            "control_socket_disable": True,
            "proc_name": run.name,
            "accesslog": run.access_log,
            "pidfile": None if run.pid_file is None else str(run.pid_file.absolute()),
            "loglevel": "warning",
            "logger_class": self._logger,
            "worker_tmp_dir": _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None,
            **self.hooks(),
        }
        for name, value in settings.items():
            self.cfg.set(name, value)
