"""Projects, models, versions, endpoints, their history and the audit."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make all tables."""
    _projects_and_models()
    _versions()
    _endpoints()
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("action", sa.String(50), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("before", sa.JSON, nullable=False),
        sa.Column("after", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
        sqlite_autoincrement=True,
    )


def _projects_and_models() -> None:
    op.create_table(
        "project",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_project"),
        sa.UniqueConstraint("name", name="uq_project_name"),
    )
    op.create_table(
        "model",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("project_id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("versions", sa.Integer, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_model"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_model_project_id"),
        sa.UniqueConstraint("name", name="uq_model_name"),
    )


def _versions() -> None:
    op.create_table(
        "model_version",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("bundle_id", sa.String(64), nullable=False),
        sa.Column("blobs_url", sa.Text, nullable=False),
        sa.Column("flavour", sa.String(20), nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("run_id", sa.String(200), nullable=False),
        sa.Column("application_id", sa.String(100), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
        sa.Column("tracking_run_id", sa.String(100)),
        sa.PrimaryKeyConstraint("id", name="pk_model_version"),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_model_version_model_id"),
        sa.UniqueConstraint("model_id", "number", name="uq_model_version_model_id_number"),
        sa.UniqueConstraint("model_id", "bundle_id", name="uq_model_version_model_id_bundle_id"),
    )


def _endpoints() -> None:
    op.create_table(
        "endpoint",
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("version_id", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("model_id", name="pk_endpoint"),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_endpoint_model_id"),
        sa.ForeignKeyConstraint(["version_id"], ["model_version.id"], name="fk_endpoint_version_id"),
    )
    op.create_table(
        "deployment",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("version_id", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deployment"),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_deployment_model_id"),
        sa.ForeignKeyConstraint(["version_id"], ["model_version.id"], name="fk_deployment_version_id"),
        sa.UniqueConstraint("model_id", "revision", name="uq_deployment_model_id_revision"),
        sqlite_autoincrement=True,
    )
