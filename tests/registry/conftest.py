"""A registry in a fresh database, on SQLite and on a real PostgreSQL in turn."""

import datetime as dt
import functools
import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from registered import Let, fresh_sqlite, let_answer, let_run

from yarnmill.registry import Candidate, Registry
from yarnmill.registry.engine import open_engine
from yarnmill.registry.migrate import migrate
from yarnmill.registry.schema import METADATA

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


class Clock:
    """A moment that passes when a test says so."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now

    def pass_days(self, days: float) -> None:
        self.now += dt.timedelta(days=days)


@pytest.fixture(scope="session")
def emptied_postgres(postgres: str) -> str:
    """Return the SQLAlchemy URL of a migrated database that all tests use in turn: making one each takes long."""
    url = _create(postgres, "registry")
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
    return url


@pytest.fixture
def migrated_postgres(emptied_postgres: str) -> str:
    """Return the SQLAlchemy URL of a database as it is after migrating."""
    tables = ", ".join(table.name for table in METADATA.sorted_tables)
    with psycopg.connect(emptied_postgres.replace("+psycopg", "")) as connection:
        connection.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")
        connection.execute(
            "INSERT INTO environment (name, target, is_default, revision, created_at) "
            "VALUES ('production', '', true, 1, now())"
        )
    return emptied_postgres


@pytest.fixture
def empty_postgres(postgres: str) -> Iterator[str]:
    """Yield the SQLAlchemy URL of a fresh, empty database."""
    name = f"empty_{secrets.token_hex(4)}"
    yield _create(postgres, name)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _create(postgres: str, name: str) -> str:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres.replace("postgresql://", "postgresql+psycopg://").replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.programs)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a fresh database on each kind in turn: one behaviour suite runs over both."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("migrated_postgres"))
    return fresh_sqlite(tmp_path / "registry.db")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(url: str, clock: Clock) -> Iterator[Registry]:
    opened = Registry(url, actor="ana", clock=clock)
    yield opened
    opened.close()


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


@pytest.fixture
def run(registry: Registry) -> Let:
    """Return what brings a version into an environment."""
    return functools.partial(let_run, registry)


@pytest.fixture
def answer(registry: Registry) -> Let:
    """Return what lets a version answer alone."""
    return functools.partial(let_answer, registry)
