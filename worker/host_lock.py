"""A file lock that outlives a worker for as long as its fork server lives."""

import fcntl
import time
from pathlib import Path

_RETRY_SECONDS = 0.05


class HostLock:
    """Held by a worker and, through inheritance, by its fork server, which ends its trainers with it.

    So who gets the lock knows that nothing of a former worker of this name survives on this host.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w")

    def fileno(self) -> int:
        """The descriptor that the fork server inherits."""
        return self._file.fileno()

    def close(self) -> None:
        """Lets go of it, unless a fork server holds it too."""
        self._file.close()

    def acquire(self, *, timeout_seconds: float) -> bool:
        """Takes the lock, which is then held to the end of the process; False: somebody else holds it."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(_RETRY_SECONDS)
            else:
                return True
