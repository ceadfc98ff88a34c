"""What Alembic runs around the migrations. The connection comes from :mod:`yarnmill.registry.migrate`."""

from alembic import context

from yarnmill.registry.schema import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA, version_table=VERSION_TABLE
)
with context.begin_transaction():
    context.run_migrations()
