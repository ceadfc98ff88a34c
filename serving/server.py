"""The tier as processes: gunicorn with threads, a port bound before anything starts, workers that load first.

The parent opens neither registry nor store nor model, since no connection and no runtime's threads
survive a fork. Each worker follows the registry on its own, so none depends on another's health.
"""

import fcntl
import gc
import os
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from typing_extensions import override

from yarnmill.config import Config
from yarnmill.httpserver.application import Processes, ThreadedApplication
from yarnmill.httpserver.listener import address_of, bind, limit_stalls
from yarnmill.httpserver.series import forget_worker, shared_series
from yarnmill.httpserver.worker import PromptWorker
from yarnmill.records import Record

if TYPE_CHECKING:
    from serving.follower import Follower

_LOAD_FIRST_S: Final = 20.0
"""How long a new worker loads models before it accepts requests anyway (and answers 503 for what is missing)."""


class ServerOptions(Record, frozen=True, kw_only=True):
    """What one run of the tier needs beside the configuration. ``access_log``: a file, or ``-`` for standard error."""

    access_log: str = "-"
    pid_file: Path | None = None


def serve(config: Config, options: ServerOptions, announce: Callable[[str], None]) -> None:
    """Run the tier until SIGTERM or Ctrl-C ends it; this leaves by SystemExit, with all workers gone.

    Parameters
    ----------
    config
        The configuration: ``serving``, ``registry``, ``home``.
    options
        What this run needs beside it.
    announce
        Called once with the tier's URL, when every worker has loaded its models, or tried to for 20 s.
        Runs in a worker.

    Raises
    ------
    ConflictError
        If the port is taken.
    """
    listener = bind(config.serving.host, config.serving.port)
    limit_stalls(listener, float(config.serving.timeout))
    url = address_of(listener)
    with shared_series(), tempfile.TemporaryFile() as tally:
        ready = _ReadyLine(tally, config.serving.workers, lambda: announce(url))
        _Application(config, options, listener, ready).run()


class _ReadyLine:
    """Counts workers over forks and calls ``announce`` when the last of the first ones is ready."""

    def __init__(self, tally: IO[bytes], workers: int, announce: Callable[[], None]) -> None:
        self._tally = tally
        self._workers = workers
        self._announce = announce

    def count_one(self) -> None:
        fcntl.lockf(self._tally, fcntl.LOCK_EX)
        try:
            self._tally.seek(0, os.SEEK_END)
            self._tally.write(b".")
            self._tally.flush()
            if self._tally.tell() == self._workers:
                self._announce()
        finally:
            fcntl.lockf(self._tally, fcntl.LOCK_UN)


class _Application(ThreadedApplication):
    """The tier's workers."""

    def __init__(self, config: Config, options: ServerOptions, listener: socket.socket, ready: _ReadyLine) -> None:
        # Imported in the parent, so that the workers share the pages, and only now: see shared_series.
        from serving import app  # noqa: F401, PLC0415
        from serving.accesslog import TierLogger  # noqa: PLC0415

        self._config = config
        self._ready = ready
        self._follower: Follower | None = None
        processes = Processes(
            name="yarnmill-serve",
            workers=config.serving.workers,
            threads=config.serving.threads,
            grace_s=float(config.serving.timeout),
            access_log=options.access_log,
            pid_file=options.pid_file,
        )
        super().__init__(processes, listener, TierLogger)

    @override
    def hooks(self) -> Mapping[str, object]:
        return {
            "when_ready": lambda _arbiter: gc.freeze(),  # pages of the parent's objects stay shared
            "post_worker_init": self._load_first,
            "worker_exit": self._stop_following,
            "child_exit": lambda _arbiter, worker: forget_worker(worker.pid),
        }

    def load(self) -> Any:  # noqa: ANN401  # a WSGI application
        """Return the application of one worker; called after the fork."""
        from serving.app import create_app  # noqa: PLC0415  # see shared_series
        from serving.follower import Follower  # noqa: PLC0415

        self._follower = Follower.from_config(self._config)
        max_body_bytes = int(self._config.serving.max_body) * 1024 * 1024
        return create_app(self._follower.table, self._follower.metrics, max_body_bytes=max_body_bytes)

    def _load_first(self, worker: PromptWorker) -> None:
        """Follow the registry from now on, and return when models are loaded: no request meets an empty worker."""
        if self._follower is None:
            return
        self._follower.start()
        deadline = time.monotonic() + _LOAD_FIRST_S
        while worker.alive and time.monotonic() < deadline and not self._follower.wait_for_first_pass(0.2):
            worker.notify()  # the parent kills a worker that is silent
        if worker.alive:
            self._ready.count_one()

    def _stop_following(self, _arbiter: object, _worker: object) -> None:
        if self._follower is not None:
            self._follower.stop()
