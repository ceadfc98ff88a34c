"""The tier as processes: gunicorn with threads, a port bound before anything starts, workers that load first.

The parent opens neither registry nor store nor model, since no connection and no runtime's threads
survive a fork. Each worker follows the registry on its own, so none depends on another's health.
"""

import errno
import fcntl
import gc
import os
import shutil
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from gunicorn.app.base import BaseApplication

from serving.worker import TierWorker
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError, ConflictError
from yarnmill.records import Record

if TYPE_CHECKING:
    from serving.follower import Follower

_LOAD_FIRST_S: Final = 20.0
"""How long a new worker loads models before it accepts requests anyway (and answers 503 for what is missing)."""

_HUNG_S: Final = 30
"""A worker whose main loop is silent for so long is replaced. It speaks every second: this limits no request."""

_BACKLOG: Final = 2048
_KEEPALIVE_S: Final = 75
_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108  # a worker's heartbeat is a file there, and must not wait for a disk


class ServerOptions(Record, frozen=True, kw_only=True):
    """What one run of the tier needs beside the configuration. ``access_log``: a file, or ``-`` for standard error."""

    access_log: str = "-"
    pid_file: Path | None = None


def bind(host: str, port: int) -> socket.socket:
    """Return a bound socket; port 0 takes any free one.

    Raises
    ------
    ConflictError
        If the port is taken.
    ConfigurationError
        If the host is no address of this machine, or the port needs privileges.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as problem:
        raise ConfigurationError(f"serving.host {host}: {problem}", expected="an address of this machine") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        # Two binds can share a port until one of them listens.
        listener.listen(_BACKLOG)
    except OSError as problem:
        listener.close()
        raise _bind_error(host, port, problem) from None
    return listener


def _bind_error(host: str, port: int, problem: OSError) -> ConfigurationError | ConflictError:
    if problem.errno == errno.EADDRINUSE:
        return ConflictError(
            f"port {port} of {host} is taken",
            expected="a free port",
            mend=f"yarnmill serve --port {port + 1}, or stop what listens there: ss -ltnp 'sport = :{port}'",
        )
    return ConfigurationError(
        f"{host}:{port} cannot be bound: {problem.strerror}", expected="an address of this machine and a port over 1023"
    )


def _limit_stalls(listener: socket.socket, timeout_s: float) -> None:
    """Let no client hold a thread by sending or reading nothing: accepted sockets inherit the kernel's own limits."""
    whole, part = divmod(max(timeout_s, 0.1), 1)
    limit = struct.pack("ll", int(whole), int(part * 1e6))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        listener.setsockopt(socket.SOL_SOCKET, option, limit)


def address_of(listener: socket.socket) -> str:
    """Return the URL of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"


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
    _limit_stalls(listener, float(config.serving.timeout))
    url = address_of(listener)
    with _metrics_folder() as folder, tempfile.TemporaryFile() as tally:
        # prometheus_client reads this when it is imported, so what imports it comes later.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        ready = _ReadyLine(tally, config.serving.workers, lambda: announce(url))
        _Application(config, options, listener.detach(), ready).run()


@contextmanager
def _metrics_folder() -> Iterator[Path]:
    """Yield a folder for the workers' counters; only the parent removes it, though every fork leaves this block."""
    owner = os.getpid()
    folder = Path(tempfile.mkdtemp(prefix="yarnmill-metrics-"))
    try:
        yield folder
    finally:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)


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


class _Application(BaseApplication):  # type: ignore[misc]  # gunicorn is untyped
    """gunicorn, configured from ours alone: neither its files nor its environment variables are read."""

    def __init__(self, config: Config, options: ServerOptions, listener_fd: int, ready: _ReadyLine) -> None:
        self._config = config
        self._options = options
        self._listener_fd = listener_fd
        self._ready = ready
        self._follower: Follower | None = None
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's settings."""
        # Imported in the parent, so that the workers share the pages, and only now: see serve().
        from serving import app  # noqa: F401, PLC0415
        from serving.accesslog import StructuredLogger  # noqa: PLC0415

        serving = self._config.serving
        pid_file = self._options.pid_file
        settings: dict[str, object] = {
            "bind": f"fd://{self._listener_fd}",
            "workers": serving.workers,
            "worker_class": TierWorker,
            "threads": serving.threads,
            "timeout": _HUNG_S,
            "graceful_timeout": max(1, round(serving.timeout)),
            "keepalive": _KEEPALIVE_S,
            "backlog": _BACKLOG,
            "control_socket_disable": True,
            "proc_name": "yarnmill-serve",
            "accesslog": self._options.access_log,
            "pidfile": None if pid_file is None else str(pid_file.absolute()),
            "loglevel": "warning",
            "logger_class": StructuredLogger,
            "worker_tmp_dir": _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None,
            "when_ready": lambda _arbiter: gc.freeze(),  # pages of the parent's objects stay shared
            "post_worker_init": self._load_first,
            "worker_exit": self._stop_following,
            "child_exit": lambda _arbiter, worker: _forget_worker(worker.pid),
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:  # noqa: ANN401  # a WSGI application
        """Return the application of one worker; called after the fork."""
        from serving.app import create_app  # noqa: PLC0415  # see serve()
        from serving.follower import Follower  # noqa: PLC0415

        self._follower = Follower.from_config(self._config)
        max_body_bytes = int(self._config.serving.max_body) * 1024 * 1024
        return create_app(self._follower.table, self._follower.metrics, max_body_bytes=max_body_bytes)

    def _load_first(self, worker: TierWorker) -> None:
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


def _forget_worker(pid: int) -> None:
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415  # see serve()

    mark_process_dead(pid)  # type: ignore[no-untyped-call]
