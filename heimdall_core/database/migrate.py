"""Brings the database to the newest revision.

Several at once are safe: an advisory lock lets one work and the others wait.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

import migrations

_LOCK = 0x6865_696D  # "heim"


def alembic_config(connection: Connection | None = None) -> Config:
    """The configuration of this project's migrations."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine) -> None:
    """Applies what is missing."""
    with engine.begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        command.upgrade(alembic_config(connection), "head")


def pending_revision(engine: Engine) -> str | None:
    """The newest revision if the database does not have it, else None."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table_schema": "training"})
        return None if context.get_current_revision() == head else head
