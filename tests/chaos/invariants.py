"""The promise, checked against the trace and the database after a run."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import ModelVersion
from heimdall_core.database.job_tables import (
    Artifact,
    Checkpoint,
    Job,
    JobAttempt,
    JobEvent,
    LogChunk,
    MetricPoint,
)
from tests.chaos.trace import Line

TERMINAL = {"succeeded", "failed", "cancelled"}
_COSTLY = {"failed", "lost"}
#: What a thawed trainer may still do, by the promise.
THAW_SECONDS = 5.0
_SIGNS_OF_LIFE = {"trainer_alive", "first_step", "trainer_end"}
_ENDINGS = {f"job.{status}" for status in TERMINAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A rule, and what broke it."""

    rule: str
    detail: dict[str, Any]


def check(lines: list[Line], session: Session) -> list[Violation]:
    """Everything that is wrong."""
    found = [Violation(rule=line["rule"], detail=line) for line in lines if line["what"] == "violation"]
    found += [
        Violation(rule="a slot outlives its jobs", detail=li) for li in lines if li["what"] == "slot_died"
    ]
    found += _check_overlap(lines)
    found += _check_history(lines)
    found += _check_after_cancel(lines)
    found += _check_jobs(session)
    found += _check_reports(session)
    return found


def _check_overlap(lines: list[Line]) -> Iterator[Violation]:
    """No two trainers of one job: none shows life after a later attempt of its job began."""
    starts: dict[str, dict[int, float]] = defaultdict(dict)
    for line in lines:
        if line["what"] == "trainer_start":
            if line["attempt"] in starts[line["job"]]:
                yield Violation(rule="one trainer per attempt", detail=line)
            starts[line["job"]][line["attempt"]] = line["at"]
    thaws = _thaws(lines)
    worst: dict[tuple[str, int], Line] = {}
    for line in lines:
        if line["what"] in _SIGNS_OF_LIFE and not _is_just_thawed(line, thaws[line["pid"]]):
            later = [at for number, at in starts[line["job"]].items() if number > line["attempt"]]
            if later and line["at"] > min(later):
                worst[line["job"], line["attempt"]] = {**line, "seconds": round(line["at"] - min(later), 2)}
    yield from (Violation(rule="no two trainers of one job", detail=line) for line in worst.values())


def _thaws(lines: list[Line]) -> dict[int, list[float]]:
    """When each process was thawed."""
    thaws: dict[int, list[float]] = defaultdict(list)
    for line in lines:
        for pid in line["pids"] if line["what"] == "thawed" else ():
            thaws[pid].append(line["at"])
    return thaws


def _is_just_thawed(line: Line, thaws: list[float]) -> bool:
    return any(at - 0.05 <= line["at"] <= at + THAW_SECONDS for at in thaws)


def _check_history(lines: list[Line]) -> Iterator[Violation]:
    ended: dict[str, str] = {}
    for line in lines:
        if line["what"] != "job":
            continue
        job, status = line["job"], line["status"]
        if job in ended and ended[job] != status:
            yield Violation(rule="a terminal status never changes", detail={**line, "was": ended[job]})
        if status in TERMINAL:
            ended[job] = status


def _check_after_cancel(lines: list[Line]) -> Iterator[Violation]:
    """A cancel that was taken is not forgotten: no attempt begins after it was answered."""
    answered: dict[str, Line] = {}
    for line in lines:
        if line["what"] == "cancel_answered":
            answered.setdefault(line["job"], line)
        elif line["what"] == "trainer_start" and line["job"] in answered:
            before = answered[line["job"]]
            if line["attempt"] > before["attempt"]:
                yield Violation(
                    rule="a cancel is not forgotten", detail={**before, "started_attempt": line["attempt"]}
                )


def _check_jobs(session: Session) -> Iterator[Violation]:
    for job in session.scalars(select(Job).where(Job.owner != "setup")):
        attempts = session.scalars(
            select(JobAttempt).where(JobAttempt.job_id == job.id).order_by(JobAttempt.number)
        ).all()
        events = session.scalars(
            select(JobEvent.name).where(JobEvent.job_id == job.id).order_by(JobEvent.id)
        ).all()
        artifacts = session.scalars(select(Artifact).where(Artifact.job_id == job.id)).all()
        versions = session.scalar(
            select(func.count()).select_from(ModelVersion).where(ModelVersion.job_id == job.id)
        )
        for rule, holds in _rules(job, list(attempts), list(events), list(artifacts), versions or 0):
            if not holds:
                yield Violation(rule=rule, detail=_describe(job, list(attempts), list(events)))


def _rules(
    job: Job, attempts: list[JobAttempt], events: list[str], artifacts: list[Artifact], versions: int
) -> Iterator[tuple[str, bool]]:
    succeeded = job.status == "succeeded"
    registers = succeeded and bool((job.spec.get("register") or {}).get("enabled"))
    costly = [a for a in attempts if a.outcome in _COSTLY]
    yield "every job ends", job.status in TERMINAL
    yield (
        "attempts are numbered without gaps",
        [a.number for a in attempts] == list(range(1, job.attempt + 1)),
    )
    yield "every attempt has an end", all(a.ended_at is not None and a.outcome for a in attempts)
    yield "the retry budget is kept", job.failures <= job.max_attempts
    yield "failures are counted once", job.failures <= len(costly) <= job.failures + 1
    yield "no lease is left", job.lease_owner is None and job.lease_expires_at is None
    yield "one end in the history", sum(e in _ENDINGS for e in events) == 1
    yield "nothing happens after the end", not events or events[-1] in _ENDINGS
    yield (
        "one success, and of the last attempt",
        [a.number for a in attempts if a.outcome == "succeeded"] == ([job.attempt] if succeeded else []),
    )
    yield (
        "results are of the attempt that succeeded",
        {a.attempt for a in artifacts} <= ({job.attempt} if succeeded else set()),
    )
    yield "artifacts are named once", len({a.name for a in artifacts}) == len(artifacts)
    yield "a training that succeeds has artifacts", job.kind != "train" or bool(artifacts) == succeeded
    yield "one model version for each that registers", versions == int(registers)
    yield "who waits gets its turn", bool(attempts) or job.status == "cancelled"
    yield "a poison job fails", job.tags.get("chaos") != "poison" or job.status == "failed"
    yield "a cancel ends the job", job.cancel_requested_at is None or job.status in TERMINAL


def _describe(job: Job, attempts: list[JobAttempt], events: list[str]) -> dict[str, Any]:
    return {
        "job": job.id,
        "status": job.status,
        "attempt": job.attempt,
        "failures": job.failures,
        "max_attempts": job.max_attempts,
        "error": job.error,
        "cancel_requested_at": str(job.cancel_requested_at),
        "attempts": [(a.number, a.worker, a.outcome, (a.error or {}).get("code")) for a in attempts],
        "events": [e for e in events if e.startswith("job.") and e != "job.phase"],
    }


def _check_reports(session: Session) -> Iterator[Violation]:
    """Points, logs and checkpoints come from attempts that were, and none from after their end."""
    for table in (MetricPoint, LogChunk, Checkpoint):
        orphans = session.execute(
            select(table.job_id, table.attempt)
            .outerjoin(JobAttempt, (JobAttempt.job_id == table.job_id) & (JobAttempt.number == table.attempt))
            .where(JobAttempt.number.is_(None))
            .distinct()
        ).all()
        for job_id, attempt in orphans:
            yield Violation(
                rule="reports come from attempts that were",
                detail={"table": table.__tablename__, "job": job_id, "attempt": attempt},
            )
    late = session.execute(
        select(LogChunk.job_id, LogChunk.attempt)
        .join(JobAttempt, (JobAttempt.job_id == LogChunk.job_id) & (JobAttempt.number == LogChunk.attempt))
        .where(LogChunk.created_at > JobAttempt.ended_at + func.make_interval(0, 0, 0, 0, 0, 0, 0.5))
    ).all()
    for job_id, attempt in late:
        yield Violation(
            rule="an attempt that is over reports nothing", detail={"job": job_id, "attempt": attempt}
        )
