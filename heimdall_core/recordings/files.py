"""Named files to read: loose ones, and those inside a SigMF archive."""

import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from heimdall_core.recordings.refusal import Refusal

Bytes = bytes | memoryview
FileSet = Mapping[str, Callable[[], Bytes]]
"""Path -> how to read it."""

MAX_ARCHIVE_BYTES = 2 * 2**30
MAX_ARCHIVE_MEMBERS = 10_000

_PLAIN_FILE = (tarfile.REGTYPE, tarfile.AREGTYPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A file that someone sent: its name (with folders, ``/`` between them) and how to read it."""

    name: str
    read: Callable[[], bytes]

    @property
    def suffix(self) -> str:
        """The last extension, lower case."""
        return PurePosixPath(self.name).suffix.lower()


def files_of_archive(data: bytes) -> FileSet:
    """The plain files of a tar, as views of ``data``: nothing is copied or written to disk.

    Raises:
        Refusal: ``empty``, ``not_sigmf``, ``truncated``, ``too_large`` or ``unsafe_archive``.
    """
    if not data:
        raise Refusal("empty", "has no bytes")
    if len(data) > MAX_ARCHIVE_BYTES:
        raise Refusal("too_large", f"is larger than {MAX_ARCHIVE_BYTES} bytes")
    view = memoryview(data)
    plain = [member for member in _members(data) if not member.isdir()]
    if not plain:
        raise Refusal("empty", "the archive holds no file")
    return {m.name: _slice(view, m.offset_data, m.size) for m in plain}


def _slice(view: memoryview, offset: int, size: int) -> Callable[[], memoryview]:
    return lambda: view[offset : offset + size]


def _members(data: bytes) -> list[tarfile.TarInfo]:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            members = _listed(archive)
    except tarfile.ReadError as error:
        if "end of data" in str(error):
            raise Refusal("truncated", "the archive ends in the middle of a file") from error
        raise Refusal(
            "not_sigmf",
            f"is not a plain tar archive: {error}",
            hint="A .sigmf file is an uncompressed tar of .sigmf-meta and .sigmf-data files.",
        ) from error
    except (tarfile.TarError, ValueError, OverflowError, EOFError, LookupError) as error:
        raise Refusal("not_sigmf", f"is not a readable tar archive: {error}") from error
    if members and members[-1].offset_data + members[-1].size > len(data):
        raise Refusal("truncated", f"the archive ends in the middle of {members[-1].name}")
    return members


def _listed(archive: tarfile.TarFile) -> list[tarfile.TarInfo]:
    members: list[tarfile.TarInfo] = []
    for member in archive:
        _check_safe(member)
        members.append(member)
        if len(members) > MAX_ARCHIVE_MEMBERS:
            raise Refusal("too_large", f"has more than {MAX_ARCHIVE_MEMBERS} members")
    return members


def _check_safe(member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        raise Refusal("unsafe_archive", f"member {member.name!r} points outside the archive")
    if not member.isdir() and (member.type not in _PLAIN_FILE or member.sparse is not None):
        raise Refusal("unsafe_archive", f"member {member.name!r} is a link, device or sparse file")
    if member.size < 0:
        raise Refusal("not_sigmf", f"member {member.name!r} has a negative size")
