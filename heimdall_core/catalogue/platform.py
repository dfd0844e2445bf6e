"""Taking over recording sessions that the platform made: its rows stay its own, ours only describe them."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from annotated_types import MaxLen, MinLen
from sqlalchemy import Row, func
from sqlalchemy.orm import Session

from heimdall_core.catalogue.platform_matching import FREQUENCY_TOLERANCE_HZ, match_rows
from heimdall_core.catalogue.platform_queries import (
    described_recordings,
    possible_recordings,
    select_sessions,
    session_windows,
)
from heimdall_core.catalogue.platform_report import PlatformPlan
from heimdall_core.catalogue.uploads import MAX_FILES, SubmitImport
from heimdall_core.database.catalogue_tables import Upload
from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Job
from heimdall_core.domain.errors import FieldProblem, InvalidRequest, NotFound
from heimdall_core.domain.spec import STRICT, ImportJobSpec
from heimdall_core.recordings.refusal import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformImport:
    """Which of the platform's sessions to take over: those named, or those of a time, or all."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    session_ids: Annotated[tuple[UUID, ...], MinLen(1), MaxLen(10_000)] | None = None
    started_after: datetime | None = None
    """The session began then or later; without an offset: UTC."""
    started_before: datetime | None = None
    """The session began earlier."""


def import_platform_sessions(
    session: Session, request: PlatformImport, *, bucket: str, owner: str, submit: SubmitImport
) -> Job:
    """Queues the reading of the recordings that no import has described yet.

    Args:
        session: the transaction of the request.
        request: which sessions.
        bucket: where the platform's recorder stores its objects.
        owner: whose job it becomes.
        submit: queues the job.

    Raises:
        InvalidRequest: sessions were named in two ways, or there are too many recordings for one job.
        NotFound: no such session; nothing was queued.
    """
    plan = plan_takeover(session, request, bucket=bucket)
    upload = Upload(
        id=new_id("upl"),
        owner=owner,
        files=[
            {"name": one.name, "uri": one.uri, "num_bytes": None, "sha256": None} for one in plan.recordings
        ],
        options={"platform": plan.to_dict()},
        completed_at=func.now(),
    )
    session.add(upload)
    session.flush()
    job = submit(session, ImportJobSpec(kind="import", upload_id=upload.id), owner=owner)
    upload.job_id = job.id
    session.flush()
    return job


def plan_takeover(session: Session, request: PlatformImport, *, bucket: str) -> PlatformPlan:
    """What there is to take over.

    Raises:
        InvalidRequest: sessions were named in two ways, or there are too many recordings for one job.
        NotFound: a named session does not exist.
    """
    _check(request)
    chosen = select_sessions(
        session, ids=request.session_ids, after=request.started_after, before=request.started_before
    )
    _check_exist(request, chosen)
    usable = [row for row in chosen if not row.is_archived and _hindrance(row) is None]
    ids = [row.id for row in usable]
    windows = session_windows(session, usable)
    described = described_recordings(session, ids)
    rows = possible_recordings(session, ids, windows)
    matching = match_rows(rows, windows, bucket=bucket, described=described)
    if len(matching.recordings) > MAX_FILES:
        raise _too_many(len(matching.recordings))
    served = {one.session_id for one in matching.recordings} | {session_id for session_id, _ in described}
    left_out = [(row, why) for row in chosen if (why := _why_left_out(row, served)) is not None]
    if request.session_ids is None:
        return PlatformPlan(
            recordings=matching.recordings, refused=matching.refused, warnings=_counted(left_out)
        )
    planned = {one.session_id for one in matching.recordings}
    return PlatformPlan(
        recordings=matching.recordings,
        refused=matching.refused + tuple(why.of(row.session_name) for row, why in left_out),
        known=tuple(
            str(row.id)
            for row in chosen
            if row.is_archived or (str(row.id) in served and str(row.id) not in planned)
        ),
    )


def _check(request: PlatformImport) -> None:
    by_time = [name for name in ("started_after", "started_before") if getattr(request, name) is not None]
    if request.session_ids is not None and by_time:
        problem = FieldProblem(pointer=f"/{by_time[0]}", detail="give either session_ids or a time")
        raise InvalidRequest("name the sessions in one way", problems=(problem,))


def _check_exist(request: PlatformImport, chosen: Sequence[Row[*tuple[Any, ...]]]) -> None:
    known = {row.id for row in chosen}
    problems = tuple(
        FieldProblem(pointer=f"/session_ids/{index}", detail="no such recording session")
        for index, identifier in enumerate(request.session_ids or ())
        if identifier not in known
    )
    if problems:
        raise NotFound("some sessions do not exist", code="session_not_found", problems=problems[:100])


def _too_many(num_recordings: int) -> InvalidRequest:
    return InvalidRequest(
        f"{num_recordings} recordings are more than the {MAX_FILES} that one job takes over",
        code="too_many_recordings",
        hint="Import them in parts: give started_after and started_before.",
        problems=(FieldProblem(pointer="/started_before", detail="narrow the time"),),
    )


def _hindrance(row: Row[*tuple[Any, ...]]) -> Refusal | None:
    """Why a session cannot be matched with recordings."""
    if row.status in ("in_progress", "recording"):
        return Refusal("session_not_finished", "is being recorded")
    if row.status == "failed":
        return Refusal("session_failed", "its recording failed")
    if row.ends_at is None:
        return Refusal("no_end", "has neither session_end nor duration_seconds")
    if not row.is_over:
        return Refusal("session_not_finished", "has not ended yet")
    if row.frequency_hz is None or row.latitude is None or row.longitude is None:
        return Refusal("no_source", "has no known source with a position and a frequency")
    return None


def _why_left_out(row: Row[*tuple[Any, ...]], served: Collection[str]) -> Refusal | None:
    if row.is_archived or str(row.id) in served:
        return None
    return _hindrance(row) or Refusal(
        "no_recordings",
        "no recording that can be used lies in its time and at the frequency of its source",
        hint=f"A recording needs IQ, a time in the session, a frequency within {FREQUENCY_TOLERANCE_HZ} Hz.",
    )


def _counted(left_out: Iterable[tuple[Row[*tuple[Any, ...]], Refusal]]) -> tuple[dict[str, Any], ...]:
    """Sessions that nobody named are told by their number."""
    counts = Counter((why.code, why.message, why.hint) for _, why in left_out)
    return tuple(
        {"code": code, "message": f"{count} sessions were left out, each: {message}", "hint": hint}
        for (code, message, hint), count in counts.items()
    )
