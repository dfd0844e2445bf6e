"""Reads the recordings of the platform where they lie: checked, measured, copied nowhere; no database."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from heimdall_core.catalogue.import_journal import ImportJournal, JournalEntry
from heimdall_core.catalogue.import_telling import check_stop, tell_refusal
from heimdall_core.catalogue.platform_report import (
    DescribedRecording,
    PlatformPlan,
    PlatformRecording,
    PlatformReport,
)
from heimdall_core.catalogue.transfers import MAX_BYTES_IN_FLIGHT, MAX_IN_FLIGHT, ahead_of_use
from heimdall_core.domain.errors import DataError, NotFound
from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.domain.ports import JobStopped, ObjectStore, Progress, Reporter
from heimdall_core.recordings.level import estimate_snr_db
from heimdall_core.recordings.npy import MAX_HEADER_BYTES, parse_npy_header, read_npy
from heimdall_core.recordings.refusal import Refusal, RefusedFile
from heimdall_core.recordings.sample_checks import check_duration
from heimdall_core.recordings.session import IqRecording, ReceiverSite, parse_utc

MAX_OBJECT_BYTES: Final = MAX_BYTES_IN_FLIGHT
"""The largest object that is read, and what one of unknown size is counted as."""

_BYTES_PER_SAMPLE: Final = 8


def read_platform_recordings(
    plan: PlatformPlan,
    *,
    store: ObjectStore,
    reporter: Reporter,
    journal: ImportJournal,
    settings: FeatureSettings | None = None,
) -> PlatformReport:
    """Reads every planned object; the report says what each holds or why it is refused.

    Raises:
        StorageUnavailable: the store did not answer; another attempt goes on from the journal.
        JobStopped: a stop was requested.
    """
    pool = ThreadPoolExecutor(MAX_IN_FLIGHT, thread_name_prefix="import")
    try:
        reading = _Reading(plan, reporter, journal, settings or FeatureSettings())
        fetched = ahead_of_use(
            pool, reading.left, lambda one: (one, _fetched(store, one)), size=_expected_bytes
        )
        for recording, data in fetched:
            reading.take(recording, data)
        return reading.report()
    finally:
        pool.shutdown(cancel_futures=True)


class _Reading:
    """The outcomes so far, in the order of the plan."""

    def __init__(
        self, plan: PlatformPlan, reporter: Reporter, journal: ImportJournal, settings: FeatureSettings
    ) -> None:
        self._plan, self._reporter, self._journal, self._settings = plan, reporter, journal, settings
        self._described: list[DescribedRecording] = []
        self._refused: list[RefusedFile] = []
        self._since: tuple[list[str], int, int] = ([], 0, 0)
        done = self._restore(journal.load())
        self.left: Sequence[PlatformRecording] = [one for one in plan.recordings if one.name not in done]
        if not done:
            for refused in plan.refused:
                self._refuse(refused)

    def take(self, recording: PlatformRecording, data: bytes | Refusal) -> None:
        """Judges one object.

        Raises:
            JobStopped: a stop was requested; what is done is in the journal.
        """
        try:
            check_stop(self._reporter)
        except JobStopped:
            self._write()
            raise
        try:
            self._described.append(_described(recording, data, self._settings))
        except Refusal as refusal:
            self._refuse(refusal.of(recording.name))
        self._since[0].append(recording.name)
        if self._journal.is_due(len(self._since[0])):
            self._write()
        self._tell_progress()

    def report(self) -> PlatformReport:
        """Everything, with what former attempts found."""
        report = PlatformReport(described=tuple(self._described), refused=tuple(self._refused))
        self._reporter.event("recordings_read", described=len(self._described), refused=len(self._refused))
        return report

    def _restore(self, entries: Sequence[JournalEntry]) -> set[str]:
        for entry in entries:
            part = PlatformReport.from_dict(entry.report)
            self._described += part.described
            self._refused += part.refused
        self._since = ([], len(self._described), len(self._refused))
        return {name for entry in entries for name in entry.done}

    def _refuse(self, refused: RefusedFile) -> None:
        tell_refusal(refused, self._reporter, num_before=len(self._refused))
        self._refused.append(refused)

    def _write(self) -> None:
        done, described, refused = self._since
        if done:
            part = PlatformReport(
                described=tuple(self._described[described:]), refused=tuple(self._refused[refused:])
            )
            self._journal.write(done, part.to_dict())
            self._since = ([], len(self._described), len(self._refused))

    def _tell_progress(self) -> None:
        total = len(self._plan.recordings) + len(self._plan.refused)
        self._reporter.progress(Progress(percent=100.0 * (len(self._described) + len(self._refused)) / total))


def _expected_bytes(recording: PlatformRecording) -> int:
    """Bytes of the object as far as its row tells."""
    if recording.num_samples is None:
        return MAX_OBJECT_BYTES
    return recording.num_samples * _BYTES_PER_SAMPLE + MAX_HEADER_BYTES


def _fetched(store: ObjectStore, recording: PlatformRecording) -> bytes | Refusal:
    """The object, or why it cannot be had; of one that is longer than expected only the beginning."""
    limit = _expected_bytes(recording)
    if limit > MAX_OBJECT_BYTES:
        return Refusal("too_large", f"is larger than {MAX_OBJECT_BYTES} bytes")
    try:
        return store.get_bytes(recording.uri, num_bytes=limit + 1)
    except NotFound:
        return Refusal("missing_object", f"{recording.uri} is not in the store")
    except DataError as error:
        if error.stable_code == "object_too_short":
            return Refusal("empty", "has no bytes")
        return Refusal(error.stable_code, error.message)


def _described(
    recording: PlatformRecording, data: bytes | Refusal, settings: FeatureSettings
) -> DescribedRecording:
    if isinstance(data, Refusal):
        raise data
    header = parse_npy_header(data)
    if recording.num_samples is not None and header.num_samples != recording.num_samples:
        raise Refusal(
            "samples_mismatch",
            f"holds {header.num_samples} samples, its measurement states {recording.num_samples}",
            hint="Record it again, or mend the row's iq_samples_count.",
        )
    if len(data) > MAX_OBJECT_BYTES:
        raise Refusal("too_large", f"is larger than {MAX_OBJECT_BYTES} bytes")
    samples = read_npy(data)
    check_duration(len(samples), recording.sample_rate_hz, settings)
    heard = IqRecording(
        receiver=ReceiverSite(name=recording.receiver, latitude=0.0, longitude=0.0),
        samples=samples,
        sample_rate_hz=float(recording.sample_rate_hz),
        center_frequency_hz=float(recording.frequency_hz),
        started_at=parse_utc(recording.timestamp),
    )
    return DescribedRecording(
        recording=recording,
        sha256=hashlib.sha256(memoryview(data)[header.offset :]).hexdigest(),
        offset=header.offset,
        num_bytes=header.num_bytes,
        num_samples=len(samples),
        snr_db=estimate_snr_db(heard, bandwidth_hz=settings.channel_bandwidth_hz),
    )
