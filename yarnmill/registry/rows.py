"""Rows of the registry's tables as records, and the queries whose rows they are."""

from typing import Any, Final, TypeVar

import sqlalchemy as sa

from yarnmill.errors import BadDataError
from yarnmill.records import convert
from yarnmill.registry.schema import (
    ALERT,
    AUDIT,
    DEPLOYMENT,
    ENVIRONMENT,
    MODEL,
    MODEL_ENDPOINT,
    MODEL_SCHEMA,
    PREDICTION_JOB,
    PROJECT,
    ROUTING,
    VERSION,
    VERSION_ENDPOINT,
)

Row = sa.Row[*tuple[Any, ...]]
T = TypeVar("T")

_PARENT = VERSION.alias("parent")
_PARENT_MODEL = MODEL.alias("parent_model")
_MODEL_NAME = MODEL.c.name.label("model")
_NUMBER = VERSION.c.number.label("version")
_ENVIRONMENT_NAME = ENVIRONMENT.c.name.label("environment")
_OF_VERSION: Final = (
    *("bundle_id", "blobs_url", "flavour", "metrics", "run_id", "application_id", "created_at", "created_by"),
    *("tracking_run_id", "labels", "inputs", "code_version", "libraries", "revision", "retired_at"),
)


PROJECTS: Final = sa.select(PROJECT)
ENVIRONMENTS: Final = sa.select(ENVIRONMENT)
AUDIT_ENTRIES: Final = sa.select(*(column for column in AUDIT.c if column.name != "id"))

MODELS: Final = (
    sa.select(
        *(MODEL.c[name] for name in ("id", "name", "versions", "created_at")),
        PROJECT.c.name.label("project"),
        VERSION.c.flavour,
        MODEL_ENDPOINT.c.rule,
    )
    .join(PROJECT, PROJECT.c.id == MODEL.c.project_id)
    # A model comes with its first version, so there is always a newest one.
    .join(VERSION, (VERSION.c.model_id == MODEL.c.id) & (VERSION.c.number == MODEL.c.versions))
    .join(ENVIRONMENT, ENVIRONMENT.c.is_default)
    .outerjoin(
        MODEL_ENDPOINT,
        (MODEL_ENDPOINT.c.model_id == MODEL.c.id) & (MODEL_ENDPOINT.c.environment_id == ENVIRONMENT.c.id),
    )
)

VERSIONS: Final = (
    sa.select(
        _MODEL_NAME,
        _NUMBER,
        *(VERSION.c[name] for name in _OF_VERSION),
        (_PARENT_MODEL.c.name + "/" + sa.cast(_PARENT.c.number, sa.String)).label("parent"),
    )
    .join(MODEL, MODEL.c.id == VERSION.c.model_id)
    .outerjoin(_PARENT, _PARENT.c.id == VERSION.c.parent_id)
    .outerjoin(_PARENT_MODEL, _PARENT_MODEL.c.id == _PARENT.c.model_id)
)

VERSION_ENDPOINTS: Final = (
    sa.select(
        VERSION_ENDPOINT.c.id,
        _MODEL_NAME,
        _NUMBER,
        _ENVIRONMENT_NAME,
        *(VERSION_ENDPOINT.c[name] for name in ("status", "message", "revision", "created_at", "changed_at")),
    )
    .join(VERSION, VERSION.c.id == VERSION_ENDPOINT.c.version_id)
    .join(MODEL, MODEL.c.id == VERSION.c.model_id)
    .join(ENVIRONMENT, ENVIRONMENT.c.id == VERSION_ENDPOINT.c.environment_id)
)

DEPLOYMENTS: Final = (
    sa.select(
        DEPLOYMENT.c.id,
        _MODEL_NAME,
        _NUMBER,
        _ENVIRONMENT_NAME,
        VERSION.c.bundle_id,
        VERSION.c.blobs_url,
        *(DEPLOYMENT.c[name] for name in ("status", "message", "actor", "created_at", "finished_at")),
    )
    .join(VERSION_ENDPOINT, VERSION_ENDPOINT.c.id == DEPLOYMENT.c.version_endpoint_id)
    .join(VERSION, VERSION.c.id == VERSION_ENDPOINT.c.version_id)
    .join(MODEL, MODEL.c.id == VERSION.c.model_id)
    .join(ENVIRONMENT, ENVIRONMENT.c.id == VERSION_ENDPOINT.c.environment_id)
)

MODEL_ENDPOINTS: Final = (
    sa.select(
        MODEL_ENDPOINT.c.id,
        _MODEL_NAME,
        _ENVIRONMENT_NAME,
        *(MODEL_ENDPOINT.c[name] for name in ("rule", "revision", "changed_at")),
    )
    .join(MODEL, MODEL.c.id == MODEL_ENDPOINT.c.model_id)
    .join(ENVIRONMENT, ENVIRONMENT.c.id == MODEL_ENDPOINT.c.environment_id)
)

ROUTINGS: Final = (
    sa.select(_MODEL_NAME, _ENVIRONMENT_NAME, *(ROUTING.c[name] for name in ("rule", "revision", "at", "actor")))
    .join(MODEL_ENDPOINT, MODEL_ENDPOINT.c.id == ROUTING.c.model_endpoint_id)
    .join(MODEL, MODEL.c.id == MODEL_ENDPOINT.c.model_id)
    .join(ENVIRONMENT, ENVIRONMENT.c.id == MODEL_ENDPOINT.c.environment_id)
)

PREDICTION_JOBS: Final = (
    sa.select(_MODEL_NAME, _NUMBER, *(column for column in PREDICTION_JOB.c if column.name != "version_id"))
    .join(VERSION, VERSION.c.id == PREDICTION_JOB.c.version_id)
    .join(MODEL, MODEL.c.id == VERSION.c.model_id)
)

ALERTS: Final = (
    sa.select(
        _MODEL_NAME,
        _ENVIRONMENT_NAME,
        *(column for column in ALERT.c if column.name not in {"id", "model_id", "environment_id"}),
    )
    .join(MODEL, MODEL.c.id == ALERT.c.model_id)
    .join(ENVIRONMENT, ENVIRONMENT.c.id == ALERT.c.environment_id)
)

MODEL_SCHEMAS: Final = sa.select(_MODEL_NAME, *(column for column in MODEL_SCHEMA.c if column.name != "model_id")).join(
    MODEL, MODEL.c.id == MODEL_SCHEMA.c.model_id
)


def record_of(row: Row, record: type[T]) -> T:
    """Return a row of one of the queries above as its record."""
    return record_from(fields_of(row), record)


def fields_of(row: Row) -> dict[str, Any]:
    """Return a row by the names of its columns."""
    # SQLAlchemy's own kind of str as keys is not what msgspec takes for one.
    return {str(name): value for name, value in row._mapping.items()}  # noqa: SLF001  # SQLAlchemy's public name


def record_from(fields: dict[str, Any], record: type[T]) -> T:
    """Return fields as a record; BadDataError if the database holds what the record cannot be."""
    return convert(fields, record, source=f"registry: {record.__name__}", error=BadDataError)
