"""A registry in a fresh file."""

import datetime as dt
from pathlib import Path

import pytest

from yarnmill.registry import Candidate, Registry

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'deep' / 'registry.db'}"


@pytest.fixture
def registry(url: str) -> Registry:
    return Registry(url, actor="ana", clock=lambda: NOW)


@pytest.fixture
def candidate() -> Candidate:
    return Candidate(
        model="rater",
        bundle_id="a" * 64,
        blobs_url="hdfs:///yarnmill/blobs",
        flavour="glmix",
        run_id="run-1",
        application_id="application_1_0001",
        metrics={"test_auc": 0.78},
    )
