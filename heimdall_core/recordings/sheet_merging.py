"""What a recording states and what its line in a sheet states, put together."""

import math
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from heimdall_core.domain.manifest import IqFormat
from heimdall_core.recordings.csv_lines import CsvLine
from heimdall_core.recordings.recording_reading import NPY_FORMAT, Header
from heimdall_core.recordings.session import ReceiverSite, Source
from heimdall_core.recordings.sheet import SheetLine
from heimdall_core.recordings.statement import Facts, Statement

Value = str | float | datetime

_COLUMNS: Final = {
    "receiver": ("heimdall:receiver", "receiver"),
    "latitude": ("core:geolocation", "receiver_latitude"),
    "longitude": ("core:geolocation", "receiver_longitude"),
    "altitude_m": ("core:geolocation", "receiver_altitude_m"),
    "started_at": ("core:datetime", "started_at"),
    "sample_rate_hz": ("core:sample_rate", "sample_rate_hz"),
    "center_frequency_hz": ("core:frequency", "center_frequency_hz"),
    "noise_floor_dbfs": ("heimdall:noise_floor_dbfs", "noise_floor_dbfs"),
}
"""Fact -> where SigMF states it, and where a sheet does."""

_SOURCE_COLUMNS: Final = {
    "name": "source",
    "frequency_hz": "frequency_hz",
    "latitude": "source_latitude",
    "longitude": "source_longitude",
    "error_margin_m": "error_margin_m",
    "power_dbm": "power_dbm",
}

_SAME: Final = 1e-7
"""Numbers this close, relatively, are one number written twice: 0.5 m in a latitude."""


def merge(listed: SheetLine, statement: Statement | None) -> tuple[SheetLine, Header]:
    """The line with what the metadata add to its source, and the whole header; None: an ``.npy``.

    Raises:
        CsvError: ``sheet_conflict`` or ``csv_missing_value``, by line and column.
    """
    facts, iq_format, sha512 = listed.facts, NPY_FORMAT, None
    if statement is not None:
        _same(listed.line, "session", "heimdall:session", statement.session, listed.session)
        facts = _merged_facts(listed.line, statement.facts, listed.facts)
        listed = replace(listed, source=_merged_source(listed, statement.source))
        iq_format, sha512 = statement.format, statement.sha512
    return listed, _header(listed, facts, iq_format, sha512)


def _merged_facts(line: CsvLine, stated: Facts, filled: Facts) -> Facts:
    values: dict[str, Any] = {
        field: _same(line, column, key, getattr(stated, field), getattr(filled, field))
        for field, (key, column) in _COLUMNS.items()
    }
    return Facts(**values)


def _merged_source(listed: SheetLine, stated: Source | None) -> Source:
    if stated is None:
        return listed.source
    values: dict[str, Any] = {
        field: _same(listed.line, column, "heimdall:source", getattr(stated, field), value)
        for field, column in _SOURCE_COLUMNS.items()
        if (value := getattr(listed.source, field)) is not None or getattr(stated, field) is not None
    }
    return replace(stated, **values)


def _same(line: CsvLine, column: str, key: str, stated: Value | None, filled: Value | None) -> Value | None:
    """The one that is stated; both, if they agree."""
    if stated is None or filled is None:
        return filled if stated is None else stated
    if isinstance(stated, float) and isinstance(filled, float):
        agree = math.isclose(stated, filled, rel_tol=_SAME)
    else:
        agree = stated == filled
    if not agree:
        hint = "Correct one of them, or empty the cell to keep what the metadata state."
        problem = f"states {_text(filled)}, {key} of the metadata states {_text(stated)}"
        raise line.error("sheet_conflict", problem, column, hint)
    return stated


def _text(value: Value) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def _header(listed: SheetLine, facts: Facts, iq_format: IqFormat, sha512: object) -> Header:
    for field in ("receiver", "latitude", "longitude", "started_at", "sample_rate_hz"):
        if getattr(facts, field) is None:
            hint = "Fill it in: it is stated nowhere else."
            raise listed.line.error("csv_missing_value", "is empty", _COLUMNS[field][1], hint)
    assert facts.receiver is not None
    assert facts.latitude is not None
    assert facts.longitude is not None
    assert facts.started_at is not None
    assert facts.sample_rate_hz is not None
    center_hz = facts.center_frequency_hz
    return Header(
        receiver=ReceiverSite(
            name=facts.receiver,
            latitude=facts.latitude,
            longitude=facts.longitude,
            altitude_m=facts.altitude_m or 0.0,
        ),
        format=iq_format,
        sample_rate_hz=facts.sample_rate_hz,
        center_frequency_hz=listed.source.frequency_hz if center_hz is None else center_hz,
        started_at=facts.started_at,
        noise_floor_dbfs=facts.noise_floor_dbfs,
        sha512=sha512,
    )
