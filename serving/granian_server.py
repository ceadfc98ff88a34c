"""The tier under Granian: HTTP in Rust, one call of Python a request.

Granian has no public way to bring a socket of one's own, nor to say from when on a worker hears that it is to end: what
begins with an underscore below is its own, and why its version is pinned.
"""

import gc
import os
import signal
import socket
import threading
from collections.abc import Callable
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from serving.worker import LOG_NAME, LOGGED, ReadyLine, Worker
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError
from yarnmill.httpserver.lines import LoggedApplication
from yarnmill.httpserver.listener import BACKLOG
from yarnmill.httpserver.series import forget_worker

try:
    from granian import _signals
    from granian._granian import (
        SocketHolder,
        WorkerSignal,
        WSGIWorker,
    )  # there is no public way to what we need of them
    from granian.constants import Interfaces
    from granian.http import HTTP1Settings
    from granian.server import mp
except ImportError:
    raise ConfigurationError(
        "serving.server: Granian is not installed", expected="gunicorn", mend="pip install 'yarnmill[granian]'"
    ) from None

if TYPE_CHECKING:
    from serving.control.backing import Backing

_STOPS: Final = (signal.SIGTERM, signal.SIGINT)
_LOOK_S: Final = 0.2
_MOST_HEADER_BYTES: Final = 64 << 10
_LOGGING: Final = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {
            "format": "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s",
            "datefmt": "%Y-%m-%d %H:%M:%S %z",
        }
    },
    "handlers": {"errors": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "plain"}},
    "loggers": {
        LOG_NAME: {"handlers": ["errors"], "level": "INFO", "propagate": False},
        "_granian": {"handlers": ["errors"], "propagate": False},
    },
}
"""Granian's own way would put its warnings on standard output, before the line that says where the tier answers."""


def run_granian(
    config: Config,
    access_log: str,
    pid_file: Path | None,
    listener: socket.socket,
    ready: ReadyLine,
    backing: "Backing | None",
) -> None:
    """Run the tier's workers until SIGTERM or Ctrl-C ends it; this leaves by SystemExit, with all workers gone.

    Parameters
    ----------
    config
        The configuration: ``serving``, ``registry``, ``home``.
    access_log
        A file, or ``-`` for standard error.
    pid_file
        Written while the tier runs.
    listener
        Where it answers; every worker accepts from it.
    ready
        Told of each worker that has loaded its models.
    backing
        As in :class:`serving.worker.Worker`.
    """

    def load() -> Any:  # noqa: ANN401  # a WSGI application
        """Return the application of one worker; called after the fork, before the worker accepts anything."""
        # Until Granian handles signals here, the parent's handlers would only note them: a stop would be missed.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _Stop().take_over()
        worker = Worker(config, backing, access_log)
        Finalize(None, worker.stop, exitpriority=1)  # Granian's workers end as multiprocessing's do
        worker.load_first()
        ready.count_one()
        logged = LoggedApplication(worker.app.wsgi_app, access_log, LOGGED)
        Finalize(None, logged.flush, exitpriority=0)
        return logged

    host, port = listener.getsockname()[:2]
    server = _Server(
        "serving",
        listener=listener,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=config.serving.workers,
        blocking_threads=config.serving.threads,
        backlog=BACKLOG,
        websockets=False,
        http1_settings=HTTP1Settings(
            header_read_timeout=round(float(config.serving.timeout) * 1000), max_buffer_size=_MOST_HEADER_BYTES
        ),
        log_level="warning",
        log_dictconfig=_LOGGING,
        respawn_failed_workers=True,
        respawn_interval=0.1,
        workers_kill_timeout=max(1, round(float(config.serving.timeout))),
    )
    gc.freeze()  # pages of the parent's objects stay shared
    if pid_file is not None:
        pid_file.write_text(f"{os.getpid()}\n")
    try:
        server.serve(target_loader=load, wrap_loader=False)
    finally:
        if pid_file is not None:
            pid_file.unlink(missing_ok=True)
    raise SystemExit(0)


class _Server(mp.MPServer):
    """Granian whose workers accept from a socket that is there already, and whose dead ones leave no gauges."""

    def __init__(self, target: str, *, listener: socket.socket, **settings: Any) -> None:  # noqa: ANN401  # Granian's own
        super().__init__(target, **settings)
        self._listener = listener
        self.main_loop_interrupt = _Interrupt(lambda: self.interrupt_signal or self.reload_signal)

    @override
    def signal_handler_interrupt(self, *_: Any, **__: Any) -> None:
        self.interrupt_signal = True

    @override
    def signal_handler_reload(self, *_: Any, **__: Any) -> None:
        self.reload_signal = True

    @override
    def _init_shared_socket(self) -> None:
        holder: Any = SocketHolder  # its stub does not know what it takes
        fd, is_unix = self._listener.fileno(), False
        vars(self).update(_ssp=None, _sso=self._listener, _sfd=fd, _shd=holder(fd, is_unix, BACKLOG))
        self._listener.set_inheritable(True)

    @override
    def _drop_shared_socket(self) -> None:
        pass

    @override
    def _respawn_workers(self, workers: Any, *arguments: Any, **named: Any) -> None:
        before = [self.wrks[each].inner.pid for each in workers]
        super()._respawn_workers(workers, *arguments, **named)
        for pid in before:
            forget_worker(pid)


class _Stop:
    """The end of a worker: Granian is told when it serves, for before that it would not hear of it.

    Python sees to a signal between two steps of its main thread. One that comes as that begins to wait for a lock, as
    Granian's does, is seen when the lock is free; so the number of a signal also goes to a pipe, by which this waits.
    """

    def __init__(self) -> None:
        self._event = WorkerSignal()
        self._numbers, self._into = os.pipe()
        os.set_blocking(self._into, False)

    def take_over(self) -> None:
        """Do from now on in this process what Granian does by itself to know of signals."""
        _signals.set_sync_signals = self._listen
        vars(mp)["WSGIWorker"] = self._worker

    def _listen(self) -> WorkerSignal:
        signal.set_wakeup_fd(self._into)
        for number in _STOPS:
            signal.signal(number, lambda *_: None)
        return self._event

    def _worker(self, *settings: Any) -> "_Served":  # noqa: ANN401  # Granian's own
        return _Served(WSGIWorker(*settings), self._wait)

    def _wait(self) -> None:
        while os.read(self._numbers, 1)[0] not in _STOPS:
            pass
        self._event.set()  # once: a second time would never return


class _Served:
    """Granian's worker, and what the main thread does while it serves."""

    def __init__(self, worker: WSGIWorker, meanwhile: Callable[[], None]) -> None:
        self._worker = worker
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return a way to serve: Granian's workers have one for each of its runtimes."""
        serve = getattr(self._worker, name)

        def serve_and_wait(*arguments: Any) -> None:  # noqa: ANN401  # Granian's own
            serve(*arguments)
            self._meanwhile()

        return serve_and_wait


class _Interrupt(threading.Event):
    """What the parent waits for: an event, or a signal, which it looks for (see _Stop) and which sets no event.

    A signal's handler that set it would wait for itself if it came while the event's own lock is held.
    """

    def __init__(self, is_interrupted: Callable[[], bool]) -> None:
        super().__init__()
        self._is_interrupted = is_interrupted

    @override
    def wait(self, timeout: float | None = None) -> bool:
        while not (self._is_interrupted() or super().wait(_LOOK_S)):
            pass
        return True
