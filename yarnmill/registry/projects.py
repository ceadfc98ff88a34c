"""Projects: whose models are whose."""

import msgspec
import sqlalchemy as sa

from yarnmill.errors import NotFoundError
from yarnmill.registry import rows
from yarnmill.registry.database import Database, Session, check_revision
from yarnmill.registry.names import check_labels, parse_name
from yarnmill.registry.records import Project
from yarnmill.registry.schema import PROJECT

_LOOK = "yarnmill models projects"


class Projects:
    """The projects of a registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self) -> list[Project]:
        """Return every project, ordered by name."""
        with self._database.reading() as session:
            return [rows.record_of(row, Project) for row in session.execute(rows.PROJECTS.order_by(PROJECT.c.name))]

    def get(self, name: str) -> Project:
        """Return a project; NotFoundError if there is none of that name."""
        with self._database.reading() as session:
            return _project(session, name)

    def with_id(self, project_id: int) -> Project:
        """Return the project that a row is; NotFoundError if there is none."""
        with self._database.reading() as session:
            row = session.execute(rows.PROJECTS.where(PROJECT.c.id == project_id)).one_or_none()
            if row is None:
                raise NotFoundError(f"project {project_id}: no such project", mend=_LOOK)
            return rows.record_of(row, Project)

    def ensure(self, name: str) -> Project:
        """Return a project, made if it is not there; ConfigurationError if nothing can be named so."""
        parse_name(name, "a project")

        def make(session: Session) -> Project:
            project_id(session, name)
            return _project(session, name)

        return self._database.change(make)

    def update(  # the fields of a project, each by name
        self,
        name: str,
        *,
        team: str | None = None,
        labels: dict[str, str] | None = None,
        administrators: tuple[str, ...] | None = None,
        readers: tuple[str, ...] | None = None,
        expected: int | None = None,
    ) -> Project:
        """Change what is given of a project.

        Raises
        ------
        NotFoundError
            If there is no such project.
        ConflictError
            If it is not at revision ``expected``.
        """
        check_labels(labels or {})
        given = {"team": team, "labels": labels, "administrators": administrators, "readers": readers}
        values = {field: value for field, value in given.items() if value is not None}

        def update(session: Session) -> Project:
            _lock(session, name)
            before = _project(session, name)
            check_revision(f"project {name}", expected, before.revision, _LOOK)
            changed = {field: value for field, value in values.items() if getattr(before, field) != value}
            if not changed:
                return before
            session.execute(
                sa.update(PROJECT).where(PROJECT.c.name == name).values(**changed, revision=before.revision + 1)
            )
            session.note(
                "update project",
                f"project {name}",
                {field: _told(getattr(before, field)) for field in changed},
                {field: _told(value) for field, value in changed.items()},
            )
            return _project(session, name)

        return self._database.change(update)


def project_id(session: Session, name: str) -> int:
    """Return a project's row id; the project is made if it is not there."""
    query = sa.select(PROJECT.c.id).where(PROJECT.c.name == name)
    found = session.execute(query).scalar()
    if found is None:
        session.execute(sa.insert(PROJECT).values(name=name, revision=1, created_at=session.now))
        session.note("create project", f"project {name}", {}, {"name": name})
        found = session.execute(query).scalar_one()
    return int(found)


def _lock(session: Session, name: str) -> None:
    session.execute(sa.select(PROJECT.c.id).where(PROJECT.c.name == name).with_for_update())


def _project(session: Session, name: str) -> Project:
    row = session.execute(rows.PROJECTS.where(PROJECT.c.name == name)).one_or_none()
    if row is None:
        raise NotFoundError(f"{name}: no such project", mend=_LOOK)
    return rows.record_of(row, Project)


def _told(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
