"""Bring a registry's database to the newest schema."""

import logging
from importlib.resources import files

import sqlalchemy as sa

from yarnmill.errors import ConfigurationError
from yarnmill.registry.engine import is_sqlite, reading, writing
from yarnmill.registry.schema import HEAD


def current_revision(engine: sa.Engine) -> str | None:
    """Return the schema's revision, or None for a database without tables."""
    with reading(engine) as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        return None if found is None else str(found)


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
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as problem:
            raise ConfigurationError(
                f"registry {engine.url.render_as_string(hide_password=True)}: {problem}",
                expected=f"schema {HEAD} or older",
                mend="use the YarnMill that made this registry, or a newer one",
            ) from None
