"""Version endpoints: how far a version is in an environment.

::

    deploy ─▶ pending ─▶ running ◀─▶ serving         a rule that names the version makes it serving,
                 │          │                        one that no longer does makes it running again
                 ▼          ▼
              failed    terminated  ◀── undeploy     both may be deployed again

Whoever deploys asks for a deployment, brings the version there, and tells how it ended. A deployment of a version
that runs or serves already leaves it so, however it ends. An endpoint never changes its environment: a version in
another environment is another endpoint.
"""

from typing import Final

import sqlalchemy as sa

from yarnmill.errors import ConflictError, NotFoundError
from yarnmill.registry import rows
from yarnmill.registry.database import Database, Session, check_revision, findable
from yarnmill.registry.records import AuditValue, Deployment, DeploymentStatus, EndpointStatus, VersionEndpoint
from yarnmill.registry.schema import DEPLOYMENT, ENVIRONMENT, MODEL, VERSION, VERSION_ENDPOINT

_LIVE: Final = frozenset({"running", "serving"})
_SUPERSEDED: Final = "another deployment of the same version began"


class Deployments:
    """The version endpoints of a registry and the deployments that made them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, model: str, version: int, environment: str | None = None) -> Deployment:
        """Ask for a version in an environment (None: the default one).

        :meth:`started` or :meth:`failed` ends it. A deployment of the same version there that has not ended is given
        up: its process may be dead.

        Raises
        ------
        NotFoundError
            If there is no such version or environment, or the version is retired.
        """
        return self._database.change(lambda session: _begin(session, model, version, environment))

    def started(self, deployment: Deployment) -> VersionEndpoint:
        """Note that a deployment's version answers in its environment; ConflictError if it has ended before."""
        return self._database.change(lambda session: _end(session, deployment, "running", ""))

    def failed(self, deployment: Deployment, message: str) -> VersionEndpoint:
        """Note why a deployment failed; ConflictError if it has ended before."""
        return self._database.change(lambda session: _end(session, deployment, "failed", message))

    def undeploy(
        self, model: str, version: int, environment: str | None = None, *, expected: int | None = None
    ) -> VersionEndpoint:
        """Take a version out of an environment; one that is out already is no change.

        Raises
        ------
        NotFoundError
            If it never was there.
        ConflictError
            If it serves, or is not at revision ``expected``.
        """

        def undeploy(session: Session) -> VersionEndpoint:
            session.model_id(model, lock=True)
            endpoint = _endpoint(session, model, version, environment)
            check_revision(_subject(endpoint), expected, endpoint.revision, f"yarnmill models show {model}")
            if endpoint.status == "serving":
                raise ConflictError(
                    f"{_subject(endpoint)} serves: it is in the rule of {model}",
                    expected="a version that no rule names",
                    mend=f"let another version answer first: yarnmill models deploy {model} VERSION",
                )
            if endpoint.status == "terminated":
                return endpoint
            _give_up(session, endpoint.id)
            move(session, endpoint, "terminated", "")
            return _endpoint(session, model, version, environment)

        return self._database.change(undeploy)

    def get(self, model: str, version: int, environment: str | None = None) -> VersionEndpoint:
        """Return a version's endpoint in an environment; NotFoundError if it never was there."""
        with self._database.reading() as session:
            return _endpoint(session, model, version, environment)

    def with_id(self, endpoint_id: int) -> VersionEndpoint:
        """Return the version endpoint that a row is; NotFoundError if there is none."""
        with self._database.reading() as session:
            found = endpoints_where(session, VERSION_ENDPOINT.c.id == endpoint_id)
            if not found:
                raise NotFoundError(f"version endpoint {endpoint_id}: no such endpoint", mend="yarnmill models list")
            return found[0]

    def find(self, model: str | None = None, environment: str | None = None) -> list[VersionEndpoint]:
        """Return version endpoints, all or those of a model or environment, ordered by model and version."""
        query = rows.VERSION_ENDPOINTS.order_by(MODEL.c.name, VERSION.c.number, ENVIRONMENT.c.name)
        with self._database.reading() as session:
            found = session.execute(_narrowed(query, model, environment))
            return [rows.record_of(row, VersionEndpoint) for row in found]

    def history(
        self, model: str | None = None, environment: str | None = None, *, version: int | None = None
    ) -> list[Deployment]:
        """Return deployments, all or those of a model, of one of its versions or in an environment, newest first."""
        query = rows.DEPLOYMENTS.order_by(DEPLOYMENT.c.id.desc())
        if version is not None:
            query = query.where(VERSION.c.number == findable(version))
        with self._database.reading() as session:
            found = session.execute(_narrowed(query, model, environment))
            return [rows.record_of(row, Deployment) for row in found]


def move(session: Session, endpoint: VersionEndpoint, status: EndpointStatus, message: str) -> None:
    """Bring an endpoint whose model is locked into another status."""
    values = {"status": status, "message": message, "revision": endpoint.revision + 1, "changed_at": session.now}
    session.execute(sa.update(VERSION_ENDPOINT).where(VERSION_ENDPOINT.c.id == endpoint.id).values(values))
    where: dict[str, AuditValue] = {"version": endpoint.version, "environment": endpoint.environment}
    told: dict[str, AuditValue] = {"message": message} if message else {}
    session.note(status, endpoint.model, {**where, "status": endpoint.status}, {**where, "status": status, **told})


def endpoints_where(session: Session, *conditions: sa.ColumnElement[bool]) -> list[VersionEndpoint]:
    """Return the version endpoints of which conditions hold, ordered by version."""
    found = session.execute(rows.VERSION_ENDPOINTS.where(*conditions).order_by(VERSION.c.number))
    return [rows.record_of(row, VersionEndpoint) for row in found]


def _narrowed(query: sa.Select[tuple[object, ...]], model: str | None, environment: str | None) -> sa.Executable:
    if model is not None:
        query = query.where(MODEL.c.name == model)
    return query if environment is None else query.where(ENVIRONMENT.c.name == environment)


def _begin(session: Session, model: str, version: int, environment: str | None) -> Deployment:
    session.model_id(model, lock=True)
    version_id, environment_id = session.version_id(model, version), session.environment_id(environment, lock=True)
    query = sa.select(VERSION_ENDPOINT.c.id, VERSION_ENDPOINT.c.status).where(
        VERSION_ENDPOINT.c.version_id == version_id, VERSION_ENDPOINT.c.environment_id == environment_id
    )
    found = session.execute(query).one_or_none()
    if found is None:
        values = {"version_id": version_id, "environment_id": environment_id, "status": "pending", "message": ""}
        session.execute(
            sa.insert(VERSION_ENDPOINT).values(**values, revision=1, created_at=session.now, changed_at=session.now)
        )
        endpoint = _endpoint(session, model, version, environment)
        where: dict[str, AuditValue] = {"version": version, "environment": endpoint.environment}
        session.note("deploy", model, where, {**where, "status": "pending"})
    else:
        _give_up(session, found.id)
        endpoint = _endpoint(session, model, version, environment)
        if endpoint.status in {"failed", "terminated"}:
            move(session, endpoint, "pending", "")
    asked = {"status": "pending", "message": "", "actor": session.actor, "created_at": session.now}
    deployment_id = session.insert(DEPLOYMENT, version_endpoint_id=endpoint.id, **asked)
    row = session.execute(rows.DEPLOYMENTS.where(DEPLOYMENT.c.id == deployment_id)).one()
    return rows.record_of(row, Deployment)


def _give_up(session: Session, endpoint_id: int) -> None:
    pending = (DEPLOYMENT.c.version_endpoint_id == endpoint_id) & (DEPLOYMENT.c.status == "pending")
    values = {"status": "failed", "message": _SUPERSEDED, "finished_at": session.now}
    session.execute(sa.update(DEPLOYMENT).where(pending).values(values))


def _end(session: Session, deployment: Deployment, status: DeploymentStatus, message: str) -> VersionEndpoint:
    session.model_id(deployment.model, lock=True)
    row = session.execute(rows.DEPLOYMENTS.where(DEPLOYMENT.c.id == deployment.id)).one_or_none()
    if row is None:
        raise NotFoundError(f"deployment {deployment.id} of {deployment.model}: not in this registry")
    seen = rows.record_of(row, Deployment)
    if seen.status != "pending":
        raise ConflictError(
            f"deployment {seen.id} of {seen.model}/{seen.version} has ended already: {seen.message or seen.status}",
            mend="look at its version (yarnmill models show) and deploy it again if need be",
        )
    values = {"status": status, "message": message, "finished_at": session.now}
    session.execute(sa.update(DEPLOYMENT).where(DEPLOYMENT.c.id == seen.id).values(values))
    endpoint = _endpoint(session, seen.model, seen.version, seen.environment)
    if endpoint.status not in _LIVE:
        move(session, endpoint, status, message)
    return _endpoint(session, seen.model, seen.version, seen.environment)


def _endpoint(session: Session, model: str, version: int, environment: str | None) -> VersionEndpoint:
    environment_id = session.environment_id(environment)
    here = (
        MODEL.c.name == model,
        VERSION.c.number == findable(version),
        VERSION_ENDPOINT.c.environment_id == environment_id,
    )
    found = endpoints_where(session, *here)
    if not found:
        session.model_id(model)
        raise NotFoundError(
            f"{model}/{version} was never deployed{f' to {environment}' if environment else ''}",
            mend=f"yarnmill models deploy {model} {version}",
        )
    return found[0]


def _subject(endpoint: VersionEndpoint) -> str:
    return f"{endpoint.model}/{endpoint.version} in {endpoint.environment}"
