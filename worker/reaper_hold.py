"""One lease of patience after the database was away: heartbeats could not arrive, and workers may be well."""

import threading

from worker.process_control import boot_seconds


class ReaperHold:
    """Says whether an expired lease may be taken for a lost worker yet."""

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._lock = threading.Lock()
        self._is_away = False
        self._free_at = 0.0

    def database_away(self) -> None:
        """The database did not answer."""
        with self._lock:
            self._is_away = True

    def holds(self, database_uptime_seconds: float) -> bool:
        """Whether to leave every lease alone; called each time that the database answers."""
        with self._lock:
            if self._is_away:
                self._is_away = False
                self._free_at = boot_seconds() + self._lease_seconds
            return boot_seconds() < self._free_at or database_uptime_seconds < self._lease_seconds
