"""A process that runs a model's own code: started, asked within a time, killed when it hangs, started again later."""

import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final

from yarnmill.errors import JobFailedError
from yarnmill.flavours import worker
from yarnmill.flavours.predictor import Column
from yarnmill.flavours.tabular import Array

_KEPT: Final = ("HOME", "LANG", "PATH", "TMPDIR")
"""What of this process's environment the code may know; the rest can hold secrets."""

_ALONE: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_LAST_WORDS: Final = 2000
_LONGEST_PAUSE_S: Final = 60.0


class Limits:
    """How long a model's process may take to start and to answer, and the first pause after it failed (seconds)."""

    def __init__(self, start_s: float = 60.0, answer_s: float = 30.0, pause_s: float = 1.0) -> None:
        self.start_s = start_s
        self.answer_s = answer_s
        self.pause_s = pause_s


class WorkerProcess:
    """One process, asked by one thread at a time.

    Parameters
    ----------
    source
        What errors name.
    command
        The interpreter and its arguments; the number of the connection goes between ``program`` and these.
    limits
        How long what may take.
    clock
        Monotonic seconds.
    """

    def __init__(
        self, source: str, command: Sequence[str], limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._command = command
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._said_at_start: Mapping[str, Any] = {}
        self._failures = 0
        self._retry_at = clock()

    def start(self) -> Mapping[str, Any]:
        """Start the process unless it runs, and return what it said when it was ready.

        Raises
        ------
        JobFailedError
            If it does not come up: with its last words.
        """
        with self._lock:
            self._started()
            return self._said_at_start

    def ask(self, columns: Mapping[str, Column]) -> dict[str, Array]:
        """Return the answer to a batch.

        Raises
        ------
        JobFailedError
            If the code raises, ends its process, or takes longer than it may. After the last two the process is
            started again, at the next question after a pause that doubles up to a minute.
        """
        with self._lock:
            running = self._started()
            try:
                answer = running.ask(columns, self._limits.answer_s)
            except (OSError, ValueError) as problem:
                raise self._failed(_reason(problem, self._limits.answer_s)) from None
            self._failures = 0
        if "error" in answer[0]:
            raise JobFailedError(f"{self._source}: the model's code raised {answer[0]['error']}")
        return worker.columns_of(answer)

    def end(self) -> None:
        """End the process."""
        running, self._running = self._running, None
        if running is not None:
            running.end()

    def _started(self) -> "_Running":
        if self._running is not None:
            return self._running
        if self._clock() < self._retry_at:
            raise JobFailedError(
                f"{self._source}: the model's process failed {self._failures} times and is not started again yet",
                mend="mend the model's code; other models are not touched",
            )
        try:
            self._running = _Running(self._command)
            header, _ = self._running.hear(self._limits.start_s)
        except (OSError, ValueError) as problem:
            raise self._failed(_reason(problem, self._limits.start_s)) from None
        if "error" in header:
            raise self._failed(f"its code raised {header['error']}")
        self._running.forget_words()  # what libraries say while they load explains nothing that comes later
        self._said_at_start = header
        return self._running

    def _failed(self, reason: str) -> JobFailedError:
        words = self._running.end() if self._running is not None else ""
        self._running = None
        self._retry_at = self._clock() + min(self._limits.pause_s * 2**self._failures, _LONGEST_PAUSE_S)
        self._failures = min(self._failures + 1, 16)
        said = f"; it said: {words}" if words else ""
        return JobFailedError(f"{self._source}: the model's process: {reason}{said}")


class _Running:
    """A started process and the connection to it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._connection, theirs = socket.socketpair()
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by end()
        program, *options = command
        with theirs, ExitStack() as undone:
            undone.callback(self._connection.close)
            undone.callback(self._words.close)
            self._process = subprocess.Popen(
                # Isolated from whoever started it, and leaving no compiled files in the bundle's folder.
                [program, "-I", "-B", str(Path(worker.__file__)), str(theirs.fileno()), *options],
                stdin=subprocess.DEVNULL,
                stdout=self._words,
                stderr=self._words,
                env={**{name: os.environ[name] for name in _KEPT if name in os.environ}, **_ALONE},
                pass_fds=[theirs.fileno()],
            )
            undone.pop_all()

    def ask(self, columns: Mapping[str, Column], timeout_s: float) -> worker.Message:
        self._connection.settimeout(timeout_s)
        worker.send(self._connection, {}, columns)
        return self.hear(timeout_s)

    def hear(self, timeout_s: float) -> worker.Message:
        """Return the next message; TimeoutError if it is not there in time, ConnectionError if the process ended."""
        deadline = time.monotonic() + timeout_s

        def fill(buffer: Any) -> int:  # noqa: ANN401  # a part of a buffer
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            return self._connection.recv_into(buffer)

        message = worker.receive(self._connection, fill)
        if message is None:
            raise ConnectionError
        return message

    def forget_words(self) -> None:
        """Forget what the process said so far; it writes at the same place of the file as this one."""
        self._words.seek(0)
        self._words.truncate()

    def end(self) -> str:
        """Kill the process and return the last that it said."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        with self._words:
            size = self._words.seek(0, os.SEEK_END)
            self._words.seek(max(0, size - _LAST_WORDS))
            return self._words.read().decode(errors="replace").strip()


def _reason(problem: Exception, timeout_s: float) -> str:
    if isinstance(problem, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(problem, ConnectionError):
        return "it ended"
    return f"it cannot be started ({problem})" if isinstance(problem, OSError) else f"it makes no sense ({problem})"
