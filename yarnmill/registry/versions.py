"""Versions of models: numbered 1, 2, 3 … without gaps or doubles, however many register at once.

The counter in the model's row is raised in the transaction that adds the version, and the database holds
that row for one writer at a time.
"""

import math
from typing import Any, Final

import sqlalchemy as sa

from yarnmill.errors import ConfigurationError, ConflictError, NotFoundError
from yarnmill.records import convert
from yarnmill.registry import rows
from yarnmill.registry.database import Database, Session, check_revision, findable
from yarnmill.registry.names import check_labels, parse_model_name, parse_name
from yarnmill.registry.projects import project_id
from yarnmill.registry.records import AuditValue, Candidate, Model, ModelVersion, Rule
from yarnmill.registry.schema import (
    LONGEST_INPUT,
    MODEL,
    PROJECT,
    VERSION,
    VERSION_BLOB,
    VERSION_INPUT,
    VERSION_LABEL,
    VERSION_METRIC,
)

_SAME: Final = (
    *("bundle_id", "blobs_url", "flavour", "metrics", "run_id", "application_id"),
    *("labels", "inputs", "code_version", "libraries"),
)
"""What a version has from its candidate."""


class Versions:
    """The models of a registry and their versions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, candidate: Candidate) -> ModelVersion:
        """Make a stored bundle the next version of its model; the same bundle again is the same version.

        A retired version whose bundle comes again is a version again, under its number.

        Raises
        ------
        ConfigurationError
            If a name, a label or a metric cannot be kept.
        ConflictError
            If the model belongs to another project.
        """
        parse_model_name(candidate.model)
        parse_name(candidate.project, "a project")
        check_labels(candidate.labels)
        for name, value in candidate.metrics.items():
            if not math.isfinite(value):
                raise ConfigurationError(f"metric {name} is {value}", expected="a finite number")
        return self._database.change(lambda session: _register(session, candidate))

    def models(self, project: str | None = None) -> list[Model]:
        """Return every model, all or those of a project, ordered by name."""
        query = rows.MODELS.order_by(MODEL.c.name)
        with self._database.reading() as session:
            found = session.execute(query if project is None else query.where(PROJECT.c.name == project))
            return [model_of(row) for row in found]

    def model_with_id(self, model_id: int) -> Model:
        """Return the model that a row is; NotFoundError if there is none."""
        with self._database.reading() as session:
            row = session.execute(rows.MODELS.where(MODEL.c.id == model_id)).one_or_none()
            if row is None:
                raise NotFoundError(f"model {model_id}: no such model", mend="yarnmill models list")
            return model_of(row)

    def model(self, name: str) -> Model:
        """Return a model; NotFoundError if there is none of that name."""
        with self._database.reading() as session:
            session.model_id(name)
            return model_of(session.execute(rows.MODELS.where(MODEL.c.name == name)).one())

    def find(self, model: str) -> list[ModelVersion]:
        """Return a model's versions, ordered by number; NotFoundError if there is no such model."""
        with self._database.reading() as session:
            session.model_id(model)
            query = rows.VERSIONS.where(MODEL.c.name == model).order_by(VERSION.c.number)
            return [rows.record_of(row, ModelVersion) for row in session.execute(query)]

    def get(self, model: str, number: int) -> ModelVersion:
        """Return one version; NotFoundError if there is no such model or version."""
        with self._database.reading() as session:
            return version_of(session, model, number)

    def find_run(self, model: str, run_id: str) -> ModelVersion | None:
        """Return the newest version of a model that a training run gave, or None."""
        return self._find(MODEL.c.name == model, VERSION.c.run_id == run_id)

    def find_bundle(self, model: str, bundle_id: str) -> ModelVersion | None:
        """Return the version of a model that is this bundle, or None."""
        return self._find(MODEL.c.name == model, VERSION.c.bundle_id == bundle_id)

    def with_bundle(self, bundle_id: str) -> list[ModelVersion]:
        """Return the versions that are this bundle: of each model one at most, ordered by model."""
        query = rows.VERSIONS.where(VERSION.c.bundle_id == bundle_id).order_by(MODEL.c.name)
        with self._database.reading() as session:
            return [rows.record_of(row, ModelVersion) for row in session.execute(query)]

    def label(
        self, model: str, number: int, labels: dict[str, str | None], *, expected: int | None = None
    ) -> ModelVersion:
        """Set labels of a version, or take them off (None).

        Raises
        ------
        NotFoundError
            If there is no such version, or it is retired.
        ConflictError
            If it is not at revision ``expected``.
        """
        check_labels({key: value or "" for key, value in labels.items()})
        return self._database.change(lambda session: _label(session, model, number, labels, expected))

    def untracked(self) -> list[ModelVersion]:
        """Return every version that MLflow lacks or has in an older state, oldest first."""
        with self._database.reading() as session:
            behind = VERSION.c.tracked_revision < VERSION.c.revision
            query = rows.VERSIONS.where(behind, VERSION.c.retired_at.is_(None)).order_by(VERSION.c.id)
            return [rows.record_of(row, ModelVersion) for row in session.execute(query)]

    def mark_tracked(self, version: ModelVersion, tracking_run_id: str) -> str:
        """Note that MLflow has a version, as it is in ``version``, under a run, and return the run that it has.

        It is another one if somebody else noted theirs since ``version`` was looked at: the first stays. Raises
        NotFoundError if there is no such version, or it is retired.
        """

        def mark(session: Session) -> str:
            session.model_id(version.model, lock=True)
            found = session.version_id(version.model, version.version)
            before = session.execute(sa.select(VERSION.c.tracking_run_id).where(VERSION.c.id == found)).scalar()
            if before not in {None, version.tracking_run_id, tracking_run_id}:
                return str(before)
            values = {"tracking_run_id": tracking_run_id, "tracked_revision": version.revision}
            newer = VERSION.c.tracked_revision < version.revision
            session.execute(sa.update(VERSION).where(VERSION.c.id == found, newer).values(values))
            if before != tracking_run_id:
                number = version.version
                now: dict[str, AuditValue] = {"version": number, "tracking_run_id": tracking_run_id}
                session.note("track", version.model, {"version": number, "tracking_run_id": before}, now)
            return tracking_run_id

        return self._database.change(mark)

    def _find(self, *conditions: sa.ColumnElement[bool]) -> ModelVersion | None:
        query = rows.VERSIONS.where(*conditions, VERSION.c.retired_at.is_(None))
        with self._database.reading() as session:
            row = session.execute(query.order_by(VERSION.c.number.desc()).limit(1)).one_or_none()
            return None if row is None else rows.record_of(row, ModelVersion)


def version_of(session: Session, model: str, number: int) -> ModelVersion:
    """Return one version, retired or not; NotFoundError if there is no such model or version."""
    here = MODEL.c.name == model, VERSION.c.number == findable(number)
    row = session.execute(rows.VERSIONS.where(*here)).one_or_none()
    if row is None:
        session.version_id(model, number)  # says what is not there
        raise AssertionError
    return rows.record_of(row, ModelVersion)


def model_of(row: rows.Row) -> Model:
    """Return a row of ``rows.MODELS`` as its record."""
    fields = rows.fields_of(row)
    rule = fields.pop("rule")
    told = "" if rule is None else str(convert(rule, Rule, source=f"registry: rule of {row.name}"))
    return convert({**fields, "deployed": told}, Model, source="registry: Model")


def _register(session: Session, candidate: Candidate) -> ModelVersion:
    model_id = _ensure_model(session, candidate)
    session.model_id(candidate.model, lock=True)
    same = sa.select(VERSION.c.id, VERSION.c.number, VERSION.c.retired_at)
    found = session.execute(
        same.where(VERSION.c.model_id == model_id, VERSION.c.bundle_id == candidate.bundle_id)
    ).one_or_none()
    if found is not None:
        if found.retired_at is not None:
            _restore(session, candidate, found)
        return version_of(session, candidate.model, found.number)
    session.execute(sa.update(MODEL).where(MODEL.c.id == model_id).values(versions=MODEL.c.versions + 1))
    number = session.execute(sa.select(MODEL.c.versions).where(MODEL.c.id == model_id)).scalar_one()
    version_id = session.insert(VERSION, model_id=model_id, number=number, **_values(session, candidate))
    _fill_search(session, version_id, candidate)
    session.note("register", candidate.model, {}, {"version": number, "bundle_id": candidate.bundle_id})
    return version_of(session, candidate.model, number)


def _values(session: Session, candidate: Candidate) -> dict[str, Any]:
    return {
        **{name: getattr(candidate, name) for name in _SAME},
        "parent_id": None if candidate.parent is None else _parent_id(session, candidate.parent),
        "created_at": session.now,
        "created_by": session.actor,
    }


def _parent_id(session: Session, bundle_id: str) -> int | None:
    """Return the version that is a bundle; its model is held, so that it is not retired before its child is there."""
    query = sa.select(VERSION.c.id).join(MODEL, MODEL.c.id == VERSION.c.model_id)
    first = query.where(VERSION.c.bundle_id == bundle_id).order_by(VERSION.c.id).limit(1)
    return session.execute(first.with_for_update(read=True, of=MODEL)).scalar()


def _restore(session: Session, candidate: Candidate, found: rows.Row) -> None:
    values = {"retired_at": None, "collected_at": None, "blobs_url": candidate.blobs_url}
    session.execute(sa.update(VERSION).where(VERSION.c.id == found.id).values(values))
    session.note("restore", candidate.model, {"version": found.number, "retired": True}, {"retired": False})


def _fill_search(session: Session, version_id: int, candidate: Candidate) -> None:
    inputs = dict.fromkeys(url[:LONGEST_INPUT] for url in candidate.inputs)
    for table, entries in (
        (VERSION_LABEL, [{"key": key, "value": value} for key, value in candidate.labels.items()]),
        (VERSION_METRIC, [{"name": name, "value": value} for name, value in candidate.metrics.items()]),
        (VERSION_INPUT, [{"url": url} for url in inputs]),
        (VERSION_BLOB, [{"blob_id": blob} for blob in dict.fromkeys(candidate.blobs)]),
    ):
        if entries:
            session.execute(sa.insert(table).values([{"version_id": version_id, **entry} for entry in entries]))


def _label(
    session: Session, model: str, number: int, labels: dict[str, str | None], expected: int | None
) -> ModelVersion:
    session.model_id(model, lock=True)
    version_id = session.version_id(model, number)
    before = version_of(session, model, number)
    check_revision(before.name, expected, before.revision, f"yarnmill versions show {before.name}")
    after = {key: value for key, value in {**before.labels, **labels}.items() if value is not None}
    if after == before.labels:
        return before
    values = {"labels": after, "revision": before.revision + 1}
    session.execute(sa.update(VERSION).where(VERSION.c.id == version_id).values(values))
    session.execute(sa.delete(VERSION_LABEL).where(VERSION_LABEL.c.version_id == version_id))
    if after:
        entries = [{"version_id": version_id, "key": key, "value": value} for key, value in after.items()]
        session.execute(sa.insert(VERSION_LABEL).values(entries))
    changed = [key for key in labels if before.labels.get(key) != after.get(key)]
    was, now = ({"version": number, **{key: of.get(key) for key in changed}} for of in (before.labels, after))
    session.note("label", model, was, now)
    return version_of(session, model, number)


def _ensure_model(session: Session, candidate: Candidate) -> int:
    query = sa.select(MODEL.c.id, PROJECT.c.name).join(PROJECT).where(MODEL.c.name == candidate.model)
    found = session.execute(query).one_or_none()
    if found is not None:
        if found.name != candidate.project:
            raise ConflictError(
                f"model {candidate.model} belongs to project {found.name}, not {candidate.project}",
                mend="choose another name: a model's name is its address at the serving tier",
            )
        return int(found.id)
    values = {"project_id": project_id(session, candidate.project), "name": candidate.model, "versions": 0}
    session.execute(sa.insert(MODEL).values(**values, created_at=session.now))
    session.note("create model", candidate.model, {}, {"project": candidate.project})
    return session.model_id(candidate.model)
