"""Lists of what grows without an end, page by page: models, versions of a model, deployments, changes.

A page continues after the last row of the one before it, so that what is added meanwhile moves nothing; only versions,
which can be ordered by a metric, are counted off.
"""

from collections.abc import Collection
from typing import Any, Generic, NamedTuple, TypeVar

import sqlalchemy as sa

from yarnmill.registry import rows
from yarnmill.registry.database import Database
from yarnmill.registry.records import AuditEntry, Deployment, Model, ModelVersion
from yarnmill.registry.schema import AUDIT, DEPLOYMENT, ENVIRONMENT, MODEL, PROJECT, VERSION, VERSION_METRIC
from yarnmill.registry.versions import model_of

T = TypeVar("T")
C = TypeVar("C", str, int)


class Page(NamedTuple, Generic[T, C]):
    """Some rows, and what the next page continues after; None: there is none."""

    found: list[T]
    following: C | None


class Listing:
    """The long lists of a registry.

    ``projects`` is whose rows are wanted, None: all; ``limit`` how many a page has at most.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def models(
        self, *, named: str = "", projects: Collection[str] | None = None, after: str = "", limit: int
    ) -> Page[Model, str]:
        """Return models whose name has ``named`` in it, by name, from ``after`` on."""
        query = rows.MODELS.order_by(MODEL.c.name).limit(limit + 1)
        if named:
            query = query.where(MODEL.c.name.icontains(named, autoescape=True))
        if projects is not None:
            query = query.where(PROJECT.c.name.in_(projects))
        if after:
            query = query.where(MODEL.c.name > after)
        with self._database.reading() as session:
            found = [model_of(row) for row in session.execute(query)]
        return Page(found[:limit], found[limit - 1].name if len(found) > limit else None)

    def versions(
        self, model: str, *, metric: str | None = None, ascending: bool = False, skip: int = 0, limit: int
    ) -> Page[ModelVersion, int]:
        """Return versions of a model, retired ones too: by number, or by a metric, those without it last.

        Raises
        ------
        NotFoundError
            If there is no such model.
        """
        query, number = rows.VERSIONS.where(MODEL.c.name == model), VERSION.c.number
        if metric is not None:
            is_it = (VERSION_METRIC.c.version_id == VERSION.c.id) & (VERSION_METRIC.c.name == metric)
            value = VERSION_METRIC.c.value
            query = query.outerjoin(VERSION_METRIC, is_it)
            query = query.order_by(sa.nulls_last(value.asc() if ascending else value.desc()))
        query = query.order_by(number.asc() if ascending and metric is None else number.desc())
        with self._database.reading() as session:
            session.model_id(model)
            found = [rows.record_of(row, ModelVersion) for row in session.execute(query.offset(skip).limit(limit + 1))]
        return Page(found[:limit], skip + limit if len(found) > limit else None)

    def deployments(
        self,
        *,
        model: str | None = None,
        environment: str | None = None,
        projects: Collection[str] | None = None,
        before: int | None = None,
        limit: int,
    ) -> Page[Deployment, int]:
        """Return deployments, newest first, from before the one with the id ``before`` on."""
        query = rows.DEPLOYMENTS.order_by(DEPLOYMENT.c.id.desc()).limit(limit + 1)
        if model is not None:
            query = query.where(MODEL.c.name == model)
        if environment is not None:
            query = query.where(ENVIRONMENT.c.name == environment)
        if projects is not None:
            query = query.where(MODEL.c.id.in_(_models_of(projects, MODEL.c.id)))
        if before is not None:
            query = query.where(DEPLOYMENT.c.id < before)
        with self._database.reading() as session:
            found = [rows.record_of(row, Deployment) for row in session.execute(query)]
        return Page(found[:limit], found[limit - 1].id if len(found) > limit else None)

    def audit(
        self,
        *,
        subject: str | None = None,
        projects: Collection[str] | None = None,
        before: int | None = None,
        limit: int,
    ) -> Page[AuditEntry, int]:
        """Return changes, newest first, of a model (or ``project NAME``, ``environment NAME``) or of all.

        ``before`` is what the page before has as ``following``. Environments belong to no project.
        """
        query = rows.AUDIT_ENTRIES.add_columns(AUDIT.c.id).order_by(AUDIT.c.id.desc()).limit(limit + 1)
        if subject is not None:
            query = query.where(AUDIT.c.subject == subject)
        if projects is not None:
            own = AUDIT.c.subject.in_([f"project {project}" for project in projects])
            query = query.where(own | AUDIT.c.subject.in_(_models_of(projects, MODEL.c.name)))
        if before is not None:
            query = query.where(AUDIT.c.id < before)
        with self._database.reading() as session:
            fields = [rows.fields_of(row) for row in session.execute(query)]
        ids = [int(one.pop("id")) for one in fields]
        found = [rows.record_from(one, AuditEntry) for one in fields]
        return Page(found[:limit], ids[limit - 1] if len(ids) > limit else None)


def _models_of(projects: Collection[str], column: sa.ColumnElement[T]) -> sa.Select[Any]:
    return sa.select(column).join(PROJECT, PROJECT.c.id == MODEL.c.project_id).where(PROJECT.c.name.in_(projects))
