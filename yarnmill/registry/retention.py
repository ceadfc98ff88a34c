"""Which versions are kept, and what goes with those that are not.

A version that is retired keeps its number and its record; its bundle's blobs are deleted from the store unless a
kept version has them too. A deleted blob can be brought back until ``yarnmill blobs gc`` takes it.

Two may meet: someone registers a bundle that shares a file with one that goes. Whoever retires looks again after
deleting and brings back what became referred to meanwhile; whoever publishes looks after registering whether all
blobs are still there and stores them again if not. One of the two sees the other, in whatever order they act.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final

import sqlalchemy as sa

from yarnmill.errors import ConfigurationError
from yarnmill.records import Record
from yarnmill.registry import rows
from yarnmill.registry.database import Database, Session
from yarnmill.registry.schema import (
    MODEL,
    ROUTED,
    VERSION,
    VERSION_BLOB,
    VERSION_ENDPOINT,
    VERSION_LABEL,
)

_MOST_DAYS: Final = 36_500
_MODELS_TOGETHER: Final = 100
"""What is kept is found out anew in each transaction, over all models: a version may come from another model's."""


class Policy(Record, frozen=True, kw_only=True):
    """What is kept: the newest ``keep`` versions of a model, and what served within ``served_within_days``.

    Kept in any case: a version that serves, runs or is being deployed, and one with the label ``keep``; and the version
    that any of these was made from, which itself keeps none.
    """

    keep: int
    served_within_days: float

    def __post_init__(self) -> None:
        """Refuse a policy that would keep nothing to go back to, and days that no calendar has."""
        if self.keep < 1:
            raise ConfigurationError(f"keep {self.keep} versions", expected="1 or more")
        if not 0 <= self.served_within_days <= _MOST_DAYS:
            raise ConfigurationError(
                f"served within {self.served_within_days} days", expected=f"days from 0 to {_MOST_DAYS}"
            )


class Retirement(Record, frozen=True, kw_only=True):
    """A version that goes, or went, and the blobs that only it and others that go have."""

    model: str
    version: int
    bundle_id: str
    blobs_url: str
    created_at: dt.datetime


class Retention:
    """What retires versions of a registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def plan(self, policy: Policy, model: str | None = None) -> list[Retirement]:
        """Return what would go now, all models or one, oldest first; nothing is changed."""
        with self._database.reading() as session:
            return _due(session, policy, model)

    def retire(self, policy: Policy, planned: Iterable[Retirement]) -> list[Retirement]:
        """Retire what was planned and still is due; return what was retired. One transaction for many models."""
        groups: dict[str, list[Retirement]] = {}
        for one in planned:
            groups.setdefault(one.model, []).append(one)
        done: list[Retirement] = []
        models = iter(groups.values())
        while some := list(islice(models, _MODELS_TOGETHER)):
            done += self._database.change(_retiring(policy, some))
        return done

    def collectable(self) -> list[Retirement]:
        """Return the retired versions whose blobs have not been deleted yet, oldest first."""
        with self._database.reading() as session:
            query = _RETIREMENTS.where(VERSION.c.retired_at.is_not(None), VERSION.c.collected_at.is_(None))
            return [rows.record_of(row, Retirement) for row in session.execute(query.order_by(VERSION.c.id))]

    def blobs_of(self, retired: Retirement) -> list[str]:
        """Return the ids of all blobs that a version consists of, its manifest included."""
        with self._database.reading() as session:
            query = _BLOBS.join(MODEL, MODEL.c.id == VERSION.c.model_id)
            here = (MODEL.c.name == retired.model, VERSION.c.number == retired.version)
            return list(session.execute(query.where(*here).order_by(VERSION_BLOB.c.blob_id)).scalars())

    def unlisted(self) -> list[Retirement]:
        """Return versions of which is not known what they consist of: an older YarnMill registered them."""
        with self._database.reading() as session:
            listed = sa.select(VERSION_BLOB.c.version_id)
            query = _RETIREMENTS.where(VERSION.c.collected_at.is_(None), VERSION.c.id.not_in(listed))
            return [rows.record_of(row, Retirement) for row in session.execute(query.order_by(VERSION.c.id))]

    def list_blobs(self, version: Retirement, blobs: Iterable[str]) -> None:
        """Note what a version consists of; what is noted already stays."""

        def note(session: Session) -> None:
            session.model_id(version.model, lock=True)
            here = (MODEL.c.name == version.model, VERSION.c.number == version.version)
            version_id = session.execute(sa.select(VERSION.c.id).join(MODEL).where(*here)).scalar_one()
            known = set(session.execute(_BLOBS.where(VERSION.c.id == version_id)).scalars())
            fresh = [{"version_id": version_id, "blob_id": blob} for blob in sorted(set(blobs) - known)]
            if fresh:
                session.execute(sa.insert(VERSION_BLOB).values(fresh))

        self._database.change(note)

    def referred(self, blobs: Iterable[str]) -> set[str]:
        """Return those of some blobs that a kept version has, in whatever store: one may be spelled in two ways."""
        with self._database.reading() as session:
            kept = VERSION.c.retired_at.is_(None)
            return set(session.execute(_BLOBS.where(kept, VERSION_BLOB.c.blob_id.in_(list(blobs)))).scalars())

    def collect(self, retired: Retirement, delete: Callable[[str], None], undelete: Callable[[str], None]) -> list[str]:
        """Delete the blobs of a retired version that no kept one has; return their ids. May be run again.

        Parameters
        ----------
        retired
            One of :meth:`collectable`.
        delete, undelete
            Delete a blob, or bring it back; one that is gone already, or was never deleted, is no error.
        """
        # The manifest first: a bundle without it is none, so nobody finds half of one.
        blobs = sorted(self.blobs_of(retired), key=lambda blob: blob != retired.bundle_id)
        gone = self.delete_free(blobs, delete, undelete)
        self._database.change(lambda session: _mark_collected(session, retired))
        return gone

    def delete_free(
        self, blobs: Sequence[str], delete: Callable[[str], object], undelete: Callable[[str], object]
    ) -> list[str]:
        """Delete those of some blobs that no kept version has, in their order; return the ids of what is gone.

        The arguments are those of :meth:`collect`.
        """
        referred = self.referred(blobs)
        free = [blob for blob in blobs if blob not in referred]
        for blob in free:
            delete(blob)
        # All of them: a run that was killed here may have left deleted what was referred to before it could look.
        back = self.referred(blobs)
        for blob in sorted(back):
            undelete(blob)
        return [blob for blob in free if blob not in back]


_BLOBS = sa.select(VERSION_BLOB.c.blob_id).join(VERSION, VERSION.c.id == VERSION_BLOB.c.version_id)
_RETIREMENTS = sa.select(
    MODEL.c.name.label("model"),
    VERSION.c.number.label("version"),
    VERSION.c.bundle_id,
    VERSION.c.blobs_url,
    VERSION.c.created_at,
).join(MODEL, MODEL.c.id == VERSION.c.model_id)


def _due(session: Session, policy: Policy, model: str | None) -> list[Retirement]:
    kept = VERSION.c.id.in_(_kept(session, policy))
    query = _RETIREMENTS.where(VERSION.c.retired_at.is_(None), sa.not_(kept))
    if model is not None:
        query = query.where(VERSION.c.model_id == session.model_id(model))
    return [rows.record_of(row, Retirement) for row in session.execute(query.order_by(VERSION.c.id))]


def _kept(session: Session, policy: Policy) -> sa.Select[tuple[int]]:
    """Return the query for every version that stays by itself, and what each of those was made from."""
    newest = sa.func.row_number().over(partition_by=VERSION.c.model_id, order_by=VERSION.c.number.desc())
    ranked = sa.select(VERSION.c.id, newest.label("rank")).where(VERSION.c.retired_at.is_(None)).subquery()
    live = VERSION_ENDPOINT.c.status.in_(["pending", "running", "serving"])
    lately = session.now - dt.timedelta(days=policy.served_within_days)
    own = sa.union(
        sa.select(ranked.c.id).where(ranked.c.rank <= policy.keep),
        sa.select(VERSION_ENDPOINT.c.version_id).where(live),
        sa.select(ROUTED.c.version_id).where(ROUTED.c.until.is_(None) | (ROUTED.c.until >= lately)),
        sa.select(VERSION_LABEL.c.version_id).where(VERSION_LABEL.c.key == "keep"),
    ).cte("kept")
    # And no further back: of a model that is trained each night from the one before, every version is an ancestor.
    parents = sa.select(VERSION.c.parent_id).join(own, VERSION.c.id == own.c[0]).where(VERSION.c.parent_id.is_not(None))
    return sa.select(sa.union(sa.select(own.c[0]), parents).subquery().c[0])


def _retiring(policy: Policy, groups: list[list[Retirement]]) -> Callable[[Session], list[Retirement]]:
    def retire(session: Session) -> list[Retirement]:
        # In one order, so that two who retire wait for each other and not for themselves.
        names = [group[0].model for group in groups]
        session.execute(sa.select(MODEL.c.id).where(MODEL.c.name.in_(names)).order_by(MODEL.c.id).with_for_update())
        still = {(one.model, one.version) for one in _due(session, policy, None)}
        done = [one for group in groups for one in group if (one.model, one.version) in still]
        for one in done:
            here = VERSION.c.id == session.version_id(one.model, one.version)
            session.execute(sa.update(VERSION).where(here).values(retired_at=session.now))
            session.note("retire", one.model, {"version": one.version}, {"version": one.version, "retired": True})
        return done

    return retire


def _mark_collected(session: Session, retired: Retirement) -> None:
    own = (VERSION.c.model_id == session.model_id(retired.model, lock=True), VERSION.c.number == retired.version)
    retired_still = VERSION.c.retired_at.is_not(None)
    session.execute(sa.update(VERSION).where(*own, retired_still).values(collected_at=session.now))
