"""The database behind the registry: connections, transactions, and all that is special to SQLite."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from yarnmill.errors import BadDataError, ClusterUnavailableError, ConfigurationError

BUSY_TIMEOUT_S: Final = 30
"""How long a SQLite writer waits for the others."""
_SERVER_OPTIONS: Final[dict[str, Any]] = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10}}
_MET: Final = {"40001", "40P01"}
"""PostgreSQL's states for transactions that met and of which one had to go."""


class TransactionsMetError(Exception):
    """Another writer was in the way; the same transaction may be tried again."""


def open_engine(url: str) -> sa.Engine:
    """Return an engine for a SQLAlchemy URL; nothing is contacted yet.

    Raises
    ------
    ConfigurationError
        If the URL cannot be meant or its driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
        # No pool for SQLite: an open costs 0.1 ms, and no connection is ever carried over a fork.
        engine = sa.create_engine(parsed, **({"poolclass": NullPool} if is_sqlite(parsed) else _SERVER_OPTIONS))
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as problem:
        raise ConfigurationError(
            f"registry.url: cannot use this database: {problem}",
            expected="a SQLAlchemy URL such as sqlite:////var/lib/yarnmill/registry.db or postgresql+psycopg://user@host/db",
        ) from None
    if is_sqlite(parsed):
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def probe(url: sa.URL) -> None:
    """Open a database that is not ours and close it again, changing nothing; ClusterUnavailableError if it fails."""
    engine = sa.create_engine(url, poolclass=NullPool)
    with _translated(engine), engine.connect():
        pass


def is_sqlite(url: sa.URL) -> bool:
    """Return whether the database is embedded."""
    return url.get_backend_name() == "sqlite"


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Read from one state of the database; ClusterUnavailableError if it does not answer."""
    with _translated(engine), engine.connect() as connection:
        if not is_sqlite(engine.url):
            connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Change everything or nothing.

    Raises
    ------
    ClusterUnavailableError
        If the database does not answer.
    TransactionsMetError
        If two writers met: nothing was changed.
    """
    with _translated(engine), engine.execution_options(yarnmill_writes=True).begin() as connection:
        yield connection


@contextmanager
def _translated(engine: sa.Engine) -> Iterator[None]:
    try:
        _make_folder(engine.url)
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError) as problem:
        if getattr(problem.orig, "sqlstate", None) in _MET:
            raise TransactionsMetError from problem
        raise ClusterUnavailableError(
            f"database {engine.url.render_as_string(hide_password=True)}: {problem.orig}",
            mend="check the database that registry.url or registry.tracking names; run it again when it answers",
        ) from None
    except sa.exc.IntegrityError as problem:
        raise TransactionsMetError from problem
    except sa.exc.DatabaseError as problem:
        raise BadDataError(
            f"database {engine.url.render_as_string(hide_password=True)}: {problem.orig}",
            expected="a database that YarnMill made",
            mend="correct registry.url or registry.tracking, or restore the database from a backup",
        ) from None


def _make_folder(url: sa.URL) -> None:
    if is_sqlite(url) and url.database:
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise ConfigurationError(f"database {url.database}: cannot make its folder: {problem}") from None


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver's own idea of when to begin is switched off
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
    connection.execute("PRAGMA foreign_keys = ON")
    # FULL: a deployment that was confirmed is still there after a power failure.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_mode = WAL")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A reader that turns writer fails at once if another wrote meanwhile; a writer that says so first waits.
    writes = connection.get_execution_options().get("yarnmill_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
