"""Environments, version endpoints and their deployments, rules and their history, verdicts, jobs, alerts, search.

What answered before, answers after: each endpoint becomes a rule with one destination in the default environment,
and its history the rule's.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_MOMENT = sa.DateTime(timezone=True)
_DEFAULT_ENVIRONMENT = "production"


def upgrade() -> None:
    """Add columns, make the new tables, move what the old ones hold."""
    _columns()
    _environments()
    _search()
    _deployments()
    _rules()
    _move_endpoints()
    op.drop_table("endpoint")
    _verdicts_jobs_alerts()
    op.create_index("ix_audit_subject", "audit", ["subject"])


def _columns() -> None:
    for column in ("team VARCHAR(100) NOT NULL DEFAULT ''", "labels JSON NOT NULL DEFAULT '{}'"):
        op.execute(f"ALTER TABLE project ADD COLUMN {column}")
    for column in ("administrators", "readers"):
        op.execute(f"ALTER TABLE project ADD COLUMN {column} JSON NOT NULL DEFAULT '[]'")
    op.execute("ALTER TABLE project ADD COLUMN revision INTEGER NOT NULL DEFAULT 1")
    moment = _MOMENT.compile(op.get_bind().dialect)
    for column in (
        "labels JSON NOT NULL DEFAULT '{}'",
        "inputs JSON NOT NULL DEFAULT '[]'",
        "code_version VARCHAR(100) NOT NULL DEFAULT ''",
        "libraries JSON NOT NULL DEFAULT '{}'",
        "parent_id INTEGER CONSTRAINT fk_model_version_parent_id REFERENCES model_version (id)",
        "revision INTEGER NOT NULL DEFAULT 1",
        "tracked_revision INTEGER NOT NULL DEFAULT 0",
        f"retired_at {moment}",
        f"collected_at {moment}",
    ):
        op.execute(f"ALTER TABLE model_version ADD COLUMN {column}")
    for column in ("bundle_id", "parent_id", "created_at"):
        op.create_index(f"ix_model_version_{column}", "model_version", [column])
    op.execute("UPDATE model_version SET tracked_revision = 1 WHERE tracking_run_id IS NOT NULL")


def _id() -> "sa.Column[int]":
    return sa.Column("id", sa.Integer, nullable=False)


def _text(name: str, length: int | None = None) -> "sa.Column[str]":
    return sa.Column(name, sa.Text() if length is None else sa.String(length), nullable=False)


def _link(
    name: str, table: str, to: str, *, nullable: bool = False
) -> "tuple[sa.Column[int], sa.ForeignKeyConstraint]":
    key = sa.ForeignKeyConstraint([name], [f"{to}.id"], name=f"fk_{table}_{name}")
    return sa.Column(name, sa.Integer, nullable=nullable), key


def _environments() -> None:
    op.create_table(
        "environment",
        _id(),
        _text("name", 100),
        _text("target"),
        sa.Column("is_default", sa.Boolean, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_environment"),
        sa.UniqueConstraint("name", name="uq_environment_name"),
    )
    insert = sa.text(
        "INSERT INTO environment (name, target, is_default, revision, created_at) "
        "VALUES (:name, '', :yes, 1, CURRENT_TIMESTAMP)"
    )
    op.get_bind().execute(insert, {"name": _DEFAULT_ENVIRONMENT, "yes": True})


def _search() -> None:
    for table, keys, index in (
        ("version_label", (_text("key", 100), _text("value", 500)), ("key", "value")),
        ("version_metric", (_text("name", 250), sa.Column("value", sa.Double, nullable=False)), ("name", "value")),
        ("version_input", (_text("url", 1000),), ("url",)),
        ("version_blob", (_text("blob_id", 64),), ("blob_id",)),
    ):
        primary = sa.PrimaryKeyConstraint("version_id", index[0], name=f"pk_{table}")
        op.create_table(table, *_link("version_id", table, "model_version"), *keys, primary)
        op.create_index(f"ix_{table}_{'_'.join(index)}", table, list(index))
    _fill_metrics()


def _fill_metrics() -> None:
    version = sa.table("model_version", sa.column("id", sa.Integer), sa.column("metrics", sa.JSON))
    metric = sa.table("version_metric", sa.column("version_id"), sa.column("name"), sa.column("value"))
    connection = op.get_bind()
    for number, metrics in connection.execute(sa.select(version.c.id, version.c.metrics)).all():
        rows = [{"version_id": number, "name": name, "value": value} for name, value in metrics.items()]
        if rows:
            connection.execute(sa.insert(metric), rows)


def _deployments() -> None:
    op.create_table(
        "version_endpoint",
        _id(),
        *_link("version_id", "version_endpoint", "model_version"),
        *_link("environment_id", "version_endpoint", "environment"),
        _text("status", 20),
        _text("message"),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_version_endpoint"),
        sa.UniqueConstraint("version_id", "environment_id", name="uq_version_endpoint_version_id_environment_id"),
    )
    op.rename_table("deployment", "old_deployment")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX pk_deployment RENAME TO pk_old_deployment")
    op.create_table(
        "deployment",
        _id(),
        *_link("version_endpoint_id", "deployment", "version_endpoint"),
        _text("status", 20),
        _text("message"),
        _text("actor", 100),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("finished_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_deployment"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deployment_version_endpoint_id", "deployment", ["version_endpoint_id"])


def _rules() -> None:
    op.create_table(
        "model_endpoint",
        _id(),
        *_link("model_id", "model_endpoint", "model"),
        *_link("environment_id", "model_endpoint", "environment"),
        sa.Column("rule", sa.JSON, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_model_endpoint"),
        sa.UniqueConstraint("model_id", "environment_id", name="uq_model_endpoint_model_id_environment_id"),
    )
    op.create_table(
        "routing",
        _id(),
        *_link("model_endpoint_id", "routing", "model_endpoint"),
        sa.Column("rule", sa.JSON, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        _text("actor", 100),
        sa.PrimaryKeyConstraint("id", name="pk_routing"),
        sa.UniqueConstraint("model_endpoint_id", "revision", name="uq_routing_model_endpoint_id_revision"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "routed",
        *_link("model_endpoint_id", "routed", "model_endpoint"),
        *_link("version_id", "routed", "model_version"),
        sa.Column("until", _MOMENT),
        sa.PrimaryKeyConstraint("model_endpoint_id", "version_id", name="pk_routed"),
    )
    op.create_index("ix_routed_version_id", "routed", ["version_id"])


_RULES = {
    "postgresql": (
        "json_build_object('destinations', json_build_array(json_build_object('version', v.number, 'weight', 100.0)))"
    ),
    "sqlite": "json_object('destinations', json_array(json_object('version', v.number, 'weight', 100.0)))",
}


def _move_endpoints() -> None:
    rule = _RULES[op.get_bind().dialect.name]
    op.execute(
        "INSERT INTO version_endpoint "
        "(version_id, environment_id, status, message, revision, created_at, changed_at) "
        "SELECT d.version_id, e.id, "
        "CASE WHEN MAX(CASE WHEN p.version_id = d.version_id THEN 1 ELSE 0 END) = 1 THEN 'serving' ELSE 'running' END, "
        "'', 1, MIN(d.at), MAX(d.at) FROM old_deployment d CROSS JOIN environment e "
        "JOIN endpoint p ON p.model_id = d.model_id GROUP BY d.version_id, e.id"
    )
    insert_endpoints = (
        "INSERT INTO model_endpoint (model_id, environment_id, rule, revision, changed_at) "
        "SELECT p.model_id, e.id, RULE, p.revision, p.changed_at FROM endpoint p "
        "JOIN model_version v ON v.id = p.version_id CROSS JOIN environment e"
    )
    op.execute(insert_endpoints.replace("RULE", rule))
    insert_history = (
        "INSERT INTO routing (model_endpoint_id, rule, revision, at, actor) "
        "SELECT m.id, RULE, d.revision, d.at, d.actor FROM old_deployment d "
        "JOIN model_version v ON v.id = d.version_id JOIN model_endpoint m ON m.model_id = d.model_id ORDER BY d.id"
    )
    op.execute(insert_history.replace("RULE", rule))
    op.execute(
        "INSERT INTO routed (model_endpoint_id, version_id, until) SELECT m.id, d.version_id, "
        "CASE WHEN MAX(CASE WHEN p.version_id = d.version_id THEN 1 ELSE 0 END) = 1 THEN NULL "
        "ELSE MAX(p.changed_at) END "
        "FROM old_deployment d JOIN model_endpoint m ON m.model_id = d.model_id "
        "JOIN endpoint p ON p.model_id = d.model_id GROUP BY m.id, d.version_id"
    )
    op.drop_table("old_deployment")


def _verdicts_jobs_alerts() -> None:
    op.create_table(
        "verdict",
        _id(),
        *_link("version_id", "verdict", "model_version"),
        *_link("environment_id", "verdict", "environment"),
        *_link("against_id", "verdict", "model_version", nullable=True),
        sa.Column("passed", sa.Boolean, nullable=False),
        sa.Column("gate", sa.JSON, nullable=False),
        sa.Column("results", sa.JSON, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        _text("actor", 100),
        sa.PrimaryKeyConstraint("id", name="pk_verdict"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_verdict_version_id", "verdict", ["version_id"])
    op.create_table(
        "prediction_job",
        _id(),
        *_link("version_id", "prediction_job", "model_version"),
        _text("name", 200),
        sa.Column("configuration", sa.JSON, nullable=False),
        _text("status", 20),
        _text("message"),
        _text("application_id", 100),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        _text("created_by", 100),
        sa.Column("finished_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_prediction_job"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_prediction_job_version_id", "prediction_job", ["version_id"])
    op.create_table(
        "alert",
        _id(),
        *_link("model_id", "alert", "model"),
        *_link("environment_id", "alert", "environment"),
        _text("name", 100),
        sa.Column("condition", sa.JSON, nullable=False),
        _text("receiver", 200),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert"),
        sa.UniqueConstraint("model_id", "environment_id", "name", name="uq_alert_model_id_environment_id_name"),
    )
