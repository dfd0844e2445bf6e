"""Publishing what the platform's recordings hold: in our columns alone, of rows that stand as read."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from heimdall_core.catalogue.import_result import result_of
from heimdall_core.catalogue.platform_report import DescribedRecording, PlatformPlan, PlatformReport
from heimdall_core.database.catalogue_tables import SessionImport
from heimdall_core.recordings.refusal import RefusedFile
from heimdall_core.recordings.session import parse_utc

_BATCH = 1000

#: A platform with a trigger that touches its own columns on every update is left to it.
_DESCRIBE = text("""
    update heimdall.measurements as m
    set recording_session_id = coalesce(m.recording_session_id, cast(v.session_id as uuid)),
        iq_sha256 = v.sha256, iq_byte_offset = v.byte_offset, iq_num_bytes = v.num_bytes
    from unnest(
        cast(:ids as text[]), cast(:times as timestamptz[]), cast(:sessions as text[]),
        cast(:locations as text[]), cast(:rates as bigint[]), cast(:frequencies as bigint[]),
        cast(:checksums as text[]), cast(:offsets as bigint[]), cast(:lengths as bigint[])
    ) as v (id, moment, session_id, location, sample_rate, frequency, sha256, byte_offset, num_bytes)
    where m.timestamp = v.moment and m.id = cast(v.id as uuid)
        and m.iq_sha256 is null
        and (m.recording_session_id is null or m.recording_session_id = cast(v.session_id as uuid))
        and m.iq_data_location = v.location and m.iq_data_format = 'npy'
        and m.iq_sample_rate = v.sample_rate and m.frequency_hz = v.frequency
        and exists (select from heimdall.recording_sessions s where s.id = cast(v.session_id as uuid))
    returning cast(m.id as text)
""")
_SAME = text("""
    select cast(m.id as text)
    from heimdall.measurements as m
    join unnest(
        cast(:ids as text[]), cast(:times as timestamptz[]),
        cast(:sessions as text[]), cast(:checksums as text[])
    ) as v (id, moment, session_id, sha256)
        on m.timestamp = v.moment and m.id = cast(v.id as uuid)
    where m.iq_sha256 = v.sha256 and m.recording_session_id = cast(v.session_id as uuid)
""")


def publish_platform_import(
    session: Session, plan: PlatformPlan, report: PlatformReport, *, job_id: str
) -> dict[str, Any]:
    """Describes the recordings and returns the job's result.

    A row that changed since it was planned is left alone and told; one that another import described
    meanwhile counts as known.
    """
    filled: set[str] = set()
    same: set[str] = set()
    for batch in _batches(report.described):
        filled |= _describe(session, batch)
        same |= _find_same(session, [one for one in batch if one.recording.measurement_id not in filled])
    accepted = _sessions(report.described, filled)
    known = [i for i in dict.fromkeys([*plan.known, *_sessions(report.described, same)]) if i not in accepted]
    changed = _changed(report.described, filled | same)
    brought = [{"job_id": job_id, "session_id": UUID(i)} for i in [*accepted, *known]]
    if brought:
        session.execute(insert(SessionImport), brought)
    return result_of(
        accepted=len(accepted),
        session_count=len(brought),
        duplicates=len(known),
        refused=[*report.refused, *changed],
        warnings=list(plan.warnings),
    ) | {"recordings": len(filled)}


def _describe(session: Session, batch: Sequence[DescribedRecording]) -> set[str]:
    """Ids of the rows that were filled."""
    values = _keys(batch) | {
        "locations": [one.recording.location for one in batch],
        "rates": [one.recording.sample_rate_hz for one in batch],
        "frequencies": [one.recording.frequency_hz for one in batch],
        "offsets": [one.offset for one in batch],
        "lengths": [one.num_bytes for one in batch],
    }
    return set(session.scalars(_DESCRIBE, values))


def _find_same(session: Session, batch: Sequence[DescribedRecording]) -> set[str]:
    """Ids of the rows that say the same already."""
    return set(session.scalars(_SAME, _keys(batch))) if batch else set()


def _keys(batch: Sequence[DescribedRecording]) -> dict[str, list[Any]]:
    return {
        "ids": [one.recording.measurement_id for one in batch],
        "times": [parse_utc(one.recording.timestamp) for one in batch],
        "sessions": [one.recording.session_id for one in batch],
        "checksums": [one.sha256 for one in batch],
    }


def _sessions(described: Iterable[DescribedRecording], ids: set[str]) -> list[str]:
    """The sessions of those rows, each once."""
    return list(
        dict.fromkeys(one.recording.session_id for one in described if one.recording.measurement_id in ids)
    )


def _changed(described: Iterable[DescribedRecording], ids: set[str]) -> list[RefusedFile]:
    return [
        RefusedFile(
            name=one.recording.name,
            code="measurement_changed",
            message="its measurement changed while its samples were read, and was left alone",
            hint="Import the session again.",
        )
        for one in described
        if one.recording.measurement_id not in ids
    ]


def _batches(described: Sequence[DescribedRecording]) -> Iterable[Sequence[DescribedRecording]]:
    return (described[start : start + _BATCH] for start in range(0, len(described), _BATCH))
