"""What a running attempt says of itself, written behind its fence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, insert, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import (
    Checkpoint,
    Job,
    JobAttempt,
    JobEvent,
    LogChunk,
    MetricPoint,
)
from heimdall_core.jobs.claiming import Claim, LeaseLost


@dataclass(slots=True, kw_only=True)
class Report:
    """What has come in since the last write."""

    phase: str | None = None
    progress: dict[str, Any] | None = None
    #: (name, step) -> (epoch, value): a point that came twice is written once.
    points: dict[tuple[str, int], tuple[int, float]] = field(default_factory=dict)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    #: Columns of the attempt: what it has used.
    usage: dict[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        parts = (self.phase, self.progress, self.points, self.events, self.checkpoints, self.log, self.usage)
        return any(parts)


def write_report(session: Session, claim: Claim, report: Report, *, number: int) -> None:
    """Writes the attempt's report of this number in the caller's transaction; once is all that counts.

    Raises:
        LeaseLost: the job is no longer this attempt's; nothing was written.
    """
    _touch_job(session, claim, report)
    if not _take_number(session, claim, number, report.usage):
        return
    if report.points:
        _write_points(session, claim, report.points)
    if report.events:
        _write_events(session, claim, report.events)
    if report.checkpoints:
        _write_checkpoints(session, claim, report.checkpoints)
    if report.log:
        session.add(
            LogChunk(job_id=claim.job_id, attempt=claim.attempt, number=number, content="".join(report.log))
        )


def _take_number(session: Session, claim: Claim, number: int, usage: Mapping[str, float]) -> bool:
    statement = (
        update(JobAttempt)
        .where(
            JobAttempt.job_id == claim.job_id,
            JobAttempt.number == claim.attempt,
            JobAttempt.report_number < number,
        )
        .values(report_number=number, **usage)
    )
    return session.execute(statement.returning(JobAttempt.number)).first() is not None


def _touch_job(session: Session, claim: Claim, report: Report) -> None:
    values: dict[str, Any] = {"updated_at": func.now(), "revision": Job.revision + 1}
    if report.phase:
        values["phase"] = report.phase
    if report.progress:
        values["progress"] = report.progress
    if report.points:
        values["metrics"] = Job.metrics.concat(_newest(report.points))
    statement = update(Job).where(*claim.guard()).values(**values)
    if session.execute(statement.returning(Job.id)).first() is None:
        raise LeaseLost(claim.job_id)


def _newest(points: Mapping[tuple[str, int], tuple[int, float]]) -> dict[str, float]:
    return {name: value for (name, _), (_, value) in sorted(points.items(), key=lambda item: item[0][1])}


def _write_points(
    session: Session, claim: Claim, points: Mapping[tuple[str, int], tuple[int, float]]
) -> None:
    rows = [
        {
            "job_id": claim.job_id,
            "name": name,
            "step": step,
            "epoch": epoch,
            "value": value,
            "attempt": claim.attempt,
        }
        for (name, step), (epoch, value) in points.items()
    ]
    statement = upsert(MetricPoint)
    replace = {"epoch": statement.excluded.epoch, "value": statement.excluded.value}
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["job_id", "name", "step"],
            set_=replace | {"attempt": statement.excluded.attempt},
        ),
        rows,
    )


def _write_events(session: Session, claim: Claim, events: Sequence[tuple[str, dict[str, Any]]]) -> None:
    rows = [
        {"job_id": claim.job_id, "attempt": claim.attempt, "name": name, "data": data}
        for name, data in events
    ]
    session.execute(insert(JobEvent), rows)


def _write_checkpoints(session: Session, claim: Claim, checkpoints: Sequence[dict[str, Any]]) -> None:
    rows = [
        {"id": new_id("ckpt"), "job_id": claim.job_id, "attempt": claim.attempt, **checkpoint}
        for checkpoint in checkpoints
    ]
    session.execute(insert(Checkpoint), rows)
