"""What to look at before a session is approved: judged from the catalogue, in Python and in SQL alike."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, func, literal, or_, select
from sqlalchemy.orm import Session

from heimdall_core.database.arrays import any_uuids
from heimdall_core.database.platform_tables import KnownSource, Measurement, RecordingSession

SessionFlag = Literal["incomplete_source", "no_recordings", "few_receivers", "weak_signal", "unknown_snr"]

FEW_RECEIVERS: Final = 3
"""With fewer, a position is hardly determined."""
WEAK_DB: Final = 6.0
"""No receiver heard the session above it: its levels say little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardRecordings:
    """What of a session can train."""

    num_recordings: int = 0
    num_receivers: int = 0
    num_known_snr: int = 0
    best_snr_db: float | None = None


def count_recordings(session: Session, session_ids: Sequence[UUID]) -> Mapping[UUID, HeardRecordings]:
    """The described recordings of each session, by one statement."""
    statement = _counts().where(Measurement.recording_session_id == any_uuids(session_ids))
    found: defaultdict[UUID, HeardRecordings] = defaultdict(HeardRecordings)
    for identifier, recordings, receivers, known, best in session.execute(statement):
        assert identifier is not None, "it is one of those asked for"
        found[identifier] = HeardRecordings(
            num_recordings=recordings, num_receivers=receivers, num_known_snr=known, best_snr_db=best
        )
    return found


def flags_of(source: KnownSource | None, heard: HeardRecordings) -> tuple[SessionFlag, ...]:
    """What is to be looked at, in the order in which it matters."""
    is_known = heard.best_snr_db is not None
    judged: dict[SessionFlag, bool] = {
        "incomplete_source": source is None
        or None in (source.latitude, source.longitude, source.frequency_hz),
        "no_recordings": heard.num_recordings == 0,
        "few_receivers": 0 < heard.num_receivers < FEW_RECEIVERS,
        "weak_signal": is_known and (heard.best_snr_db or 0.0) < WEAK_DB,
        "unknown_snr": heard.num_known_snr < heard.num_recordings,
    }
    return tuple(flag for flag, is_set in judged.items() if is_set)


def has_flag(flag: SessionFlag) -> ColumnElement[bool]:
    """True of sessions that ``flags_of`` gives the flag; of a statement that joins the source."""
    if flag == "incomplete_source":
        parts = (KnownSource.latitude, KnownSource.longitude, KnownSource.frequency_hz)
        return or_(KnownSource.id.is_(None), *(part.is_(None) for part in parts))
    if flag == "no_recordings":
        is_its = Measurement.recording_session_id == RecordingSession.id
        return ~exists().where(is_its, Measurement.iq_sha256.is_not(None))
    counts = _counts().where(Measurement.recording_session_id.is_not(None)).subquery("heard")
    conditions: dict[str, ColumnElement[bool]] = {
        "few_receivers": and_(counts.c.receivers > 0, counts.c.receivers < FEW_RECEIVERS),
        "weak_signal": counts.c.best < WEAK_DB,
        "unknown_snr": counts.c.known < counts.c.recordings,
    }
    return RecordingSession.id.in_(select(counts.c.id).where(conditions[flag]))


def _counts() -> Select[UUID | None, int, int, int, float | None]:
    """Of the recordings that are described: the others cannot train."""
    snr_db = func.nullif(Measurement.snr_db, literal(math.nan))
    return (
        select(
            Measurement.recording_session_id.label("id"),
            func.count().label("recordings"),
            func.count(Measurement.websdr_station_id.distinct()).label("receivers"),
            func.count(snr_db).label("known"),
            func.max(snr_db).label("best"),
        )
        .where(Measurement.iq_sha256.is_not(None))
        .group_by(Measurement.recording_session_id)
    )
