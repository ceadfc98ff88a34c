"""The configuration: defaults in one file, later layers win, the wrong layer is named."""

from pathlib import Path

import pytest

from yarnmill.config import load_config
from yarnmill.errors import ConfigurationError, NotFoundError


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YARNMILL_CONFIG", raising=False)


def test_layers_win_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("spark: {executors: 3, executor_memory: 4 GiB}\nhome: /from/file\n")
    assert load_config().spark.executors == 1
    config = load_config(tmp_path / "mine.yaml", ["spark.executors=5"], home="/from/option")
    assert (config.spark.executors, config.spark.executor_memory, config.home) == (5, 4096, "/from/option")
    monkeypatch.setenv("YARNMILL_CONFIG", str(tmp_path / "mine.yaml"))
    assert load_config().spark.executors == 3


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("spark.executers=1", "spark.executers"),
        ("spark.executors=many", "spark.executors"),
        ("spark.executor_memory=1 furlong", "spark.executor_memory"),
        ("spark=3", "spark"),
        ("nonsense", "nonsense"),
        ("serving.console.session=1 s", "serving.console"),
    ],
)
def test_a_wrong_key_names_itself_and_its_layer(override: str, path: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_config(None, [override])
    assert f"--set {override}" in raised.value.what
    assert path in raised.value.what


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.yaml"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("serving: {prot: 1}\n")
    with pytest.raises(ConfigurationError, match=r"bad\.yaml: serving\.prot"):
        load_config(tmp_path / "bad.yaml")


def test_embedded_databases_live_in_the_home(tmp_path: Path) -> None:
    config = load_config(home=str(tmp_path))
    assert config.registry_url == f"sqlite:///{tmp_path}/registry.db"
    assert config.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    other = load_config(None, ["registry.url=postgresql://host/db"], home=str(tmp_path))
    assert other.registry_url == "postgresql://host/db"


def test_the_folder_of_prediction_jobs_is_one_for_all_machines_and_no_file_system() -> None:
    for root in ("", "hdfs:///predicted", "hdfs://namenode:9000/a/b", "file:///predicted", "/predicted"):
        assert load_config(overrides=[f"serving.jobs.root={root!r}"]).serving.jobs.root == root
    for root in ("predicted", "/", "file:///", "hdfs://namenode", "hdfs:///", "s3://bucket/a"):
        with pytest.raises(ConfigurationError, match="no folder that all machines find"):
            load_config(overrides=[f"serving.jobs.root={root!r}"])
