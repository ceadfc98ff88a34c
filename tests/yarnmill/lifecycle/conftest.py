"""A home with a registry, a blob store and an MLflow database; outputs of training runs to publish."""

import shutil
from pathlib import Path

import pytest
from trained import REPORT, Train, write_output

from yarnmill import fs
from yarnmill.config import Config, load_config
from yarnmill.registry.tracking import Tracking
from yarnmill.report import RunReport


@pytest.fixture(scope="session")
def empty_tracking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an MLflow database without runs: MLflow takes seconds to make one."""
    database = tmp_path_factory.mktemp("tracking") / "mlflow.db"
    assert Tracking(f"sqlite:///{database}").runs() == []
    return database


@pytest.fixture
def home(tmp_path: Path, empty_tracking: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(empty_tracking, home / "mlflow.db")
    return home


@pytest.fixture
def settings(root: str) -> list[str]:
    return ["--set", f"storage.blobs={root}/blobs"]


@pytest.fixture
def config(home: Path, settings: list[str]) -> Config:
    return load_config(None, settings[1:], home=str(home))


@pytest.fixture
def train(root: str) -> Train:
    """Return what leaves the output of a training run under a name and returns its URL."""

    def finish(name: str, report: RunReport) -> str:
        output = fs.join(root, "runs", name)
        write_output(output, name, report)
        return output

    return finish


@pytest.fixture
def output(train: Train) -> str:
    return train("one", REPORT)
