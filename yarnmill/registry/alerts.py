"""Alerts: conditions on a model's endpoint, and who is told."""

import math
from collections.abc import Container, Iterable
from typing import Final

import sqlalchemy as sa

from yarnmill.errors import ConfigurationError, NotFoundError
from yarnmill.records import Record, to_plain
from yarnmill.registry import rows
from yarnmill.registry.database import Database, Session, check_revision
from yarnmill.registry.names import parse_name
from yarnmill.registry.records import Alert, Condition
from yarnmill.registry.schema import ALERT, ENVIRONMENT, MODEL

_LONGEST_RECEIVER: Final = 200


class Alerts:
    """The alerts of a registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(  # noqa: PLR0913  # the fields of an alert, each by name
        self,
        model: str,
        name: str,
        condition: Condition,
        *,
        receiver: str,
        environment: str | None = None,
        enabled: bool = True,
        expected: int | None = None,
    ) -> Alert:
        """Set an alert of a model's endpoint, new or not; the same again is no change.

        Raises
        ------
        ConfigurationError
            If nothing can be named so, the bound is no finite number, or nobody is told.
        NotFoundError
            If there is no such model or environment.
        ConflictError
            If the alert is not at revision ``expected`` (0: not there yet).
        """
        wanted = Wanted(name=parse_name(name, "an alert"), condition=condition, enabled=enabled)
        _check(wanted)
        _check_receiver(receiver)

        def put(session: Session) -> Alert:
            place = _place(session, model, environment)
            before = _find(session, _here(place, name))
            check_revision(
                f"alert {name} of {model}", expected, before.revision if before else 0, "yarnmill models show"
            )
            return _put(session, model, place, wanted, receiver)

        return self._database.change(put)

    def replace(
        self,
        model: str,
        wanted: Iterable["Wanted"],
        *,
        receiver: str,
        environment: str | None = None,
        among: Container[str] = (),
    ) -> list[Alert]:
        """Set alerts of a model's endpoint, all at once; of the names ``among`` these, others are taken away.

        Raises
        ------
        ConfigurationError
            If nothing can be named so, two are named alike, a bound is no finite number, or nobody is told.
        NotFoundError
            If there is no such model or environment.
        """
        asked = tuple(wanted)
        named = {parse_name(one.name, "an alert"): one for one in asked}
        for one in asked:
            _check(one)
        _check_receiver(receiver)
        if len(named) < len(asked):
            raise ConfigurationError(f"alerts of {model}: two of one name", expected="a name each")

        def replace(session: Session) -> list[Alert]:
            place = _place(session, model, environment)
            here = sa.and_(ALERT.c.model_id == place[0], ALERT.c.environment_id == place[1])
            for row in session.execute(rows.ALERTS.where(here)).all():
                before = rows.record_of(row, Alert)
                if before.name in among and before.name not in named:
                    _delete(session, model, _here(place, before.name), before)
            return [_put(session, model, place, one, receiver) for one in named.values()]

        return self._database.change(replace)

    def delete(self, model: str, name: str, environment: str | None = None, *, expected: int | None = None) -> None:
        """Take an alert away; NotFoundError if there is none, ConflictError if it is not at revision ``expected``."""

        def delete(session: Session) -> None:
            here = _here(_place(session, model, environment), name)
            before = _get(session, model, here, name)
            check_revision(f"alert {name} of {model}", expected, before.revision, "yarnmill models show")
            _delete(session, model, here, before)

        self._database.change(delete)

    def find(self, model: str | None = None, environment: str | None = None) -> list[Alert]:
        """Return alerts, all or those of a model or in an environment, ordered by model, environment and name."""
        query = rows.ALERTS.order_by(MODEL.c.name, ENVIRONMENT.c.name, ALERT.c.name)
        if model is not None:
            query = query.where(MODEL.c.name == model)
        if environment is not None:
            query = query.where(ENVIRONMENT.c.name == environment)
        with self._database.reading() as session:
            return [rows.record_of(row, Alert) for row in session.execute(query)]


class Wanted(Record, frozen=True, kw_only=True):
    """An alert that is asked for."""

    name: str
    condition: Condition
    enabled: bool = True


_Place = tuple[int, int]
"""Model and environment."""


def _place(session: Session, model: str, environment: str | None) -> _Place:
    return session.model_id(model, lock=True), session.environment_id(environment, lock=True)


def _check(wanted: Wanted) -> None:
    if not math.isfinite(wanted.condition.bound):  # it would never be raised, or always
        raise ConfigurationError(
            f"alert {wanted.name}: the bound is {wanted.condition.bound}", expected="a finite number"
        )


def _check_receiver(receiver: str) -> None:
    if not 0 < len(receiver) <= _LONGEST_RECEIVER or not receiver.isprintable():
        raise ConfigurationError(
            f"receiver: {receiver[:50]!r}", expected=f"who is told, in 1 to {_LONGEST_RECEIVER} printable characters"
        )


def _put(session: Session, model: str, place: _Place, wanted: Wanted, receiver: str) -> Alert:
    here = _here(place, wanted.name)
    before = _find(session, here)
    values = {"condition": to_plain(wanted.condition), "receiver": receiver, "enabled": wanted.enabled}
    if before is None:
        where = {"model_id": place[0], "environment_id": place[1], "name": wanted.name}
        when = {"created_at": session.now, "changed_at": session.now}
        session.execute(sa.insert(ALERT).values(**where, **values, **when, revision=1))
    elif (before.condition, before.receiver, before.enabled) != (wanted.condition, receiver, wanted.enabled):
        change = {**values, "revision": before.revision + 1, "changed_at": session.now}
        session.execute(sa.update(ALERT).where(here).values(change))
    else:
        return before
    after = _get(session, model, here, wanted.name)
    session.note("set alert", model, {} if before is None else _told(before), _told(after))
    return after


def _delete(session: Session, model: str, here: sa.ColumnElement[bool], before: Alert) -> None:
    session.execute(sa.delete(ALERT).where(here))
    session.note("delete alert", model, _told(before), {})


def _here(place: _Place, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(ALERT.c.model_id == place[0], ALERT.c.environment_id == place[1], ALERT.c.name == name)


def _find(session: Session, here: sa.ColumnElement[bool]) -> Alert | None:
    row = session.execute(rows.ALERTS.where(here)).one_or_none()
    return None if row is None else rows.record_of(row, Alert)


def _get(session: Session, model: str, here: sa.ColumnElement[bool], name: str) -> Alert:
    found = _find(session, here)
    if found is None:
        raise NotFoundError(f"{model} has no alert {name} there")
    return found


def _told(alert: Alert) -> dict[str, str | float | bool]:
    condition = alert.condition
    told = (
        f"{condition.metric} {condition.comparison} {condition.bound:g} for {condition.for_s:g} s, {condition.severity}"
    )
    return {"alert": alert.name, "condition": told, "receiver": alert.receiver, "enabled": alert.enabled}
