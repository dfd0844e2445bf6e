import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heimdall_core.recordings.power_table import PowerTableError, read_power_table

RECEIVERS = b"""name,latitude,longitude,noise_floor_db
north,40.1,-111.0,-95
south,40.0,-111.0,
"""
TRANSMISSIONS = b"""time,latitude,longitude,fold,north,south
2022-04-25T14:12:32Z,40.05,-111.01,3,-60,
2022-04-25T14:12:36Z,40.06,-111.02,4,-70.5,-91
2022-04-25T14:12:40Z,40.07,-111.03,4,,-92
"""


def test_the_table_is_read():
    table = read_power_table(RECEIVERS, TRANSMISSIONS)
    assert [r.name for r in table.receivers] == ["north", "south"]
    assert [row.line for row in table.rows] == [2, 3, 4]
    assert [row.split_group for row in table.rows] == ["3", "4", "4"]
    assert table.rows[1].time.isoformat() == "2022-04-25T14:12:36+00:00"
    assert np.array_equal(table.rows[0].power_db, [-60, np.nan], equal_nan=True)
    assert table.problems == ()


def test_an_unstated_floor_is_the_lowest_power_reported():
    assert read_power_table(RECEIVERS, TRANSMISSIONS).noise_floor_db.tolist() == [-95, -92]


def test_optional_columns_are_taken():
    receivers = b"\xef\xbb\xbfname,altitude_m,latitude,longitude\r\nnorth,1450,40,-111\r\n"
    header = b"source,frequency_hz,time,latitude,longitude,north\r\n"
    rows = header + b"handheld,462.7e6,2022-01-01T00:00:00Z,40,-111,-5\r\n\r\n"
    table = read_power_table(receivers, rows)
    assert table.receivers[0].altitude_m == 1450
    assert (table.rows[0].source, table.rows[0].frequency_hz) == ("handheld", 462.7e6)
    assert table.rows[0].split_group is None


BAD_TABLES = {
    "no receivers": (
        b"name,latitude,longitude\n",
        TRANSMISSIONS,
        "empty",
        "receivers.csv line 1: has no receiver",
    ),
    "empty file": (b"", TRANSMISSIONS, "empty", "receivers.csv line 1: has no header"),
    "not text": (b"name,latitude\n\xff\xfe", TRANSMISSIONS, "csv_bad_encoding", "receivers.csv line 2"),
    "no longitude column": (
        b"name,latitude\nnorth,40\n",
        TRANSMISSIONS,
        "csv_missing_column",
        "column longitude",
    ),
    "unknown column": (
        b"name,latitude,longitude,colour\nnorth,40,-111,red\n",
        TRANSMISSIONS,
        "csv_unknown_column",
        "column colour",
    ),
    "twice": (RECEIVERS + b"north,40,-111,\n", TRANSMISSIONS, "duplicate_receiver", "line 4, column name"),
    "latitude": (RECEIVERS.replace(b"40.1", b"91"), TRANSMISSIONS, "bad_position", "line 2, column latitude"),
    "longitude": (
        RECEIVERS.replace(b"-111.0,-95", b"-200,-95"),
        TRANSMISSIONS,
        "bad_position",
        "line 2, column longitude",
    ),
    "no number": (
        RECEIVERS.replace(b"40.1", b"x"),
        TRANSMISSIONS,
        "csv_bad_number",
        "line 2, column latitude",
    ),
    "no position": (RECEIVERS.replace(b"40.1", b""), TRANSMISSIONS, "csv_missing_value", "column latitude"),
    "no name": (RECEIVERS.replace(b"north", b" "), TRANSMISSIONS, "csv_missing_value", "line 2, column name"),
    "taken name": (
        RECEIVERS.replace(b"north", b"time"),
        TRANSMISSIONS,
        "csv_bad_name",
        "line 2, column name",
    ),
    "floor above full scale": (
        RECEIVERS.replace(b"-95", b"95"),
        TRANSMISSIONS,
        "power_out_of_range",
        "line 2, column noise_floor_db: 95 dB",
    ),
    "short row": (
        RECEIVERS + b"east,40\n",
        TRANSMISSIONS,
        "csv_row_length",
        "receivers.csv line 4: has 2 cells",
    ),
    "receiver without column": (
        RECEIVERS + b"east,40,-111,\n",
        TRANSMISSIONS,
        "csv_missing_column",
        "transmissions.csv line 1, column east",
    ),
    "column without receiver": (
        RECEIVERS,
        TRANSMISSIONS.replace(b"fold", b"weather"),
        "csv_unknown_column",
        "transmissions.csv line 1, column weather",
    ),
    "column twice": (
        RECEIVERS,
        TRANSMISSIONS.replace(b"fold", b"north"),
        "csv_duplicate_column",
        "transmissions.csv line 1, column north",
    ),
    "no rows": (RECEIVERS, TRANSMISSIONS.splitlines()[0], "empty", "has no transmission"),
}


@pytest.mark.parametrize(("receivers", "rows", "code", "words"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_table_that_cannot_be_read_says_where(receivers, rows, code, words):
    with pytest.raises(PowerTableError) as caught:
        read_power_table(receivers, rows)
    assert caught.value.stable_code == code
    assert words in caught.value.message


BAD_ROWS = {
    "bad time": ("2022-04-25 noon,40,-111,0,-60,-60", "bad_time", "column time"),
    "naive time": ("2022-04-25T14:00:00,40,-111,0,-60,-60", "bad_time", "time zone"),
    "bad latitude": ("2022-04-25T14:00:00Z,-90.1,-111,0,-60,-60", "bad_position", "column latitude"),
    "no power": ("2022-04-25T14:00:00Z,40,-111,0,,", "no_power", "no receiver took part"),
    "nan": ("2022-04-25T14:00:00Z,40,-111,0,nan,-60", "not_finite", "column north"),
    "infinite": ("2022-04-25T14:00:00Z,40,-111,0,-60,-inf", "not_finite", "column south"),
    "text": ("2022-04-25T14:00:00Z,40,-111,0,loud,-60", "csv_bad_number", "'loud' is no number"),
    "too strong": ("2022-04-25T14:00:00Z,40,-111,0,12,-60", "power_out_of_range", "column north: 12 dB"),
    "too long": ("2022-04-25T14:00:00Z,40,-111,0,-60,-60,-60", "csv_row_length", "has 7 cells"),
    "broken quote": ('2022-04-25T14:00:00Z,40,-111,0,"-60"x,-60', "csv_malformed", "line 5"),
    "bad label": ("2022-04-25T14:00:00Z,40,-111," + "x" * 200 + ",-60,-60", "csv_bad_text", "column fold"),
}


@pytest.mark.parametrize(("row", "code", "words"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_left_out_by_line_and_column_and_the_rest_stays(row, code, words):
    after = b"\n2022-04-25T15:00:00Z,40,-111,0,-60,-60\n"
    table = read_power_table(RECEIVERS, TRANSMISSIONS + row.encode() + after)
    assert [r.line for r in table.rows] == [2, 3, 4, 6]
    assert [(p.line, p.code) for p in table.problems] == [(5, code)]
    assert "transmissions.csv line 5" in table.problems[0].message
    assert words in table.problems[0].message


def test_some_receivers_can_be_taken():
    table = read_power_table(RECEIVERS, TRANSMISSIONS).with_receivers(["south"])
    assert [r.name for r in table.receivers] == ["south"]
    assert [row.line for row in table.rows] == [3, 4]
    assert table.noise_floor_db.tolist() == [-92]


def test_an_unknown_receiver_cannot_be_taken():
    with pytest.raises(PowerTableError, match="no receiver east"):
        read_power_table(RECEIVERS, TRANSMISSIONS).with_receivers(["north", "east"])


@given(receivers=st.binary(max_size=80), rows=st.binary(max_size=80), where=st.integers(0, 60))
@settings(max_examples=150, deadline=None)
def test_no_damage_escapes_as_another_exception(receivers, rows, where):
    for first, second in (
        (RECEIVERS[:where] + receivers, TRANSMISSIONS),
        (RECEIVERS, TRANSMISSIONS[: 2 * where] + rows),
    ):
        with contextlib.suppress(PowerTableError):
            read_power_table(first, second)
