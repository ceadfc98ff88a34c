"""The driver's side of the talking process: tell it things, never wait for it, but a moment at the end."""

import datetime as dt
import os
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from tony_py.application import render_parameter
from tony_py.driver.members import Member
from tony_py.driver.tasks import TaskId
from tony_py.history import Event
from tony_py.tracking.messages import (
    Answer,
    Line,
    RunEnd,
    RunSample,
    RunStart,
    failure_of_driver,
    milliseconds,
    run_end,
)
from tony_py.tracking.numbers import UseOfMachines, time_metrics
from yarnmill.report import RunReport

PATIENCE_S: Final = 2.0
"""How long the end of an application may wait for MLflow to hear of it."""

_LOOK_S: Final = 0.2
_SAMPLE_S: Final = 10.0
_MOST_WAITING: Final = 200
_JOIN_S: Final = 5.0  # both threads end with the process; a child of it may hold its output open


class Tracker:
    """The process that talks to MLflow, and what it is told; a context manager that ends it.

    Parameters
    ----------
    start
        The run; nothing happens if it names no server.
    tell
        Takes in words what is wrong with MLflow, and the id of its run.
    """

    def __init__(self, start: RunStart, tell: Callable[[str], None]) -> None:
        self._start = start
        self._tell = tell
        self._lines: queue.Queue[Line | None] = queue.Queue(_MOST_WAITING)
        self._process: subprocess.Popen[bytes] | None = None
        self._threads: list[Thread] = []
        self._use = UseOfMachines()
        self._sampled_at = 0.0
        self._problem = ""
        self._has_ended = False

    def __enter__(self) -> Self:
        if self._start.uri:
            try:
                self._process = _start_process()
            except OSError as problem:
                self._tell(f"MLflow hears nothing of this run: {problem}")
                return self
            for act in (self._write, self._read):
                self._threads.append(Thread(target=act, args=(self._process,), name="tracker", daemon=True))
                self._threads[-1].start()
            self._say(Line(start=self._start))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            with suppress(queue.Full):  # then the writer finds that nobody reads
                self._lines.put_nowait(None)
            for thread in self._threads:
                thread.join(_JOIN_S)

    def add_parameters(self, parameters: Mapping[str, str | float | bool]) -> None:
        """Tell the application's parameters again, when there are more of them than at the start."""
        told = self._start.parameters
        known = {f"parameters.{name}": render_parameter(value) for name, value in parameters.items()}
        if not known.keys() <= told.keys():
            self._start = msgspec.structs.replace(self._start, parameters={**told, **known})
            self._say(Line(start=self._start))

    def sample(self, members: Mapping[TaskId, Member]) -> None:
        """Take in what tasks use and say; MLflow hears of it now and then."""
        if self._process is None:
            return
        self._use.see(members)
        if time.monotonic() - self._sampled_at < _SAMPLE_S:
            return
        self._sampled_at = time.monotonic()
        speaker = next((member.progress for member in members.values() if member.progress.step is not None), None)
        step, said = (speaker.step or 0, speaker.metrics) if speaker else (0, {})
        now = milliseconds(dt.datetime.now(dt.UTC))
        self._say(Line(sample=RunSample(at_ms=now, step=step, metrics={**self._use.metrics(), **said})))

    def end(self, report: RunReport, members: Mapping[TaskId, Member], events: Sequence[Event]) -> None:
        """Say how the run ended, and wait a moment for MLflow to hear it; not even that if it is not well."""
        self._use.see(members)
        self.finish(run_end(report, {**self._use.metrics(), **time_metrics(events)}), PATIENCE_S)

    def fail(self, cause: str) -> None:
        """Say that the run ended without a report, unless its end was told already."""
        if not self._has_ended:
            self.finish(failure_of_driver(cause, dt.datetime.now(dt.UTC)), PATIENCE_S)

    def finish(self, end: RunEnd, patience_s: float) -> None:
        """Say how the run ended, and wait for MLflow to hear it, at most so long; no longer once it is not well."""
        self._has_ended = True
        if self._process is None:
            return
        self._say(Line(end=end))
        deadline = time.monotonic() + patience_s
        while not self._problem:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(min(_LOOK_S, max(deadline - time.monotonic(), 0.0)))
                return
            if time.monotonic() >= deadline:
                self._tell(f"MLflow did not hear within {patience_s:g} s how the run ended")
                return

    def _say(self, line: Line) -> None:
        with suppress(queue.Full):  # what was not taken for so long is old
            self._lines.put_nowait(line)

    def _write(self, process: subprocess.Popen[bytes]) -> None:
        stream: Any = process.stdin
        with suppress(OSError), stream:  # the process has ended
            while (line := self._lines.get()) is not None:
                stream.write(msgspec.json.encode(line) + b"\n")
                stream.flush()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        stream: Any = process.stdout
        known = ""
        with suppress(OSError, ValueError), stream:
            for raw in stream:
                answer = msgspec.json.decode(raw, type=Answer)
                if answer.problem and answer.problem != self._problem:
                    self._tell(answer.problem)
                if answer.run_id and answer.run_id != known:
                    self._tell(f"MLflow run {answer.run_id}")
                    known = answer.run_id
                self._problem = answer.problem


def _start_process() -> subprocess.Popen[bytes]:
    # The driver runs from a zip file in its working folder, which a fresh Python does not know.
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path if entry)
    command = [sys.executable, "-m", "tony_py.tracking.process"]
    return subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
