"""The plain files of a tar, found without trusting its headers.

POSIX.1-2001 (ustar and pax) with the long names of GNU tar. ``tarfile`` takes a damaged header for the end
of the archive, recurses once for each extended header, and copies all global ones for each member: here
damage is refused, nothing is unpacked, and the time grows with the bytes alone.
"""

import struct
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from heimdall_core.recordings.refusal import Refusal

MAX_MEMBER_NAME: Final = 255
"""Characters of a path, as of a file of an upload."""
MAX_EXTENSION_BYTES: Final = 2**20
"""Of a header that only extends the next one."""
MAX_EXTENSIONS: Final = 8
"""Such headers before one member; writers need no more than two or three."""

_BLOCK: Final = 512
_HEADER: Final = struct.Struct("100s24x12s12x8sc100x6s82x155s12x")
"""Name, size, checksum, type, magic, prefix."""
_CHECKSUM: Final = slice(148, 156)
_FILES, _FOLDER = (b"0", b"\0"), b"5"
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"L", b"K", (b"x", b"X"), b"g"
_EXTENSIONS: Final = (_LONG_NAME, _LONG_LINK, *_PAX, _PAX_GLOBAL)
_BASE_256: Final = 0x80

_TAR_HINT: Final = "A .sigmf file is an uncompressed tar of .sigmf-meta and .sigmf-data files."
_COPY_HINT: Final = "Copy the archive again from where it was made."
_PLAIN_HINT: Final = "Pack plain files and folders with relative names, each once."


class TarEntry(NamedTuple):
    """A plain file of the archive."""

    name: str
    """Normalised: without ``.`` and double slashes."""
    offset: int
    size: int


class _Header(NamedTuple):
    name: str
    size: int
    kind: bytes


def plain_files(data: bytes, *, max_members: int) -> list[TarEntry]:
    """The files in their order.

    Raises:
        Refusal: ``not_sigmf``, ``truncated``, ``trailing_bytes``, ``too_large`` or ``unsafe_archive``.
    """
    entries: dict[str, TarEntry] = {}
    for num_members, (header, offset) in enumerate(_members(data), start=1):
        if num_members > max_members:
            hint = "Split it into archives of one session each."
            raise Refusal("too_large", f"has more than {max_members} members", hint=hint)
        _check_safe(header)
        name = str(PurePosixPath(header.name))
        if header.kind == _FOLDER:
            continue
        if name in entries:
            raise Refusal("unsafe_archive", f"member {name!r} is there twice", hint=_PLAIN_HINT)
        entries[name] = TarEntry(name, offset, header.size)
    return list(entries.values())


def _members(data: bytes) -> Iterator[tuple[_Header, int]]:
    """Each member with its extensions applied, and where its content begins."""
    position = num_extensions = 0
    extended: dict[str, str] = {}
    while position < len(data):
        if (header := _header_at(data, position)) is None:
            _check_only_zeros(data, position)
            break
        position += _BLOCK
        if header.kind not in _EXTENSIONS:
            member = _extended(header, extended)
            num_bytes = 0 if member.kind == _FOLDER else member.size
            _check_holds(data, position + num_bytes, member.name)
            yield member, position
            position += _padded(num_bytes)
            num_extensions, extended = 0, {}
            continue
        num_extensions += 1
        if header.size > MAX_EXTENSION_BYTES or num_extensions > MAX_EXTENSIONS:
            raise _damaged(position - _BLOCK, "extends the next without bound")
        _check_holds(data, position + header.size, "a header")
        _extend(extended, header.kind, data[position : position + header.size], position - _BLOCK)
        position += _padded(header.size)
    if num_extensions:
        raise Refusal("truncated", "the archive ends before the member of a header", hint=_COPY_HINT)


def _header_at(data: bytes, position: int) -> _Header | None:
    """The header of the block; None: it is the zeros at the end."""
    block = data[position : position + _BLOCK]
    if len(block) < _BLOCK and position:
        raise Refusal("truncated", "the archive ends in the middle of a header", hint=_COPY_HINT)
    if len(block) < _BLOCK:
        raise Refusal("not_sigmf", "is not a plain tar archive: it is too short", hint=_TAR_HINT)
    if not any(block):
        return None
    name, size, checksum, kind, magic, prefix = _HEADER.unpack(block)
    if _number(checksum) != sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" "):
        raise _damaged(position, "does not have its checksum")
    if (num_bytes := _number(size)) is None:
        raise _damaged(position, "states no size")
    path = _text(name)
    if magic == b"ustar\0" and (folder := _text(prefix)):
        path = f"{folder}/{path}"
    if kind in _FILES and path.endswith("/"):
        kind = _FOLDER
    return _Header(path, num_bytes, b"0" if kind in _FILES else kind)


def _number(field: bytes) -> int | None:
    """Octal digits, or the binary form of GNU tar; None: neither."""
    if field[0] == _BASE_256:
        return int.from_bytes(field[1:])
    digits = field.partition(b"\0")[0].strip(b" ")
    try:
        return int(digits or b"0", 8) if digits.isalnum() or not digits else None
    except ValueError:
        return None


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _padded(num_bytes: int) -> int:
    return num_bytes + -num_bytes % _BLOCK


def _extend(extended: dict[str, str], kind: bytes, content: bytes, position: int) -> None:
    """Adds what the header says of the next member; what it says of all is of no use here."""
    if kind == _LONG_NAME:
        extended["path"] = _text(content)
    elif kind != _LONG_LINK:
        records = dict(_pax_records(content, position))
        stated = {key: value for key, value in records.items() if key in {"path", "size"}}
        if any(key.startswith("GNU.sparse.") for key in records):
            raise Refusal("unsafe_archive", "a member is a sparse file", hint=_PLAIN_HINT)
        if kind == _PAX_GLOBAL and stated:
            raise _damaged(position, "states one name or size for all members")
        extended.update(stated)


def _pax_records(content: bytes, position: int) -> Iterator[tuple[str, str]]:
    """Keys and values; each is written as its length, a blank, ``key=value`` and a line break."""
    start = 0
    while start < len(content):
        length = content[start : start + 10].partition(b" ")[0]
        end = start + int(length) if length.isdigit() else 0
        key, sign, value = content[start + len(length) + 1 : max(0, end - 1)].partition(b"=")
        if not sign or end > len(content) or content[end - 1 : end] != b"\n":
            raise _damaged(position, "is no extended header of pax")
        yield key.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")
        start = end


def _extended(header: _Header, extended: dict[str, str]) -> _Header:
    size = extended.get("size", "")
    if size and not (size.isascii() and size.isdigit() and len(size) <= len(str(2**64))):
        raise Refusal("not_sigmf", f"a member states {size[:20]!r} for its size", hint=_TAR_HINT)
    return header._replace(name=extended.get("path", header.name), size=int(size) if size else header.size)


def _check_safe(member: _Header) -> None:
    path = PurePosixPath(member.name[: MAX_MEMBER_NAME + 1])
    if len(member.name) > MAX_MEMBER_NAME:
        problem = f"a member has a name of {len(member.name)} characters, more than {MAX_MEMBER_NAME}"
        raise Refusal("unsafe_archive", problem, hint=_PLAIN_HINT)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        problem = f"member {member.name!r} points outside the archive"
        raise Refusal("unsafe_archive", problem, hint=_PLAIN_HINT)
    if member.kind not in (b"0", _FOLDER):
        problem = f"member {member.name!r} is a link, device or sparse file"
        raise Refusal("unsafe_archive", problem, hint=_PLAIN_HINT)


def _check_holds(data: bytes, end: int, name: str) -> None:
    if end > len(data):
        raise Refusal("truncated", f"the archive ends in the middle of {name}", hint=_COPY_HINT)


def _check_only_zeros(data: bytes, position: int) -> None:
    """Refuses what would not be read: an archive appended to another, or damage that looks like an end."""
    if data.count(0, position) < len(data) - position:
        problem = f"has bytes after its end, the zeros at byte {position}"
        raise Refusal("trailing_bytes", problem, hint="Pack all files into one archive.")


def _damaged(position: int, what: str) -> Refusal:
    if not position:
        return Refusal("not_sigmf", f"is not a plain tar archive: its first header {what}", hint=_TAR_HINT)
    return Refusal("not_sigmf", f"is damaged: the tar header at byte {position} {what}", hint=_COPY_HINT)
