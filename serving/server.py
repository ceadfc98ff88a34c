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
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from gunicorn.app.base import BaseApplication

from yarnmill.config import Config
from yarnmill.errors import ConfigurationError, ConflictError
from yarnmill.records import Record

_LOAD_FIRST_S: Final = 20.0
"""How long a new worker loads models before it accepts requests anyway (and answers 503 for what is missing)."""

_BACKLOG: Final = 2048


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
        Called once with the tier's URL, when every worker has loaded its models. Runs in a worker.

    Raises
    ------
    ConflictError
        If the port is taken.
    """
    listener = bind(config.serving.host, config.serving.port)
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
        self._follower = _Follower(config, ready)
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's settings."""
        from serving.accesslog import StructuredLogger  # noqa: PLC0415  # imports what must see the environment above

        serving = self._config.serving
        settings: dict[str, object] = {
            "bind": f"fd://{self._listener_fd}",
            "workers": serving.workers,
            "worker_class": "gthread",
            "threads": serving.threads,
            "timeout": max(1, round(serving.timeout)),
            "graceful_timeout": max(1, round(serving.timeout)),
            "keepalive": 75,
            "backlog": _BACKLOG,
            "preload_app": True,
            "control_socket_disable": True,
            "proc_name": "yarnmill-serve",
            "accesslog": self._options.access_log,
            "pidfile": None if self._options.pid_file is None else str(self._options.pid_file.absolute()),
            "loglevel": "warning",
            "logger_class": StructuredLogger,
            "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,  # noqa: S108  # a heartbeat must not wait for a disk
            "when_ready": lambda _arbiter: gc.freeze(),  # pages of the parent's objects stay shared
            "post_worker_init": self._follower.start,
            "worker_exit": lambda _arbiter, _worker: self._follower.stop(),
            "child_exit": lambda _arbiter, worker: _forget_worker(worker.pid),
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:  # noqa: ANN401  # a WSGI application
        """Return the application; called in the parent, before the workers are forked."""
        return self._follower.create_app(round(self._config.serving.max_body) * 1024 * 1024)


def _forget_worker(pid: int) -> None:
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415  # see serve()

    mark_process_dead(pid)  # type: ignore[no-untyped-call]


class _Follower:
    """Keeps one worker's table of models fresh, on a thread that starts after the fork."""

    def __init__(self, config: Config, ready: _ReadyLine) -> None:
        from serving.metrics import Metrics  # noqa: PLC0415  # see serve()
        from serving.models import ModelTable  # noqa: PLC0415
        from serving.source import RegistrySource  # noqa: PLC0415

        self._poll_s = float(config.serving.poll)
        source = RegistrySource(config.registry_url, config.home_path / "cache")
        self._table = ModelTable(source, time.monotonic, pause_s=self._poll_s)
        self._metrics = Metrics()
        self._ready = ready
        self._first_pass = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def create_app(self, max_body_bytes: int) -> Any:  # noqa: ANN401  # a WSGI application
        from serving.app import create_app  # noqa: PLC0415  # see serve()

        return create_app(self._table, self._metrics, max_body_bytes=max_body_bytes)

    def start(self, worker: Any) -> None:  # noqa: ANN401  # gunicorn's worker
        """Follow the registry from now on; return when models are loaded: no request meets an empty worker."""
        self._thread = threading.Thread(target=self._follow, name="registry", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + _LOAD_FIRST_S
        while worker.alive and time.monotonic() < deadline and not self._first_pass.wait(0.2):
            worker.notify()  # the parent kills a worker that is silent
        if worker.alive:
            self._ready.count_one()

    def stop(self) -> None:
        """End the thread before the interpreter ends under it."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=2.0)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            self._table.refresh()
            self._metrics.show_models(self._table.snapshot)
            self._first_pass.set()
            self._stopping.wait(self._poll_s)
