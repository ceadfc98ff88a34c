"""The migrations and the schema in code are one, and what an older registry held is still there."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import alembic.autogenerate
import alembic.command
import alembic.migration
import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

import yarnmill.registry
from yarnmill.errors import ConfigurationError
from yarnmill.registry import Registry, Rule
from yarnmill.registry.engine import open_engine, writing
from yarnmill.registry.migrate import current_revision, ensure_schema, migrate
from yarnmill.registry.schema import HEAD, METADATA, VERSION_TABLE


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.programs)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    is_sqlite = request.param == "sqlite"
    engine = open_engine(f"sqlite:///{tmp_path / 'r.db'}" if is_sqlite else request.getfixturevalue("empty_postgres"))
    yield engine
    engine.dispose()


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", f"{yarnmill.registry.__path__[0]}/migrations")
    return config


def test_the_newest_migration_is_the_schema(empty: sa.Engine) -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_current_head() == HEAD
    migrate(empty)
    with empty.connect() as connection:
        context = alembic.migration.MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert alembic.autogenerate.compare_metadata(context, METADATA) == []


def test_a_database_is_brought_to_the_head_once(empty: sa.Engine) -> None:
    assert current_revision(empty) is None
    migrate(empty)
    migrate(empty)
    ensure_schema(empty)
    assert current_revision(empty) == HEAD


def test_a_registry_from_the_future_is_refused(empty: sa.Engine) -> None:
    migrate(empty)
    with writing(empty) as connection:
        revision = sa.table(VERSION_TABLE, sa.column("version_num"))
        connection.execute(sa.update(revision).values(version_num="9999"))
    with pytest.raises(ConfigurationError, match="9999"):
        Registry(empty.url.render_as_string(hide_password=False))


def test_a_failed_migration_leaves_no_half_schema(empty: sa.Engine) -> None:
    with writing(empty) as connection:
        connection.execute(sa.text("CREATE TABLE audit (x INTEGER)"))  # in the way of the last table that 0001 makes
    with pytest.raises(Exception, match="audit"):
        migrate(empty)
    with empty.connect() as connection:
        assert sa.inspect(connection).get_table_names() == ["audit"]


def test_what_answered_before_answers_after(empty: sa.Engine) -> None:
    with writing(empty) as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "0001")
        # As revision 0001 left it: its own version table had Alembic's usual name.
        connection.execute(sa.text(f"ALTER TABLE {VERSION_TABLE} RENAME TO alembic_version"))
        for statement in (Path(__file__).parent / "registry_0001.sql").read_text().split(";\n"):
            connection.exec_driver_sql(statement)
    assert current_revision(empty) == "0001"
    migrate(empty)
    registry = Registry(empty.url.render_as_string(hide_password=False))
    assert [(one.model, one.rule, one.revision) for one in registry.endpoints.find()] == [("rater", Rule.only(2), 3)]
    assert registry.endpoints.find()[0].routes[0].bundle_id == "bbbb"
    history = registry.endpoints.history("rater")
    assert [(str(one.rule), one.revision, one.actor) for one in history] == [
        ("2: 100 %", 3, "ana"),
        ("1: 100 %", 2, "ben"),
        ("2: 100 %", 1, "ana"),
    ]
    assert history[0].at == dt.datetime(2026, 1, 3, tzinfo=dt.UTC)
    statuses = [(one.version, one.status, one.environment) for one in registry.deployments.find("rater")]
    assert statuses == [(1, "running", "production"), (2, "serving", "production")]
    assert registry.endpoints.generation() == 3
    assert registry.endpoints.roll_back("rater").rule == Rule.only(1)
    assert [one.version for one in registry.versions.untracked()] == [2]
    registry.close()


def test_sqlite_runs_as_several_writers_need_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    Registry(url)
    with open_engine(url).connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000


@pytest.mark.programs
def test_somebody_elses_database_is_not_migrated_unasked(empty_postgres: str) -> None:
    with pytest.raises(ConfigurationError, match="yarnmill models migrate"):
        Registry(empty_postgres)
    engine = open_engine(empty_postgres)
    migrate(engine)
    engine.dispose()
    registry = Registry(empty_postgres)
    assert registry.versions.models() == []
    registry.close()
