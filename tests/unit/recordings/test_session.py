from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heimdall_core.recordings.session import parse_recording_time, parse_utc, utc_text


def test_a_time_without_zone_is_not_a_moment():
    with pytest.raises(ValueError, match="time zone"):
        utc_text(datetime(2025, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="time zone"):
        parse_utc("2025-01-01T00:00:00")


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001
def test_moments_survive_their_text(moment):
    assert parse_utc(utc_text(moment)) == moment


def test_other_zones_become_utc():
    rome = datetime(2025, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert utc_text(rome) == "2025-07-01T10:00:00.000000Z"
    assert parse_utc("2025-07-01T12:00:00.1234567+02:00").isoformat() == "2025-07-01T10:00:00.123456+00:00"


@pytest.mark.parametrize(
    "text", ["1969-12-31T23:59:59Z", "2201-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00"]
)
def test_a_recording_is_of_our_time(text):
    with pytest.raises(ValueError, match="within the years"):
        parse_recording_time(text)


def test_the_time_of_a_recording_has_a_zone():
    assert parse_recording_time("1970-01-01T00:00:00Z").timestamp() == 0
    with pytest.raises(ValueError, match="time zone"):
        parse_recording_time("2025-01-01T00:00:00")
