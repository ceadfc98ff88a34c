"""Fixtures of the whole suite: a real SparkSession, a real Hadoop, a real training environment.

A test's markers follow from the fixtures it asks for, so nobody forgets one; quick tests run first.
"""

import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from yarnmill import environments, fs
from yarnmill.config import load_config
from yarnmill.localcluster.cluster import ClusterState, LocalCluster

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# From the quickest to the slowest; a test with several fixtures has several markers and runs with its slowest.
MARKER_OF_FIXTURE = {
    "spark": "spark",
    "cluster": "cluster",
    "hdfs": "cluster",
    "training_python": "training",
    "horovod_python": "training",
}
ORDER = ("programs", "spark", "cluster", "training", "e2e")
REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in MARKER_OF_FIXTURE:
                item.add_marker(MARKER_OF_FIXTURE[fixture])
            if fixture == "horovod_python":
                item.add_marker(pytest.mark.timeout(1800))  # the first of them may have to compile Horovod
    items.sort(
        key=lambda item: max(
            (ORDER.index(mark.name) + 1 for mark in item.iter_markers() if mark.name in ORDER), default=0
        )
    )


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def spark() -> "Iterator[SparkSession]":
    from pyspark.sql import SparkSession  # noqa: PLC0415  # unit tests must not pay for it

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else Spark's workers run the first python3 on the path
    session = (
        SparkSession.builder.master("local[2]")
        .appName("yarnmill-tests")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")  # this and the next as jobs.entry sets them
        .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterState]:
    """Yield a running Hadoop; its environment is this process's until the end of the session.

    YARNMILL_TEST_CLUSTER names the home of a cluster that is up already and stays up; without it one is
    started under build/ and stopped at the end.
    """
    kept = os.environ.get("YARNMILL_TEST_CLUSTER")
    config = load_config(home=kept or str(REPOSITORY / "build" / "test"))
    local = LocalCluster(config.home_path, config.cluster)
    state = local.up(lambda _message: None)
    before = dict(os.environ)
    os.environ.update(state.environment())
    yield state
    if not kept:
        local.down()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def hdfs(cluster: ClusterState) -> Iterator[str]:  # noqa: ARG001  # the URL below resolves through its environment
    url = f"hdfs:///tests/{secrets.token_hex(6)}"
    fs.make_folder(url)
    yield url
    fs.delete(url)


@pytest.fixture(params=["file", pytest.param("hdfs", marks=pytest.mark.cluster)])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a fresh folder's URL on each file system in turn: one behaviour suite runs over all."""
    return str(request.getfixturevalue("hdfs")) if request.param == "hdfs" else f"file://{tmp_path}/root"


@pytest.fixture(scope="session")
def training_python() -> Path:
    """Return the training environment's Python; built on first use (gigabytes), kept in the user cache."""
    return environments.ensure("training", lambda _message: None)


@pytest.fixture(scope="session")
def horovod_python() -> Path:
    """Return the Python of Horovod's environment; `make test` has it built before, for Horovod must be compiled."""
    return environments.ensure("horovod", lambda _message: None)
