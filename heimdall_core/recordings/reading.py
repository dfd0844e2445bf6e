"""Reads SigMF back into sessions; what is malformed is refused by name and the rest goes on."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.recordings.fields import (
    FREQUENCY_RANGE_HZ,
    LEVEL_RANGE_DB,
    Json,
    check_position,
    number_at,
    object_at,
    optional_number_at,
    parse_object,
    text_at,
    time_at,
)
from heimdall_core.recordings.files import FileSet, InputFile, files_of_archive
from heimdall_core.recordings.recording_reading import parse_header, read_samples
from heimdall_core.recordings.refusal import Refusal, RefusedFile, refused_as
from heimdall_core.recordings.session import IqRecording, RecordedSession, Source

__all__ = ["InputFile", "RefusedFile", "read_sessions"]

META, DATA, COLLECTION, ARCHIVE = ".sigmf-meta", ".sigmf-data", ".sigmf-collection", ".sigmf"

_NO_SOURCE_HINT = "List the recordings in a .sigmf-collection that states heimdall:source."

_EARTH_M = 2.1e7
"""No error is larger than half the way around it."""

Outcome = RecordedSession | RefusedFile


def read_sessions(
    files: Sequence[InputFile], *, settings: FeatureSettings | None = None
) -> Iterator[Outcome]:
    """The sessions of SigMF archives and of loose SigMF files, and every file that had to be refused.

    A session keeps its good recordings when another of its recordings is refused. ``settings`` say
    how long a recording must last. Archives come first, in the given order.
    """
    settings = settings or FeatureSettings()
    loose: dict[str, InputFile] = {}
    for file in files:
        if file.suffix == ARCHIVE:
            yield from _read_archive(file, settings)
        else:
            loose[file.name] = file
    yield from _read_files({name: file.read for name, file in loose.items()}, settings)


def _read_archive(file: InputFile, settings: FeatureSettings) -> Iterator[Outcome]:
    try:
        members = files_of_archive(file.read())
    except Refusal as refusal:
        yield refusal.of(file.name)
        return
    for outcome in _read_files(members, settings):
        if isinstance(outcome, RefusedFile):
            yield Refusal(outcome.code, outcome.message, hint=outcome.hint).of(f"{file.name}/{outcome.name}")
        else:
            yield outcome


def _read_files(files: FileSet, settings: FeatureSettings) -> Iterator[Outcome]:
    used: set[str] = set()
    for name in files:
        if name.endswith(COLLECTION):
            used.add(name)
            yield from _read_collection(name, files, used, settings)
    for name in files:
        if name not in used and (refusal := _stray(name, files)):
            yield refusal.of(name)


def _stray(name: str, files: FileSet) -> Refusal | None:
    """Why a file that no collection lists is left out; a pair is told once, by its metadata."""
    if name.endswith(META):
        if name.removesuffix(META) + DATA not in files:
            return Refusal("sigmf_missing_data", "its .sigmf-data file is not there")
        return Refusal("no_source", "no collection says which source it recorded", hint=_NO_SOURCE_HINT)
    if name.endswith(DATA):
        if name.removesuffix(DATA) + META not in files:
            return Refusal("sigmf_missing_meta", "its .sigmf-meta file is not there")
        return None
    return Refusal("not_sigmf", "is no SigMF file", hint="Known: .sigmf, .sigmf-meta, -data, -collection.")


class _Stream(NamedTuple):
    """A recording as a collection names it."""

    base: str
    """Path without the extension."""
    sha512: str | None
    """Of the metadata file."""


def _read_collection(
    name: str, files: FileSet, used: set[str], settings: FeatureSettings
) -> Iterator[Outcome]:
    recordings: dict[str, IqRecording] = {}
    try:
        collection = object_at(parse_object(files[name]()), "collection")
        streams = _streams(collection, PurePosixPath(name).parent, files)
        used.update(s.base + ending for s in streams for ending in (META, DATA))
        source = _source(collection)
        title = _title(collection, name)
        yield from _read_streams(streams, files, recordings, settings)
        yield _session(title, collection, source, tuple(recordings.values()))
    except Refusal as refusal:
        yield refusal.of(name)


def _read_streams(
    streams: list[_Stream], files: FileSet, recordings: dict[str, IqRecording], settings: FeatureSettings
) -> Iterator[RefusedFile]:
    """Fills ``recordings`` by receiver; yields what was refused."""
    for stream in streams:
        try:
            recording = _read_stream(stream, files, settings)
            _check_new(recording, recordings)
        except Refusal as refusal:
            yield refusal.of(stream.base + META)
        else:
            recordings[recording.receiver.name] = recording


def _title(collection: Json, file_name: str) -> str:
    if "heimdall:session" in collection:
        return text_at(collection, "heimdall:session")
    return PurePosixPath(file_name).name.removesuffix(COLLECTION) or "session"


def _streams(collection: Json, folder: PurePosixPath, files: FileSet) -> list[_Stream]:
    entries = collection.get("core:streams")
    if not isinstance(entries, list) or not entries:
        raise Refusal("empty", "lists no recordings in core:streams")
    streams = [_stream(entry, folder, files) for entry in entries]
    if len({s.base for s in streams}) < len(streams):
        raise Refusal("bad_metadata", "core:streams names a recording twice")
    return streams


def _stream(entry: object, folder: PurePosixPath, files: FileSet) -> _Stream:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise Refusal("bad_metadata", "core:streams must be a list of objects with name and hash")
    name = entry["name"]
    if not re.fullmatch(r"[^/\\\0]+", name) or name in {".", ".."}:
        raise Refusal("bad_metadata", f"core:streams names {name!r}, which is no base name of a file")
    beside, inside = str(folder / name), str(folder / name / name)
    digest = entry.get("hash")
    return _Stream(
        base=inside if inside + META in files or inside + DATA in files else beside,
        sha512=digest if isinstance(digest, str) else None,
    )


def _read_stream(stream: _Stream, files: FileSet, settings: FeatureSettings) -> IqRecording:
    if stream.base + META not in files:
        raise Refusal("sigmf_missing_meta", "the collection names it, but it is not there")
    if stream.base + DATA not in files:
        raise Refusal("sigmf_missing_data", "its .sigmf-data file is not there")
    metadata = files[stream.base + META]()
    if stream.sha512 is not None and hashlib.sha512(metadata).hexdigest() != stream.sha512.lower():
        raise Refusal("sha512_mismatch", "is not the file whose hash the collection states")
    header = parse_header(metadata)
    with refused_as(stream.base + DATA):
        return read_samples(header, files[stream.base + DATA](), settings=settings)


def _check_new(recording: IqRecording, known: dict[str, IqRecording]) -> None:
    if recording.receiver.name in known:
        raise Refusal(
            "duplicate_receiver",
            f"receiver {recording.receiver.name!r} has another recording in this session",
            hint="Keep one recording per receiver.",
        )


def _source(collection: Json) -> Source:
    stated = object_at(collection, "heimdall:source", code="no_source", hint=_NO_SOURCE_HINT)
    latitude = number_at(stated, "latitude", code="bad_position")
    longitude = number_at(stated, "longitude", code="bad_position")
    check_position(latitude, longitude)
    return Source(
        name=text_at(stated, "name", code="no_source"),
        frequency_hz=number_at(stated, "frequency_hz", within=FREQUENCY_RANGE_HZ),
        latitude=latitude,
        longitude=longitude,
        error_margin_m=optional_number_at(stated, "error_margin_m", within=(0.0, _EARTH_M)),
        power_dbm=optional_number_at(stated, "power_dbm", within=LEVEL_RANGE_DB),
    )


def _session(
    title: str, collection: Json, source: Source, recordings: tuple[IqRecording, ...]
) -> RecordedSession:
    if not recordings:
        raise Refusal("empty", "none of its recordings can be used")
    if "heimdall:started_at" in collection:
        started_at = time_at(collection, "heimdall:started_at")
    else:
        started_at = min(r.started_at for r in recordings)
    return RecordedSession(name=title, source=source, started_at=started_at, recordings=recordings)
