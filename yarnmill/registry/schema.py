"""The registry's tables, as the newest migration leaves them; a test holds the two together."""

import datetime as dt
from typing import Final

import sqlalchemy as sa
from typing_extensions import override

HEAD: Final = "0001"
"""Revision of the schema below."""

METADATA: Final = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
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
        return None if value is None else value.replace(tzinfo=value.tzinfo or dt.UTC)


PROJECT: Final = sa.Table(
    "project",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(100), nullable=False, unique=True),
    sa.Column("created_at", Moment, nullable=False),
)

MODEL: Final = sa.Table(
    "model",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("project_id", sa.ForeignKey("project.id"), nullable=False),
    # Unique over all projects: a model's name is its address at the serving tier.
    sa.Column("name", sa.String(100), nullable=False, unique=True),
    # The newest version's number. Adding one locks the row, which is what keeps numbers without gaps or doubles.
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
    sa.Column("blobs_url", sa.Text, nullable=False),
    sa.Column("flavour", sa.String(20), nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("run_id", sa.String(200), nullable=False),
    sa.Column("application_id", sa.String(100), nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("created_by", sa.String(100), nullable=False),
    sa.Column("tracking_run_id", sa.String(100)),
    sa.UniqueConstraint("model_id", "number"),
    sa.UniqueConstraint("model_id", "bundle_id"),
)

ENDPOINT: Final = sa.Table(
    "endpoint",
    METADATA,
    sa.Column("model_id", sa.ForeignKey("model.id"), primary_key=True),
    sa.Column("version_id", sa.ForeignKey("model_version.id"), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("changed_at", Moment, nullable=False),
)

DEPLOYMENT: Final = sa.Table(
    "deployment",
    METADATA,
    # Never reused, so that the largest id tells whether anything was deployed since.
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model_id", sa.ForeignKey("model.id"), nullable=False),
    sa.Column("version_id", sa.ForeignKey("model_version.id"), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("actor", sa.String(100), nullable=False),
    sa.UniqueConstraint("model_id", "revision"),
    sqlite_autoincrement=True,
)

AUDIT: Final = sa.Table(
    "audit",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("actor", sa.String(100), nullable=False),
    sa.Column("action", sa.String(50), nullable=False),
    sa.Column("subject", sa.String(200), nullable=False),
    sa.Column("before", sa.JSON, nullable=False),
    sa.Column("after", sa.JSON, nullable=False),
    sqlite_autoincrement=True,
)
