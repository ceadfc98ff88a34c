"""Verdicts: how a gate judged a version, kept with what it saw."""

import datetime as dt

import sqlalchemy as sa

from yarnmill.records import Record, to_plain
from yarnmill.registry import rows
from yarnmill.registry.database import Database, Session, findable
from yarnmill.registry.gates import Gate, RuleResult
from yarnmill.registry.schema import ENVIRONMENT, MODEL, VERDICT, VERSION

_AGAINST = VERSION.alias("against")
_VERDICTS = (
    sa.select(
        VERDICT.c.id,
        MODEL.c.name.label("model"),
        VERSION.c.number.label("version"),
        ENVIRONMENT.c.name.label("environment"),
        _AGAINST.c.number.label("against"),
        *(VERDICT.c[name] for name in ("passed", "gate", "results", "at", "actor")),
    )
    .join(VERSION, VERSION.c.id == VERDICT.c.version_id)
    .join(MODEL, MODEL.c.id == VERSION.c.model_id)
    .join(ENVIRONMENT, ENVIRONMENT.c.id == VERDICT.c.environment_id)
    .outerjoin(_AGAINST, _AGAINST.c.id == VERDICT.c.against_id)
)


class Verdict(Record, frozen=True, kw_only=True):
    """How a gate judged a version, ``against`` the one that served, if one did."""

    id: int
    model: str
    version: int
    environment: str
    against: int | None
    passed: bool
    gate: Gate
    results: tuple[RuleResult, ...]
    at: dt.datetime
    actor: str


class Verdicts:
    """The verdicts of a registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(  # the fields of a verdict, each by name
        self,
        model: str,
        version: int,
        *,
        environment: str | None,
        against: int | None,
        gate: Gate,
        results: list[RuleResult],
    ) -> Verdict:
        """Keep a verdict; NotFoundError if there is no such version or environment."""
        passed = all(result.passed for result in results)

        def record(session: Session) -> Verdict:
            ids = {
                "version_id": session.version_id(model, version),
                "environment_id": session.environment_id(environment),
                "against_id": None if against is None else session.version_id(model, against),
            }
            plain = {"gate": to_plain(gate), "results": [to_plain(result) for result in results]}
            values = {**ids, **plain, "passed": passed, "at": session.now, "actor": session.actor}
            verdict_id = session.insert(VERDICT, **values)
            session.note("judge", model, {}, {"version": version, "against": against, "passed": passed})
            query = _VERDICTS.where(VERDICT.c.id == verdict_id)
            return rows.record_of(session.execute(query).one(), Verdict)

        return self._database.change(record)

    def find(self, model: str, version: int | None = None) -> list[Verdict]:
        """Return the verdicts over a model's versions, or one of them, newest first."""
        with self._database.reading() as session:
            session.model_id(model)
            query = _VERDICTS.where(MODEL.c.name == model).order_by(VERDICT.c.id.desc())
            found = session.execute(query if version is None else query.where(VERSION.c.number == findable(version)))
            return [rows.record_of(row, Verdict) for row in found]
