"""Power tables: who received how much power of which transmission, as two CSV files.

``receivers.csv``: ``name, latitude, longitude``, optionally ``altitude_m`` and ``noise_floor_db``.
``transmissions.csv``: ``time, latitude, longitude``, optionally ``fold``, ``source`` and
``frequency_hz``, then one column per receiver with the power in dB relative to that receiver
alone; an empty cell means that the receiver took no part.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heimdall_core.domain.errors import DataError
from heimdall_core.recordings.csv_lines import (
    MAX_WRONG_LINES,
    CsvError,
    CsvLine,
    check_columns,
    open_csv,
    too_many_wrong,
)
from heimdall_core.recordings.fields import ALTITUDE_RANGE_M, FREQUENCY_RANGE_HZ
from heimdall_core.recordings.files import RECEIVERS_FILE, TRANSMISSIONS_FILE
from heimdall_core.recordings.session import ReceiverSite

__all__ = [
    "POWER_RANGE_DB",
    "RECEIVERS_FILE",
    "TRANSMISSIONS_FILE",
    "PowerRow",
    "PowerTable",
    "PowerTableError",
    "TableProblem",
    "read_power_table",
]

POWER_RANGE_DB: Final = (-250.0, 0.0)
"""Powers and floors outside it could not be rendered within full scale."""

MAX_RECEIVERS: Final = 1_000
"""Each that took part in a row is rendered, 34 kB for a few characters of the file."""

_RECEIVER_COLUMNS = ("name", "latitude", "longitude")
_RECEIVER_OPTIONS = ("altitude_m", "noise_floor_db")
_ROW_COLUMNS = ("time", "latitude", "longitude")
_ROW_OPTIONS = ("fold", "source", "frequency_hz")


class PowerTableError(DataError):
    """A table that cannot be read at all; the message names file, line and column."""

    code = "bad_power_table"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PowerRow:
    """One transmission."""

    line: int
    """In transmissions.csv, the header being line 1."""
    time: datetime
    latitude: float
    longitude: float
    power_db: NDArray[np.float64]
    """(R,), NaN where the receiver took no part."""
    source: str | None = None
    frequency_hz: float | None = None
    split_group: str | None = None
    """Column ``fold``: rows of one group belong in one split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableProblem:
    """A row that is left out."""

    line: int
    column: str | None
    code: str
    message: str
    """Complete, with file, line and column."""
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PowerTable:
    """The readable rows, and the others by what is wrong with them."""

    receivers: tuple[ReceiverSite, ...]
    noise_floor_db: NDArray[np.float64]
    """(R,), as stated, else the lowest power reported; NaN: never took part and states none."""
    rows: tuple[PowerRow, ...]
    problems: tuple[TableProblem, ...] = ()

    def with_receivers(self, names: Collection[str]) -> "PowerTable":
        """Only these receivers, in the table's order, and the rows in which one of them took part.

        Raises:
            PowerTableError: ``unknown_receiver``.
        """
        known = [r.name for r in self.receivers]
        if unknown := sorted(set(names) - set(known)):
            raise PowerTableError(
                f"{RECEIVERS_FILE} has no receiver {', '.join(unknown)}",
                code="unknown_receiver",
                hint=f"It has {', '.join(known)[:200]}.",
            )
        chosen = frozenset(names)
        kept = [i for i, name in enumerate(known) if name in chosen]
        rows = (replace(row, power_db=row.power_db[kept]) for row in self.rows)
        return replace(
            self,
            receivers=tuple(self.receivers[i] for i in kept),
            noise_floor_db=self.noise_floor_db[kept],
            rows=tuple(row for row in rows if np.isfinite(row.power_db).any()),
        )


def read_power_table(receivers_csv: bytes, transmissions_csv: bytes) -> PowerTable:
    """The table of the two files.

    Raises:
        PowerTableError: a header or a receiver is wrong. A wrong transmission is only left out,
            and listed in ``PowerTable.problems``.
    """
    try:
        sites, floors = _read_receivers(receivers_csv)
        rows, problems = _read_transmissions(transmissions_csv, [s.name for s in sites])
    except CsvError as error:
        raise PowerTableError(str(error), code=error.code, hint=error.hint) from error
    return PowerTable(
        receivers=sites, noise_floor_db=_with_lowest(floors, rows), rows=rows, problems=problems
    )


def _with_lowest(floors: NDArray[np.float64], rows: tuple[PowerRow, ...]) -> NDArray[np.float64]:
    """Unstated floors become the lowest power that the receiver reported."""
    if not rows:
        return floors
    powers = np.stack([row.power_db for row in rows])
    lowest = np.where(np.isnan(powers), math.inf, powers).min(axis=0)
    return np.where(np.isnan(floors) & np.isfinite(lowest), lowest, floors)


def _read_receivers(data: bytes) -> tuple[tuple[ReceiverSite, ...], NDArray[np.float64]]:
    header, lines = open_csv(data, RECEIVERS_FILE, _RECEIVER_COLUMNS)
    known = (*_RECEIVER_COLUMNS, *_RECEIVER_OPTIONS)
    check_columns(header, known, RECEIVERS_FILE, hint=f"Known: {', '.join(known)}.")
    sites: dict[str, ReceiverSite] = {}
    floors: list[float] = []
    for line in lines:
        if isinstance(line, CsvError):
            raise line
        if len(sites) == MAX_RECEIVERS:
            hint = "Split the table; a row needs only the receivers that took part."
            raise line.error("too_large", f"is receiver {MAX_RECEIVERS + 1} of the table", hint=hint)
        site = _receiver(line)
        if site.name in sites:
            problem, hint = f"receiver {site.name!r} is there twice", "Keep one line per receiver."
            raise line.error("duplicate_receiver", problem, "name", hint)
        sites[site.name] = site
        floors.append(_power(line, "noise_floor_db"))
    if not sites:
        raise CsvError("empty", "has no receiver", file=RECEIVERS_FILE, line=1, hint="Add a line for each.")
    return tuple(sites.values()), np.array(floors)


def _receiver(line: CsvLine) -> ReceiverSite:
    latitude, longitude = line.position()
    name = line.required("name")
    if name in (*_ROW_COLUMNS, *_ROW_OPTIONS):
        hint = "Rename the receiver in both files."
        raise line.error("csv_bad_name", f"{name!r} is the name of another column", "name", hint)
    return ReceiverSite(
        name=name,
        latitude=latitude,
        longitude=longitude,
        altitude_m=line.number_or_none("altitude_m", within=ALTITUDE_RANGE_M) or 0.0,
    )


def _read_transmissions(
    data: bytes, receivers: list[str]
) -> tuple[tuple[PowerRow, ...], tuple[TableProblem, ...]]:
    header, lines = open_csv(data, TRANSMISSIONS_FILE, (*_ROW_COLUMNS, *receivers))
    hint = f"Known: {', '.join((*_ROW_COLUMNS, *_ROW_OPTIONS))}, and the receivers of {RECEIVERS_FILE}."
    check_columns(header, (*_ROW_COLUMNS, *_ROW_OPTIONS, *receivers), TRANSMISSIONS_FILE, hint=hint)
    rows: list[PowerRow] = []
    problems: list[TableProblem] = []
    for line in lines:
        if len(problems) == MAX_WRONG_LINES:
            number = line.line if isinstance(line, CsvError) else line.number
            problems.append(_problem(too_many_wrong(TRANSMISSIONS_FILE, number)))
            break
        try:
            rows.append(_row(line, receivers))
        except CsvError as error:
            problems.append(_problem(error))
    if not rows and not problems:
        hint = "Add a line for each."
        raise CsvError("empty", "has no transmission", file=TRANSMISSIONS_FILE, line=1, hint=hint)
    return tuple(rows), tuple(problems)


def _problem(error: CsvError) -> TableProblem:
    return TableProblem(
        line=error.line, column=error.column, code=error.code, message=str(error), hint=error.hint
    )


def _row(line: CsvLine | CsvError, receivers: list[str]) -> PowerRow:
    if isinstance(line, CsvError):
        raise line
    latitude, longitude = line.position()
    power_db = np.array([_power(line, name) for name in receivers])
    if np.isnan(power_db).all():
        raise line.error("no_power", "no receiver took part", hint="State at least one power.")
    return PowerRow(
        line=line.number,
        time=line.time("time"),
        latitude=latitude,
        longitude=longitude,
        power_db=power_db,
        source=line.text("source"),
        frequency_hz=line.number_or_none("frequency_hz", within=FREQUENCY_RANGE_HZ),
        split_group=line.text("fold"),
    )


def _power(line: CsvLine, column: str) -> float:
    """A power or floor in dB; NaN: empty."""
    number = line.number_or_none(column)
    if number is None:
        return math.nan
    low, high = POWER_RANGE_DB
    if not low <= number <= high:
        problem = f"{number:g} dB is outside {low:g} to {high:g} dB"
        hint = "Powers are relative to their receiver: take one constant off all its powers and its floor."
        raise line.error("power_out_of_range", problem, column, hint=hint)
    return number
