"""What MLflow has not taken yet: in memory, or in append-only files that outlive a killed process."""

import errno
import fcntl
import json
import os
import shutil
import threading
import zlib
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import Any, Protocol, Self

from heimdall_core.tracking.items import Item, RunStart

_MEMORY_ITEMS = 20_000
_SEGMENT_BYTES = 4 << 20
START_FILE = "run.json"
_TAKEN = "taken.json"
_LOCK = "lock"
_FILES = "files"
#: First letter of a folder that is still being made.
HIDDEN = "."


class Journal(Protocol):
    """Items in the order in which they came; one thread appends, another one takes."""

    def append(self, item: Item) -> bool:
        """Adds an item; False: there is no room for it."""
        ...

    def keep_file(self, path: Path) -> Path:
        """Where a file can be read later, whatever becomes of the original."""
        ...

    def peek(self, limit: int) -> list[Item]:
        """The oldest items that have not been taken."""
        ...

    def take(self, count: int, *, keep_files: bool = False) -> None:
        """Forgets the oldest items, and with them what ``keep_file`` kept, unless it is still needed."""
        ...

    def sync(self) -> None:
        """Brings what was appended to where a loss of power does not reach it, if there is such a place."""
        ...

    def close(self) -> None:
        """Lets go; what was not taken stays if it lies on disk."""
        ...


class MemoryJournal:
    """A bounded queue; what is in it ends with the process."""

    def __init__(self, limit: int = _MEMORY_ITEMS) -> None:
        self._limit = limit
        self._items: deque[Item] = deque()

    @property
    def size(self) -> int:
        """How many items are in it."""
        return len(self._items)

    def append(self, item: Item) -> bool:
        """Adds an item unless the queue is full."""
        if len(self._items) >= self._limit and not item.is_essential:
            return False
        self._items.append(item)
        return True

    def keep_file(self, path: Path) -> Path:
        """The file itself: it is read when its turn comes."""
        return path

    def peek(self, limit: int) -> list[Item]:
        """The oldest items."""
        return [self._items[index] for index in range(min(limit, len(self._items)))]

    def take(self, count: int, *, keep_files: bool = False) -> None:  # noqa: ARG002 - it kept none
        """Forgets the oldest items."""
        for _ in range(min(count, len(self._items))):
            self._items.popleft()

    def sync(self) -> None:
        """There is no such place."""

    def close(self) -> None:
        """Forgets all."""
        self._items.clear()


class InUse(Exception):
    """Another process writes this journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A place in the journal: the number of a file, and bytes into it."""

    segment: int
    offset: int


class FileJournal:
    """A folder: ``run.json``, numbered files of items, ``taken.json``, and copies of files to upload.

    A line is a CRC-32 and an item in JSON. Files are only ever appended to; one that has been taken whole is
    deleted. A torn or damaged line is passed over. The lock ends with the process.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Opens the journal of an existing folder.

        Raises:
            InUse: its process lives.
            OSError, ValueError, KeyError, TypeError: there is no journal.
        """
        self.folder = folder
        self._limit_bytes = limit_bytes
        self._guard = threading.Lock()
        self._lock_file = _lock(folder)
        try:
            facts = json.loads((folder / START_FILE).read_bytes())
            self.target_key: str = facts.pop("target")
            self.start = RunStart(**facts)
            self._find_place()
        except BaseException:
            self._lock_file.close()
            raise

    @classmethod
    def create(cls, folder: Path, start: RunStart, *, target_key: str, limit_bytes: int) -> Self:
        """Makes the folder of a new journal; nobody sees it before it is whole and locked.

        Raises:
            OSError: it cannot be made.
        """
        unseen = folder.with_name(f"{HIDDEN}{folder.name}")
        unseen.mkdir(parents=True)
        _write(unseen / START_FILE, {**asdict(start), "target": target_key}, is_synced=True)
        journal = cls(unseen, limit_bytes)
        unseen.rename(folder)
        journal.folder = folder
        return journal

    def append(self, item: Item) -> bool:
        """Appends a line unless the limit is reached.

        Raises:
            OSError: the disk is full or broken.
        """
        line = _line(item.to_dict())
        with self._guard:
            if self._lock_file.closed:
                return False
            if self._num_bytes + len(line) > self._limit_bytes and not item.is_essential:
                return False
            if self._writer is None or self._writer.tell() >= _SEGMENT_BYTES:
                self._begin_segment()
            assert self._writer is not None
            written = self._writer.write(line)
            self._num_bytes += written
            if written < len(line):
                # What follows must not be taken for the rest of this line.
                self._begin_segment()
                raise OSError(errno.ENOSPC, "the disk is full")
        return True

    def keep_file(self, path: Path) -> Path:
        """A link to the file, or a copy where the file lies on another disk.

        Raises:
            OSError: there is no such file, no room, or the limit is reached.
        """
        size = path.stat().st_size
        with self._guard:
            if self._num_bytes + size > self._limit_bytes:
                raise OSError(f"{path.name}: {size} bytes are more than the spool may still take")
            self._num_bytes += size
            self._num_files += 1
            kept = self.folder / _FILES / str(self._num_files) / path.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path.resolve(), kept)
        except OSError:
            shutil.copyfile(path, kept)
        return kept

    def peek(self, limit: int) -> list[Item]:
        """The oldest items that have not been taken; an unfinished last line is none; closed: none."""
        with self._guard:
            if self._lock_file.closed:
                return []
            self._read_on(limit)
            return [item for item, _ in list(self._ahead)[:limit]]

    def take(self, count: int, *, keep_files: bool = False) -> None:
        """Remembers on disk that the oldest items were sent, and deletes what no one needs any more."""
        with self._guard:
            if not count or self._lock_file.closed:
                return
            for _ in range(count):
                item, place = self._ahead.popleft()
                if not keep_files:
                    self._forget_file(item)
            with suppress(OSError):  # a full disk: after a crash they are sent again, which changes nothing
                _write(self.folder / _TAKEN, asdict(place))
            for number in self._segments():
                if number < place.segment:
                    self._num_bytes -= self._path(number).stat().st_size
                    self._path(number).unlink()

    def sync(self) -> None:
        """What was appended survives a loss of power too."""
        with suppress(OSError, ValueError):
            if self._writer is not None:
                os.fdatasync(self._writer.fileno())

    def close(self) -> None:
        """Lets go; a journal that was taken to its end is deleted.

        Raises:
            OSError: the disk is broken; it is let go all the same.
        """
        with self._guard:
            if self._lock_file.closed:
                return
            try:
                self._read_on(1)
                if not self._ahead:
                    shutil.rmtree(self.folder, ignore_errors=True)
            finally:
                self._lock_file.close()
                if self._writer is not None:
                    self._writer.close()

    def _find_place(self) -> None:
        segments, files = self._segments(), list((self.folder / _FILES).glob("*/*"))
        self._at = _read_place(self.folder / _TAKEN) or _Place(segment=min(segments, default=1), offset=0)
        self._ahead: deque[tuple[Item, _Place]] = deque()
        self._num_files = max((int(file.parent.name) for file in files), default=0)
        held = [*files, *(self._path(number) for number in segments)]
        self._num_bytes = sum(file.stat().st_size for file in held)
        # A line that a crash tore must not swallow the next one: what comes gets a file of its own.
        self._newest = max([*segments, self._at.segment])
        self._writer: FileIO | None = None
        self.num_damaged = 0

    def _begin_segment(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._writer = FileIO(self._path(self._newest + 1), "ab")
        self._newest += 1

    def _read_on(self, limit: int) -> None:
        while len(self._ahead) < limit and not self._lock_file.closed:
            path = self._path(self._at.segment)
            data = _read_from(path, self._at.offset)
            self._parse(data, limit)
            if self._at.segment >= self._newest or len(self._ahead) >= limit:
                return
            self._at = _Place(segment=self._at.segment + 1, offset=0)

    def _parse(self, data: bytes, limit: int) -> None:
        *lines, _unfinished = data.split(b"\n")
        for line in lines:
            if len(self._ahead) >= limit:
                return
            self._at = _Place(segment=self._at.segment, offset=self._at.offset + len(line) + 1)
            if (item := _parsed(line)) is None:
                self.num_damaged += 1
            else:
                self._ahead.append((item, self._at))

    def _forget_file(self, item: Item) -> None:
        if item.file is not None and self.folder in item.file.parents:
            with suppress(OSError):
                self._num_bytes -= item.file.stat().st_size
                shutil.rmtree(item.file.parent)

    def _segments(self) -> list[int]:
        return sorted(int(path.stem) for path in self.folder.glob("[0-9]*.jsonl"))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.jsonl"


def _lock(folder: Path) -> BufferedWriter:
    file = (folder / _LOCK).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise InUse(str(folder)) from error
    return file


def _line(data: Mapping[str, Any]) -> bytes:
    text = json.dumps(data, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _parsed(line: bytes) -> Item | None:
    checksum, _, text = line.partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(text):
            return None
        return Item.from_dict(json.loads(text))
    except (KeyError, TypeError, ValueError):
        return None


def _read_from(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_SEGMENT_BYTES * 2)
    except FileNotFoundError:
        return b""


def _write(path: Path, data: Mapping[str, Any], *, is_synced: bool = False) -> None:
    part = path.with_suffix(".part")
    with part.open("w") as file:
        file.write(json.dumps(data))
        if is_synced:
            file.flush()
            os.fsync(file.fileno())
    part.replace(path)


def _read_place(path: Path) -> _Place | None:
    try:
        return _Place(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
