"""PostgreSQL: the engine, our tables (schema ``training``) and the platform's (schema ``heimdall``)."""

from heimdall_core.database.engine import Database
from heimdall_core.database.ids import new_id

__all__ = ["Database", "new_id"]
