"""Prediction jobs that somebody else's process sees through: it outlives the tier's worker that was asked for it."""

import logging
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from yarnmill.errors import ClusterUnavailableError, ConflictError, YarnMillError
from yarnmill.registry import Registry
from yarnmill.registry.records import PredictionJob

_log = logging.getLogger(__name__)


class PredictionStarter:
    """Starts a process a job, and notes what died without a word. Holds nothing before the first job.

    Parameters
    ----------
    command
        What sees a job through; the job's id is put behind it.
    folder
        Where each process writes what it says, as ``<job>.log``.
    most
        How many may run at once.
    opened
        Opens the registry.
    """

    def __init__(self, command: Sequence[str], folder: Path, most: int, opened: Callable[[], Registry]) -> None:
        self._command = tuple(command)
        self._folder = folder
        self._most = most
        self._opened = opened
        self._running: set[int] = set()
        self._changing = threading.Lock()

    def __call__(self, job: PredictionJob) -> None:
        """Start what sees a job through; ClusterUnavailableError if as many as may do run."""
        with self._changing:
            if len(self._running) >= self._most:
                raise ClusterUnavailableError(
                    f"{self._most} prediction jobs run from this worker [serving.jobs.most]",
                    mend="ask again when one has ended",
                )
            self._running.add(job.id)
        try:
            process = self._start(job.id)
        except OSError as problem:
            self._running.discard(job.id)
            raise ClusterUnavailableError(f"prediction job {job.id} cannot be started: {problem.strerror}") from None
        threading.Thread(target=self._await, args=(process, job.id), name="predicting", daemon=True).start()

    @property
    def running(self) -> frozenset[int]:
        """The jobs that are being seen through."""
        return frozenset(self._running)

    def _start(self, job_id: int) -> "subprocess.Popen[bytes]":
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._log_of(job_id).open("wb") as log:
            # A session of its own: what ends the tier does not end it.
            return subprocess.Popen(
                [*self._command, str(job_id)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _await(self, process: "subprocess.Popen[bytes]", job_id: int) -> None:
        status = process.wait()
        message = f"what saw it through ended with status {status}: {self._log_of(job_id)}"
        try:
            registry = self._opened()
            with closing(registry), suppress(ConflictError):  # as it should be: the job has ended
                registry.jobs.move(job_id, "failed", message=message)
        except YarnMillError as problem:
            _log.warning("prediction job %d: %s; %s", job_id, message, problem.what)
        self._running.discard(job_id)

    def _log_of(self, job_id: int) -> Path:
        return self._folder / f"{job_id}.log"
