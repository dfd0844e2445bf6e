import pytest

from heimdall_core.cli.output import duration, member, metres, moment, show_error, show_rows, size
from heimdall_core.domain.errors import HeimdallError


def test_an_error_goes_to_stderr_with_its_remedy_and_is_not_markup(capsys):
    show_error(HeimdallError("no [bold] thing", hint="do [this]"))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["error: no [bold] thing", "       do [this]"]


def test_an_empty_list_says_so(capsys):
    show_rows(("a",), [], empty="no job")
    assert capsys.readouterr().out == "no job\n"


def test_rows_show_a_dash_for_what_is_absent(capsys):
    show_rows(("name", "port"), [("s3", None)], empty="")
    assert capsys.readouterr().out.splitlines()[1].split() == ["s3", "-"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (812.4, "812 m"),
        (9999, "9,999 m"),
        (24_600, "24.6 km"),
        (-24_600, "-24.6 km"),
        (-0.4, "0 m"),
        (-0.0, "0 m"),
        (None, "-"),
        ("x", "-"),
    ],
)
def test_distances(value, text):
    assert metres(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(7, "7 B"), (1500, "1.5 kB"), (2_500_000, "2.5 MB"), (3e9, "3.0 GB")]
)
def test_sizes(value, text):
    assert size(value) == text


@pytest.mark.parametrize(("value", "text"), [(5, "0:05"), (65.4, "1:05"), (None, "-")])
def test_durations(value, text):
    assert duration(value) == text


def test_times_are_local_and_absent_ones_a_dash():
    assert moment("2025-01-01T00:00:00Z").startswith(("2025-01-01", "2024-12-31"))
    assert moment(None) == "-"


def test_nested_members_are_found_or_none():
    assert member({"a": {"b": 1}}, "a", "b") == 1
    assert member({"a": None}, "a", "b") is None
    assert member(None, "a") is None


def test_cells_are_never_cut_or_folded(capsys):
    show_rows(("id", "text"), [("x" * 90, "y" * 90)], empty="")
    assert capsys.readouterr().out.splitlines()[1].split() == ["x" * 90, "y" * 90]
