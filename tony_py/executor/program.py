"""The user's program: started with its environment, listened to, and ended with all that it started."""

from __future__ import annotations

import collections
import ctypes
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from tony_py.executor import descendants

_PR_SET_PDEATHSIG = 1
_LAST_LINES = 30
_LINE_LIMIT = 2000
_TRACEBACK_PART = 16
_TRACEBACK_HEAD = "Traceback (most recent call last):"
_PREFIX = re.compile(r"^\[[^\]]*\]:\s?")  # torch and others prefix every line with the rank


class LastWords:
    """What a program said on standard error: the last lines, and the first traceback as a whole."""

    def __init__(self) -> None:
        self._lines: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
        self._head: list[str] = []
        self._tail: collections.deque[str] = collections.deque(maxlen=_TRACEBACK_PART)
        self._is_open = False

    def hear(self, line: str) -> None:
        """Take one line without its end."""
        text = line[:_LINE_LIMIT]
        self._lines.append(text)
        bare = _PREFIX.sub("", text)
        if not self._head and bare.startswith(_TRACEBACK_HEAD):
            self._head, self._is_open = [bare], True
        elif self._is_open:
            (self._head if len(self._head) < _TRACEBACK_PART else self._tail).append(bare)
            # A traceback's frames are indented; the first line that is not names the error.
            self._is_open = bare.startswith(" ")

    @property
    def lines(self) -> list[str]:
        """The last lines."""
        return list(self._lines)

    @property
    def traceback(self) -> str:
        """The first traceback, a long one without its middle; empty if there was none."""
        return "\n".join([*self._head, *self._tail])


class Program:
    """A running shell command. Must be made on the main thread: it dies with the thread that made it.

    It stays in the container's process group, so that YARN's kill of the container reaches it as well.
    """

    def __init__(self, command: str, env: dict[str, str], folder: str) -> None:
        prctl = getattr(ctypes.CDLL(None), "prctl", None)

        def die_with_parent() -> None:
            if prctl is not None:
                prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

        self._process: subprocess.Popen[Any] = subprocess.Popen(
            ["/bin/bash", "-c", command],
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=die_with_parent,  # noqa: PLW1509  # calls one function of libc that was looked up before the fork
        )
        self._words = LastWords()
        self._reader = threading.Thread(target=self._listen, name="stderr", daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        stream = self._process.stderr
        if stream is None:
            return
        with stream:
            for raw in stream:
                sys.stderr.buffer.write(raw)
                sys.stderr.buffer.flush()
                self._words.hear(raw.decode(errors="replace").rstrip("\r\n"))

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end; return whether it has come."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return self._process.returncode is not None

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether its end was seen."""
        return self._process.returncode is not None

    def words(self) -> LastWords:
        """Return what it said on standard error, complete once it has ended."""
        self._reader.join(1.0)  # a left-over process may hold the pipe open
        return self._words

    @property
    def exit_code(self) -> int:
        """The status that a shell shows: 128 + signal for a program that a signal ended."""
        code = self._process.returncode or 0
        return 128 - code if code < 0 else code

    @property
    def signal_name(self) -> str:
        """The signal that ended the program; empty if none did."""
        number = self.exit_code - 128
        with suppress(ValueError):
            return signal.Signals(number).name if number > 0 else ""
        return ""


class Programs:
    """The copies of a command in one container: they end together, and so does all that they started.

    Ending is for every process below this one, whoever started it: only an executor, which starts nothing else,
    may do that.

    Parameters
    ----------
    command
        For bash.
    environments
        The variables of each copy.
    folder
        Working folder.
    """

    def __init__(self, command: str, environments: list[dict[str, str]], folder: str) -> None:
        self._programs = [Program(command, env, folder) for env in environments]
        self._pids = {program.pid for program in self._programs}
        self._culprit: Program | None = None

    def wait(self, timeout_s: float) -> bool:
        """Wait until all have ended or one has failed; return whether that has come."""
        deadline = time.monotonic() + timeout_s
        while True:
            for program in self._programs:
                program.wait(max(0.0, min(0.05, deadline - time.monotonic())))
            self._culprit = self._culprit or self._failed()
            if self._culprit is not None or all(each.has_ended for each in self._programs):
                return True
            if time.monotonic() >= deadline:
                return False

    def end(self, grace_s: float) -> None:
        """Ask all processes to end, and kill those that have not after ``grace_s``."""
        descendants.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while descendants.alive() and time.monotonic() < deadline:
            self._reap(0.05)
        self.kill_leftovers()

    def kill_leftovers(self) -> None:
        """Kill whatever of it still runs."""
        for _ in range(50):  # the dying may still have started something
            if not descendants.alive():
                break
            descendants.send_signal(signal.SIGKILL)
            self._reap(0.05)
        self._reap(0.0)

    def _reap(self, timeout_s: float) -> None:
        for program in self._programs:
            program.wait(timeout_s)
        descendants.reap_adopted(self._pids)

    def _failed(self) -> Program | None:
        return next((each for each in self._programs if each.has_ended and each.exit_code != 0), None)

    @property
    def speaker(self) -> Program:
        """The copy whose end tells how all ended: the first that failed, or the first of all."""
        return self._culprit or self._programs[0]
