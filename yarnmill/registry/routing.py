"""Model endpoints: which versions of a model answer in an environment, by a rule that changes as a whole.

A rule may only name versions that run or serve there. Every rule that an endpoint had is kept, so that going back
is another change, to a rule that stood before.
"""

from typing import Final

import sqlalchemy as sa

from yarnmill.errors import ConflictError, NotFoundError
from yarnmill.records import convert, to_plain
from yarnmill.registry import rows
from yarnmill.registry.database import Database, Session, check_revision
from yarnmill.registry.deployments import endpoints_where, move
from yarnmill.registry.records import AuditValue, Layer, ModelEndpoint, Route, Routing, Rule
from yarnmill.registry.schema import (
    ENVIRONMENT,
    MODEL,
    MODEL_ENDPOINT,
    PROJECT,
    ROUTED,
    ROUTING,
    VERSION,
    VERSION_ENDPOINT,
)

_STOPPED: Final = Rule(destinations=())


class ModelEndpoints:
    """The model endpoints of a registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def route(
        self,
        model: str,
        rule: Rule,
        environment: str | None = None,
        *,
        expected: int | None = None,
        reason: str = "",
    ) -> ModelEndpoint:
        """Let a rule say which versions answer. The rule that stands already is no change.

        Parameters
        ----------
        model, rule, environment
            Which model, by which rule, where (None: the default environment).
        expected
            The endpoint's revision that the caller saw, 0 for none yet: a change by somebody else since is a
            conflict. None puts the rule over whatever stands there now.
        reason
            Why, for the audit.

        Raises
        ------
        NotFoundError
            If there is no such model, version or environment.
        ConflictError
            If a version that the rule names neither runs nor serves there, or the endpoint is not at revision
            ``expected``.
        """
        return self._database.change(lambda session: _route(session, model, rule, environment, expected, reason))

    def roll_back(self, model: str, environment: str | None = None, *, expected: int | None = None) -> ModelEndpoint:
        """Bring back the rule that stood before the present one; twice brings back the present one.

        Raises
        ------
        NotFoundError
            If no other rule ever stood there.
        ConflictError
            As :meth:`route`: a version of that rule may have been undeployed since.
        """

        def roll_back(session: Session) -> ModelEndpoint:
            session.model_id(model, lock=True)
            present = _endpoint(session, model, session.environment_id(environment))
            check_revision(_subject(model, present), expected, present.revision if present else 0, _look(model))
            earlier = [] if present is None else _history(session, model, present.environment)
            others = (one.rule for one in earlier if one.rule.versions and present and one.rule != present.rule)
            before = next(others, None)
            if before is None:
                raise NotFoundError(f"{model}: no rule stood before the present one", mend=_look(model))
            return _route(session, model, before, environment, None)

        return self._database.change(roll_back)

    def stop(self, model: str, environment: str | None = None, *, expected: int | None = None) -> ModelEndpoint:
        """Let nothing answer for a model; its versions run on. Errors as :meth:`route`."""

        def stop(session: Session) -> ModelEndpoint:
            session.model_id(model, lock=True)
            if _endpoint(session, model, session.environment_id(environment)) is None:
                raise NotFoundError(f"{model}: nothing answers for it", mend=_look(model))
            return _route(session, model, _STOPPED, environment, expected)

        return self._database.change(stop)

    def present(self, model: str, environment: str | None = None) -> ModelEndpoint | None:
        """Return a model's endpoint, stopped or not; None if it never had one in that environment."""
        with self._database.reading() as session:
            return _endpoint(session, model, session.environment_id(environment))

    def get(self, model: str, environment: str | None = None) -> ModelEndpoint:
        """Return a model's endpoint; NotFoundError if it never had one in that environment."""
        with self._database.reading() as session:
            found = _endpoint(session, model, session.environment_id(environment))
            if found is None:
                session.model_id(model)
                raise NotFoundError(f"{model}: not deployed", mend=f"yarnmill models deploy {model} VERSION")
            return found

    def find(self, environment: str | None = None) -> list[ModelEndpoint]:
        """Return every endpoint of an environment (None: the default one) that answers, ordered by model."""
        with self._database.reading() as session:
            environment_id = session.environment_id(environment)
            query = rows.MODEL_ENDPOINTS.where(MODEL_ENDPOINT.c.environment_id == environment_id)
            found = session.execute(query.order_by(MODEL.c.name)).all()
            bundles = _bundles(session, MODEL_ENDPOINT.c.environment_id == environment_id)
            return [one for one in (_record(row, bundles) for row in found) if one.rule.destinations]

    def everywhere(self, *, model: str | None = None, project: str | None = None) -> list[ModelEndpoint]:
        """Return every endpoint of a model or of a project's models, stopped or not, in all environments."""
        conditions = [] if model is None else [MODEL.c.name == model]
        if project is not None:
            of_project = sa.select(PROJECT.c.id).where(PROJECT.c.name == project).scalar_subquery()
            conditions.append(MODEL.c.project_id == of_project)
        query = rows.MODEL_ENDPOINTS.where(*conditions).order_by(MODEL.c.name, ENVIRONMENT.c.name)
        with self._database.reading() as session:
            found = session.execute(query).all()
            bundles = _bundles(session, MODEL_ENDPOINT.c.id.in_([row.id for row in found]))
            return [_record(row, bundles) for row in found]

    def with_id(self, endpoint_id: int) -> ModelEndpoint:
        """Return the model endpoint that a row is, stopped or not; NotFoundError if there is none."""
        with self._database.reading() as session:
            row = session.execute(rows.MODEL_ENDPOINTS.where(MODEL_ENDPOINT.c.id == endpoint_id)).one_or_none()
            if row is None:
                raise NotFoundError(f"model endpoint {endpoint_id}: no such endpoint", mend="yarnmill models list")
            return _record(row, _bundles(session, MODEL_ENDPOINT.c.id == endpoint_id))

    def generation(self) -> int:
        """Return a number that grows with every change of any rule: one look at an index, fit for polling."""
        with self._database.reading() as session:
            return int(session.execute(sa.select(sa.func.max(ROUTING.c.id))).scalar() or 0)

    def history(self, model: str, environment: str | None = None) -> list[Routing]:
        """Return every rule that a model's endpoints had, newest first; NotFoundError if there is no such model."""
        with self._database.reading() as session:
            session.model_id(model)
            return _history(session, model, environment)


def _route(  # what a change of a rule is told
    session: Session, model: str, rule: Rule, environment: str | None, expected: int | None, reason: str = ""
) -> ModelEndpoint:
    model_id = session.model_id(model, lock=True)
    environment_id = session.environment_id(environment)
    before = _endpoint(session, model, environment_id)
    revision = 0 if before is None else before.revision
    check_revision(_subject(model, before), expected, revision, _look(model))
    if before is not None and before.rule == rule:
        return before
    if rule.layer is not None:
        _check_layer(session, model, rule.layer, environment)
    _move_versions(session, model, rule, environment_id)
    endpoint_id = _write(session, (model_id, environment_id), rule, revision)
    _note_routed(session, endpoint_id, model_id, rule)
    after = _endpoint(session, model, environment_id)
    if after is None:
        raise AssertionError
    was: dict[str, AuditValue] = {} if before is None else {"rule": str(before.rule), "revision": revision}
    now: dict[str, AuditValue] = {"rule": str(rule), "revision": revision + 1, "environment": after.environment}
    if reason:
        now["reason"] = reason
    session.note("route", model, was, now)
    return after


def _check_layer(session: Session, model: str, layer: Layer, environment: str | None) -> None:
    """Refuse a part of a layer that another model's experiment has there; nobody takes one meanwhile."""
    environment_id = session.environment_id(environment, alone=True)
    query = rows.MODEL_ENDPOINTS.where(MODEL_ENDPOINT.c.environment_id == environment_id, MODEL.c.name != model)
    for row in session.execute(query):
        other = convert(row.rule, Rule, source=f"registry: rule of {row.model}").layer
        if other is not None and layer.overlaps(other):
            raise ConflictError(
                f"{layer}: {row.model} has {other}",
                expected="a part of the layer that no other model has, or another layer",
                mend=_look(row.model),
            )


def _write(session: Session, place: tuple[int, int], rule: Rule, revision: int) -> int:
    model_id, environment_id = place
    values = {"rule": to_plain(rule), "revision": revision + 1, "changed_at": session.now}
    here = (MODEL_ENDPOINT.c.model_id == model_id) & (MODEL_ENDPOINT.c.environment_id == environment_id)
    if revision == 0:
        insert = sa.insert(MODEL_ENDPOINT).values(model_id=model_id, environment_id=environment_id, **values)
        session.execute(insert)
    else:
        session.execute(sa.update(MODEL_ENDPOINT).where(here).values(values))
    endpoint_id = int(session.execute(sa.select(MODEL_ENDPOINT.c.id).where(here)).scalar_one())
    history = {"rule": to_plain(rule), "revision": revision + 1, "at": session.now, "actor": session.actor}
    session.execute(sa.insert(ROUTING).values(model_endpoint_id=endpoint_id, **history))
    return endpoint_id


def _move_versions(session: Session, model: str, rule: Rule, environment_id: int) -> None:
    """Make the versions that the rule names serving, and those that it no longer does running."""
    here = (MODEL.c.name == model, VERSION_ENDPOINT.c.environment_id == environment_id)
    endpoints = endpoints_where(session, *here)
    by_version = {endpoint.version: endpoint for endpoint in endpoints}
    for number in rule.versions:
        session.version_id(model, number)
        endpoint = by_version.get(number)
        if endpoint is None or endpoint.status not in {"running", "serving"}:
            state = "was never deployed" if endpoint is None else f"is {endpoint.status}"
            reason = f": {endpoint.message}" if endpoint and endpoint.message else ""
            raise ConflictError(
                f"{model}/{number} {state} there{reason}",
                expected="a version that runs",
                mend=f"yarnmill models deploy {model} {number}",
            )
    for endpoint in endpoints:
        if endpoint.version in rule.versions and endpoint.status == "running":
            move(session, endpoint, "serving", "")
        elif endpoint.version not in rule.versions and endpoint.status == "serving":
            move(session, endpoint, "running", "")


def _note_routed(session: Session, endpoint_id: int, model_id: int, rule: Rule) -> None:
    """Remember which versions serve, and until when the others did."""
    mine = ROUTED.c.model_endpoint_id == endpoint_id
    session.execute(sa.update(ROUTED).where(mine, ROUTED.c.until.is_(None)).values(until=session.now))
    numbers = sa.select(VERSION.c.id).where(VERSION.c.model_id == model_id, VERSION.c.number.in_(rule.versions))
    for version_id in session.execute(numbers).scalars().all():
        here = mine & (ROUTED.c.version_id == version_id)
        if session.execute(sa.update(ROUTED).where(here).values(until=None)).rowcount == 0:
            session.execute(sa.insert(ROUTED).values(model_endpoint_id=endpoint_id, version_id=version_id))


def _endpoint(session: Session, model: str, environment_id: int) -> ModelEndpoint | None:
    here = (MODEL.c.name == model, MODEL_ENDPOINT.c.environment_id == environment_id)
    row = session.execute(rows.MODEL_ENDPOINTS.where(*here)).one_or_none()
    return None if row is None else _record(row, _bundles(session, MODEL_ENDPOINT.c.id == row.id))


def _bundles(session: Session, condition: sa.ColumnElement[bool]) -> dict[tuple[int, int], tuple[str, str]]:
    """Return bundle and store of every version that serves, by endpoint and number."""
    query = (
        sa.select(MODEL_ENDPOINT.c.id, VERSION.c.number, VERSION.c.bundle_id, VERSION.c.blobs_url)
        .join(ROUTED, ROUTED.c.model_endpoint_id == MODEL_ENDPOINT.c.id)
        .join(VERSION, VERSION.c.id == ROUTED.c.version_id)
        .where(condition, ROUTED.c.until.is_(None))
    )
    found = session.execute(query).all()
    return {(row.id, row.number): (row.bundle_id, row.blobs_url) for row in found}


def _record(row: rows.Row, bundles: dict[tuple[int, int], tuple[str, str]]) -> ModelEndpoint:
    fields = rows.fields_of(row)
    rule = convert(fields["rule"], Rule, source=f"registry: rule of {row.model}")
    weights = {one.version: one.weight for one in rule.destinations}
    routes = []
    for version in rule.versions:
        bundle_id, blobs_url = bundles[row.id, version]
        weight = weights.get(version, 0.0)
        routes.append(Route(version=version, weight=weight, bundle_id=bundle_id, blobs_url=blobs_url))
    return rows.record_from({**fields, "routes": [to_plain(one) for one in routes]}, ModelEndpoint)


def _history(session: Session, model: str, environment: str | None) -> list[Routing]:
    query = rows.ROUTINGS.where(MODEL.c.name == model).order_by(ROUTING.c.id.desc())
    if environment is not None:
        query = query.where(ENVIRONMENT.c.name == environment)
    return [rows.record_of(row, Routing) for row in session.execute(query)]


def _subject(model: str, endpoint: ModelEndpoint | None) -> str:
    return f"the endpoint of {model}{f' in {endpoint.environment}' if endpoint else ''}"


def _look(model: str) -> str:
    return f"yarnmill models show {model}"
