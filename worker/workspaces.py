"""Working folders of jobs that this host no longer needs."""

import re
import shutil
import time
from collections.abc import Collection
from pathlib import Path

import structlog
from sqlalchemy import select

from heimdall_core.database.engine import Database
from heimdall_core.database.ids import ID_PATTERN
from heimdall_core.database.job_tables import Job
from heimdall_core.domain.job import JobStatus

SWEEP_SECONDS = 600.0
_PER_SWEEP = 50
_TERMINAL = frozenset(status.value for status in JobStatus if status.is_terminal)
_log = structlog.get_logger(__name__)


class WorkspaceSweeper:
    """Now and then deletes ``work/<job_id>`` of jobs that have ended or that nobody knows.

    A job that waits, here or elsewhere, keeps its folder: its newest checkpoint may lie there.
    """

    def __init__(self, home: Path, database: Database, *, every_seconds: float = SWEEP_SECONDS) -> None:
        self._root, self._database = home / "work", database
        self._every_seconds = every_seconds
        self._next_at = time.monotonic()

    def sweep_if_due(self) -> int:
        """Returns how many folders were deleted; 0 if it is too early.

        Raises:
            SQLAlchemyError: the database did not answer; nothing was deleted.
        """
        if time.monotonic() < self._next_at:
            return 0
        swept = self.sweep()
        self._next_at = time.monotonic() + self._every_seconds
        return swept

    def sweep(self) -> int:
        """Deletes at most so many folders that the worker is not kept from telling that it lives."""
        folders = {path.name: path for path in self._folders()}
        needed = self._needed(folders)
        useless = [path for name, path in sorted(folders.items()) if name not in needed][:_PER_SWEEP]
        for path in useless:
            shutil.rmtree(path, ignore_errors=True)
        if useless:
            _log.info("workspaces_deleted", count=len(useless))
        return len(useless)

    def _folders(self) -> list[Path]:
        try:
            found = list(self._root.iterdir())
        except OSError:
            # None was made yet, or none can be read: a worker lives on without.
            return []
        return [path for path in found if re.fullmatch(ID_PATTERN, path.name) and not path.is_symlink()]

    def _needed(self, job_ids: Collection[str]) -> set[str]:
        if not job_ids:
            return set()
        statement = select(Job.id).where(Job.id.in_(job_ids), Job.status.not_in(_TERMINAL))
        with self._database.transaction() as session:
            return set(session.scalars(statement))
