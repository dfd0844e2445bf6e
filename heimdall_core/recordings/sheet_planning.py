"""The sessions that a recording sheet makes of the files beside it."""

from collections.abc import Iterator, MutableMapping
from pathlib import PurePosixPath
from typing import NamedTuple

from heimdall_core.recordings.csv_lines import MAX_WRONG_LINES, CsvError, CsvLine, too_many_wrong
from heimdall_core.recordings.files import DATA, META, NPY, SHEET, FileSet, check_has_data, missing_meta
from heimdall_core.recordings.plan import Plan, RecordingPlan, SessionPlan, contradicted_by
from heimdall_core.recordings.refusal import Refusal, RefusedFile, refused_as
from heimdall_core.recordings.sheet import SheetLine, listed_path, open_sheet, parse_line
from heimdall_core.recordings.sheet_merging import merge
from heimdall_core.recordings.statement import Statement, parse_statement

Claims = MutableMapping[str, str]
"""File -> the collection or the line of a sheet that lists it."""


class _Entry(NamedTuple):
    listed: SheetLine
    recording: RecordingPlan


def plan_sheet(name: str, files: FileSet, claimed: Claims) -> Iterator[Plan]:
    """The sessions of the sheet, and its bad lines; the files that it lists are marked in ``claimed``."""
    folder = PurePosixPath(name).parent
    try:
        lines = open_sheet(files[name]())
    except (CsvError, Refusal) as error:
        _claim_all(name, folder, files, claimed)
        yield _refused(error, name)
        return
    yield from _plan_lines(lines, name, files, claimed)


def _claim_all(name: str, folder: PurePosixPath, files: FileSet, claimed: Claims) -> None:
    """What an unreadable sheet may list is not told file by file."""
    for file in files:
        if file not in claimed and folder in PurePosixPath(file).parents:
            claimed[file] = name


def _plan_lines(
    lines: Iterator[CsvLine | CsvError], name: str, files: FileSet, claimed: Claims
) -> Iterator[Plan]:
    sessions: dict[str, list[_Entry]] = {}
    is_empty, num_wrong = True, 0
    for line in lines:
        is_empty = False
        if num_wrong == MAX_WRONG_LINES:
            number = line.line if isinstance(line, CsvError) else line.number
            yield _refused(too_many_wrong(name, number), f"{name}:{number}")
            break
        try:
            entry = _entry(line, name, files, claimed)
        except CsvError as error:
            num_wrong += 1
            yield _refused(error, f"{name}:{error.line}")
        except Refusal as refusal:
            num_wrong += 1
            yield refusal.of(f"{name}:{line.line if isinstance(line, CsvError) else line.number}")
        else:
            sessions.setdefault(entry.listed.session, []).append(entry)
    if is_empty:
        yield Refusal("empty", "lists no recording", hint="Add a line for each.").of(name)
    for entries in sessions.values():
        yield from _plan_session(entries)


def _refused(error: CsvError | Refusal, name: str) -> RefusedFile:
    if isinstance(error, Refusal):
        return error.of(name)
    return RefusedFile(name=name, code=error.code, message=str(error), hint=error.hint)


def _entry(line: CsvLine | CsvError, sheet: str, files: FileSet, claimed: Claims) -> _Entry:
    if isinstance(line, CsvError):
        raise line
    name = f"{sheet}:{line.number}"
    path = listed_path(line, PurePosixPath(sheet).parent)
    _claim(line, path, name, files, claimed)
    statement = _statement(path, files)
    listed, header = merge(parse_line(line), statement)
    data = path if statement is None else path + DATA
    return _Entry(listed, RecordingPlan(name=name, data=data, header=header))


def _claim(line: CsvLine, path: str, name: str, files: FileSet, claimed: Claims) -> None:
    present = [file for file in (path, path + META, path + DATA) if file in files]
    if not present:
        hint = f"Upload it together with {SHEET}, or take out the line."
        raise line.error("missing_file", f"{path} is not in the upload", "file", hint)
    if other := next((claimed[file] for file in present if file in claimed), None):
        raise line.error("listed_twice", f"{other} lists {path} too", "file", "List each recording once.")
    claimed.update(dict.fromkeys(present, name))


def _statement(path: str, files: FileSet) -> Statement | None:
    """What its metadata state; None: an ``.npy``, which has none.

    Raises:
        Refusal: the metadata cannot be read, or half of the pair is missing.
    """
    if path.endswith(NPY):
        return None
    with refused_as(path + META):
        if path in files:
            hint = f"A {SHEET} lists .npy files and pairs of .sigmf-meta and .sigmf-data."
            refusal = Refusal("not_sigmf", "is neither a .npy nor a SigMF recording", hint=hint)
            refusal.name = path
            raise refusal
        if path + META not in files:
            raise missing_meta()
        check_has_data(path + META, files)
        return parse_statement(files[path + META]())


def _plan_session(entries: list[_Entry]) -> Iterator[Plan]:
    described = [_described(entry.listed) for entry in entries]
    if others := contradicted_by([tuple(d.values()) for d in described]):
        for i, other in enumerate(others):
            column = next(c for c, value in described[i].items() if value != described[other][c])
            yield _conflict(entries[i], entries[other], column)
        return
    first = entries[0]
    yield SessionPlan(
        file=first.recording.name,
        name=first.listed.session,
        source=first.listed.source,
        recordings=tuple(entry.recording for entry in entries),
        split_group=first.listed.split_group,
    )


def _described(listed: SheetLine) -> dict[str, object]:
    """What all lines of a session must state alike."""
    source = listed.source
    return {
        "source": source.name,
        "source_latitude": source.latitude,
        "source_longitude": source.longitude,
        "frequency_hz": source.frequency_hz,
        "error_margin_m": source.error_margin_m,
        "power_dbm": source.power_dbm,
        "group": listed.split_group,
    }


def _conflict(entry: _Entry, other: _Entry, column: str) -> RefusedFile:
    line = entry.listed.line
    error = line.error(
        "session_conflict",
        f"line {other.listed.line.number} states another {column} for session {entry.listed.session!r}",
        column,
        "State the same source and group in all lines of a session.",
    )
    return _refused(error, entry.recording.name)
