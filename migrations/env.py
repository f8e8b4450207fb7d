"""Runs the migrations over the connection that `core.records.migrate` hands in."""

from alembic import context

from core.records import objects  # noqa: F401  # its tables belong to the metadata
from core.records.tables import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True, compare_server_default=True)
with context.begin_transaction():
    context.run_migrations()
