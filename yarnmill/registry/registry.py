"""The registry itself: every call is one transaction, every change leaves an audit entry."""

import copy
import datetime as dt
import getpass
from collections.abc import Callable

from yarnmill.registry import rows
from yarnmill.registry.alerts import Alerts
from yarnmill.registry.database import Database
from yarnmill.registry.deployments import Deployments
from yarnmill.registry.environments import Environments
from yarnmill.registry.jobs import PredictionJobs
from yarnmill.registry.listing import Listing
from yarnmill.registry.projects import Projects
from yarnmill.registry.records import AuditEntry
from yarnmill.registry.retention import Retention
from yarnmill.registry.routing import ModelEndpoints
from yarnmill.registry.schema import AUDIT
from yarnmill.registry.schemas import ModelSchemas
from yarnmill.registry.search import Search
from yarnmill.registry.verdicts import Verdicts
from yarnmill.registry.versions import Versions


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Registry:
    """Models, versions and endpoints in a database. Holds no connection between calls to SQLite.

    Attributes
    ----------
    projects, environments, versions, deployments, endpoints, verdicts, jobs, alerts, schemas
        The records, each with what changes them: ``versions`` are the models' versions, ``deployments`` bring a
        version into an environment, ``endpoints`` say which versions answer.
    search
        What finds versions.
    listing
        What lists models, versions, deployments and changes page by page.
    retention
        What retires them.

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
        self._stand_on(Database(url, getpass.getuser() if actor is None else actor, clock))

    def _stand_on(self, database: Database) -> None:
        self._database = database
        self.projects = Projects(self._database)
        self.environments = Environments(self._database)
        self.versions = Versions(self._database)
        self.deployments = Deployments(self._database)
        self.endpoints = ModelEndpoints(self._database)
        self.verdicts = Verdicts(self._database)
        self.jobs = PredictionJobs(self._database)
        self.alerts = Alerts(self._database)
        self.schemas = ModelSchemas(self._database)
        self.search = Search(self._database)
        self.listing = Listing(self._database)
        self.retention = Retention(self._database)

    def acting_as(self, actor: str) -> "Registry":
        """Return this registry, over the same connections, whose changes the audit ascribes to somebody else."""
        other = copy.copy(self)
        other._stand_on(self._database.acting_as(actor))  # noqa: SLF001  # its own kind's
        return other

    def close(self) -> None:
        """Close the connections that are kept for the next call."""
        self._database.close()

    def audit(self, subject: str | None = None) -> list[AuditEntry]:
        """Return the changes of a model (or ``project NAME``, ``environment NAME``), or all, oldest first."""
        query = rows.AUDIT_ENTRIES.order_by(AUDIT.c.id)
        with self._database.reading() as session:
            found = session.execute(query if subject is None else query.where(AUDIT.c.subject == subject))
            return [rows.record_of(row, AuditEntry) for row in found]
