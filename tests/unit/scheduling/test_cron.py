"""The clock of a schedule: what is refused, when it fires, and how late a run may be."""

from datetime import UTC, datetime, timedelta

import pytest

from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.scheduling.conditions import CronCondition
from heimdall_core.scheduling.cron import check_cron, jitter, next_occurrence, next_run

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)


def cron(expression, **options):
    return CronCondition(type="cron", expression=expression, **options)


def times(condition, after, number):
    found = []
    for _ in range(number):
        after = next_occurrence(condition, after=after)
        found.append(after.isoformat())
    return found


@pytest.mark.parametrize(
    "expression",
    [
        "nonsense",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "0 24 * * *",
        "*/0 * * * *",
        "@daily",
        "r * * * *",
        "h/5 * * * *",
        "r(0-5) * * * *",
        "0 0 * * 1-",
        "0 0 * foo *",
    ],
)
def test_what_is_no_expression_is_refused_by_name(expression):
    with pytest.raises(InvalidRequest) as refused:
        check_cron(cron(expression), now=NOW)
    assert refused.value.stable_code == "bad_cron_expression"
    assert [problem.pointer for problem in refused.value.problems] == ["/when/expression"]


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "Europe", "../etc/passwd", "+01:00", "europe/rome "])
def test_a_zone_that_nobody_knows_is_refused(zone):
    with pytest.raises(InvalidRequest) as refused:
        check_cron(cron("0 0 * * *", time_zone=zone), now=NOW)
    assert refused.value.stable_code == "bad_time_zone"


@pytest.mark.parametrize("expression", ["0 0 31 2 *", "0 0 31 4,6,9,11 *", "0 0 30 feb *"])
def test_a_date_that_never_comes_is_refused(expression):
    with pytest.raises(InvalidRequest) as refused:
        check_cron(cron(expression), now=NOW)
    assert refused.value.stable_code == "cron_never_fires"


@pytest.mark.parametrize(
    "expression", ["0 0 29 2 *", "0 0 31 2 mon", "0 3 * * MON-FRI", "0 0 l * *", "0 0 * * 7"]
)
def test_rare_and_named_dates_are_taken(expression):
    check_cron(cron(expression), now=NOW)


def test_an_expression_is_read_in_its_zone():
    assert times(cron("0 3 * * *"), NOW, 1) == ["2026-03-02T03:00:00+00:00"]
    assert times(cron("0 3 * * *", time_zone="Europe/Rome"), NOW, 1) == ["2026-03-02T02:00:00+00:00"]


def test_a_time_that_spring_leaves_out_comes_at_the_end_of_the_gap():
    nightly = cron("30 2 * * *", time_zone="Europe/Rome")
    assert times(nightly, datetime(2026, 3, 28, 12, tzinfo=UTC), 2) == [
        "2026-03-29T01:00:00+00:00",
        "2026-03-30T00:30:00+00:00",
    ]


def test_a_time_that_autumn_brings_twice_comes_once():
    nightly = cron("30 2 * * *", time_zone="Europe/Rome")
    assert times(nightly, datetime(2026, 10, 24, 12, tzinfo=UTC), 2) == [
        "2026-10-25T00:30:00+00:00",
        "2026-10-26T01:30:00+00:00",
    ]


def test_what_runs_every_hour_runs_in_both_of_the_hours_that_autumn_brings():
    hourly = cron("0 * * * *", time_zone="Europe/Rome")
    assert times(hourly, datetime(2026, 10, 24, 23, 30, tzinfo=UTC), 3) == [
        "2026-10-25T00:00:00+00:00",
        "2026-10-25T01:00:00+00:00",
        "2026-10-25T02:00:00+00:00",
    ]


def test_jitter_is_bounded_stable_and_another_for_each_schedule_and_time():
    days = [NOW + timedelta(days=number) for number in range(200)]
    late = [jitter("sch_a", day, seconds=60) for day in days]
    assert all(timedelta(0) <= one <= timedelta(seconds=60) for one in late)
    assert late == [jitter("sch_a", day, seconds=60) for day in days]
    assert len(set(late)) > 40
    assert late != [jitter("sch_b", day, seconds=60) for day in days]
    assert jitter("sch_a", NOW, seconds=0) == timedelta(0)


def test_jitter_longer_than_the_interval_runs_nothing_twice_and_nothing_in_the_past():
    condition = cron("*/5 * * * *", jitter_seconds=1200)
    after, now, seen = NOW, NOW, []
    for _ in range(50):
        occurrence, due = next_run("sch_a", condition, after=after, now=now)
        assert occurrence <= due <= occurrence + timedelta(seconds=1200)
        assert due > now
        seen.append(occurrence)
        after, now = occurrence, max(now, due)
    assert seen == sorted(set(seen))


def test_after_a_long_absence_the_next_run_is_to_come():
    condition = cron("* * * * *", jitter_seconds=30)
    now = NOW + timedelta(days=365)
    occurrence, due = next_run("sch_a", condition, after=NOW, now=now)
    assert now < due <= now + timedelta(seconds=120)
    assert occurrence > now - timedelta(seconds=30)
