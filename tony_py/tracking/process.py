"""The process that talks to MLflow: hears lines on standard input, and says on standard output how it goes.

It tries again what did not arrive whenever it hears more and every ten seconds, until the end has arrived or whoever
started it is gone.
"""

import logging
import os
import queue
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import urlsplit

import msgspec

from tony_py.tracking.messages import APPLICATION_TAG, KIND, KIND_TAG, Answer, Line, RunEnd, RunSample, RunStart
from yarnmill.errors import YarnMillError
from yarnmill.registry.tracking import cut, ensure_experiment, open_tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_AGAIN_S: Final = 10.0
_MOST_SAMPLES: Final = 1000
_BATCH: Final = 100
"""MLflow takes as many parameters or tags at once."""

# One request may take so long: else it would be two minutes, seven times.
_BOUNDS: Final = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class Untold:
    """What MLflow has not been told yet."""

    def __init__(self) -> None:
        self.start: RunStart | None = None
        self.samples: list[RunSample] = []
        self.end: RunEnd | None = None
        self._run_id = ""
        self._told_parameters: dict[str, str] = {}
        self._is_over = False

    def add(self, line: Line) -> None:
        """Take in a line."""
        self.start = line.start or self.start
        self.end = line.end or self.end
        if line.sample is not None:
            self.samples = [*self.samples, line.sample][-_MOST_SAMPLES:]

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to tell, ever."""
        return self._is_over

    def tell(self) -> str:
        """Tell all of it and return the id of MLflow's run.

        Raises
        ------
        YarnMillError
            If MLflow cannot be told: what it took is not told again.
        """
        if self.start is None:
            return ""
        with open_tracking(self.start.uri) as client:
            if not self._run_id:
                run = _find_or_create(client, self.start)
                self._told_parameters = dict(run.data.params)  # MLflow lets nobody change them
                self._is_over = run.info.status != "RUNNING"
                self._run_id = str(run.info.run_id)
            if self._is_over:
                return self._run_id
            self._tell_parameters(client, self.start)
            while self.samples:
                _log_metrics(client, self._run_id, self.samples[0].metrics, self.samples[0].at_ms, self.samples[0].step)
                del self.samples[0]
            if self.end is not None:
                _tell_end(client, self._run_id, self.end)
                self._is_over = True
        return self._run_id

    def _tell_parameters(self, client: "MlflowClient", start: RunStart) -> None:
        from mlflow.entities import Param  # noqa: PLC0415

        fresh = [(name, value) for name, value in start.parameters.items() if name not in self._told_parameters]
        for at in range(0, len(fresh), _BATCH):
            chunk = fresh[at : at + _BATCH]
            client.log_batch(self._run_id, params=[Param(name, cut(value)) for name, value in chunk])
            self._told_parameters.update(chunk)


def _find_or_create(client: "MlflowClient", start: RunStart) -> "Run":
    """Return the run of the application; there is one already after an earlier driver, or when its end was told."""
    experiment_id = ensure_experiment(client, start.experiment, start.artifacts)
    query = f"tags.`{APPLICATION_TAG}` = '{start.tags[APPLICATION_TAG]}' and tags.`{KIND_TAG}` = '{KIND}'"
    runs = client.search_runs([experiment_id], query)
    if runs:
        return runs[0]
    tags = {name: cut(value) for name, value in start.tags.items() if value}
    return client.create_run(experiment_id, start_time=start.started_ms, run_name=start.name, tags=tags)


def _log_metrics(client: "MlflowClient", run_id: str, metrics: dict[str, float], at_ms: int, step: int) -> None:
    from mlflow.entities import Metric  # noqa: PLC0415

    if metrics:
        client.log_batch(run_id, metrics=[Metric(name, value, at_ms, step) for name, value in metrics.items()])


def _tell_end(client: "MlflowClient", run_id: str, end: RunEnd) -> None:
    from mlflow.entities import RunTag  # noqa: PLC0415

    _log_metrics(client, run_id, end.metrics, end.at_ms, 0)
    client.log_batch(run_id, tags=[RunTag(name, cut(value)) for name, value in end.tags.items() if value])
    client.set_terminated(run_id, end.status, end_time=end.at_ms)


def main() -> int:
    """Tell MLflow what standard input says; return the exit status."""
    os.nice(5)  # the driver goes first
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it decides
    os.environ.update(_BOUNDS)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    answers = _output_of_its_own()
    heard: queue.Queue[Line | None] = queue.Queue()
    Thread(target=_listen, args=(heard,), daemon=True).start()
    untold = Untold()
    while True:
        for line in _next(heard):
            if line is None:
                return 1  # nobody is there any more
            untold.add(line)
        try:
            answer = Answer(run_id=untold.tell())
        except YarnMillError as problem:
            uri = untold.start.uri if untold.start else ""
            answer = Answer(problem=_without_password(problem.what, uri))
        answers.write(msgspec.json.encode(answer) + b"\n")
        answers.flush()
        if untold.is_over:
            return 0


def _output_of_its_own() -> BinaryIO:
    """Return standard output, which from now on leads nowhere: MLflow prints on it, addresses with passwords too."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), sys.stdout.fileno())
    return answers


def _listen(heard: "queue.Queue[Line | None]") -> None:
    for raw in sys.stdin.buffer:
        heard.put(msgspec.json.decode(raw, type=Line))
    heard.put(None)


def _next(heard: "queue.Queue[Line | None]") -> Iterator[Line | None]:
    """Yield what is heard next and all that came with it; nothing when it is time to try again."""
    try:
        yield heard.get(timeout=_AGAIN_S)
        while True:
            yield heard.get_nowait()
    except queue.Empty:
        return


def _without_password(words: str, uri: str) -> str:
    secret = urlsplit(uri).netloc.rpartition("@")[0]
    return words.replace(f"{secret}@", "") if secret else words


if __name__ == "__main__":
    os._exit(main())  # without Python's own ending, which would wait for whoever still listens
