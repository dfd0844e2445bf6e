"""Turns uploaded files into stored archives and records for the catalogue; no database.

A folder with ``receivers.csv`` and ``transmissions.csv`` is a power table, whose rows are rendered to
IQ; everything else is SigMF. What cannot be used is refused by name and the rest goes on. Archives
are stored under the SHA-256 of their content, so that importing again stores nothing new.
"""

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from heimdall_core.catalogue.import_archiving import SessionArchiver
from heimdall_core.catalogue.import_reading import Found, Part, UploadedFile, UploadReader
from heimdall_core.catalogue.import_report import ImportedRecording, ImportedSession, ImportReport
from heimdall_core.catalogue.transfers import MAX_IN_FLIGHT
from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.domain.ports import JobStopped, ObjectStore, Progress, Reporter
from heimdall_core.recordings.refusal import RefusedFile

__all__ = ["ImportReport", "ImportedRecording", "ImportedSession", "UploadedFile", "import_files"]

_MAX_REFUSAL_EVENTS = 50
"""The report names every refused file; the job's history only the first ones."""


def import_files(
    files: Sequence[UploadedFile],
    *,
    store: ObjectStore,
    recordings_uri: str,
    reporter: Reporter,
    settings: FeatureSettings | None = None,
    receivers: Collection[str] | None = None,
) -> ImportReport:
    """Reads, checks and stores; the report says what became of every file.

    Args:
        files: the upload; its names decide what each file is.
        store: holds the upload, and takes the archives.
        recordings_uri: archives go to ``{recordings_uri}/{sha256[:2]}/{sha256}.sigmf``.
        reporter: told of progress and refusals; asked between sessions whether to stop.
        settings: how long a recording must last, and what power tables are rendered for.
        receivers: those to take from power tables; None: all.

    Raises:
        StorageUnavailable: the store did not answer; importing again continues where it was.
        JobStopped: a stop was requested.
    """
    settings = settings or FeatureSettings()
    pool = ThreadPoolExecutor(2 * MAX_IN_FLIGHT, thread_name_prefix="import")
    try:
        archiver = SessionArchiver(store=store, pool=pool, recordings_uri=recordings_uri, settings=settings)
        reader = UploadReader(store=store, pool=pool, settings=settings, receivers=receivers)
        refused: list[RefusedFile] = []
        for found in _with_progress(reader.parts(files), reporter):
            _check_stop(reporter)
            if isinstance(found.outcome, RefusedFile):
                _report_refusal(found.outcome, reporter, num_before=len(refused))
                refused.append(found.outcome)
            else:
                archiver.add(found.outcome, file=found.file, split_group=found.split_group)
        _check_stop(reporter)
        report = archiver.finish(tuple(refused))
    finally:
        pool.shutdown(cancel_futures=True)
    reporter.event("files_imported", **report.counts())
    return report


def _check_stop(reporter: Reporter) -> None:
    if request := reporter.stop_requested():
        raise JobStopped(request)


def _report_refusal(refused: RefusedFile, reporter: Reporter, *, num_before: int) -> None:
    if num_before < _MAX_REFUSAL_EVENTS:
        reporter.event(
            "file_refused", file=refused.name, code=refused.code, message=refused.message, hint=refused.hint
        )


def _with_progress(parts: Sequence[Part], reporter: Reporter) -> Iterator[Found]:
    total = sum(part.num_units for part in parts)
    finished = 0
    for part in parts:
        for found in part.read():
            yield found
            reporter.progress(Progress(percent=100.0 * (finished + found.done * part.num_units) / total))
        finished += part.num_units
        reporter.progress(Progress(percent=100.0 * finished / total))
