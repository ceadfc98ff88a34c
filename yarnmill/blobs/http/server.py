"""The face as processes. The parent opens no store: a connection and a runtime's threads do not survive a fork."""

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import msgspec
from typing_extensions import override

from yarnmill.blobs import BlobStore
from yarnmill.blobs.http.tokens import Rules, fresh_rules, watched_rules
from yarnmill.httpserver.accesslog import StructuredLogger
from yarnmill.httpserver.application import Processes, ThreadedApplication
from yarnmill.httpserver.listener import address_of, bind, limit_stalls
from yarnmill.httpserver.series import forget_worker, shared_series

_STALL_S: Final = 60.0
"""How long a client may send or take nothing in the middle of a request."""

_GRACE_S: Final = 30.0
_MOST_LINE_BYTES: Final = 8190
"""A name of 1024 bytes is 3072 when it is percent-encoded, and a signed URL has all arguments of a put."""


class ServerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What one run needs.

    Parameters
    ----------
    host, port
        Where to listen; port 0 takes a free one.
    tokens
        The tokens file, None: everybody may do everything.
    workers, threads
        Worker processes, and threads in each: so many requests at once.
    access_log
        A file, or ``-`` for standard error.
    pid_file
        Written while the server runs.
    """

    host: str
    port: int
    tokens: Path | None
    workers: int = 1
    threads: int = 64
    access_log: str = "-"
    pid_file: Path | None = None


def serve(store: BlobStore, options: ServerOptions, announce: Callable[[str], None]) -> None:
    """Answer until SIGTERM or Ctrl-C ends it; this leaves by SystemExit, with all workers gone.

    Parameters
    ----------
    store
        The blobs; nothing has been asked of it yet.
    options
        What this run needs.
    announce
        Called once with the server's URL, when requests are taken.

    Raises
    ------
    ConflictError
        If the port is taken.
    ConfigurationError
        If the tokens file is none.
    NotFoundError
        If it is not there.
    """
    rules = _rules(options.tokens)
    rules()  # what is wrong with the file is said before anything starts
    listener = bind(options.host, options.port)
    limit_stalls(listener, _STALL_S)
    url = address_of(listener)
    processes = Processes(
        name="yarnmill-blobs",
        workers=options.workers,
        threads=options.threads,
        grace_s=_GRACE_S,
        access_log=options.access_log,
        pid_file=options.pid_file,
    )
    with shared_series():
        _Application(processes, listener, _Face(store, rules, options.tokens is None, lambda: announce(url))).run()


def _rules(tokens: Path | None) -> Callable[[], Rules]:
    if tokens is not None:
        return watched_rules(tokens)
    rules = fresh_rules()
    return lambda: rules


class _Face(NamedTuple):
    store: BlobStore
    rules: Callable[[], Rules]
    is_open: bool
    announce: Callable[[], None]


class _Logger(StructuredLogger):
    source: ClassVar[str] = "yarnmill.blobs.http"


class _Application(ThreadedApplication):
    """The face's workers."""

    def __init__(self, processes: Processes, listener: socket.socket, face: _Face) -> None:
        # Imported in the parent, so that the workers share the pages, and only now: see shared_series.
        from yarnmill.blobs.http import app  # noqa: F401, PLC0415

        self._face = face
        super().__init__(processes, listener, _Logger)

    @override
    def hooks(self) -> Mapping[str, object]:
        return {
            "when_ready": lambda _arbiter: self._face.announce(),
            "child_exit": lambda _arbiter, worker: forget_worker(worker.pid),
            "limit_request_line": _MOST_LINE_BYTES,
            # By default a header with an underscore is dropped without a word, and with it what somebody wants kept.
            "header_map": "refuse",
        }

    def load(self) -> Any:  # noqa: ANN401  # a WSGI application
        """Return the application of one worker; called after the fork."""
        from yarnmill.blobs.http.app import create_app  # noqa: PLC0415  # see shared_series

        return create_app(self._face.store, self._face.rules, is_open=self._face.is_open)
