"""The recording sheet: ``recordings.csv`` states for the files beside it what they do not.

One line per recording: which file, of which session and source, and what an ``.npy`` or foreign
SigMF metadata leave out: receiver, time, rates and levels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from heimdall_core.recordings.csv_lines import CsvError, CsvLine, check_columns, open_csv
from heimdall_core.recordings.fields import (
    ALTITUDE_RANGE_M,
    FREQUENCY_RANGE_HZ,
    LEVEL_RANGE_DB,
    SAMPLE_RATE_RANGE_HZ,
    check_description_size,
)
from heimdall_core.recordings.files import ARCHIVE, DATA, META, SHEET, Bytes
from heimdall_core.recordings.session import Source
from heimdall_core.recordings.statement import MAX_ERROR_M, Facts

MAX_PATH: Final = 255

_REQUIRED = ("file", "session", "source", "source_latitude", "source_longitude", "frequency_hz")
_OPTIONAL = (
    "error_margin_m",
    "power_dbm",
    "group",
    "receiver",
    "receiver_latitude",
    "receiver_longitude",
    "receiver_altitude_m",
    "started_at",
    "sample_rate_hz",
    "center_frequency_hz",
    "noise_floor_dbfs",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetLine:
    """One recording as a sheet describes it."""

    line: CsvLine
    session: str
    source: Source
    split_group: str | None
    """Column ``group``: sessions of one group belong in one split."""
    facts: Facts
    """What the cells say of the recording itself."""


def open_sheet(data: Bytes) -> Iterator[CsvLine | CsvError]:
    """The lines of a sheet, not yet checked.

    Raises:
        CsvError: the header is wrong.
        Refusal: ``too_large``.
    """
    check_description_size(len(data))
    header, lines = open_csv(bytes(data), SHEET, _REQUIRED)
    known = (*_REQUIRED, *_OPTIONAL)
    check_columns(header, known, SHEET, hint=f"Known: {', '.join(known)}.")
    return lines


def listed_path(line: CsvLine, folder: PurePosixPath) -> str:
    """The file of the line within the upload; a SigMF recording without its extension.

    Raises:
        CsvError: ``csv_missing_value``, ``csv_bad_text`` or ``bad_path``.
    """
    stated = line.required("file", max_chars=MAX_PATH)
    path = PurePosixPath(stated)
    if path.is_absolute() or ".." in path.parts or "\\" in stated or not path.name:
        hint = "Write a path relative to the sheet, with / between its parts."
        raise line.error("bad_path", f"{stated!r} leads out of the sheet's folder", "file", hint)
    if path.suffix == ARCHIVE:
        hint = "List recordings; an archive states everything itself and needs no line."
        raise line.error("bad_path", f"{stated!r} is an archive", "file", hint)
    return str(folder / path).removesuffix(META).removesuffix(DATA)


def parse_line(line: CsvLine) -> SheetLine:
    """The checked cells of a line.

    Raises:
        CsvError: the first cell that is wrong.
    """
    latitude, longitude = line.position("source_")
    source = Source(
        name=line.required("source"),
        frequency_hz=line.required_number("frequency_hz", within=FREQUENCY_RANGE_HZ),
        latitude=latitude,
        longitude=longitude,
        error_margin_m=line.number_or_none("error_margin_m", within=(0.0, MAX_ERROR_M)),
        power_dbm=line.number_or_none("power_dbm", within=LEVEL_RANGE_DB),
    )
    return SheetLine(
        line=line,
        session=line.required("session"),
        source=source,
        split_group=line.text("group"),
        facts=_facts(line),
    )


def _facts(line: CsvLine) -> Facts:
    latitude, longitude = line.position_or_none("receiver_") or (None, None)
    return Facts(
        receiver=line.text("receiver"),
        latitude=latitude,
        longitude=longitude,
        altitude_m=line.number_or_none("receiver_altitude_m", within=ALTITUDE_RANGE_M),
        started_at=None if line.text("started_at") is None else line.time("started_at"),
        sample_rate_hz=line.number_or_none("sample_rate_hz", within=SAMPLE_RATE_RANGE_HZ),
        center_frequency_hz=line.number_or_none("center_frequency_hz", within=FREQUENCY_RANGE_HZ),
        noise_floor_dbfs=line.number_or_none("noise_floor_dbfs", within=LEVEL_RANGE_DB),
    )
