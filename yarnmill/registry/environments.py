"""Environments: where versions answer."""

import sqlalchemy as sa

from yarnmill.errors import ConflictError, NotFoundError
from yarnmill.registry import rows
from yarnmill.registry.database import Database, Session, check_revision
from yarnmill.registry.names import parse_name
from yarnmill.registry.records import AuditValue, Environment
from yarnmill.registry.schema import ENVIRONMENT, VERSION_ENDPOINT

_LOOK = "yarnmill models environments list"


class Environments:
    """The environments of a registry. There is always a default one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self) -> list[Environment]:
        """Return every environment, ordered by name."""
        with self._database.reading() as session:
            query = rows.ENVIRONMENTS.order_by(ENVIRONMENT.c.name)
            return [rows.record_of(row, Environment) for row in session.execute(query)]

    def get(self, name: str | None = None) -> Environment:
        """Return an environment, None for the default one; NotFoundError if there is none of that name."""
        with self._database.reading() as session:
            return _environment(session, name)

    def create(self, name: str, target: str) -> Environment:
        """Add an environment.

        Parameters
        ----------
        name
            Its name.
        target
            What its serving tier is reached by.

        Raises
        ------
        ConfigurationError
            If nothing can be named so.
        ConflictError
            If it is there with another target.
        """
        parse_name(name, "an environment")

        def create(session: Session) -> Environment:
            found = session.execute(rows.ENVIRONMENTS.where(ENVIRONMENT.c.name == name)).one_or_none()
            if found is None:
                values = {"name": name, "target": target, "is_default": False, "revision": 1}
                session.execute(sa.insert(ENVIRONMENT).values(**values, created_at=session.now))
                session.note("create environment", f"environment {name}", {}, {"target": target})
                return _environment(session, name)
            environment = rows.record_of(found, Environment)
            if environment.target != target:
                raise ConflictError(
                    f"environment {name} is there already, for {environment.target or 'no target'}",
                    mend="choose another name, or update it",
                )
            return environment

        return self._database.change(create)

    def update(
        self, name: str, *, target: str | None = None, is_default: bool = False, expected: int | None = None
    ) -> Environment:
        """Change an environment's target, or make it the default one.

        Raises
        ------
        NotFoundError
            If there is no such environment.
        ConflictError
            If it is not at revision ``expected``, or if versions are live there and the target would change
            under them.
        """

        def update(session: Session) -> Environment:
            # All of them, in one order: two that become the default one at once must not leave two or none.
            session.execute(sa.select(ENVIRONMENT.c.id).order_by(ENVIRONMENT.c.id).with_for_update())
            before = _environment(session, name)
            check_revision(f"environment {name}", expected, before.revision, _LOOK)
            wanted = before.target if target is None else target
            if (wanted, is_default or before.is_default) == (before.target, before.is_default):
                return before
            if wanted != before.target:
                _check_nothing_lives_in(session, name)
            if is_default:
                session.execute(sa.update(ENVIRONMENT).where(ENVIRONMENT.c.is_default).values(is_default=False))
            values: dict[str, AuditValue] = {
                "target": wanted,
                "is_default": is_default or before.is_default,
                "revision": before.revision + 1,
            }
            session.execute(sa.update(ENVIRONMENT).where(ENVIRONMENT.c.name == name).values(**values))
            told: dict[str, AuditValue] = {
                "target": before.target,
                "is_default": before.is_default,
                "revision": before.revision,
            }
            session.note("update environment", f"environment {name}", told, values)
            return _environment(session, name)

        return self._database.change(update)


def _check_nothing_lives_in(session: Session, name: str) -> None:
    live = VERSION_ENDPOINT.c.status.in_(["pending", "running", "serving"])
    query = sa.select(sa.func.count()).select_from(VERSION_ENDPOINT).join(ENVIRONMENT)
    count = session.execute(query.where(ENVIRONMENT.c.name == name, live)).scalar_one()
    if count:
        raise ConflictError(
            f"environment {name}: {count} versions are live there; its target cannot change under them",
            mend="make another environment, or undeploy them first",
        )


def _environment(session: Session, name: str | None) -> Environment:
    wanted = ENVIRONMENT.c.is_default if name is None else ENVIRONMENT.c.name == name
    row = session.execute(rows.ENVIRONMENTS.where(wanted)).one_or_none()
    if row is None:
        raise NotFoundError(f"{name}: no such environment", mend=_LOOK)
    return rows.record_of(row, Environment)
