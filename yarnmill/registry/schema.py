"""The registry's tables, as the newest migration leaves them; a test holds the two together.

What is read with a record stands in the record's row (labels, metrics and inputs as JSON); what is searched
stands in a table of its own beside it, written in the same transaction.
"""

import datetime as dt
from typing import Any, Final

import sqlalchemy as sa
from typing_extensions import override

HEAD: Final = "0003"
"""Revision of the schema below."""
VERSION_TABLE: Final = "yarnmill_schema"
"""Where Alembic keeps the revision: MLflow may live in the same database and keeps its own in ``alembic_version``."""
LARGEST_NUMBER: Final = 2**31 - 1
"""Of a version; SQLite takes no number over 64 bits, not even to look for it."""
LONGEST_INPUT: Final = 1000
"""Characters of an input's URL that are searched."""

METADATA: Final = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


class Moment(sa.TypeDecorator[dt.datetime]):
    """A moment in UTC; SQLite would forget the zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    @override
    def process_bind_param(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        return None if value is None else value.astimezone(dt.UTC)

    @override
    def process_result_value(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def _json(name: str, empty: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON, nullable=False, server_default=empty)


def _text(name: str, *, length: int | None = None, empty: bool = False) -> sa.Column[str]:
    kind = sa.Text() if length is None else sa.String(length)
    return sa.Column(name, kind, nullable=False, server_default="" if empty else None)


def _revision(default: str | None = None) -> sa.Column[int]:
    """Return the counter of a row's changes, from 1: the precondition of the next one."""
    return sa.Column("revision", sa.Integer, nullable=False, server_default=default)


PROJECT: Final = sa.Table(
    "project",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(100), nullable=False, unique=True),
    _text("team", length=100, empty=True),
    _json("labels", "{}"),
    _json("administrators", "[]"),
    _json("readers", "[]"),
    _revision("1"),
    sa.Column("created_at", Moment, nullable=False),
)

ENVIRONMENT: Final = sa.Table(
    "environment",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(100), nullable=False, unique=True),
    _text("target"),
    sa.Column("is_default", sa.Boolean, nullable=False),
    _revision(),
    sa.Column("created_at", Moment, nullable=False),
)

MODEL: Final = sa.Table(
    "model",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("project_id", sa.ForeignKey("project.id"), nullable=False),
    # Unique over all projects: a model's name is its address at the serving tier.
    sa.Column("name", sa.String(100), nullable=False, unique=True),
    # The newest version's number. Adding one locks the row, which is what keeps numbers without gaps or doubles;
    # every other change of a model's versions, endpoints and rules locks it first as well.
    sa.Column("versions", sa.Integer, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
)

VERSION: Final = sa.Table(
    "model_version",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model_id", sa.ForeignKey("model.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("bundle_id", sa.String(64), nullable=False),
    _text("blobs_url"),
    _text("flavour", length=20),
    sa.Column("metrics", sa.JSON, nullable=False),
    _text("run_id", length=200),
    _text("application_id", length=100),
    sa.Column("created_at", Moment, nullable=False),
    _text("created_by", length=100),
    sa.Column("tracking_run_id", sa.String(100)),
    _json("labels", "{}"),
    _json("inputs", "[]"),
    _text("code_version", length=100, empty=True),
    _json("libraries", "{}"),
    sa.Column("parent_id", sa.ForeignKey("model_version.id")),
    _revision("1"),
    # The revision that MLflow has; behind `revision` means that MLflow is to be told.
    sa.Column("tracked_revision", sa.Integer, nullable=False, server_default="0"),
    sa.Column("retired_at", Moment),
    sa.Column("collected_at", Moment),
    sa.UniqueConstraint("model_id", "number"),
    sa.UniqueConstraint("model_id", "bundle_id"),
    sa.Index(None, "bundle_id"),
    sa.Index(None, "parent_id"),
    sa.Index(None, "created_at"),
)

VERSION_LABEL: Final = sa.Table(
    "version_label",
    METADATA,
    sa.Column("version_id", sa.ForeignKey("model_version.id"), primary_key=True),
    sa.Column("key", sa.String(100), primary_key=True),
    _text("value", length=500),
    sa.Index(None, "key", "value"),
)

VERSION_METRIC: Final = sa.Table(
    "version_metric",
    METADATA,
    sa.Column("version_id", sa.ForeignKey("model_version.id"), primary_key=True),
    sa.Column("name", sa.String(250), primary_key=True),
    sa.Column("value", sa.Double, nullable=False),
    sa.Index(None, "name", "value"),
)

VERSION_INPUT: Final = sa.Table(
    "version_input",
    METADATA,
    sa.Column("version_id", sa.ForeignKey("model_version.id"), primary_key=True),
    sa.Column("url", sa.String(LONGEST_INPUT), primary_key=True),
    sa.Index(None, "url"),
)

VERSION_BLOB: Final = sa.Table(
    "version_blob",
    METADATA,
    sa.Column("version_id", sa.ForeignKey("model_version.id"), primary_key=True),
    sa.Column("blob_id", sa.String(64), primary_key=True),
    sa.Index(None, "blob_id"),
)

VERSION_ENDPOINT: Final = sa.Table(
    "version_endpoint",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("version_id", sa.ForeignKey("model_version.id"), nullable=False),
    sa.Column("environment_id", sa.ForeignKey("environment.id"), nullable=False),
    _text("status", length=20),
    _text("message"),
    _revision(),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("changed_at", Moment, nullable=False),
    sa.UniqueConstraint("version_id", "environment_id"),
)

DEPLOYMENT: Final = sa.Table(
    "deployment",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("version_endpoint_id", sa.ForeignKey("version_endpoint.id"), nullable=False),
    _text("status", length=20),
    _text("message"),
    _text("actor", length=100),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("finished_at", Moment),
    sa.Index(None, "version_endpoint_id"),
    sqlite_autoincrement=True,
)

MODEL_ENDPOINT: Final = sa.Table(
    "model_endpoint",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model_id", sa.ForeignKey("model.id"), nullable=False),
    sa.Column("environment_id", sa.ForeignKey("environment.id"), nullable=False),
    _json("rule"),
    _revision(),
    sa.Column("changed_at", Moment, nullable=False),
    sa.UniqueConstraint("model_id", "environment_id"),
)

ROUTING: Final = sa.Table(
    "routing",
    METADATA,
    # Never reused, so that the largest id tells whether any rule changed since.
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model_endpoint_id", sa.ForeignKey("model_endpoint.id"), nullable=False),
    _json("rule"),
    _revision(),
    sa.Column("at", Moment, nullable=False),
    _text("actor", length=100),
    sa.UniqueConstraint("model_endpoint_id", "revision"),
    sqlite_autoincrement=True,
)

ROUTED: Final = sa.Table(
    "routed",
    METADATA,
    # Every version that ever was in an endpoint's rule, and when it was in it last; null while it is.
    sa.Column("model_endpoint_id", sa.ForeignKey("model_endpoint.id"), primary_key=True),
    sa.Column("version_id", sa.ForeignKey("model_version.id"), primary_key=True),
    sa.Column("until", Moment),
    sa.Index(None, "version_id"),
)

VERDICT: Final = sa.Table(
    "verdict",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("version_id", sa.ForeignKey("model_version.id"), nullable=False),
    sa.Column("environment_id", sa.ForeignKey("environment.id"), nullable=False),
    sa.Column("against_id", sa.ForeignKey("model_version.id")),
    sa.Column("passed", sa.Boolean, nullable=False),
    _json("gate"),
    _json("results"),
    sa.Column("at", Moment, nullable=False),
    _text("actor", length=100),
    sa.Index(None, "version_id"),
    sqlite_autoincrement=True,
)

PREDICTION_JOB: Final = sa.Table(
    "prediction_job",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("version_id", sa.ForeignKey("model_version.id"), nullable=False),
    _text("name", length=200),
    _json("configuration"),
    _text("status", length=20),
    _text("message"),
    _text("application_id", length=100),
    _revision(),
    sa.Column("created_at", Moment, nullable=False),
    _text("created_by", length=100),
    sa.Column("finished_at", Moment),
    sa.Index(None, "version_id"),
    sqlite_autoincrement=True,
)

ALERT: Final = sa.Table(
    "alert",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model_id", sa.ForeignKey("model.id"), nullable=False),
    sa.Column("environment_id", sa.ForeignKey("environment.id"), nullable=False),
    _text("name", length=100),
    _json("condition"),
    _text("receiver", length=200),
    sa.Column("enabled", sa.Boolean, nullable=False),
    _revision(),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("changed_at", Moment, nullable=False),
    sa.UniqueConstraint("model_id", "environment_id", "name"),
)

MODEL_SCHEMA: Final = sa.Table(
    "model_schema",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model_id", sa.ForeignKey("model.id"), nullable=False),
    _json("spec"),
    _revision(),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("changed_at", Moment, nullable=False),
    sa.Index(None, "model_id"),
    sqlite_autoincrement=True,
)

AUDIT: Final = sa.Table(
    "audit",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", Moment, nullable=False),
    _text("actor", length=100),
    _text("action", length=50),
    _text("subject", length=200),
    _json("before"),
    _json("after"),
    sa.Index(None, "subject"),
    sqlite_autoincrement=True,
)
