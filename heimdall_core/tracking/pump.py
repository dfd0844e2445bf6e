"""Two threads between a training and MLflow: one writes down, one sends; neither is ever waited for."""

import queue
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import structlog

from heimdall_core.domain.errors import TrackingUnavailable
from heimdall_core.tracking.client import is_away
from heimdall_core.tracking.items import Item, RunStart
from heimdall_core.tracking.journal import FileJournal, Journal, MemoryJournal
from heimdall_core.tracking.leftovers import ITEMS_PER_LOOK, Leftover, find_leftovers, target_key
from heimdall_core.tracking.redaction import redact
from heimdall_core.tracking.sending import RunSender
from heimdall_core.tracking.spilling import SpillingJournal
from heimdall_core.tracking.target import TrackingTarget

_LOG = structlog.get_logger(__name__)
_QUEUE_SIZE = 10_000
_GATHER_SECONDS = 0.5
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_SYNC_SECONDS = 2.0


class Pump:
    """Takes items at once and sends them, in order, whenever MLflow answers.

    Args:
        target: where to.
        start: the run.
        on_unavailable: told once, in words, if MLflow cannot be reached or there is no more room.
    """

    def __init__(
        self, target: TrackingTarget, start: RunStart, *, on_unavailable: Callable[[str], None] | None
    ) -> None:
        self._target, self._start = target, start
        self._on_unavailable = on_unavailable
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._journal: Journal = MemoryJournal()
        self._sender = RunSender(target, start, notice=self._notice)
        self._leftovers: Iterator[Leftover] | None = None
        self._leftover: Leftover | None = None
        self._is_open, self._closing = threading.Event(), threading.Event()
        self._is_away = self._was_told = False
        self._num_dropped = 0
        self._writer = threading.Thread(target=self._write, name="mlflow-journal", daemon=True)
        self._thread = threading.Thread(target=self._send, name="mlflow", daemon=True)
        self._writer.start()
        self._thread.start()

    @property
    def run_id(self) -> str | None:
        """The MLflow run; None until MLflow has answered."""
        return self._sender.run_id

    def put(self, item: Item) -> None:
        """Takes the item at once; drops points and files, with a notice, if the disk is too slow for them."""
        if self._queue.qsize() >= _QUEUE_SIZE and not item.is_essential:
            self._drop("the queue to MLflow is full")
        else:
            self._queue.put(item)

    def close(self, deadline_seconds: float) -> None:
        """Waits so long for what is to be sent; what is left stays in the spool."""
        until = time.monotonic() + deadline_seconds
        self._queue.put(None)
        self._writer.join(max(0.0, until - time.monotonic()))
        self._closing.set()
        self._thread.join(max(0.0, until - time.monotonic()))
        with suppress(OSError):
            self._journal.close()
        if self._num_dropped:
            _LOG.warning("tracking_dropped", items=self._num_dropped)

    def _write(self) -> None:
        self._journal = self._open_journal()
        self._is_open.set()
        synced_at = time.monotonic()
        while (item := self._queue.get()) is not None:
            try:
                for part in _files_of(item):
                    self._write_down(part)
            except Exception as error:  # noqa: BLE001 - one item that cannot be written must not cost the others
                self._drop(f"this cannot be written down: {error}")
            if time.monotonic() > synced_at + _SYNC_SECONDS:
                self._journal.sync()
                synced_at = time.monotonic()
        self._journal.sync()

    def _open_journal(self) -> Journal:
        target = self._target
        if target.spool_dir is None:
            return MemoryJournal()
        name = f"{re.sub(r'[^A-Za-z0-9_-]', '_', self._start.key)[:60]}-{uuid.uuid4().hex[:8]}"
        try:
            journal = FileJournal.create(
                target.spool_dir / name,
                self._start,
                target_key=target_key(target),
                limit_bytes=target.spool_limit_bytes,
            )
        except OSError as error:
            self._notice(f"no spool in {target.spool_dir}, in memory instead: {error}")
            return MemoryJournal()
        return SpillingJournal(journal, notice=self._notice)

    def _write_down(self, item: Item) -> None:
        if item.file is not None:
            item = replace(item, file=self._journal.keep_file(item.file))
        if not self._journal.append(item):
            self._drop("the spool is full")

    def _send(self) -> None:
        self._is_open.wait()
        pause = _FIRST_PAUSE_SECONDS
        while True:
            is_closing = self._closing.is_set()
            try:
                is_busy = self._send_some(is_last_try=is_closing)
            except Exception as error:  # noqa: BLE001 - tracking never fails a training, whatever a server does
                self._told_away(str(error))
                if is_closing:
                    break
                self._closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                continue
            pause = _FIRST_PAUSE_SECONDS
            if not is_busy:
                if is_closing:
                    break
                self._closing.wait(_GATHER_SECONDS)
        self._let_go()

    def _send_some(self, *, is_last_try: bool) -> bool:
        """Sends what comes next; whether there may be more."""
        if self._leftovers is None:
            self._leftovers = find_leftovers(self._target, self._start, notice=self._notice)
            self._leftover = next(self._leftovers, None)
        if self._leftover is not None and self._leftover.is_own:
            return self._send_leftover(self._leftover)
        if items := self._journal.peek(ITEMS_PER_LOOK):
            self._send_items(items, is_last_try=is_last_try)
            return True
        if self._leftover is not None and not is_last_try:
            return self._send_leftover(self._leftover)
        return False

    def _send_items(self, items: list[Item], *, is_last_try: bool) -> None:
        try:
            count = self._sender.send(items)
        except TrackingUnavailable as error:
            if items[0].file is None or len(items) == 1 or not self._journal.append(items[0]):
                raise
            # The store of artifacts may be away where MLflow is not: the file goes to the end of the queue.
            self._journal.take(1, keep_files=True)
            if not is_last_try:
                raise
            self._told_away(str(error))
            return
        self._journal.take(count)
        self._told_back()

    def _send_leftover(self, leftover: Leftover) -> bool:
        try:
            if leftover.send_some():
                return True
        except Exception as error:
            if is_away(error):
                raise
            leftover.close()
            self._notice(f"{leftover.name} is left for later: {error}")
        assert self._leftovers is not None
        self._leftover = None
        self._leftover = next(self._leftovers, None)
        return True

    def _let_go(self) -> None:
        if self._leftover is not None:
            self._leftover.close()

    def _drop(self, message: str) -> None:
        self._num_dropped += 1
        self._tell(message)

    def _told_away(self, message: str) -> None:
        self._is_away = True
        self._tell(message)

    def _told_back(self) -> None:
        if self._is_away:
            _LOG.info("tracking_available", uri=self._target.shown_uri, run_id=self.run_id)
        self._is_away = False

    def _tell(self, message: str) -> None:
        if self._was_told:
            return
        self._was_told = True
        message = redact(message)
        _LOG.warning("tracking_unavailable", uri=self._target.shown_uri, message=message)
        if self._on_unavailable is not None:
            self._on_unavailable(message)

    def _notice(self, message: str) -> None:
        _LOG.warning("tracking_notice", run=self._start.name, message=redact(message))


def _files_of(item: Item) -> Iterator[Item]:
    """A folder's files one by one, under its own layout; anything else as it is."""
    if item.file is None or not item.file.is_dir():
        yield item
        return
    for path in sorted(path for path in item.file.rglob("*") if path.is_file()):
        folder = Path(item.folder or "") / path.relative_to(item.file).parent
        yield replace(item, file=path, folder=None if folder == Path() else folder.as_posix())
