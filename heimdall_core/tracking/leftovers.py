"""What an ended process could not send, sent by another one."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import structlog

from heimdall_core.tracking.items import RunStart
from heimdall_core.tracking.journal import HIDDEN, START_FILE, FileJournal, InUse
from heimdall_core.tracking.sending import Notice, RunSender
from heimdall_core.tracking.target import JOB_ID_TAG, TrackingTarget

#: The control worker completes the runs of jobs from the database: what lies here so long is of no use.
JOB_JOURNAL_SECONDS = 86_400.0
ITEMS_PER_LOOK = 200
_LOG = structlog.get_logger(__name__)


class Leftover:
    """The journal of a process that has ended."""

    def __init__(self, journal: FileJournal, target: TrackingTarget, *, ends: bool, notice: Notice) -> None:
        self._journal, self.is_own = journal, not ends
        self.name = journal.folder.name
        self._sender = RunSender(target, journal.start, goes_on=False, notice=notice)
        self._last_ms = journal.start.at_ms

    def send_some(self) -> bool:
        """Sends the next items; whether there may be more.

        Raises:
            TrackingUnavailable: MLflow did not answer.
        """
        if items := self._journal.peek(ITEMS_PER_LOOK):
            count = self._sender.send(items)
            self._journal.take(count)
            self._last_ms = max(self._last_ms, *(_at_ms(item) for item in items[:count]))
            return True
        if not self.is_own and not self._sender.has_ended:
            self._end_if_running()
        self.close()
        return False

    def close(self) -> None:
        """Leaves the rest to another process."""
        with suppress(OSError):
            self._journal.close()

    def _end_if_running(self) -> None:
        """Nobody told how it ended: it was killed."""
        client, run_id = self._sender.connect()
        if client.get_run(run_id).info.status == "RUNNING":
            self._sender.end("KILLED", self._last_ms)


def find_leftovers(target: TrackingTarget, own: RunStart | None, *, notice: Notice) -> Iterator[Leftover]:
    """The journals for this target that no living process writes: those of ``own``'s run first.

    Each is opened when its turn comes. Those of other jobs are left to the control worker, which knows how
    the jobs ended.
    """
    folders = sorted(_folders(target), key=lambda folder: own is None or _key_of(folder) != own.key)
    for folder in folders:
        if (journal := _open(folder, target)) is None:
            continue
        is_own = own is not None and journal.start.key == own.key
        if is_own or journal.start.key_tag != JOB_ID_TAG:
            yield Leftover(journal, target, ends=not is_own, notice=notice)
        else:
            with suppress(OSError):
                journal.close()


def _key_of(folder: Path) -> str | None:
    """The key of its run; None: it has none that can be read."""
    try:
        return str(json.loads((folder / START_FILE).read_bytes())["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _folders(target: TrackingTarget) -> list[Path]:
    if target.spool_dir is None:
        return []
    try:
        folders = sorted(folder for folder in target.spool_dir.iterdir() if folder.is_dir())
    except OSError:
        return []
    for folder in folders:
        if folder.name.startswith(HIDDEN):
            _remove_if_old(folder, "it was never finished")
    return [folder for folder in folders if not folder.name.startswith(HIDDEN)]


def _open(folder: Path, target: TrackingTarget) -> FileJournal | None:
    try:
        journal = FileJournal(folder, target.spool_limit_bytes)
    except InUse:
        return None
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        _remove_if_old(folder, str(error))
        return None
    except OSError as error:
        _LOG.warning("tracking_journal_unreadable", folder=str(folder), reason=str(error))
        return None
    if journal.start.key_tag == JOB_ID_TAG and _age_seconds(folder) > JOB_JOURNAL_SECONDS:
        shutil.rmtree(folder, ignore_errors=True)
        journal.close()
        return None
    if journal.target_key != target_key(target):
        journal.close()
        return None
    return journal


def target_key(target: TrackingTarget) -> str:
    """Tells targets apart; it lies on disk and holds no secret."""
    return f"{target.shown_uri} {target.experiment}"


def _remove_if_old(folder: Path, reason: str) -> None:
    if _age_seconds(folder) > JOB_JOURNAL_SECONDS:
        _LOG.warning("tracking_journal_removed", folder=str(folder), reason=reason)
        shutil.rmtree(folder, ignore_errors=True)


def _age_seconds(folder: Path) -> float:
    try:
        newest = max(path.stat().st_mtime for path in (folder, *folder.glob("*.json*")))
    except OSError:
        return 0.0
    return time.time() - newest


def _at_ms(item: object) -> int:
    points = getattr(item, "points", ())
    return max((point.at_ms for point in points), default=getattr(item, "at_ms", 0))
