"""Bring a registry's database to the newest schema."""

import logging
from importlib.resources import files
from typing import Final

import sqlalchemy as sa

from yarnmill.errors import ConfigurationError
from yarnmill.registry.engine import is_sqlite, reading, writing
from yarnmill.registry.schema import HEAD, VERSION_TABLE

_FIRST_TABLE: Final = "alembic_version"
"""Where revision 0001 kept itself; it is MLflow's table where both share a database."""
_LOCK: Final = 0x7961726E  # any number that only this programme takes


def current_revision(engine: sa.Engine) -> str | None:
    """Return the schema's revision, or None for a database without tables."""
    with reading(engine) as connection:
        return _revision_in(connection)


def _revision_in(connection: sa.Connection) -> str | None:
    inspector = sa.inspect(connection)
    for table in (VERSION_TABLE, _FIRST_TABLE):
        if inspector.has_table(table) and inspector.has_table("model_version"):
            found = connection.execute(sa.select(sa.column("version_num")).select_from(sa.table(table))).scalar()
            return None if found is None else str(found)
    return None


def ensure_schema(engine: sa.Engine) -> None:
    """Bring an embedded database to the newest schema; refuse any other that is not there yet.

    Raises
    ------
    ConfigurationError
        If somebody else's database has not been migrated: its owner decides when.
    """
    revision = current_revision(engine)
    if revision == HEAD:
        return
    if not is_sqlite(engine.url):
        raise ConfigurationError(
            f"registry {engine.url.render_as_string(hide_password=True)}: schema {revision or 'missing'}",
            expected=f"schema {HEAD}",
            mend="yarnmill models migrate",
        )
    migrate(engine)


def migrate(engine: sa.Engine) -> None:
    """Run every migration that the database lacks, in one transaction; several processes may call it at once."""
    # Alembic is needed once in a database's life and costs every other command a fifth of a second.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(files("yarnmill.registry") / "migrations").replace("%", "%%"))
    with writing(engine) as connection:
        if not is_sqlite(engine.url):
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        _adopt_first(connection)
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as problem:
            raise ConfigurationError(
                f"registry {engine.url.render_as_string(hide_password=True)}: {problem}",
                expected=f"schema {HEAD} or older",
                mend="use the YarnMill that made this registry, or a newer one",
            ) from None


def _adopt_first(connection: sa.Connection) -> None:
    if _revision_in(connection) == "0001" and not sa.inspect(connection).has_table(VERSION_TABLE):
        connection.execute(sa.text(f"ALTER TABLE {_FIRST_TABLE} RENAME TO {VERSION_TABLE}"))
