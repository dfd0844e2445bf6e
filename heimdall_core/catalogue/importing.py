"""Turns uploaded files into stored archives and records for the catalogue; no database.

A folder with ``receivers.csv`` and ``transmissions.csv`` is a power table, whose rows are rendered to
IQ; everything else is SigMF, or ``.npy`` that a ``recordings.csv`` lists. What cannot be used is refused by
name and the rest goes on. Archives are stored under the SHA-256 of their content, so that importing again
stores nothing new.
"""

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from heimdall_core.catalogue.import_archiving import SessionArchiver
from heimdall_core.catalogue.import_journal import ImportJournal, JournalEntry
from heimdall_core.catalogue.import_reading import Found, Part, UploadedFile, UploadReader
from heimdall_core.catalogue.import_report import ImportedRecording, ImportedSession, ImportReport
from heimdall_core.catalogue.import_telling import check_stop, tell_refusal
from heimdall_core.catalogue.receiver_places import ReceiverPlaces
from heimdall_core.catalogue.transfers import MAX_IN_FLIGHT
from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.domain.ports import JobStopped, ObjectStore, Progress, Reporter
from heimdall_core.recordings.refusal import Refusal, RefusedFile
from heimdall_core.recordings.session import RecordedSession

__all__ = ["ImportReport", "ImportedRecording", "ImportedSession", "UploadedFile", "import_files"]


def import_files(
    files: Sequence[UploadedFile],
    *,
    store: ObjectStore,
    recordings_uri: str,
    reporter: Reporter,
    settings: FeatureSettings | None = None,
    receivers: Collection[str] | None = None,
    journal: ImportJournal | None = None,
) -> ImportReport:
    """Reads, checks and stores; the report says what became of every file.

    Args:
        files: the upload; its names decide what each file is.
        store: holds the upload, and takes the archives.
        recordings_uri: archives go to ``{recordings_uri}/{sha256[:2]}/{sha256}.sigmf``.
        reporter: told of progress and refusals; asked between sessions whether to stop.
        settings: how long a recording must last, and what power tables are rendered for.
        receivers: those to take from power tables; None: all.
        journal: what former attempts have accounted for is not read again; None: nothing is kept.

    Raises:
        StorageUnavailable: the store did not answer; importing again continues where it was.
        JobStopped: a stop was requested.
    """
    settings = settings or FeatureSettings()
    entries = journal.load() if journal else ()
    done = frozenset(unit for entry in entries for unit in entry.done)
    pool = ThreadPoolExecutor(2 * MAX_IN_FLIGHT, thread_name_prefix="import")
    try:
        archiver = SessionArchiver(store=store, pool=pool, recordings_uri=recordings_uri, settings=settings)
        outcomes = _Outcomes(archiver, reporter, journal, entries)
        reader = UploadReader(store=store, pool=pool, settings=settings, receivers=receivers, done=done)
        for found in _with_progress(reader.parts(files), reporter, num_done=len(done)):
            outcomes.take(found)
        check_stop(reporter)
        report = outcomes.finish()
    finally:
        pool.shutdown(cancel_futures=True)
    reporter.event("files_imported", **report.counts())
    return report


class _Outcomes:
    """What became of the units (archives, rows, collections) so far, in their order."""

    def __init__(
        self,
        archiver: SessionArchiver,
        reporter: Reporter,
        journal: ImportJournal | None,
        entries: Sequence[JournalEntry],
    ) -> None:
        self._archiver, self._reporter, self._journal = archiver, reporter, journal
        self._places = ReceiverPlaces()
        self._refused: list[RefusedFile] = []
        self._unit: str | None = None
        self._done: list[str] = []
        for entry in entries:
            part = ImportReport.from_dict(entry.report)
            archiver.restore(part)
            for session in part.sessions:
                self._places.keep(session.receivers, file=session.file)
            self._refused += part.refused
        self._num_written = len(self._refused)

    def take(self, found: Found) -> None:
        """One session or refusal; the next unit's first one settles the unit before.

        Raises:
            JobStopped: a stop was requested.
        """
        is_settled = found.file != self._unit
        if is_settled:
            self._settle(found.file)
        try:
            check_stop(self._reporter)
        except JobStopped:
            if is_settled:
                self._write()
            raise
        if isinstance(found.outcome, RefusedFile):
            self._refuse(found.outcome)
            return
        try:
            self._add(found.outcome, found)
        except Refusal as refusal:
            self._refuse(refusal.of(found.file))

    def finish(self) -> ImportReport:
        """Everything, once it is stored."""
        return self._archiver.finish(tuple(self._refused))

    def _refuse(self, refused: RefusedFile) -> None:
        tell_refusal(refused, self._reporter, num_before=len(self._refused))
        self._refused.append(refused)

    def _add(self, session: RecordedSession, found: Found) -> None:
        sites = [recording.receiver for recording in session.recordings]
        self._places.check(session.name, sites)
        self._archiver.add(session, file=found.file, split_group=found.split_group)
        self._places.keep(sites, file=found.file)

    def _settle(self, next_unit: str) -> None:
        if self._unit is not None:
            self._done.append(self._unit)
            if self._journal and self._journal.is_due(len(self._done)):
                self._write()
        self._unit = next_unit

    def _write(self) -> None:
        if self._journal and self._done:
            part = self._archiver.take_news(tuple(self._refused[self._num_written :]))
            self._journal.write(self._done, part.to_dict())
            self._done, self._num_written = [], len(self._refused)


def _with_progress(parts: Sequence[Part], reporter: Reporter, *, num_done: int) -> Iterator[Found]:
    total = sum(part.num_units for part in parts) + num_done
    finished = num_done
    for part in parts:
        for found in part.read():
            yield found
            reporter.progress(Progress(percent=100.0 * (finished + found.done * part.num_units) / total))
        finished += part.num_units
        reporter.progress(Progress(percent=100.0 * finished / total))
