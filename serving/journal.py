"""What a tier's workers said of versions: when one came to answer, and why one was refused.

It is the part of the tier's log that is about a version, kept where it can be asked for. A worker that has said so much
forgets its oldest lines, so that disk and memory stay bounded however often versions come and go; the files go with the
tier.
"""

import datetime as dt
import logging
import os
import socket
from collections import deque
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Final

import msgspec
from typing_extensions import override

_MODEL: Final = "of_model"
_VERSION: Final = "of_version"
"""Names of what a record of logging has if its line is about a version."""
_KEPT_LINES: Final = 2000
_ENDING: Final = ".journal"


def log_of_version(log: logging.Logger, level: int, model: str, version: int, text: str) -> None:
    """Log what is about a version, so that a :class:`Journal` keeps it."""
    log.log(level, "model %s version %d %s", model, version, text, extra={_MODEL: model, _VERSION: version})


class JournalLine(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One line of one worker."""

    at: dt.datetime
    worker: str
    model: str
    version: int
    text: str


class Journal(logging.Handler):
    """Keeps the lines that are about a version. To be made after the fork: each worker has its own file.

    Parameters
    ----------
    folder
        What all workers share; None: there is only this one.
    kept_lines
        How many lines a worker keeps.
    """

    def __init__(self, folder: Path | None = None, kept_lines: int = _KEPT_LINES) -> None:
        super().__init__(logging.INFO)
        self._worker = f"{socket.gethostname()}-{os.getpid()}"
        self._lines: deque[JournalLine] = deque(maxlen=kept_lines)
        self._file = None if folder is None else folder / f"{os.getpid()}{_ENDING}"
        self._written = 0
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        model, version = getattr(record, _MODEL, None), getattr(record, _VERSION, None)
        if model is None or version is None:
            return
        at = dt.datetime.fromtimestamp(record.created, dt.UTC)
        line = JournalLine(at=at, worker=self._worker, model=model, version=version, text=record.getMessage())
        self._lines.append(line)
        if self._file is not None:
            with suppress(OSError):  # a full disk: the tier's log has the line
                self._write(self._file, line)

    def lines(self, model: str, version: int) -> list[JournalLine]:
        """Return what all workers said of a version, oldest first."""
        with self.lock or nullcontext():
            found = list(self._lines)
        for path in [] if self._file is None else self._file.parent.glob(f"*{_ENDING}"):
            if path != self._file:
                found += _read(path)
        return sorted((one for one in found if (one.model, one.version) == (model, version)), key=lambda one: one.at)

    def _write(self, path: Path, line: JournalLine) -> None:
        self._written += 1
        if self._written <= 2 * (self._lines.maxlen or 0):
            with path.open("ab") as file:
                file.write(msgspec.json.encode(line) + b"\n")
            return
        whole = path.with_suffix(".new")
        whole.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in self._lines))
        whole.rename(path)
        self._written = len(self._lines)


def _read(path: Path) -> list[JournalLine]:
    found = []
    for line in path.read_bytes().splitlines():
        with suppress(msgspec.DecodeError):  # its worker was killed while it wrote it
            found.append(msgspec.json.decode(line, type=JournalLine))
    return found
