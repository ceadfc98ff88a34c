"""Model schemas: which columns of a table are a model's features, its answers, and what came true."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make their table."""
    op.create_table(
        "model_schema",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_model_schema_model_id"),
        sa.PrimaryKeyConstraint("id", name="pk_model_schema"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_model_schema_model_id", "model_schema", ["model_id"])
