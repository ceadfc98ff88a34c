"""Prediction jobs: which version answered which rows in a batch, and how that ended."""

from typing import Final

import sqlalchemy as sa

from yarnmill.errors import ConflictError, NotFoundError
from yarnmill.registry import rows
from yarnmill.registry.database import Database, Session, findable
from yarnmill.registry.records import JobStatus, PredictionJob
from yarnmill.registry.schema import MODEL, PREDICTION_JOB, PROJECT, VERSION

_NEXT: Final[dict[JobStatus, frozenset[JobStatus]]] = {
    "pending": frozenset({"running", "failed", "terminated"}),
    "running": frozenset({"completed", "failed", "terminated"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "terminated": frozenset(),
}


class PredictionJobs:
    """The prediction jobs of a registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, model: str, version: int, name: str, configuration: dict[str, str]) -> PredictionJob:
        """Note that a batch prediction was asked for; NotFoundError if there is no such version."""

        def create(session: Session) -> PredictionJob:
            values = {"version_id": session.version_id(model, version), "name": name, "configuration": configuration}
            state = {"status": "pending", "message": "", "application_id": "", "revision": 1}
            made = {"created_at": session.now, "created_by": session.actor}
            job = _job(session, session.insert(PREDICTION_JOB, **values, **state, **made))
            session.note("predict", model, {}, {"job": job.id, "version": version, "name": name})
            return job

        return self._database.change(create)

    def move(self, job_id: int, status: JobStatus, *, message: str = "", application_id: str = "") -> PredictionJob:
        """Bring a job into another status; the one it has already is no change.

        Raises
        ------
        NotFoundError
            If there is no such job.
        ConflictError
            If it cannot come there from where it is.
        """

        def move(session: Session) -> PredictionJob:
            session.execute(sa.select(PREDICTION_JOB.c.id).where(PREDICTION_JOB.c.id == job_id).with_for_update())
            before = _job(session, job_id)
            if before.status == status:
                return before
            if status not in _NEXT[before.status]:
                raise ConflictError(
                    f"prediction job {job_id} is {before.status} and cannot become {status}",
                    expected=" or ".join(sorted(_NEXT[before.status])) or "no other status: it has ended",
                )
            values = {"status": status, "message": message, "revision": before.revision + 1}
            values["application_id"] = application_id or before.application_id
            values["finished_at"] = None if _NEXT[status] else session.now
            session.execute(sa.update(PREDICTION_JOB).where(PREDICTION_JOB.c.id == job_id).values(values))
            session.note(
                "predict", before.model, {"job": job_id, "status": before.status}, {"job": job_id, "status": status}
            )
            return _job(session, job_id)

        return self._database.change(move)

    def get(self, job_id: int) -> PredictionJob:
        """Return a prediction job; NotFoundError if there is none of that id."""
        with self._database.reading() as session:
            return _job(session, job_id)

    def find(  # what narrows it, each by name
        self,
        model: str | None = None,
        *,
        version: int | None = None,
        project: str | None = None,
        offset: int = 0,
        most: int | None = None,
    ) -> list[PredictionJob]:
        """Return prediction jobs, newest first: all, those of a model or of one of its versions, or of a project.

        Parameters
        ----------
        model, version, project
            Whose.
        offset, most
            How many are passed over, and how many are returned after them.
        """
        query = rows.PREDICTION_JOBS.where(*_of(model, version, project)).order_by(PREDICTION_JOB.c.id.desc())
        with self._database.reading() as session:
            found = session.execute(query.offset(offset).limit(most))
            return [rows.record_of(row, PredictionJob) for row in found]

    def count(self, model: str | None = None, *, version: int | None = None, project: str | None = None) -> int:
        """Return how many :meth:`find` would return without ``offset`` and ``most``."""
        counted = rows.PREDICTION_JOBS.where(*_of(model, version, project)).subquery()
        with self._database.reading() as session:
            return int(session.execute(sa.select(sa.func.count()).select_from(counted)).scalar() or 0)


def _of(model: str | None, version: int | None, project: str | None) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if model is not None:
        conditions.append(MODEL.c.name == model)
    if version is not None:
        conditions.append(VERSION.c.number == findable(version))
    if project is not None:
        conditions.append(MODEL.c.project_id.in_(sa.select(PROJECT.c.id).where(PROJECT.c.name == project)))
    return conditions


def _job(session: Session, job_id: int) -> PredictionJob:
    row = session.execute(rows.PREDICTION_JOBS.where(PREDICTION_JOB.c.id == job_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"prediction job {job_id}: not in this registry")
    return rows.record_of(row, PredictionJob)
