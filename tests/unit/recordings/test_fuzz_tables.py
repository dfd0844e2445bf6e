"""Sheets, power tables and ``.npy`` that nobody should send: sound sessions, or refusals that say why."""

import csv
import io
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heimdall_core.recordings.csv_lines import MAX_WRONG_LINES
from heimdall_core.recordings.power_table import MAX_RECEIVERS

EXAMPLES = os.environ.get("FUZZ_EXAMPLES")
"""How many to try by hand, each time others."""
FUZZ = settings(max_examples=int(EXAMPLES or 60), deadline=None, derandomize=not EXAMPLES)

SHEET = {
    "file": ["a.npy", "b.npy"],
    "session": ["s", "s"],
    "source": ["Beacon", "Beacon"],
    "source_latitude": ["44.9", "44.9"],
    "source_longitude": ["8.2", "8.2"],
    "frequency_hz": ["145.5e6", "145.5e6"],
    "receiver": ["Torino", "Genova"],
    "receiver_latitude": ["45.04", "44.4"],
    "receiver_longitude": ["7.67", "8.9"],
    "receiver_altitude_m": ["250", ""],
    "started_at": ["2025-03-01T12:00:00Z"] * 2,
    "sample_rate_hz": ["12500"] * 2,
    "noise_floor_dbfs": ["-60", ""],
    "group": ["g", "g"],
}
RECEIVERS = {
    "name": ["north", "south"],
    "latitude": ["40.1", "40"],
    "longitude": ["-111", "-111"],
    "altitude_m": ["", "1450"],
    "noise_floor_db": ["-95", ""],
}
TRANSMISSIONS = {
    "time": ["2022-04-25T14:12:32Z", "2022-04-25T14:12:36Z"],
    "latitude": ["40.05", "40.06"],
    "longitude": ["-111.01", "-111.02"],
    "fold": ["3", "4"],
    "frequency_hz": ["462.7e6", ""],
    "north": ["-60", "-70.5"],
    "south": ["", "-91"],
}
CELLS = st.sampled_from(
    [
        "",
        " ",
        "nan",
        "-inf",
        "1e400",
        "-1e-320",
        "9" * 99,
        "9" * 200,
        "1_0",
        "٣",
        "0x10",
        "-250",
        "0",
        "1e12",
        "90",
        "-180.0000001",
        "../a.npy",
        "/etc/passwd",
        "a.npy/",
        ".",
        "a\\b.npy",
        "./a.npy",
        "x.sigmf",
        "a\0b",
        "\u202e",
        "a\nb",
        '"',
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2025-01-01T00:00:00",
        "1970-01-01T00:00:00+23:59",
        "north",
        "x" * 256,
    ]
) | st.text(max_size=5)


def samples(count: int = 100) -> np.ndarray[Any, np.dtype[np.complex64]]:
    return np.exp(1j * np.arange(count)).astype(np.complex64) / 10


def npy(array: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)  # type: ignore[arg-type]
    return buffer.getvalue()


def written(columns: dict[str, list[str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode("utf-8", "surrogatepass")


@st.composite
def spoiled_tables(draw: st.DrawFn, columns: dict[str, list[str]]) -> bytes:
    """The table with cells changed, columns renamed or gone, and perhaps some bytes of it changed."""
    table = {name: list(cells) for name, cells in columns.items()}
    for _ in range(draw(st.integers(0, 4))):
        name = draw(st.sampled_from(list(table)))
        match draw(st.integers(0, 5)):
            case 0 if len(table) > 1:
                del table[name]
            case 1:
                table[draw(CELLS)] = table.pop(name)
            case _:
                table[name][draw(st.integers(0, 1))] = draw(CELLS)
    data = bytearray(written(table))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(
            st.sampled_from([b"\r", b"\n", b'"', b",", b"\xff", b"\0", b"\xef\xbb\xbf"])
            | st.binary(max_size=2)
        )
    return bytes(data)


@given(sheet=spoiled_tables(SHEET))
@FUZZ
def test_a_sheet_is_sessions_with_sound_facts_or_refused(fuzzed_import, sheet):
    fuzzed_import({"recordings.csv": sheet, "a.npy": npy(samples()), "b.npy": npy(samples(120))})


@given(receivers=spoiled_tables(RECEIVERS), transmissions=spoiled_tables(TRANSMISSIONS))
@FUZZ
def test_a_power_table_is_sessions_with_sound_facts_or_refused(fuzzed_import, receivers, transmissions):
    fuzzed_import({"t/receivers.csv": receivers, "t/transmissions.csv": transmissions})


HEADERS = st.fixed_dictionaries(
    {
        "descr": st.sampled_from(
            ["'<c8'", "'>c8'", "'|O'", "[('a', '<c8')]", "'<c16'", "1", "('<c8', (2,))"]
        ),
        "fortran_order": st.sampled_from(["False", "True", "None"]),
        "shape": st.sampled_from(
            [
                "(100,)",
                "(99,)",
                "(2, 50)",
                "()",
                "(-1,)",
                "(10**20,)",
                "(9" + "9" * 60 + ",)",
                "(4e1,)",
                "[100]",
            ]
        ),
    }
).map(lambda members: "{" + ", ".join(f"'{key}': {value}" for key, value in members.items()) + ", }")
NESTED = st.sampled_from(
    ["(" * 4_000, "[" * 90 + "]" * 90, "{" * 50, "-" * 5_000 + "1", "1 if", "'\\d'", "\0"]
)


@given(
    header=HEADERS | NESTED | st.text(max_size=40),
    version=st.sampled_from([b"\1\0", b"\2\0", b"\3\0", b"\4\0", b"\0\0"]),
    lie=st.sampled_from([0, 0, 0, 1, -1, 2**15]),
    cut=st.integers(0, 60) | st.none(),
)
@FUZZ
def test_an_npy_is_a_sound_recording_or_refused(fuzzed_import, header, version, lie, cut):
    text = header.encode("utf-8", "surrogatepass")
    size = max(0, len(text) + lie).to_bytes(2 if version[0] == 1 else 4, "little")
    data = b"\x93NUMPY" + version + size + text + samples().tobytes()
    sheet = written({name: cells[:1] for name, cells in SHEET.items()})
    report = fuzzed_import({"recordings.csv": sheet, "a.npy": data[: len(data) - cut if cut else None]})
    assert len(report.sessions) + len(report.refused) == 1


# Small files that would cost much


def many_columns(count: int) -> str:
    return ",".join(f"c{number}" for number in range(count))


BOMBS = {
    "columns of a sheet": (
        {"recordings.csv": f"file,{many_columns(200_000)}\n".encode()},
        "csv_missing_column",
    ),
    "the same column": ({"recordings.csv": written(SHEET)[:-2] + b"," * 9}, "csv_row_length"),
    "receivers": (
        {
            "receivers.csv": b"name,latitude,longitude\n" + b"".join(b"r%d,1,2\n" % n for n in range(50_000)),
            "transmissions.csv": f"time,latitude,longitude,{many_columns(50_000)}\n".encode(),
        },
        "too_large",
    ),
    "columns of a power table": (
        {
            "receivers.csv": b"name,latitude,longitude\nc1,1,2\n",
            "transmissions.csv": f"time,latitude,longitude,{many_columns(200_000)}\n".encode(),
        },
        "csv_unknown_column",
    ),
    "a cell": ({"recordings.csv": written(SHEET) + b'"' + b"x" * 2_000_000}, "csv_malformed"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_table_of_many_things_is_refused_in_little_time(fuzzed_import, bomb):
    files, code = BOMBS[bomb]
    assert code in {refused.code for refused in fuzzed_import(files, most_seconds=3.0).refused}


TABLE = {"t/receivers.csv": written(RECEIVERS), "t/transmissions.csv": written(TRANSMISSIONS)}


@pytest.mark.parametrize(
    ("files", "spoiled"),
    [
        ({"recordings.csv": written(SHEET), "a.npy": npy(samples())}, "recordings.csv"),
        (TABLE, "t/transmissions.csv"),
    ],
)
def test_a_file_of_wrong_lines_is_not_told_line_by_line_without_end(fuzzed_import, files, spoiled):
    data = files[spoiled] + b"x\n" * (MAX_WRONG_LINES + 1_000)
    report = fuzzed_import({**files, spoiled: data}, most_seconds=5.0)
    codes = [refused.code for refused in report.refused]
    assert codes.count("csv_row_length") <= MAX_WRONG_LINES
    assert "csv_too_many_errors" in codes
    assert report.sessions


def test_a_table_takes_as_many_receivers_as_its_limit_says(fuzzed_import):
    names = [f"r{number}" for number in range(MAX_RECEIVERS)]
    receivers = "name,latitude,longitude\n" + "".join(f"{name},1,2\n" for name in names)
    row = f"time,latitude,longitude,{','.join(names)}\n2025-01-01T00:00:00Z,1,2,-5" + "," * (
        MAX_RECEIVERS - 1
    )
    files = {"receivers.csv": receivers.encode(), "transmissions.csv": row.encode()}
    assert len(fuzzed_import(files, most_seconds=3.0).sessions) == 1
    files["receivers.csv"] += b"one-more,1,2\n"
    assert [r.code for r in fuzzed_import(files, most_seconds=3.0).refused] == ["too_large"]
