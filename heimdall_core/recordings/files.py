"""Named files to read: loose ones, and those inside a SigMF archive."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from heimdall_core.recordings.refusal import Refusal
from heimdall_core.recordings.tar import plain_files

Bytes = bytes | memoryview
FileSet = Mapping[str, Callable[[], Bytes]]
"""Path -> how to read it."""

META, DATA, COLLECTION, ARCHIVE = ".sigmf-meta", ".sigmf-data", ".sigmf-collection", ".sigmf"
NPY = ".npy"
SHEET = "recordings.csv"
"""The file name of a recording sheet."""
RECEIVERS_FILE, TRANSMISSIONS_FILE = "receivers.csv", "transmissions.csv"
"""The file names of a power table."""

IMPORTED_SUFFIXES = (ARCHIVE, META, DATA, COLLECTION, NPY)
"""What an import understands by the end of the name."""
IMPORTED_NAMES = (SHEET, RECEIVERS_FILE, TRANSMISSIONS_FILE)
"""What it understands by the whole name."""

MAX_ARCHIVE_BYTES = 2 * 2**30
MAX_ARCHIVE_MEMBERS = 10_000

COMPRESSED = (".gz", ".tgz", ".xz", ".bz2", ".zst", ".zip", ".7z")
_COMPRESSED_MAGIC = (b"\x1f\x8b", b"\xfd7zXZ\0", b"BZh", b"\x28\xb5\x2f\xfd", b"PK\3\4", b"7z\xbc\xaf")
_UNPACK_HINT = "Unpack it (gunzip, unxz, unzip); a .sigmf is an uncompressed tar of SigMF files."


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A file that someone sent: its name (with folders, ``/`` between them) and how to read it."""

    name: str
    read: Callable[[], bytes]

    @property
    def suffix(self) -> str:
        """The last extension, lower case."""
        return PurePosixPath(self.name).suffix.lower()


def compressed() -> Refusal:
    """Why a compressed file is not read."""
    return Refusal("compressed", "is compressed, which is not read", hint=_UNPACK_HINT)


def too_large(what: str = "is larger") -> Refusal:
    """Why a file, or a session of several, is not read."""
    hint = "Cut the recordings, or import each receiver's as a session of its own."
    return Refusal("too_large", f"{what} than {MAX_ARCHIVE_BYTES} bytes", hint=hint)


def check_has_data(meta: str, files: FileSet) -> None:
    """Refuses a ``.sigmf-meta`` without its samples, ``sigmf_missing_data``."""
    if meta.removesuffix(META) + DATA not in files:
        hint = "Upload both files of the pair, of the same name but for their ending."
        raise Refusal("sigmf_missing_data", "its .sigmf-data file is not there", hint=hint)


def missing_meta() -> Refusal:
    """Why samples without their ``.sigmf-meta`` are not read."""
    hint = "Upload both files of the pair, of the same name but for their ending."
    return Refusal("sigmf_missing_meta", "its .sigmf-meta file is not there", hint=hint)


def files_of_archive(data: bytes) -> FileSet:
    """The plain files of a tar, as views of ``data``: nothing is copied or written to disk.

    Raises:
        Refusal: ``empty``, ``compressed`` or ``too_large``, or as ``plain_files``.
    """
    if not data:
        raise Refusal("empty", "has no bytes", hint="Copy the archive again from where it was made.")
    if data.startswith(_COMPRESSED_MAGIC):
        raise compressed()
    if len(data) > MAX_ARCHIVE_BYTES:
        raise too_large()
    view = memoryview(data)
    plain = plain_files(data, max_members=MAX_ARCHIVE_MEMBERS)
    if not plain:
        raise Refusal("empty", "the archive holds no file", hint="Put SigMF recordings into it.")
    return {file.name: _slice(view, file.offset, file.size) for file in plain}


def _slice(view: memoryview, offset: int, size: int) -> Callable[[], memoryview]:
    return lambda: view[offset : offset + size]
