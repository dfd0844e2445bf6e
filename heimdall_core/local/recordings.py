"""A folder of recordings as a dataset: imported as the service imports, split by whole units."""

import re
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

from heimdall_core.catalogue.importing import ImportedRecording, ImportedSession, UploadedFile, import_files
from heimdall_core.datasets.assembling import SelectedSession, Selection, build_manifest
from heimdall_core.datasets.definition import DatasetDefinition, SplitSpec
from heimdall_core.domain.errors import DataError, InvalidRequest
from heimdall_core.domain.manifest import Manifest, ManifestReceiver, ManifestRecording
from heimdall_core.domain.ports import Reporter, StoredObject
from heimdall_core.local.arguments import DEFAULT_VALIDATION_SPLIT, TEST_SPLIT
from heimdall_core.recordings.files import IMPORTED_NAMES, IMPORTED_SUFFIXES
from heimdall_core.recordings.refusal import Refusal
from heimdall_core.recordings.session import ReceiverSite, utc_text
from heimdall_core.storage import FolderStore
from heimdall_core.storage.folder import DEFAULT_MEDIA_TYPE

MANIFEST_FILE = "dataset.json"

_INPUT = "s3://input"
_RECORDINGS = "s3://recordings"
_OUTPUTS = ("recordings", "cache")
"""Folders of a run's output in which there are files that look like recordings."""
_BLOCKS_KM = (20.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1)
_ENOUGH_BLOCKS = 10


def import_folder(
    data_dir: Path, output_dir: Path, reporter: Reporter, *, validation_split: float | None = None
) -> Manifest:
    """Reads the recordings of a folder into ``output_dir/recordings`` and splits them.

    The manifest is written to ``output_dir/dataset.json``: with ``output_dir`` as the store's root it gives
    the same dataset again.

    Raises:
        InvalidRequest: the folder does not exist or holds no recording, or its sessions cannot be split.
        DataError: no file gives a session.
        JobStopped: a stop was requested.
    """
    files = find_recordings(data_dir, outside=output_dir)
    report = import_files(
        [_uploaded(path, data_dir) for path in files],
        store=_FolderAndRecordings(data_dir, output_dir),
        recordings_uri=_RECORDINGS,
        reporter=reporter,
    )
    if not report.sessions:
        raise DataError(
            f"none of the {len(files)} files in {data_dir} gives a recording session",
            code="no_sessions",
            hint="Each line above says what is missing in a file.",
        )
    manifest = _manifest(report.sessions, data_dir, reporter, validation_split or DEFAULT_VALIDATION_SPLIT)
    (output_dir / MANIFEST_FILE).write_bytes(manifest.to_json())
    return manifest


def find_recordings(data_dir: Path, *, outside: Path) -> list[Path]:
    """The files that an import reads, folders searched through, in order of their names.

    Raises:
        InvalidRequest: the folder does not exist, or there is none.
    """
    if not data_dir.is_dir():
        raise InvalidRequest(
            f"no folder {data_dir}", code="no_data_dir", hint="Give --data-dir a folder of recordings."
        )
    own = _own_folders(data_dir.resolve(), outside.resolve())
    found = sorted(
        path
        for path in data_dir.rglob("*")
        if (path.suffix in IMPORTED_SUFFIXES or path.name in IMPORTED_NAMES)
        and path.is_file()
        and not any(path.resolve().is_relative_to(folder) for folder in own)
    )
    if not found:
        raise InvalidRequest(
            f"{data_dir} holds no recording",
            code="no_recordings",
            hint=f"Known are files that end in {', '.join(IMPORTED_SUFFIXES)}, "
            f"and {', '.join(IMPORTED_NAMES)}.",
        )
    return found


def _own_folders(data_dir: Path, output_dir: Path) -> list[Path]:
    """What a run wrote among the recordings: its output folder, or what it makes if that is theirs."""
    if data_dir == output_dir:
        return [output_dir / name for name in _OUTPUTS]
    return [output_dir] if output_dir.is_relative_to(data_dir) else []


def dataset_name(data_dir: Path) -> str:
    """The name of the dataset that a folder becomes."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", data_dir.resolve().name).lstrip("-._")[:100]
    return name or "recordings"


def _manifest(
    sessions: Sequence[ImportedSession], data_dir: Path, reporter: Reporter, val_fraction: float
) -> Manifest:
    """By the groups that the input names if it names all; else by blocks, the largest that are enough."""
    selection, name = _selection(sessions), dataset_name(data_dir)
    splits = _possible_splits(sessions, val_fraction)
    found: list[tuple[Manifest, SplitSpec]] = []
    refusals: list[InvalidRequest] = []
    for split in splits:
        try:
            found.append(
                (build_manifest(selection, DatasetDefinition(name=name, split=split), version=1), split)
            )
        except InvalidRequest as error:
            refusals.append(error)
    if not found:
        raise _cannot_split(refusals[0])
    manifest, split = next((f for f in found if _num_units(f[0]) >= _ENOUGH_BLOCKS), found[0])
    _tell_split(manifest, split, reporter)
    return manifest


def _possible_splits(sessions: Sequence[ImportedSession], val_fraction: float) -> list[SplitSpec]:
    if all(session.split_group is not None for session in sessions):
        return [SplitSpec(strategy="group", test_fraction=TEST_SPLIT, val_fraction=val_fraction)]
    return [
        SplitSpec(block_km=block_km, test_fraction=TEST_SPLIT, val_fraction=val_fraction)
        for block_km in _BLOCKS_KM
    ]


def _num_units(manifest: Manifest) -> int:
    return len({session.block for session in manifest.sessions})


def _cannot_split(refusal: InvalidRequest) -> InvalidRequest:
    return InvalidRequest(
        f"the recordings cannot be split: {refusal.message}",
        code="bad_split",
        hint="Training, validation and test need sources in at least three places (or groups).",
    )


def _tell_split(manifest: Manifest, split: SplitSpec, reporter: Reporter) -> None:
    reporter.event(
        "recordings_split",
        by="groups of the input" if split.strategy == "group" else f"blocks of {split.block_km:g} km",
        units=_num_units(manifest),
        train=len(manifest.of_split("train")),
        val=len(manifest.of_split("val")),
        test=len(manifest.of_split("test")),
    )


def _selection(sessions: Sequence[ImportedSession]) -> Selection:
    ordered = sorted(sessions, key=lambda session: (session.started_at, session.sha256))
    return Selection(
        sessions=[_selected(session) for session in ordered],
        receivers=_receivers(site for session in ordered for site in session.receivers),
    )


def _selected(session: ImportedSession) -> SelectedSession:
    return SelectedSession(
        id=str(uuid.UUID(session.sha256[:32])),
        source=session.source.name,
        latitude=session.source.latitude,
        longitude=session.source.longitude,
        frequency_hz=session.source.frequency_hz,
        started_at=utc_text(session.started_at),
        group=session.split_group,
        recordings=tuple(
            _recording(r) for r in sorted(session.recordings, key=lambda recording: recording.receiver)
        ),
    )


def _recording(recording: ImportedRecording) -> ManifestRecording:
    return ManifestRecording(
        receiver=recording.receiver,
        uri=recording.uri,
        offset=recording.offset,
        num_bytes=recording.num_bytes,
        sha256=recording.sha256,
        format=recording.format,
        sample_rate_hz=recording.sample_rate_hz,
        center_frequency_hz=recording.center_frequency_hz,
        noise_floor_dbfs=recording.noise_floor_dbfs,
    )


def _receivers(sites: Iterable[ReceiverSite]) -> tuple[ManifestReceiver, ...]:
    """The receivers by name, where they were stated first."""
    known: dict[str, ReceiverSite] = {}
    for site in sites:
        known.setdefault(site.name, site)
    return tuple(
        ManifestReceiver(name=s.name, latitude=s.latitude, longitude=s.longitude, altitude_m=s.altitude_m)
        for _, s in sorted(known.items())
    )


def _uploaded(path: Path, data_dir: Path) -> UploadedFile:
    name = path.relative_to(data_dir).as_posix()
    return UploadedFile(name=name, uri=f"{_INPUT}/{name}", num_bytes=path.stat().st_size)


class _FolderAndRecordings:
    """Reads the files of ``data_dir``, and keeps archives in ``output_dir/recordings``."""

    def __init__(self, data_dir: Path, output_dir: Path) -> None:
        self._data_dir = data_dir
        self._output_dir = output_dir
        self._recordings = FolderStore(output_dir)

    def get_bytes(self, uri: str, *, offset: int = 0, num_bytes: int | None = None) -> bytes:
        """A file of the folder, or a range of it."""
        try:
            with (self._data_dir / uri.removeprefix(f"{_INPUT}/")).open("rb") as file:
                file.seek(offset)
                return file.read(-1 if num_bytes is None else num_bytes)
        except OSError as error:
            raise Refusal("unreadable", f"cannot be read: {error.strerror}") from error

    def get_file(self, uri: str, path: Path) -> None:
        """A file of the folder, copied."""
        path.write_bytes(self.get_bytes(uri))

    def put_bytes(self, uri: str, data: bytes, *, media_type: str = DEFAULT_MEDIA_TYPE) -> StoredObject:
        """Keeps an archive; its name follows from its content, so one that is there stays."""
        place = self._output_dir / uri.removeprefix("s3://")
        if place.is_file() and place.stat().st_size == len(data):
            return StoredObject(uri=uri, sha256=place.stem, num_bytes=len(data), media_type=media_type)
        return self._recordings.put_bytes(uri, data, media_type=media_type)

    def put_file(self, uri: str, path: Path, *, media_type: str = DEFAULT_MEDIA_TYPE) -> StoredObject:
        """Keeps an archive."""
        return self.put_bytes(uri, path.read_bytes(), media_type=media_type)
