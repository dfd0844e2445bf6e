"""Finds out what was uploaded and reads it: archives, loose files, power tables."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from heimdall_core.catalogue.transfers import ahead_of_use
from heimdall_core.domain.errors import DataError, NotFound
from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.domain.ports import ObjectStore
from heimdall_core.recordings.fields import check_description_size
from heimdall_core.recordings.files import ARCHIVE, MAX_ARCHIVE_BYTES, Bytes, InputFile, too_large
from heimdall_core.recordings.plan import Plan, SessionPlan
from heimdall_core.recordings.planning import is_description, plan_sessions
from heimdall_core.recordings.power_table import (
    RECEIVERS_FILE,
    TRANSMISSIONS_FILE,
    PowerTable,
    PowerTableError,
    read_power_table,
)
from heimdall_core.recordings.reading import read_archive, read_planned
from heimdall_core.recordings.refusal import Refusal, RefusedFile, refused_as
from heimdall_core.recordings.session import RecordedSession
from heimdall_core.simulation.power_rows import render_power_row

Contents = dict[str, Callable[[], Bytes]]
"""Path -> how to read it, as ``FileSet``, but to be filled."""

_FILES_PER_PART = 256
"""Descriptions that are fetched between two reports of progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedFile:
    """A file that someone announced and stored."""

    name: str
    """A relative path with ``/``."""
    uri: str
    num_bytes: int
    sha256: str | None = None
    """As announced; None: not announced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A session or a refusal, from which file, and the share of its part of the upload that is done."""

    outcome: RecordedSession | RefusedFile
    file: str
    done: float
    split_group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Files that are read together; ``num_units`` weighs it in the progress."""

    num_units: int
    read: Callable[[], Iterator[Found]]


class UploadReader:
    """Finds out what was uploaded, and reads it."""

    def __init__(
        self,
        *,
        store: ObjectStore,
        pool: ThreadPoolExecutor,
        settings: FeatureSettings,
        receivers: Collection[str] | None,
        done: Collection[str] = frozenset(),
    ) -> None:
        """``done``: the ``Found.file`` of what a former attempt has accounted for; it is not read again."""
        self._store = store
        self._pool = pool
        self._settings = settings
        self._receivers = receivers
        self._done = done

    def parts(self, files: Sequence[UploadedFile]) -> list[Part]:
        """Power tables, archives and loose files, weighed by their rows and files."""
        rest = [file for file in files if _table_role(file) is None]
        archives = [
            file for file in rest if file.name.lower().endswith(ARCHIVE) and file.name not in self._done
        ]
        loose = [file for file in rest if not file.name.lower().endswith(ARCHIVE)]
        parts = [self._table_part(pair) for pair in _table_pairs(files)]
        if archives:
            parts.append(Part(num_units=len(archives), read=lambda: self._read_archives(archives)))
        return parts + self._loose_parts(loose)

    def _read_archives(self, files: Sequence[UploadedFile]) -> Iterator[Found]:
        fetched = ahead_of_use(self._pool, files, self._fetched, size=lambda file: file.num_bytes)
        for number, file in enumerate(fetched, start=1):
            for outcome, split_group in read_archive(file, self._settings):
                yield Found(
                    outcome=outcome, file=file.name, done=number / len(files), split_group=split_group
                )

    def _loose_parts(self, files: Sequence[UploadedFile]) -> list[Part]:
        """First the small files that describe the others, some at a time; then the sessions."""
        if not files:
            return []
        read: Contents = {file.name: _never_fetched for file in files}
        small = [file for file in files if is_description(file.name)]
        chunks = [small[i : i + _FILES_PER_PART] for i in range(0, len(small), _FILES_PER_PART)]
        parts = [Part(num_units=len(chunk), read=partial(self._describe, chunk, read)) for chunk in chunks]
        rest = Part(num_units=max(1, len(files) - len(small)), read=lambda: self._read_loose(files, read))
        return [*parts, rest]

    def _describe(self, files: Sequence[UploadedFile], read: Contents) -> Iterator[Found]:
        """Fills ``read`` with the content of the files; finds nothing yet."""
        fetched = ahead_of_use(self._pool, files, self._fetched, size=lambda file: file.num_bytes)
        read.update({file.name: file.read for file in fetched})
        yield from ()

    def _read_loose(self, files: Sequence[UploadedFile], read: Contents) -> Iterator[Found]:
        plans = [plan for plan in plan_sessions(read) if _unit(plan) not in self._done]
        read.clear()
        by_name = {file.name: file for file in files}
        wanted = [by_name[name] for plan in plans for name in _data_files(plan)]
        fetched = ahead_of_use(self._pool, wanted, self._fetched, size=lambda file: file.num_bytes)
        num_read = 0
        for plan in plans:
            num_read += len(_data_files(plan))
            done = num_read / len(wanted) if wanted else 0.0
            if isinstance(plan, RefusedFile):
                yield Found(outcome=plan, file=plan.name, done=done)
                continue
            for outcome in read_planned(plan, lambda _: next(fetched).read(), self._settings):
                yield Found(outcome=outcome, file=plan.file, done=done, split_group=plan.split_group)

    def _fetched(self, file: UploadedFile) -> InputFile:
        """The file in memory; what hinders that is raised when it is read."""
        try:
            data = self._fetch(file)
        except Refusal as refusal:
            return InputFile(name=file.name, read=_raiser(refusal))
        return InputFile(name=file.name, read=lambda: data)

    def _fetch(self, file: UploadedFile) -> bytes:
        if file.num_bytes > MAX_ARCHIVE_BYTES:
            raise too_large()
        if is_description(file.name) or _table_role(file):
            check_description_size(file.num_bytes)
        try:
            # No URL binds what is PUT to the announced size: one byte more tells, and more is not held.
            data = self._store.get_bytes(file.uri, num_bytes=file.num_bytes + 1)
        except NotFound as error:
            hint = "PUT it to the URL that the upload gave, then complete the upload."
            raise Refusal("missing_upload", "was announced but is not in the store", hint=hint) from error
        except DataError as error:
            if error.stable_code != "object_too_short":
                raise
            data = b""
        _check_received(file, data)
        return data

    def _table_part(self, pair: dict[str, UploadedFile]) -> Part:
        table: PowerTable | None = None
        try:
            table = self._read_table(pair)
            refused = _refused_rows(table, pair[TRANSMISSIONS_FILE].name)
        except Refusal as refusal:
            refused = (refusal.of(next(iter(pair.values())).name),)
        num_units = max(1, len(refused) + (len(table.rows) if table else 0))
        return Part(num_units=num_units, read=lambda: self._render(table, refused, pair))

    def _read_table(self, pair: dict[str, UploadedFile]) -> PowerTable:
        contents = []
        for role in (RECEIVERS_FILE, TRANSMISSIONS_FILE):
            if role not in pair:
                hint = f"Upload {RECEIVERS_FILE} and {TRANSMISSIONS_FILE} together, in one folder."
                raise Refusal("missing_pair", f"a power table needs a {role} beside it", hint=hint)
            with refused_as(pair[role].name):
                contents.append(self._fetch(pair[role]))
        try:
            table = read_power_table(*contents)
            return table if self._receivers is None else table.with_receivers(self._receivers)
        except PowerTableError as error:
            refusal = Refusal(error.stable_code, error.message, hint=error.hint)
            refusal.name = next((f.name for role, f in pair.items() if error.message.startswith(role)), None)
            raise refusal from error

    def _render(
        self, table: PowerTable | None, refused: Sequence[RefusedFile], pair: dict[str, UploadedFile]
    ) -> Iterator[Found]:
        for refusal in refused:
            if refusal.name not in self._done:
                yield Found(outcome=refusal, file=refusal.name, done=0.0)
        if table is None:
            return
        name = pair[TRANSMISSIONS_FILE].name
        for number, row in enumerate(table.rows, start=1):
            if f"{name}:{row.line}" in self._done:
                continue
            yield Found(
                outcome=render_power_row(table, row, settings=self._settings),
                file=f"{name}:{row.line}",
                done=number / len(table.rows),
                split_group=row.split_group,
            )


def _raiser(refusal: Refusal) -> Callable[[], bytes]:
    def read() -> bytes:
        raise refusal

    return read


def _never_fetched() -> bytes:
    raise AssertionError("samples are fetched in the order of the plans, not by name")


def _unit(plan: Plan) -> str:
    """What ``Found.file`` names it by."""
    return plan.file if isinstance(plan, SessionPlan) else plan.name


def _data_files(plan: Plan) -> tuple[str, ...]:
    return plan.data_files if isinstance(plan, SessionPlan) else ()


def _check_received(file: UploadedFile, data: bytes) -> None:
    hint = "It changed while it was sent, or not all of it arrived: make a new upload."
    if len(data) != file.num_bytes:
        stored = "more" if len(data) > file.num_bytes else str(len(data))
        problem = f"{file.num_bytes} bytes were announced, {stored} are stored"
        raise Refusal("size_mismatch", problem, hint=hint)
    if file.sha256 is not None and hashlib.sha256(data).hexdigest() != file.sha256:
        raise Refusal("sha256_mismatch", "the stored bytes do not have the announced SHA-256", hint=hint)


def _table_role(file: UploadedFile) -> str | None:
    """Which file of a power table it is, by its name."""
    name = PurePosixPath(file.name).name
    return name if name in (RECEIVERS_FILE, TRANSMISSIONS_FILE) else None


def _table_pairs(files: Iterable[UploadedFile]) -> list[dict[str, UploadedFile]]:
    """The files of each power table by role; one of a pair may be missing."""
    folders: dict[str, dict[str, UploadedFile]] = {}
    for file in files:
        if role := _table_role(file):
            folders.setdefault(str(PurePosixPath(file.name).parent), {})[role] = file
    return list(folders.values())


def _refused_rows(table: PowerTable, name: str) -> tuple[RefusedFile, ...]:
    return tuple(
        RefusedFile(
            name=f"{name}:{problem.line}", code=problem.code, message=problem.message, hint=problem.hint
        )
        for problem in table.problems
    )
