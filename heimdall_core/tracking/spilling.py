"""A journal that goes on in memory while its disk cannot be written."""

import threading
import time
from contextlib import suppress
from pathlib import Path

from heimdall_core.tracking.items import Item
from heimdall_core.tracking.journal import Journal, MemoryJournal
from heimdall_core.tracking.redaction import redact
from heimdall_core.tracking.sending import Notice

_RETRY_SECONDS = 1.0


class SpillingJournal:
    """What the disk does not take follows the journal in memory, in order, until the disk takes it."""

    def __init__(self, journal: Journal, *, notice: Notice) -> None:
        self._journal, self._memory = journal, MemoryJournal()
        self._notice = notice
        self._guard = threading.Lock()
        self._retry_at = 0.0

    def append(self, item: Item) -> bool:
        """Adds an item; False: neither has room for it."""
        with self._guard:
            if not self._memory.size or time.monotonic() > self._retry_at:
                try:
                    if self._write_spilled():
                        return self._journal.append(item)
                except OSError as error:
                    self._fail(error)
            return self._memory.append(item)

    def keep_file(self, path: Path) -> Path:
        """A copy on the disk; the file itself where the disk cannot be written.

        Raises:
            OSError: there is no such file, or the limit is reached.
        """
        try:
            return self._journal.keep_file(path)
        except OSError as error:
            if error.errno is None or not path.is_file():
                raise
            return path

    def peek(self, limit: int) -> list[Item]:
        """The oldest items that have not been taken."""
        with self._guard:
            written = self._journal.peek(limit)
            return [*written, *self._memory.peek(limit - len(written))]

    def take(self, count: int, *, keep_files: bool = False) -> None:
        """Forgets the oldest items; what was in memory when they were looked at may be on disk now."""
        with self._guard:
            num_written = len(self._journal.peek(count))
            self._journal.take(num_written, keep_files=keep_files)
            self._memory.take(count - num_written)

    def sync(self) -> None:
        """Brings to the disk what can be."""
        with self._guard, suppress(OSError):
            self._write_spilled()
        self._journal.sync()

    def close(self) -> None:
        """Lets go; what the disk does not take even now is lost, which is told."""
        with self._guard:
            with suppress(OSError):
                self._write_spilled()
            if num_lost := self._memory.size:
                self._notice(f"the spool cannot be written: {num_lost} items are lost")
            self._memory.close()
            self._journal.close()

    def _fail(self, error: OSError) -> None:
        self._retry_at = time.monotonic() + _RETRY_SECONDS
        if not self._memory.size:
            self._notice(f"the spool cannot be written, in memory instead: {redact(str(error))}")

    def _write_spilled(self) -> bool:
        """Whether all is on disk.

        Raises:
            OSError: the disk is still full or broken.
        """
        while items := self._memory.peek(1):
            if not self._journal.append(items[0]):
                return False
            self._memory.take(1)
        return True
