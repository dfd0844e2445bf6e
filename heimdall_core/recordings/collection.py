"""A ``.sigmf-collection``: a session, its source, and the recordings that belong to it."""

import hashlib
import re
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from heimdall_core.recordings.fields import Json, object_at, optional_time_at, parse_object, text_at
from heimdall_core.recordings.files import COLLECTION, DATA, META, Bytes, FileSet, check_has_data
from heimdall_core.recordings.plan import Plan, RecordingPlan, SessionPlan, title_of
from heimdall_core.recordings.recording_reading import header_of
from heimdall_core.recordings.refusal import Refusal, RefusedFile
from heimdall_core.recordings.session import Source
from heimdall_core.recordings.statement import Statement, parse_statement, source_at

MAX_STREAMS: Final = 10_000
"""Recordings of a session, as many as members of an archive."""

_NAME_HINT = 'Name each recording without folder and extension: {"name": "torino"} for torino.sigmf-meta.'


class _Stream(NamedTuple):
    """A recording as a collection names it."""

    base: str
    """Path without the extension."""
    sha512: str | None
    """Of the metadata file."""


def plan_collection(
    name: str, files: FileSet, claimed: dict[str, str], *, unknown: Source | None = None
) -> Plan:
    """The session of the collection; its files are marked in ``claimed``, path to claimer.

    ``unknown`` stands for a source that is not stated; None: it must be.
    """
    try:
        collection = object_at(parse_object(files[name]()), "collection")
        streams = _streams(collection, PurePosixPath(name).parent, files)
        claimed.update({s.base + ending: name for s in streams for ending in (META, DATA)})
        is_unknown = unknown is not None and collection.get("heimdall:source") is None
        source = unknown if unknown is not None and is_unknown else source_at(collection)
        title = _title(collection, name)
        return SessionPlan(
            file=name,
            name=title,
            source=source,
            started_at=optional_time_at(collection, "heimdall:started_at"),
            recordings=tuple(_recording(stream, files, title, source) for stream in streams),
        )
    except Refusal as refusal:
        return refusal.of(name)


def _title(collection: Json, file_name: str) -> str:
    if "heimdall:session" in collection:
        return text_at(collection, "heimdall:session")
    return title_of(file_name, COLLECTION)


def _streams(collection: Json, folder: PurePosixPath, files: FileSet) -> list[_Stream]:
    entries = collection.get("core:streams")
    if not isinstance(entries, list) or not entries:
        raise Refusal("empty", "lists no recordings in core:streams", hint=_NAME_HINT)
    if len(entries) > MAX_STREAMS:
        hint = "Write a collection for each transmission."
        raise Refusal("too_large", f"lists more than {MAX_STREAMS} recordings", hint=hint)
    streams = [_stream(entry, folder, files) for entry in entries]
    if len({s.base for s in streams}) < len(streams):
        raise Refusal("bad_metadata", "core:streams names a recording twice", hint="Name each once.")
    return streams


def _stream(entry: object, folder: PurePosixPath, files: FileSet) -> _Stream:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise Refusal("bad_metadata", "core:streams must be a list of objects with a name", hint=_NAME_HINT)
    name = entry["name"]
    if not re.fullmatch(r"[^/\\\0]+", name) or name in {".", ".."}:
        problem = f"core:streams names {name!r}, which is no base name of a file"
        raise Refusal("bad_metadata", problem, hint=_NAME_HINT)
    beside, inside = str(folder / name), str(folder / name / name)
    digest = entry.get("hash")
    return _Stream(
        base=inside if inside + META in files or inside + DATA in files else beside,
        sha512=digest if isinstance(digest, str) else None,
    )


def _recording(stream: _Stream, files: FileSet, title: str, source: Source) -> RecordingPlan | RefusedFile:
    meta, data = stream.base + META, stream.base + DATA
    try:
        statement = parse_statement(_metadata(stream, files))
        _check_agrees(statement, title, source)
        header = header_of(statement.facts, statement.format, statement.sha512)
    except Refusal as refusal:
        return refusal.of(meta)
    return RecordingPlan(name=meta, data=data, header=header)


def _metadata(stream: _Stream, files: FileSet) -> Bytes:
    if stream.base + META not in files:
        hint = "Upload it beside the collection."
        raise Refusal("sigmf_missing_meta", "the collection names it, but it is not there", hint=hint)
    check_has_data(stream.base + META, files)
    metadata = files[stream.base + META]()
    if stream.sha512 is not None and hashlib.sha512(metadata).hexdigest() != stream.sha512.lower():
        hint = "Write the collection again after the last change of the metadata, or leave out the hash."
        raise Refusal("sha512_mismatch", "is not the file whose hash the collection states", hint=hint)
    return metadata


def _check_agrees(statement: Statement, title: str, source: Source) -> None:
    if statement.source not in (None, source) or statement.session not in (None, title):
        raise Refusal(
            "session_conflict",
            "states another session or source than its collection",
            hint="Leave heimdall:source and heimdall:session to the collection.",
        )
