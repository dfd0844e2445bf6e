"""The clock of a schedule: when an expression fires in its time zone, and how late a run may be."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from croniter import CroniterBadDateError, croniter

from heimdall_core.domain.errors import FieldProblem, InvalidRequest
from heimdall_core.scheduling.conditions import CronCondition

MAX_YEARS: Final = 5
"""An expression that does not fire for so long never fires."""

_NUM_FIELDS: Final = 5
_FIELD: Final = re.compile(r"[0-9a-z*,/#-]+")
#: The library's own: a time that is drawn anew at each look, or from a hash.
_DRAWN: Final = re.compile(r"(?<![a-z])[rh](?![a-z])")


def check_cron(condition: CronCondition, *, now: datetime) -> None:
    """Raises InvalidRequest unless zone and expression are known forms and it fires within five years."""
    if condition.time_zone not in _zones():
        raise InvalidRequest(
            f"{condition.time_zone!r} is no IANA time zone",
            problems=_problem("time_zone", "use a name such as 'Europe/Rome' or 'UTC'"),
            hint="Use a name such as 'Europe/Rome' or 'UTC'.",
            code="bad_time_zone",
        )
    if not _is_expression(condition.expression):
        raise InvalidRequest(
            f"{condition.expression!r} is no cron expression",
            problems=_problem("expression", "five fields: minute, hour, day of month, month, day of week"),
            hint="Send five fields: minute, hour, day of month, month, day of week.",
            code="bad_cron_expression",
        )
    if next_occurrence(condition, after=now) is None:
        raise InvalidRequest(
            f"{condition.expression!r} does not fire within {MAX_YEARS} years",
            problems=_problem("expression", "name a date that exists"),
            hint="Name a date that exists.",
            code="cron_never_fires",
        )


def next_occurrence(condition: CronCondition, *, after: datetime) -> datetime | None:
    """The first time after this one at which the expression fires, in UTC; None: not within five years."""
    local = after.astimezone(ZoneInfo(condition.time_zone))
    times = croniter(condition.expression.lower(), local, max_years_between_matches=MAX_YEARS)
    every_hour = condition.expression.split()[1].startswith("*")
    try:
        found: datetime = times.get_next(datetime)
        while found.fold and not every_hour:
            found = times.get_next(datetime)
    except CroniterBadDateError:
        return None
    return found.astimezone(UTC)


def next_run(
    schedule_id: str, condition: CronCondition, *, after: datetime, now: datetime
) -> tuple[datetime, datetime] | None:
    """The first occurrence after ``after`` whose run is still to come, and when that is; None: none comes."""
    start = max(after, now - timedelta(seconds=condition.jitter_seconds))
    while (occurrence := next_occurrence(condition, after=start)) is not None:
        due = occurrence + jitter(schedule_id, occurrence, seconds=condition.jitter_seconds)
        if due > now:
            return occurrence, due
        start = occurrence
    return None


def jitter(schedule_id: str, occurrence: datetime, *, seconds: int) -> timedelta:
    """How late this run is: spread evenly from nothing to ``seconds``, the same at each look."""
    named = f"{schedule_id} {occurrence.astimezone(UTC).isoformat()}".encode()
    drawn = int.from_bytes(hashlib.sha256(named).digest()[:8], "big")
    return timedelta(seconds=drawn % (seconds + 1))


def _is_expression(expression: str) -> bool:
    fields = expression.lower().split()
    is_plain = len(fields) == _NUM_FIELDS and all(map(_FIELD.fullmatch, fields))
    return is_plain and not any(map(_DRAWN.search, fields)) and croniter.is_valid(" ".join(fields))


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _problem(field: str, detail: str) -> tuple[FieldProblem, ...]:
    return (FieldProblem(pointer=f"/when/{field}", detail=detail),)
