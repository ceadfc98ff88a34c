"""The migrations and the schema in code are one."""

import alembic.autogenerate
import alembic.migration
import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

import yarnmill.registry
from yarnmill.errors import ConfigurationError
from yarnmill.registry import Registry
from yarnmill.registry.engine import open_engine, writing
from yarnmill.registry.migrate import current_revision, ensure_schema
from yarnmill.registry.schema import HEAD, METADATA


def test_the_newest_migration_is_the_schema(url: str) -> None:
    config = Config()
    config.set_main_option("script_location", f"{yarnmill.registry.__path__[0]}/migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD
    engine = open_engine(url)
    ensure_schema(engine)
    with engine.connect() as connection:
        context = alembic.migration.MigrationContext.configure(connection)
        assert alembic.autogenerate.compare_metadata(context, METADATA) == []


def test_a_fresh_database_is_brought_to_the_head_once(url: str) -> None:
    engine = open_engine(url)
    assert current_revision(engine) is None
    ensure_schema(engine)
    ensure_schema(engine)
    assert current_revision(engine) == HEAD


def test_a_registry_from_the_future_is_refused(url: str) -> None:
    engine = open_engine(url)
    ensure_schema(engine)
    with writing(engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="9999"):
        Registry(url)


def test_a_failed_migration_leaves_no_half_schema(url: str) -> None:
    engine = open_engine(url)
    with writing(engine) as connection:
        connection.execute(sa.text("CREATE TABLE audit (x INTEGER)"))  # in the way of the last table that 0001 makes
    with pytest.raises(Exception, match="audit"):
        ensure_schema(engine)
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == ["audit"]


def test_sqlite_runs_as_several_writers_need_it(url: str) -> None:
    Registry(url)
    with open_engine(url).connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
