"""The canonical stored form of a session: one SigMF archive whose bytes follow from its content.

Layout, as the SigMF specification draws it: ``session.sigmf-collection``, then for each receiver
a folder ``N`` with ``N.sigmf-meta`` and ``N.sigmf-data``. Plain tar: a recording is a byte range.
"""

import hashlib
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from heimdall_core.recordings.iq import encode
from heimdall_core.recordings.metadata import collection_metadata, recording_metadata
from heimdall_core.recordings.session import RecordedSession

COLLECTION = "session"
_BLOCK = 512
_MAX_SLUG = 38
"""Keeps every path within the 100 characters of a plain header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedMember:
    """Where the samples of one receiver lie in the archive."""

    receiver_name: str
    offset: int
    num_bytes: int
    sha256: str
    """Of the byte range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedSession:
    """An archive and the place of each recording in it, in the session's order."""

    data: bytes
    members: tuple[PackedMember, ...]


def pack_session(session: RecordedSession) -> PackedSession:
    """One SigMF archive of the session; equal sessions give equal bytes.

    Raises:
        ValueError: no recording, or two of one receiver.
    """
    names = [r.receiver.name for r in session.recordings]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"session {session.name!r} needs recordings of different receivers, has {names}")
    streams = [f"{i:02d}-{_slug(name)}" for i, name in enumerate(names)]
    payloads = [encode(r.samples, r.format) for r in session.recordings]
    metadata = [
        recording_metadata(recording, payload, collection=COLLECTION)
        for recording, payload in zip(session.recordings, payloads, strict=True)
    ]
    collection = collection_metadata(session, dict(zip(streams, metadata, strict=True)))
    members = [(f"{COLLECTION}.sigmf-collection", collection)]
    for stream, meta, payload in zip(streams, metadata, payloads, strict=True):
        members += [
            (f"{stream}/", b""),
            (f"{stream}/{stream}.sigmf-meta", meta),
            (f"{stream}/{stream}.sigmf-data", payload),
        ]
    data, offsets = _tar(members)
    return PackedSession(
        data=data,
        members=tuple(
            PackedMember(
                receiver_name=name,
                offset=offsets[f"{stream}/{stream}.sigmf-data"],
                num_bytes=len(payload),
                sha256=hashlib.sha256(payload).hexdigest(),
            )
            for name, stream, payload in zip(names, streams, payloads, strict=True)
        ),
    )


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:_MAX_SLUG] or "receiver"


def _tar(members: Iterable[tuple[str, bytes]]) -> tuple[bytes, dict[str, int]]:
    """A POSIX.1-2001 tar without extended headers, and where each member's content begins."""
    parts: list[bytes] = []
    offsets: dict[str, int] = {}
    position = 0
    for name, content in members:
        padding = -len(content) % _BLOCK
        offsets[name] = position + _BLOCK
        parts += [_header(name, len(content)), content, bytes(padding)]
        position += _BLOCK + len(content) + padding
    parts.append(bytes(2 * _BLOCK))
    return b"".join(parts), offsets


def _header(name: str, size: int) -> bytes:
    """One ustar header: owner root, time zero. ``tarfile`` writes the same, ten times slower."""
    assert size < 8**11, "ustar ends at 8 GiB"
    folder = name.endswith("/")
    fields = struct.pack(
        "100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x",
        name.encode("ascii"),
        b"0000755\0" if folder else b"0000644\0",
        b"0000000\0",
        b"0000000\0",
        b"%011o\0" % size,
        b"00000000000\0",
        b" " * 8,
        b"5" if folder else b"0",
        b"",
        b"ustar\x0000",
        b"",
        b"",
        b"",
        b"",
        b"",
    )
    return fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]
