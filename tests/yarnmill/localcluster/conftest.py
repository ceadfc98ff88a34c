"""A cluster's decision as a value, so that most of it can be tested without starting anything."""

from pathlib import Path

import pytest

from yarnmill.config import ClusterSettings
from yarnmill.localcluster.daemons import Launch, daemons_of, port_names
from yarnmill.localcluster.layout import Layout
from yarnmill.units import Mebibytes, Seconds


@pytest.fixture
def settings() -> ClusterSettings:
    return ClusterSettings(
        nodemanagers=2,
        nodemanager_memory=Mebibytes(3072),
        nodemanager_vcores=4,
        nodemanager_gpus=2,
        daemon_heap=Mebibytes(256),
        quick_java=True,
        secure=False,
        start_timeout=Seconds(180),
    )


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.of_home(tmp_path)


@pytest.fixture
def launch(settings: ClusterSettings) -> Launch:
    names = port_names(daemons_of(settings))
    ports = {name: 20000 + number for number, name in enumerate(names)}
    return Launch(settings=settings, ports=ports, java_home="/java", jars="/cache/lib")
