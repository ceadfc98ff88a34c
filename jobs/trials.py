"""Trials of a search that outlive the run that made them, and what MLflow is told of them.

Trials are kept beside the output, one file each, in a folder named by what was searched: a run after one that
was killed goes on there, and a search for anything else does not see them. They are cleared away when an
output is published.
"""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from jobs.output import kept_url
from photon.tuning import Strength, Trial
from yarnmill import fs
from yarnmill.errors import NotFoundError, YarnMillError
from yarnmill.records import Record, canonical_json, compact_json, parse_json

if TYPE_CHECKING:
    from mlflow import MlflowClient

TRIALS_NAME: Final = "trials.jsonl"

_STUDY_TAG: Final = "yarnmill.study"
_TRIAL_TAG: Final = "yarnmill.trial"
_PARENT_TAG: Final = "mlflow.parentRunId"
_LOG: Final = logging.getLogger(__name__)


class MlflowConfig(Record, frozen=True, kw_only=True):
    """Where every trial is recorded: a run each, below one run of the whole search."""

    tracking_uri: str
    experiment: str = "train_glmix"


class KeptTrials:
    """The trials of one study beside the output of a job."""

    def __init__(self, output: str, job: str, study_id: str) -> None:
        self._folder = fs.join(kept_url(output, job), f"trials-{study_id[:16]}")

    def known(self) -> list[Trial]:
        """Return the trials that are there, in order, up to the first that is not."""
        try:
            files = fs.children(self._folder)
        except NotFoundError:
            return []
        found = [parse_json(fs.read_bytes(file.url), Trial, source=file.url) for file in files if _is_trial(file.name)]
        return [trial for place, trial in enumerate(found) if trial.number == place]

    def remember(self, trial: Trial) -> None:
        """Keep a trial; it is there whole or not at all."""
        fs.write_bytes(fs.join(self._folder, f"{trial.number:06d}.json"), canonical_json(trial), overwrite=True)


def _is_trial(name: str) -> bool:
    return name.endswith(".json") and not name.startswith((".", "_"))


def write_trials(output: str, trials: tuple[Trial, ...]) -> str:
    """Write all trials below an output, one a line; return the file's URL."""
    url = fs.join(output, TRIALS_NAME)
    fs.write_bytes(url, b"".join(compact_json(trial) + b"\n" for trial in trials))
    return url


class TrialTracking:
    """Tells MLflow of trials; what it cannot be told is told later, and never stops a search."""

    def __init__(self, config: MlflowConfig, study_id: str) -> None:
        self._config, self._study_id = config, study_id
        self._untold: list[Trial] = []
        self._is_away = False

    def record(self, trial: Trial) -> None:
        """Write the run of a trial; after a failure trials wait for :meth:`close`."""
        self._untold.append(trial)
        if not self._is_away:
            self._tell()

    def close(self) -> None:
        """Write what could not be written before; a warning names what then is still missing."""
        self._is_away = False
        if self._untold:
            self._tell()

    def _tell(self) -> None:
        from yarnmill.registry.tracking import open_tracking  # noqa: PLC0415  # for those who track alone

        try:
            with open_tracking(self._config.tracking_uri) as client:
                parent, told = self._parent(client)
                while self._untold:
                    if str(self._untold[0].number) not in told:
                        _write(client, parent, self._untold[0])
                    del self._untold[0]
        except YarnMillError as problem:
            self._is_away = True
            _LOG.warning("%d trials are not in MLflow yet: %s", len(self._untold), problem.what)

    def _parent(self, client: "MlflowClient") -> "tuple[_Parent, set[str]]":
        """Return the run of the whole search, made if it is not there, and the trials that are below it."""
        from yarnmill.registry.tracking import ensure_experiment  # noqa: PLC0415

        experiment_id = ensure_experiment(client, self._config.experiment, "")
        found = client.search_runs([experiment_id], f"tags.`{_STUDY_TAG}` = '{self._study_id}'")
        whole = [run for run in found if _PARENT_TAG not in run.data.tags]
        told = {run.data.tags[_TRIAL_TAG] for run in found if _TRIAL_TAG in run.data.tags}
        if whole:
            return _Parent(experiment_id, whole[0].info.run_id, self._study_id), told
        tags = {_STUDY_TAG: self._study_id}
        run = client.create_run(experiment_id, run_name=f"study-{self._study_id[:8]}", tags=tags)
        client.set_terminated(run.info.run_id, "FINISHED")
        return _Parent(experiment_id, run.info.run_id, self._study_id), told


class _Parent(Record, frozen=True):
    experiment_id: str
    run_id: str
    study_id: str


def _write(client: "MlflowClient", parent: _Parent, trial: Trial) -> None:
    from mlflow.entities import Metric, Param  # noqa: PLC0415

    tags = {_PARENT_TAG: parent.run_id, _TRIAL_TAG: str(trial.number), _STUDY_TAG: parent.study_id}
    run = client.create_run(parent.experiment_id, run_name=f"trial-{trial.number}", tags=tags)
    at = run.info.start_time
    figures = trial.metrics | {"objective": trial.objective, "sweeps": float(trial.sweeps), "seconds": trial.seconds}
    client.log_batch(
        run.info.run_id,
        metrics=[Metric(name, value, at, 0) for name, value in figures.items()],
        params=[Param(name, value) for name, value in _params(trial.strengths)],
    )
    client.set_terminated(run.info.run_id, "FINISHED")


def _params(strengths: tuple[Strength, ...]) -> Iterator[tuple[str, str]]:
    for one in strengths:
        yield f"{one.coordinate}.strength", f"{one.strength:.12g}"
        yield f"{one.coordinate}.alpha", f"{one.alpha:.12g}"
