"""Rows of the registry's tables as records, and the queries whose rows they are."""

from typing import Any, Final, TypeVar

import sqlalchemy as sa

from yarnmill.errors import BadDataError
from yarnmill.records import convert
from yarnmill.registry.records import AuditEntry, Endpoint, Model, ModelVersion
from yarnmill.registry.schema import AUDIT, DEPLOYMENT, ENDPOINT, MODEL, PROJECT, VERSION

Row = sa.Row[*tuple[Any, ...]]
T = TypeVar("T")

_DEPLOYED = VERSION.alias("deployed")

MODELS: Final = (
    sa.select(
        MODEL.c.name,
        PROJECT.c.name.label("project"),
        MODEL.c.versions,
        _DEPLOYED.c.number.label("deployed"),
        MODEL.c.created_at,
    )
    .join(PROJECT, PROJECT.c.id == MODEL.c.project_id)
    .outerjoin(ENDPOINT, ENDPOINT.c.model_id == MODEL.c.id)
    .outerjoin(_DEPLOYED, _DEPLOYED.c.id == ENDPOINT.c.version_id)
)

VERSIONS: Final = sa.select(
    MODEL.c.name.label("model"),
    VERSION.c.number.label("version"),
    VERSION.c.bundle_id,
    VERSION.c.blobs_url,
    VERSION.c.flavour,
    VERSION.c.metrics,
    VERSION.c.run_id,
    VERSION.c.application_id,
    VERSION.c.created_at,
    VERSION.c.created_by,
    VERSION.c.tracking_run_id,
).join(MODEL, MODEL.c.id == VERSION.c.model_id)

_ANSWERS = (MODEL.c.name.label("model"), VERSION.c.number.label("version"), VERSION.c.bundle_id, VERSION.c.blobs_url)

ENDPOINTS: Final = (
    sa.select(*_ANSWERS, ENDPOINT.c.revision, ENDPOINT.c.changed_at)
    .join(MODEL, MODEL.c.id == ENDPOINT.c.model_id)
    .join(VERSION, VERSION.c.id == ENDPOINT.c.version_id)
)

DEPLOYMENTS: Final = (
    sa.select(*_ANSWERS, DEPLOYMENT.c.revision, DEPLOYMENT.c.at.label("changed_at"))
    .join(MODEL, MODEL.c.id == DEPLOYMENT.c.model_id)
    .join(VERSION, VERSION.c.id == DEPLOYMENT.c.version_id)
)


AUDIT_ENTRIES: Final = sa.select(*(column for column in AUDIT.c if column is not AUDIT.c.id))


def model_of(row: Row) -> Model:
    """Return a row of ``MODELS`` as a record."""
    return _record(row, Model)


def version_of(row: Row) -> ModelVersion:
    """Return a row of ``VERSIONS`` as a record."""
    return _record(row, ModelVersion)


def endpoint_of(row: Row) -> Endpoint:
    """Return a row of ``ENDPOINTS`` or ``DEPLOYMENTS`` as a record."""
    return _record(row, Endpoint)


def audit_entry_of(row: Row) -> AuditEntry:
    """Return a row of the audit as a record."""
    return _record(row, AuditEntry)


def _record(row: Row, record: type[T]) -> T:
    # SQLAlchemy's own kind of str as keys is not what msgspec takes for one.
    fields = {str(name): value for name, value in row._mapping.items()}  # noqa: SLF001  # SQLAlchemy's public name
    return convert(fields, record, source=f"registry: {record.__name__}", error=BadDataError)
