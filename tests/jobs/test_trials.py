"""Trials that outlive their run, and what MLflow hears of them."""

import logging
from pathlib import Path

import pytest

from jobs.trials import KeptTrials, MlflowConfig, TrialTracking, write_trials
from photon.tuning import Strength, Trial
from yarnmill import fs
from yarnmill.records import parse_json
from yarnmill.registry.tracking import open_tracking


def trial(number: int) -> Trial:
    return Trial(
        number=number,
        strengths=(Strength(coordinate="per_user", strength=10.0**number, alpha=0.25),),
        value=0.5 + number,
        metrics={"log_loss": 0.5 + number},
        objective=100.0,
        sweeps=3,
        converged=True,
        seconds=1.5,
    )


def test_a_run_finds_the_trials_of_the_run_before_it(root: str) -> None:
    output = fs.join(root, "runs", "model")
    first = KeptTrials(fs.join(root, "runs", ".model.first"), "train_glmix", "a" * 64)
    assert first.known() == []
    for number in range(12):
        first.remember(trial(number))
    second = KeptTrials(fs.join(root, "runs", ".model.second"), "train_glmix", "a" * 64)
    assert second.known() == [trial(number) for number in range(12)]
    assert KeptTrials(output, "train_glmix", "b" * 64).known() == []


def test_trials_after_a_missing_one_are_done_again(tmp_path: Path) -> None:
    kept = KeptTrials(str(tmp_path / "model"), "train_glmix", "a" * 64)
    for number in (0, 1, 3):
        kept.remember(trial(number))
    assert [one.number for one in kept.known()] == [0, 1]


def test_all_trials_are_one_file_of_lines(tmp_path: Path) -> None:
    url = write_trials(str(tmp_path), (trial(0), trial(1)))
    lines = fs.read_bytes(url).splitlines()
    assert [parse_json(line, Trial, source="line") for line in lines] == [trial(0), trial(1)]


@pytest.mark.slow
def test_mlflow_hears_of_every_trial_once_when_it_is_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = MlflowConfig(tracking_uri=f"sqlite:///{tmp_path}/server/mlflow.db", experiment="penalties")
    first = TrialTracking(config, "a" * 64)
    (tmp_path / "server").touch()  # a file where the database's folder should be
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            first.record(trial(number))
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["1 trials are not in MLflow yet"]
    (tmp_path / "server").unlink()
    (tmp_path / "server").mkdir()
    first.close()
    second = TrialTracking(config, "a" * 64)  # a run that goes on: one of its trials is known there already
    second.record(trial(2))
    second.record(trial(3))
    second.close()
    with open_tracking(config.tracking_uri) as client:
        experiment = client.get_experiment_by_name("penalties")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
    told = [run.data for run in runs if "yarnmill.trial" in run.data.tags]
    assert sorted(one.tags["yarnmill.trial"] for one in told) == ["0", "1", "2", "3"]
    assert len(runs) == 5
    last = next(one for one in told if one.tags["yarnmill.trial"] == "3")
    assert last.params == {"per_user.strength": "1000", "per_user.alpha": "0.25"}
    assert last.metrics == {"log_loss": 3.5, "objective": 100.0, "sweeps": 3.0, "seconds": 1.5}
