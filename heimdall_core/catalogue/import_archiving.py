"""Packs sessions into archives, stores each once, and remembers what the catalogue needs."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from heimdall_core.catalogue.import_report import (
    DuplicateSession,
    ImportedRecording,
    ImportedSession,
    ImportReport,
)
from heimdall_core.catalogue.transfers import TransferWindow
from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.domain.ports import ObjectStore, StoredObject
from heimdall_core.recordings.archive import PackedMember, PackedSession, pack_session
from heimdall_core.recordings.level import estimate_snr_db
from heimdall_core.recordings.refusal import RefusedFile
from heimdall_core.recordings.session import IqRecording, RecordedSession

ARCHIVE_MEDIA_TYPE = "application/x-tar"


class SessionArchiver:
    """Takes the valid sessions of an import, one after another."""

    def __init__(
        self, *, store: ObjectStore, pool: ThreadPoolExecutor, recordings_uri: str, settings: FeatureSettings
    ) -> None:
        self._store = store
        self._uploads: TransferWindow[StoredObject] = TransferWindow(pool)
        self._recordings_uri = recordings_uri.rstrip("/")
        self._settings = settings
        self._sessions: dict[str, ImportedSession] = {}
        self._duplicates: list[DuplicateSession] = []
        self._num_told = (0, 0)

    def restore(self, part: ImportReport) -> None:
        """Takes over what an earlier attempt has stored."""
        self._sessions |= {session.sha256: session for session in part.sessions}
        self._duplicates += part.duplicates
        self._num_told = (len(self._sessions), len(self._duplicates))

    def take_news(self, refused: tuple[RefusedFile, ...]) -> ImportReport:
        """What has come since the last call, durable; with the refusals that belong to it."""
        self._finish_uploads()
        sessions, duplicates = self._num_told
        self._num_told = (len(self._sessions), len(self._duplicates))
        return ImportReport(
            sessions=tuple(islice(self._sessions.values(), sessions, None)),
            refused=refused,
            duplicates=tuple(self._duplicates[duplicates:]),
        )

    def add(self, session: RecordedSession, *, file: str, split_group: str | None) -> None:
        """Begins to store the session; an earlier transfer's failure is raised here."""
        packed = pack_session(session)
        sha256 = hashlib.sha256(packed.data).hexdigest()
        if first := self._sessions.get(sha256):
            self._duplicates.append(
                DuplicateSession(name=session.name, file=file, sha256=sha256, same_as=first.file)
            )
            return
        uri = f"{self._recordings_uri}/{sha256[:2]}/{sha256}.sigmf"
        self._put(uri, packed.data)
        self._sessions[sha256] = ImportedSession(
            name=session.name,
            file=file,
            uri=uri,
            sha256=sha256,
            num_bytes=len(packed.data),
            source=session.source,
            receivers=tuple(r.receiver for r in session.recordings),
            recordings=self._recordings(session, packed, uri),
            started_at=session.started_at,
            duration_seconds=max(r.duration_seconds for r in session.recordings),
            split_group=split_group,
        )

    def finish(self, refused: tuple[RefusedFile, ...]) -> ImportReport:
        """Waits until everything is stored."""
        self._finish_uploads()
        return ImportReport(
            sessions=tuple(self._sessions.values()), refused=refused, duplicates=tuple(self._duplicates)
        )

    def _finish_uploads(self) -> None:
        while self._uploads:
            self._uploads.finish_oldest()

    def _put(self, uri: str, data: bytes) -> None:
        while not self._uploads.has_room(len(data)):
            self._uploads.finish_oldest()
        self._uploads.start(
            lambda: self._store.put_bytes(uri, data, media_type=ARCHIVE_MEDIA_TYPE), num_bytes=len(data)
        )

    def _recordings(
        self, session: RecordedSession, packed: PackedSession, uri: str
    ) -> tuple[ImportedRecording, ...]:
        return tuple(
            self._recording(recording, member, uri)
            for recording, member in zip(session.recordings, packed.members, strict=True)
        )

    def _recording(self, recording: IqRecording, member: PackedMember, uri: str) -> ImportedRecording:
        return ImportedRecording(
            receiver=member.receiver_name,
            uri=uri,
            offset=member.offset,
            num_bytes=member.num_bytes,
            sha256=member.sha256,
            format=recording.format,
            sample_rate_hz=recording.sample_rate_hz,
            center_frequency_hz=recording.center_frequency_hz,
            noise_floor_dbfs=recording.noise_floor_dbfs,
            snr_db=estimate_snr_db(recording, bandwidth_hz=self._settings.channel_bandwidth_hz),
            started_at=recording.started_at,
            num_samples=len(recording.samples),
            duration_seconds=recording.duration_seconds,
        )
