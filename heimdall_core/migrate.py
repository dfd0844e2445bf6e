"""``python -m heimdall_core.migrate``: migrates the database and registers the bootstrap key, if any."""

import structlog

from heimdall_core.accounts.keys import ensure_key
from heimdall_core.database.engine import Database
from heimdall_core.database.migrate import upgrade
from heimdall_core.settings import load_settings

_log = structlog.get_logger(__name__)


def main() -> None:
    """Runs once per deployment, before anything else."""
    settings = load_settings()
    database = Database(settings.database, application_name="heimdall-migrate")
    upgrade(database.engine)
    if settings.bootstrap_key is not None:
        with database.transaction() as session:
            ensure_key(session, settings.bootstrap_key.get_secret_value(), owner="local", name="bootstrap")
    database.dispose()
    _log.info("migrated")


if __name__ == "__main__":
    main()
