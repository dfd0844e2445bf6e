"""What an import has accounted for, kept in the object store so that another attempt goes on from there."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heimdall_core.domain.errors import NotFound
from heimdall_core.domain.ports import Checkpoint, ObjectStore, Reporter, StoredObject
from heimdall_core.storage.uri import join_uri

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalPace:
    """An entry is written after so many units, but neither sooner nor later than the times say."""

    num_units: int = 200
    seconds: float = 10.0
    """Since the entry before, at least."""
    max_seconds: float = 60.0
    """With fewer units, at the end of the first unit after this: a few large files take long too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """Files, rows or objects that are wholly accounted for, and the report of just these."""

    done: tuple[str, ...]
    report: Json


class ImportJournal:
    """Entries in a chain: each object names the one before it, also across attempts.

    So that an import of 50,000 files does not write its whole report again and again.
    """

    def __init__(
        self,
        *,
        store: ObjectStore,
        output_uri: str,
        reporter: Reporter,
        former: Checkpoint | None = None,
        pace: JournalPace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._output_uri, self._reporter = store, output_uri, reporter
        self._last = None if former is None else former.object
        self._num_done = 0
        self._number = 0
        self._pace = pace or JournalPace()
        self._clock = clock
        self._written_at = clock()

    def load(self) -> tuple[JournalEntry, ...]:
        """The entries of former attempts, oldest first; none if any cannot be trusted."""
        entries: list[JournalEntry] = []
        place = self._last
        while place is not None:
            content = self._read(place)
            if content is None:
                self._reporter.event("import_progress_lost", uri=place.uri)
                self._last = None
                return ()
            entries.append(JournalEntry(done=tuple(content["done"]), report=content["report"]))
            place = StoredObject(**content["previous"]) if content["previous"] else None
        self._num_done = sum(len(entry.done) for entry in entries)
        if entries:
            self._reporter.event("import_resumed", files_done=self._num_done)
        return tuple(reversed(entries))

    def is_due(self, num_units: int) -> bool:
        """Whether to write now that so many units have been done since the last entry."""
        elapsed = self._clock() - self._written_at
        if not num_units or elapsed < self._pace.seconds:
            return False
        return num_units >= self._pace.num_units or elapsed >= self._pace.max_seconds

    def write(self, done: Sequence[str], report: Json) -> None:
        """Makes an entry durable and tells the reporter."""
        self._number += 1
        self._num_done += len(done)
        previous = self._last and {
            "uri": self._last.uri,
            "sha256": self._last.sha256,
            "num_bytes": self._last.num_bytes,
        }
        content = {"done": list(done), "report": report, "previous": previous}
        uri = join_uri(self._output_uri, f"import-progress-{self._number}.json")
        self._last = self._store.put_bytes(uri, json.dumps(content).encode(), media_type="application/json")
        self._written_at = self._clock()
        self._reporter.checkpoint(Checkpoint(object=self._last, epoch=0, step=self._num_done))

    def _read(self, place: StoredObject) -> dict[str, Any] | None:
        try:
            data = self._store.get_bytes(place.uri)
        except NotFound:
            return None
        if hashlib.sha256(data).hexdigest() != place.sha256:
            return None
        content: dict[str, Any] = json.loads(data)
        return content
