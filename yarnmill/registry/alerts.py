"""Alerts: conditions on a model's endpoint, and who is told."""

import sqlalchemy as sa

from yarnmill.errors import NotFoundError
from yarnmill.records import to_plain
from yarnmill.registry import rows
from yarnmill.registry.database import Database, Session, check_revision
from yarnmill.registry.names import parse_name
from yarnmill.registry.records import Alert, Condition
from yarnmill.registry.schema import ALERT, ENVIRONMENT, MODEL


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
            If nothing can be named so.
        NotFoundError
            If there is no such model or environment.
        ConflictError
            If the alert is not at revision ``expected`` (0: not there yet).
        """
        parse_name(name, "an alert")
        values = {"condition": to_plain(condition), "receiver": receiver, "enabled": enabled}

        def put(session: Session) -> Alert:
            place = session.model_id(model, lock=True), session.environment_id(environment, lock=True)
            here = _here(place, name)
            before = _find(session, here)
            check_revision(
                f"alert {name} of {model}", expected, before.revision if before else 0, "yarnmill models show"
            )
            if before is None:
                where = {"model_id": place[0], "environment_id": place[1], "name": name}
                when = {"created_at": session.now, "changed_at": session.now}
                session.execute(sa.insert(ALERT).values(**where, **values, **when, revision=1))
            elif (before.condition, before.receiver, before.enabled) != (condition, receiver, enabled):
                change = {**values, "revision": before.revision + 1, "changed_at": session.now}
                session.execute(sa.update(ALERT).where(here).values(change))
            else:
                return before
            after = _get(session, model, here, name)
            session.note("set alert", model, {} if before is None else _told(before), _told(after))
            return after

        return self._database.change(put)

    def delete(self, model: str, name: str, environment: str | None = None, *, expected: int | None = None) -> None:
        """Take an alert away; NotFoundError if there is none, ConflictError if it is not at revision ``expected``."""

        def delete(session: Session) -> None:
            here = _here((session.model_id(model, lock=True), session.environment_id(environment, lock=True)), name)
            before = _get(session, model, here, name)
            check_revision(f"alert {name} of {model}", expected, before.revision, "yarnmill models show")
            session.execute(sa.delete(ALERT).where(here))
            session.note("delete alert", model, _told(before), {})

        self._database.change(delete)

    def find(self, model: str | None = None) -> list[Alert]:
        """Return alerts, all or those of a model, ordered by model, environment and name."""
        query = rows.ALERTS.order_by(MODEL.c.name, ENVIRONMENT.c.name, ALERT.c.name)
        with self._database.reading() as session:
            found = session.execute(query if model is None else query.where(MODEL.c.name == model))
            return [rows.record_of(row, Alert) for row in found]


def _here(place: tuple[int, int], name: str) -> sa.ColumnElement[bool]:
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
    told = f"{condition.metric} {condition.comparison} {condition.bound:g} for {condition.for_s:g} s"
    return {"alert": alert.name, "condition": told, "receiver": alert.receiver, "enabled": alert.enabled}
