"""The tier as processes: a port bound before anything starts, workers that load first.

The parent opens neither registry nor store nor model, since no connection and no runtime's threads
survive a fork. Each worker follows the registry on its own, so none depends on another's health.

gunicorn is the default and takes whatever the network brings. Granian spends a third of that on a request, and does not
end a client that stops in the middle of its body: it belongs behind a proxy that reads bodies first.
"""

import gc
import socket
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from yarnmill.config import Config
from yarnmill.errors import ConfigurationError
from yarnmill.httpserver.application import Processes, ThreadedApplication
from yarnmill.httpserver.listener import address_of, bind, is_loopback, limit_stalls
from yarnmill.httpserver.series import forget_worker, shared_series
from yarnmill.httpserver.worker import PromptWorker
from yarnmill.records import Record

if TYPE_CHECKING:
    from serving.control.backing import Backing
    from serving.worker import ReadyLine, Worker


class ServerOptions(Record, frozen=True, kw_only=True):
    """What one run of the tier needs beside the configuration. ``access_log``: a file, or ``-`` for standard error."""

    access_log: str = "-"
    pid_file: Path | None = None


def serve(
    config: Config, options: ServerOptions, announce: Callable[[str], None], backing: "Backing | None" = None
) -> None:
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
    backing
        What the control API has done elsewhere; None: the tier has no control API.

    Raises
    ------
    ConflictError
        If the port is taken.
    ConfigurationError
        If the server that is asked for is not installed, the tokens file or the console's key is none, or the control
        API would be open to other machines.
    NotFoundError
        If the tokens file is not there.
    """
    if backing is not None:
        _check_control(config)
    listener = bind(config.serving.host, config.serving.port)
    if backing is not None and config.serving.tokens_path is None and not is_loopback(listener):
        listener.close()
        raise ConfigurationError(
            f"serving.control on {config.serving.host} without tokens: whoever reaches the port could deploy",
            expected="serving.tokens, or a loopback address as serving.host",
            mend="yarnmill serving token new NAME --role administrator --tokens FILE, and serving.tokens=FILE",
        )
    limit_stalls(listener, float(config.serving.timeout))
    url = address_of(listener)
    with shared_series(), tempfile.TemporaryFile() as tally:
        # Imported in the parent, so that the workers share the pages, and only now: see shared_series.
        from serving.worker import ReadyLine  # noqa: PLC0415

        ready = ReadyLine(tally, config.serving.workers, lambda: announce(url))
        if config.serving.server == "granian":
            from serving.granian_server import run_granian  # noqa: PLC0415

            run_granian(config, options.access_log, options.pid_file, listener, ready, backing)
        else:
            _Application(config, options, listener, ready, backing).run()


def _check_control(config: Config) -> None:
    """Say what is wrong with the files that the control API and the console need before anything starts."""
    from serving.console.sessions import session_key  # noqa: PLC0415  # most tiers have neither
    from serving.control.tokens import load_role_tokens  # noqa: PLC0415

    if config.serving.tokens_path is not None:
        load_role_tokens(config.serving.tokens_path)
    session_key(config.console_key_path)


class _Application(ThreadedApplication):
    """The tier's workers under gunicorn."""

    def __init__(
        self,
        config: Config,
        options: ServerOptions,
        listener: socket.socket,
        ready: "ReadyLine",
        backing: "Backing | None",
    ) -> None:
        from serving.accesslog import TierLogger  # noqa: PLC0415  # see shared_series

        self._config = config
        self._ready = ready
        self._backing = backing
        self._access_log = options.access_log
        self._worker: Worker | None = None
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
            "worker_exit": self._stop,
            "child_exit": lambda _arbiter, worker: forget_worker(worker.pid),
        }

    def load(self) -> Any:  # noqa: ANN401  # a WSGI application
        """Return the application of one worker; called after the fork."""
        from serving.worker import Worker  # noqa: PLC0415  # see shared_series

        self._worker = Worker(self._config, self._backing, self._access_log)
        return self._worker.app

    def _load_first(self, process: PromptWorker) -> None:
        if self._worker is None:
            return

        def go_on() -> bool:
            process.notify()  # the parent kills a worker that is silent
            return bool(process.alive)

        self._worker.load_first(go_on)
        if process.alive:
            self._ready.count_one()

    def _stop(self, _arbiter: object, _process: object) -> None:
        if self._worker is not None:
            self._worker.stop()
