"""The registry itself: every call is one transaction, every change leaves an audit entry.

Versions of a model are numbered 1, 2, 3 … without gaps or doubles however many register at once:
the counter in the model's row is raised in the transaction that adds the version, and the database
holds that row for one writer at a time.
"""

import datetime as dt
import getpass
import re
from collections.abc import Callable
from typing import Final, TypeVar

import sqlalchemy as sa

from yarnmill.errors import ConfigurationError, ConflictError, NotFoundError
from yarnmill.registry import engine as database
from yarnmill.registry import rows
from yarnmill.registry.migrate import ensure_schema
from yarnmill.registry.records import AuditEntry, Candidate, Endpoint, Model, ModelVersion
from yarnmill.registry.schema import AUDIT, DEPLOYMENT, ENDPOINT, MODEL, PROJECT, VERSION

T = TypeVar("T")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_ATTEMPTS: Final = 5


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def parse_model_name(text: str) -> str:
    """Return ``text`` if it can name a model or project; ConfigurationError if not."""
    if not _NAME.fullmatch(text):
        raise ConfigurationError(
            f"{text!r} cannot name a model",
            expected="letters, digits, `_`, `-` and `.`, at most 100, a letter or digit first",
        )
    return text


class Registry:
    """Models, versions and endpoints in a database. Holds no connection between calls to SQLite.

    Parameters
    ----------
    url
        SQLAlchemy URL; an embedded SQLite database is made and migrated on first use.
    actor
        Who the audit says it was; None takes the user of this process.
    clock
        Gives the moment of a change.

    Raises
    ------
    ConfigurationError
        If the URL cannot be meant or the database has another schema.
    ClusterUnavailableError
        If the database does not answer; so does every method.
    """

    def __init__(self, url: str, *, actor: str | None = None, clock: Callable[[], dt.datetime] = _now) -> None:
        self._engine = database.open_engine(url)
        self._actor = actor if actor is not None else getpass.getuser()
        self._clock = clock
        ensure_schema(self._engine)

    def register(self, candidate: Candidate) -> ModelVersion:
        """Make a stored bundle the next version of its model; the same bundle again is the same version.

        Raises
        ------
        ConfigurationError
            If the model's or project's name cannot be one.
        ConflictError
            If the model belongs to another project.
        """
        parse_model_name(candidate.model)
        parse_model_name(candidate.project)
        return self._change(lambda connection: self._register(connection, candidate))

    def models(self) -> list[Model]:
        """Return every model, ordered by name."""
        with database.reading(self._engine) as connection:
            return [rows.model_of(row) for row in connection.execute(rows.MODELS.order_by(MODEL.c.name))]

    def versions(self, model: str) -> list[ModelVersion]:
        """Return a model's versions, ordered by number; NotFoundError if there is no such model."""
        with database.reading(self._engine) as connection:
            self._model_id(connection, model)
            query = rows.VERSIONS.where(MODEL.c.name == model).order_by(VERSION.c.number)
            return [rows.version_of(row) for row in connection.execute(query)]

    def version(self, model: str, number: int) -> ModelVersion:
        """Return one version; NotFoundError if there is no such model or version."""
        with database.reading(self._engine) as connection:
            return self._version(connection, model, number)

    def find_run(self, model: str, run_id: str) -> ModelVersion | None:
        """Return the newest version of a model that a training run gave, or None."""
        return self._find(MODEL.c.name == model, VERSION.c.run_id == run_id)

    def find_bundle(self, model: str, bundle_id: str) -> ModelVersion | None:
        """Return the version of a model that is this bundle, or None."""
        return self._find(MODEL.c.name == model, VERSION.c.bundle_id == bundle_id)

    def deploy(self, model: str, version: int, *, expected: int | None = None) -> Endpoint:
        """Let a version answer for its model. The version that answers already is no change.

        Parameters
        ----------
        model, version
            What shall answer.
        expected
            The endpoint's revision that the caller saw, 0 for none yet: a change by somebody else since is a
            conflict. None deploys whatever stands there now.

        Raises
        ------
        NotFoundError
            If there is no such model or version.
        ConflictError
            If the endpoint is not at revision ``expected``.
        """
        return self._change(lambda connection: self._deploy(connection, model, version, expected))

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoint of every deployed model, ordered by model."""
        with database.reading(self._engine) as connection:
            return [rows.endpoint_of(row) for row in connection.execute(rows.ENDPOINTS.order_by(MODEL.c.name))]

    def generation(self) -> int:
        """Return a number that grows with every change of any endpoint: one look at an index, fit for polling."""
        with database.reading(self._engine) as connection:
            return int(connection.execute(sa.select(sa.func.max(DEPLOYMENT.c.id))).scalar() or 0)

    def deployments(self, model: str) -> list[Endpoint]:
        """Return every endpoint that a model had, newest first; NotFoundError if there is no such model."""
        with database.reading(self._engine) as connection:
            self._model_id(connection, model)
            query = rows.DEPLOYMENTS.where(MODEL.c.name == model).order_by(DEPLOYMENT.c.revision.desc())
            return [rows.endpoint_of(row) for row in connection.execute(query)]

    def audit(self, subject: str | None = None) -> list[AuditEntry]:
        """Return every change, oldest first; only those of one model if ``subject`` names it."""
        query = rows.AUDIT_ENTRIES.order_by(AUDIT.c.id)
        if subject is not None:
            query = query.where(AUDIT.c.subject == subject)
        with database.reading(self._engine) as connection:
            return [rows.audit_entry_of(row) for row in connection.execute(query)]

    def untracked(self) -> list[ModelVersion]:
        """Return the versions that have no MLflow run yet, oldest first."""
        query = rows.VERSIONS.where(VERSION.c.tracking_run_id.is_(None)).order_by(VERSION.c.id)
        with database.reading(self._engine) as connection:
            return [rows.version_of(row) for row in connection.execute(query)]

    def mark_tracked(self, model: str, version: int, tracking_run_id: str) -> None:
        """Note the MLflow run of a version; NotFoundError if there is no such version."""

        def mark(connection: sa.Connection) -> None:
            self._version(connection, model, version)
            model_id = self._model_id(connection, model)
            connection.execute(
                sa.update(VERSION)
                .where(VERSION.c.model_id == model_id, VERSION.c.number == version)
                .values(tracking_run_id=tracking_run_id)
            )
            self._note(connection, "track", model, {}, {"version": version, "tracking_run_id": tracking_run_id})

        self._change(mark)

    def _find(self, *conditions: sa.ColumnElement[bool]) -> ModelVersion | None:
        query = rows.VERSIONS.where(*conditions).order_by(VERSION.c.number.desc()).limit(1)
        with database.reading(self._engine) as connection:
            row = connection.execute(query).one_or_none()
            return None if row is None else rows.version_of(row)

    def _change(self, act: Callable[[sa.Connection], T]) -> T:
        """Run one transaction; again when another writer added the same row between our look and our insert."""
        for _ in range(_ATTEMPTS - 1):
            try:
                with database.writing(self._engine) as connection:
                    return act(connection)
            except sa.exc.IntegrityError:
                continue
        with database.writing(self._engine) as connection:
            return act(connection)

    def _register(self, connection: sa.Connection, candidate: Candidate) -> ModelVersion:
        model_id = self._ensure_model(connection, candidate)
        same = rows.VERSIONS.where(VERSION.c.model_id == model_id, VERSION.c.bundle_id == candidate.bundle_id)
        found = connection.execute(same).one_or_none()
        if found is not None:
            return rows.version_of(found)
        connection.execute(sa.update(MODEL).where(MODEL.c.id == model_id).values(versions=MODEL.c.versions + 1))
        number = connection.execute(sa.select(MODEL.c.versions).where(MODEL.c.id == model_id)).scalar_one()
        connection.execute(
            sa.insert(VERSION).values(
                model_id=model_id,
                number=number,
                bundle_id=candidate.bundle_id,
                blobs_url=candidate.blobs_url,
                flavour=candidate.flavour,
                metrics=candidate.metrics,
                run_id=candidate.run_id,
                application_id=candidate.application_id,
                created_at=self._clock(),
                created_by=self._actor,
            )
        )
        self._note(connection, "register", candidate.model, {}, {"version": number, "bundle_id": candidate.bundle_id})
        return self._version(connection, candidate.model, number)

    def _ensure_model(self, connection: sa.Connection, candidate: Candidate) -> int:
        query = sa.select(MODEL.c.id, PROJECT.c.name).join(PROJECT).where(MODEL.c.name == candidate.model)
        found = connection.execute(query).one_or_none()
        if found is not None:
            if found.name != candidate.project:
                raise ConflictError(
                    f"model {candidate.model} belongs to project {found.name}, not {candidate.project}",
                    mend="choose another name: a model's name is its address at the serving tier",
                )
            return int(found.id)
        project_id = self._ensure_project(connection, candidate.project)
        values = {"project_id": project_id, "name": candidate.model, "versions": 0, "created_at": self._clock()}
        connection.execute(sa.insert(MODEL).values(values))
        self._note(connection, "create model", candidate.model, {}, {"project": candidate.project})
        return self._model_id(connection, candidate.model)

    def _ensure_project(self, connection: sa.Connection, project: str) -> int:
        query = sa.select(PROJECT.c.id).where(PROJECT.c.name == project)
        found = connection.execute(query).scalar()
        if found is None:
            connection.execute(sa.insert(PROJECT).values(name=project, created_at=self._clock()))
            found = connection.execute(query).scalar_one()
        return int(found)

    def _deploy(self, connection: sa.Connection, model: str, number: int, expected: int | None) -> Endpoint:
        version = self._version(connection, model, number)
        model_id = self._model_id(connection, model)
        endpoint = rows.ENDPOINTS.where(MODEL.c.id == model_id)
        row = connection.execute(endpoint).one_or_none()
        before = None if row is None else rows.endpoint_of(row)
        revision = 0 if before is None else before.revision
        if expected is not None and expected != revision:
            raise _moved(model, expected, revision)
        if before is not None and before.version == number:
            return before
        version_id = connection.execute(
            sa.select(VERSION.c.id).where(VERSION.c.model_id == model_id, VERSION.c.number == version.version)
        ).scalar_one()
        self._write_endpoint(connection, model_id, version_id, revision, model)
        self._note(connection, "deploy", model, {"version": before.version if before else None}, {"version": number})
        return rows.endpoint_of(connection.execute(endpoint).one())

    def _write_endpoint(
        self, connection: sa.Connection, model_id: int, version_id: int, revision: int, model: str
    ) -> None:
        now = self._clock()
        values = {"version_id": version_id, "revision": revision + 1, "changed_at": now}
        if revision == 0:
            connection.execute(sa.insert(ENDPOINT).values(model_id=model_id, **values))
        else:
            unchanged = (ENDPOINT.c.model_id == model_id) & (ENDPOINT.c.revision == revision)
            if connection.execute(sa.update(ENDPOINT).where(unchanged).values(values)).rowcount != 1:
                raise _moved(model, revision, revision + 1)
        connection.execute(
            sa.insert(DEPLOYMENT).values(
                model_id=model_id, version_id=version_id, revision=revision + 1, at=now, actor=self._actor
            )
        )

    def _model_id(self, connection: sa.Connection, model: str) -> int:
        found = connection.execute(sa.select(MODEL.c.id).where(MODEL.c.name == model)).scalar()
        if found is None:
            raise NotFoundError(f"{model}: no such model", mend="yarnmill models list")
        return int(found)

    def _version(self, connection: sa.Connection, model: str, number: int) -> ModelVersion:
        self._model_id(connection, model)
        query = rows.VERSIONS.where(MODEL.c.name == model, VERSION.c.number == number)
        row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFoundError(f"{model} has no version {number}", mend=f"yarnmill models versions {model}")
        return rows.version_of(row)

    def _note(
        self,
        connection: sa.Connection,
        action: str,
        subject: str,
        before: dict[str, str | int | None],
        after: dict[str, str | int | None],
    ) -> None:
        connection.execute(
            sa.insert(AUDIT).values(
                at=self._clock(), actor=self._actor, action=action, subject=subject, before=before, after=after
            )
        )


def _moved(model: str, expected: int, seen: int) -> ConflictError:
    return ConflictError(
        f"the endpoint of {model} is at revision {seen}, not {expected}: somebody else changed it",
        mend=f"look at it (yarnmill models show {model}) and decide again",
    )
