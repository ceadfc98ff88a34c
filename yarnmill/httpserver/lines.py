"""One line of JSON a request, without body, query and headers: what was asked, what was answered, how long it took."""

import datetime as dt
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

import orjson

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

STANDARD_ERROR: Final = "-"
_MOST_WAITING: Final = 64
_LATE_S: Final = 0.2


class Answered(NamedTuple):
    """How a request ended."""

    status: int
    sent_bytes: int
    seconds: float


def render_line(
    environ: Mapping[str, Any], answered: Answered, extra: Iterable[tuple[str, str]], now: dt.datetime
) -> bytes:
    """Return the line of one request, its end included.

    Parameters
    ----------
    environ
        The request's environment.
    answered
        How it ended.
    extra
        Keys of the environment, each with the key of the line that its value is to have, if there is one.
    now
        When it ended.
    """
    return _dumped(_line(environ, answered, extra, now))


def _line(
    environ: Mapping[str, Any], answered: Answered, extra: Iterable[tuple[str, str]], now: dt.datetime
) -> dict[str, Any]:
    line = {
        "time": now,
        "remote": environ.get("REMOTE_ADDR", ""),
        "method": environ.get("REQUEST_METHOD", ""),
        "path": environ.get("PATH_INFO", ""),
        "status": answered.status,
        "milliseconds": round(answered.seconds * 1000, 3),
        "request_bytes": int(environ.get("CONTENT_LENGTH") or 0),
        "answer_bytes": answered.sent_bytes,
        "agent": environ.get("HTTP_USER_AGENT", "")[:100],
    }
    for key, name in extra:
        if key in environ:
            line[name] = environ[key]
    return line


def _dumped(line: dict[str, Any]) -> bytes:
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def write_line(stream: IO[Any], line: bytes) -> None:
    """Write a line, or a few, past a stream's buffer, at one go: the lines of several processes do not mix.

    A full disk costs the line, not the answer.
    """
    with suppress(OSError):
        os.write(stream.fileno(), line)


class LoggedApplication:
    """A WSGI application that writes the line of each request itself, for servers that cannot.

    A few lines are written together, a fifth of a second late at most: one alone costs a small request a tenth of its
    time. A process that is killed takes the last ones with it.

    Parameters
    ----------
    application
        What answers, each time with one whole body.
    target
        A file to append to, or ``-`` for standard error.
    extra
        Maps keys of a request's environment to further keys of its line.
    """

    def __init__(self, application: "WSGIApplication", target: str, extra: Mapping[str, str]) -> None:
        self._application = application
        self._extra = tuple(extra.items())
        self._stream: IO[bytes] = (
            sys.stderr.buffer if target == STANDARD_ERROR else Path(target).open("ab", buffering=0)  # noqa: SIM115  # as long as the process
        )
        self._waiting: deque[dict[str, Any]] = deque()
        self._writing = threading.Lock()
        self._arrived = threading.Event()
        threading.Thread(target=self._write_late, name="access log", daemon=True).start()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer, and have the line written."""
        started, statuses = time.perf_counter(), list[str]()

        def note(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:  # noqa: ANN401  # WSGI's own
            statuses.append(status)
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        body = b"".join(self._application(environ, note))
        answered = Answered(int(statuses[-1][:3]), len(body), time.perf_counter() - started)
        self._waiting.append(_line(environ, answered, self._extra, dt.datetime.now(dt.UTC)))
        if len(self._waiting) >= _MOST_WAITING:
            self.flush()
        elif not self._arrived.is_set():
            self._arrived.set()
        return [body]

    def flush(self) -> None:
        """Write the lines that wait."""
        with self._writing:
            block = b""
            while self._waiting:
                line = _dumped(self._waiting.popleft())
                if len(block) + len(line) > select.PIPE_BUF:
                    write_line(self._stream, block)
                    block = b""
                block += line
            if block:
                write_line(self._stream, block)

    def _write_late(self) -> None:
        while self._arrived.wait():
            time.sleep(_LATE_S)
            self._arrived.clear()
            self.flush()
