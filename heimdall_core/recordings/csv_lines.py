"""CSV files read line by line; whatever is wrong is told with file, line and column."""

import csv
import io
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from heimdall_core.recordings.fields import MAX_TEXT, check_position, is_label
from heimdall_core.recordings.refusal import Refusal
from heimdall_core.recordings.session import parse_recording_time

_FORM_HINT = "Quote a cell with double quotes from its first to its last character, and double those inside."


MAX_WRONG_LINES: Final = 10_000
"""Of one file; a megabyte of line breaks is not a million refusals."""


class CsvError(Exception):
    """What is wrong, in which file, line and column."""

    def __init__(
        self,
        code: str,
        problem: str,
        *,
        file: str,
        line: int,
        column: str | None = None,
        hint: str | None = None,
    ) -> None:
        where = f"{file} line {line}" + (f", column {column}" if column else "")
        super().__init__(f"{where}: {problem}")
        self.code, self.line, self.column, self.hint = code, line, column, hint


_NUMBER_HINT = "Write a plain number with a point, such as 145.5e6; leave the cell empty if it is not known."


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvLine:
    """One line of a CSV file, its cells by column."""

    file: str
    number: int
    cells: Mapping[str, str]

    def error(self, code: str, problem: str, column: str | None = None, hint: str | None = None) -> CsvError:
        """What is wrong here."""
        return CsvError(code, problem, file=self.file, line=self.number, column=column, hint=hint)

    def text(self, column: str, *, max_chars: int = MAX_TEXT) -> str | None:
        """The cell without blanks around it; None: empty, or no such column."""
        value = self.cells.get(column, "").strip()
        if value and not is_label(value, max_chars=max_chars):
            hint = "Shorten it, and take out line breaks and control characters."
            raise self.error("csv_bad_text", f"is not 1 to {max_chars} printable characters", column, hint)
        return value or None

    def required(self, column: str, *, max_chars: int = MAX_TEXT) -> str:
        """The cell, which must not be empty."""
        if (value := self.text(column, max_chars=max_chars)) is None:
            raise self.error("csv_missing_value", "is empty", column, f"Fill in {column} in every line.")
        return value

    def number_or_none(self, column: str, *, within: tuple[float, float] | None = None) -> float | None:
        """The finite number in the cell, between the bounds; None: empty."""
        if (value := self.text(column)) is None:
            return None
        try:
            number = float(value)
        except ValueError:
            raise self.error("csv_bad_number", f"{value!r} is no number", column, _NUMBER_HINT) from None
        if not math.isfinite(number):
            raise self.error("not_finite", f"{value!r} is not finite", column, _NUMBER_HINT)
        if within and not within[0] <= number <= within[1]:
            problem = f"{number:g} is outside {within[0]:g} to {within[1]:g}"
            raise self.error("csv_out_of_range", problem, column, "Mind the unit in the column's name.")
        return number

    def required_number(self, column: str, *, within: tuple[float, float] | None = None) -> float:
        """The finite number in the cell, which must not be empty."""
        self.required(column)
        number = self.number_or_none(column, within=within)
        assert number is not None
        return number

    def position(self, prefix: str = "") -> tuple[float, float]:
        """Latitude and longitude, a place on Earth, from the two columns of this prefix."""
        latitude, longitude = (self.required_number(prefix + c) for c in ("latitude", "longitude"))
        try:
            check_position(latitude, longitude)
        except Refusal as refusal:
            column = prefix + refusal.message.split()[0]
            hint = "Write WGS-84 degrees, south and west negative."
            raise self.error(refusal.code, refusal.message, column, hint) from None
        return latitude, longitude

    def position_or_none(self, prefix: str = "") -> tuple[float, float] | None:
        """The position; None: both cells are empty."""
        if self.text(prefix + "latitude") is None and self.text(prefix + "longitude") is None:
            return None
        return self.position(prefix)

    def time(self, column: str) -> datetime:
        """The moment in the cell, in UTC."""
        value = self.required(column)
        try:
            return parse_recording_time(value)
        except ValueError as error:
            hint = "Write it like 2025-01-31T12:00:00Z."
            raise self.error("bad_time", str(error), column, hint=hint) from None


def open_csv(
    data: bytes, file: str, required: tuple[str, ...]
) -> tuple[list[str], Iterator[CsvLine | CsvError]]:
    """The header, and the lines after it; a broken line is an error in its place, a blank one is nothing.

    Raises:
        CsvError: not UTF-8, no header, or a column of ``required`` is missing or any is there twice.
    """
    lines = _cells(_text(data, file))
    _, header = next(lines, (1, []))
    if isinstance(header, csv.Error):
        raise CsvError("csv_malformed", str(header), file=file, line=1, hint=_FORM_HINT)
    header = [name.strip() for name in header]
    if not header:
        hint = "The first line names the columns, with commas between them."
        raise CsvError("empty", "has no header", file=file, line=1, hint=hint)
    present: set[str] = set(header)
    for name in required:
        if name not in present:
            hint = f"Columns that must be there: {', '.join(required[:20])}; commas between them."
            raise CsvError("csv_missing_column", "is missing", file=file, line=1, column=name, hint=hint)
    if len(present) < len(header):
        twice = next(name for name, count in Counter(header).items() if count > 1)
        hint = "Keep one of the columns."
        raise CsvError("csv_duplicate_column", "is there twice", file=file, line=1, column=twice, hint=hint)
    return header, _lines(lines, header, file)


def too_many_wrong(file: str, line: int) -> CsvError:
    """Why the lines from this one on are not read."""
    problem = f"{MAX_WRONG_LINES} lines before it are wrong; it and those after it are not read"
    hint = "Correct what is wrong with all of them first."
    return CsvError("csv_too_many_errors", problem, file=file, line=line, hint=hint)


def check_columns(header: Sequence[str], known: Collection[str], file: str, *, hint: str) -> None:
    """Refuses a column that means nothing here, ``csv_unknown_column``."""
    known_columns = frozenset(known)
    for name in header:
        if name not in known_columns:
            raise CsvError("csv_unknown_column", "is not known", file=file, line=1, column=name, hint=hint)


def _text(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        hint = "Save it as CSV in UTF-8."
        raise CsvError("csv_bad_encoding", "is not UTF-8", file=file, line=line, hint=hint) from error


def _cells(text: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """The cells of each line and its number; an error in place of a line that is no CSV."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, error


def _lines(
    lines: Iterator[tuple[int, list[str] | csv.Error]], header: list[str], file: str
) -> Iterator[CsvLine | CsvError]:
    for number, cells in lines:
        if isinstance(cells, csv.Error):
            yield CsvError("csv_malformed", str(cells), file=file, line=number, hint=_FORM_HINT)
        elif len(cells) == len(header):
            yield CsvLine(file=file, number=number, cells=dict(zip(header, cells, strict=True)))
        elif any(cells):
            problem = f"has {len(cells)} cells, the header {len(header)}"
            hint = "Put one comma between any two cells, also empty ones; quote a cell that holds a comma."
            yield CsvError("csv_row_length", problem, file=file, line=number, hint=hint)
