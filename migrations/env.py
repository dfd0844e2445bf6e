"""Alembic's entry: migrates over the connection that ``heimdall_core.database.migrate`` hands in."""

from alembic import context
from sqlalchemy import text

from heimdall_core.database import (  # noqa: F401 - registers the tables
    account_tables,
    catalogue_tables,
    job_tables,
    notification_tables,
    schedule_tables,
)
from heimdall_core.database.base import Base

connection = context.config.attributes["connection"]
connection.execute(text("create schema if not exists training"))
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    include_schemas=True,
    include_name=lambda name, kind, _parents: kind != "schema" or name == "training",
    version_table_schema="training",
    compare_server_default=False,
)
with context.begin_transaction():
    context.run_migrations()
