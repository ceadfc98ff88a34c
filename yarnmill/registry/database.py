"""One transaction at a time: what every part of the registry stands on."""

import copy
import datetime as dt
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from yarnmill.errors import ConflictError, NotFoundError
from yarnmill.registry import engine as database
from yarnmill.registry.migrate import ensure_schema
from yarnmill.registry.records import AuditValue
from yarnmill.registry.schema import AUDIT, ENVIRONMENT, LARGEST_NUMBER, MODEL, VERSION

T = TypeVar("T")
_ATTEMPTS: Final = 8
_PAUSE_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Session:
    """One transaction: its connection, who it acts for, and the moment of its changes."""

    connection: sa.Connection
    actor: str
    now: dt.datetime

    def execute(self, statement: sa.Executable) -> sa.CursorResult[Any]:
        """Run a statement in this transaction."""
        return self.connection.execute(statement)

    def insert(self, table: sa.Table, **values: object) -> int:
        """Add a row and return its id."""
        added = self.execute(sa.insert(table).values(**values)).inserted_primary_key
        if added is None:
            raise AssertionError
        return int(added[0])

    def note(
        self, action: str, subject: str, before: Mapping[str, AuditValue], after: Mapping[str, AuditValue]
    ) -> None:
        """Leave the audit entry of a change."""
        values = {"at": self.now, "actor": self.actor, "action": action, "subject": subject}
        self.execute(sa.insert(AUDIT).values(**values, before=dict(before), after=dict(after)))

    def model_id(self, model: str, *, lock: bool = False) -> int:
        """Return a model's row id; ``lock`` holds all other changes of this model until the transaction ends."""
        query = sa.select(MODEL.c.id).where(MODEL.c.name == model)
        found = self.execute(query.with_for_update() if lock else query).scalar()
        if found is None:
            raise NotFoundError(f"{model}: no such model", mend="yarnmill models list")
        return int(found)

    def version_id(self, model: str, number: int) -> int:
        """Return a version's row id; NotFoundError if there is no such version or it is retired."""
        query = sa.select(VERSION.c.id, VERSION.c.retired_at).join(MODEL)
        here = MODEL.c.name == model, VERSION.c.number == findable(number)
        row = self.execute(query.where(*here)).one_or_none()
        if row is None:
            self.model_id(model)
            raise NotFoundError(f"{model} has no version {number}", mend=f"yarnmill versions list {model}")
        if row.retired_at is not None:
            raise NotFoundError(
                f"{model}/{number} was retired on {row.retired_at:%Y-%m-%d}: its bundle is no longer kept",
                mend=f"yarnmill versions list {model}",
            )
        return int(row.id)

    def environment_id(self, environment: str | None, *, lock: bool = False, alone: bool = False) -> int:
        """Return an environment's row id, None for the default one.

        ``lock`` keeps it as it is for this transaction; ``alone`` lets nobody else do either meanwhile.
        """
        wanted = ENVIRONMENT.c.is_default if environment is None else ENVIRONMENT.c.name == environment
        query = sa.select(ENVIRONMENT.c.id).where(wanted)
        found = self.execute(query.with_for_update(read=not alone) if lock or alone else query).scalar()
        if found is None:
            raise NotFoundError(f"{environment}: no such environment", mend="yarnmill models environments list")
        return int(found)


def findable(number: int) -> int:
    """Return a version's number as a database can look for it: 0, which no version has, for what is none."""
    return number if 0 < number <= LARGEST_NUMBER else 0


class Database:
    """The registry's database, acted on in somebody's name.

    Parameters
    ----------
    url
        SQLAlchemy URL; an embedded SQLite database is made and migrated on first use.
    actor
        Who the audit says it was.
    clock
        Gives the moment of a change.
    """

    def __init__(self, url: str, actor: str, clock: Callable[[], dt.datetime]) -> None:
        self._engine = database.open_engine(url)
        self._actor = actor
        self._clock = clock
        try:
            ensure_schema(self._engine)
        except BaseException:
            self._engine.dispose()
            raise

    def acting_as(self, actor: str) -> "Database":
        """Return this database, over the same connections, acted on in somebody else's name."""
        other = copy.copy(self)
        other._actor = actor  # noqa: SLF001  # its own kind's
        return other

    def close(self) -> None:
        """Close the connections that are kept for the next call."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Read from one state of the database."""
        with database.reading(self._engine) as connection:
            yield Session(connection, self._actor, self._clock())

    def change(self, act: Callable[[Session], T]) -> T:
        """Run ``act`` in one transaction, which is all or nothing; again when it met another's.

        Raises
        ------
        ConflictError
            If it met others again and again.
        ClusterUnavailableError
            If the database does not answer. Whether a commit arrived is not known then: every change can be
            made again.
        """
        for attempt in range(_ATTEMPTS):
            try:
                with database.writing(self._engine) as connection:
                    return act(Session(connection, self._actor, self._clock()))
            except database.TransactionsMetError as met:
                last = met.__cause__
                time.sleep(random.uniform(0, _PAUSE_S * 2**attempt))  # noqa: S311  # no secret
        raise ConflictError(f"the registry: others changed the same thing all the time: {last}", mend="run it again")


def check_revision(subject: str, expected: int | None, seen: int, look: str) -> None:
    """Refuse a change that was decided on another state; ``look`` is the command that shows the present one."""
    if expected is not None and expected != seen:
        raise ConflictError(
            f"{subject} is at revision {seen}, not {expected}: somebody else changed it",
            mend=f"look at it ({look}) and decide again",
        )
