"""What is kept no longer: each rule a small step that any number may run, and that a crash leaves half done.

Rows say what may go, objects follow, and only then does the row that named them. What leaves a bucket was
out of sight for ``GRACE_SECONDS`` before, so that whoever had just read of it is done.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import (
    ColumnElement,
    Float,
    Select,
    Subquery,
    and_,
    cast,
    delete,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import Session, aliased

from heimdall_core.database.catalogue_tables import IdempotencyRecord
from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Artifact, Checkpoint, Job, JobAttempt, JobEvent, LogChunk
from heimdall_core.domain.job import AttemptOutcome, JobKind, JobStatus

#: From out of sight to deleted: longer than any transaction that may still name the thing.
GRACE_SECONDS = 600.0
DAY_SECONDS = 86_400.0
#: An attempt's litter is looked for from a day after its end until then.
_LITTER_DAYS = 7.0
TERMINAL = tuple(status.value for status in JobStatus if status.is_terminal)


class RetentionStore(Protocol):
    """The part of the object store that retention needs.

    Raises:
        StorageUnavailable: it did not answer; the next run goes on.
    """

    def list_sizes(self, prefix: str) -> dict[str, int]:
        """Bytes of each object whose URI begins with ``prefix``, by URI."""
        ...

    def delete(self, uri: str) -> None:
        """Deletes the object; one that is absent already is no error."""
        ...

    def delete_all(self, uris: Iterable[str]) -> None:
        """Deletes the objects; those that are absent already are no error."""
        ...


def retire_checkpoints(session: Session, *, num_best: int, limit: int = 500) -> int:
    """Takes superseded checkpoints of trainings out of sight; returns how many.

    Of each training stay the newest, the newest between two epochs, the ``num_best`` with the lowest
    ``val_loss``, and what another job needs.
    """
    ranked = _ranked_checkpoints()
    is_best = and_(ranked.c.val_loss.is_not(None), ranked.c.of_value == 1, ranked.c.by_value <= num_best)
    is_newest = or_(ranked.c.by_age == 1, and_(ranked.c.at_epoch_end, ranked.c.by_age_of_sort == 1))
    superseded = select(ranked.c.id).where(not_(or_(is_newest, func.coalesce(is_best, False))))
    # Those of an import each hold a part of its report: a later one needs the earlier ones.
    trainings = select(Job.id).where(Job.kind == JobKind.TRAIN.value)
    chosen = (
        select(Checkpoint.id)
        .where(
            Checkpoint.id.in_(superseded),
            Checkpoint.job_id.in_(trainings),
            Checkpoint.retired_at.is_(None),
            not_(_is_needed()),
        )
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = update(Checkpoint).where(Checkpoint.id.in_(chosen)).values(retired_at=func.now())
    return len(session.execute(statement.returning(Checkpoint.id)).all())


def delete_retired_checkpoints(
    database: Database, store: RetentionStore, *, grace_seconds: float = GRACE_SECONDS, limit: int = 200
) -> int:
    """Deletes the objects of retired checkpoints, then each one's row; returns how many."""
    with database.transaction() as session:
        statement = (
            select(Checkpoint.id, Checkpoint.uri)
            .where(Checkpoint.retired_at < ago(grace_seconds), not_(_is_needed()))
            .order_by(Checkpoint.retired_at)
            .limit(limit)
        )
        retired = session.execute(statement).all()
    for checkpoint_id, uri in retired:
        store.delete(uri)
        with database.transaction() as session:
            session.execute(delete(Checkpoint).where(Checkpoint.id == checkpoint_id))
    return len(retired)


def delete_old_logs(session: Session, *, days: float, limit: int = 2000) -> int:
    """Deletes log text of jobs that ended so long ago; returns the number of pieces."""
    key = (LogChunk.job_id, LogChunk.attempt, LogChunk.number)
    old = (
        select(*key)
        .join(Job, Job.id == LogChunk.job_id)
        .where(*_ended(days * DAY_SECONDS))
        .limit(limit)
        .with_for_update(of=LogChunk, skip_locked=True)
    )
    return len(
        session.execute(delete(LogChunk).where(tuple_(*key).in_(old)).returning(LogChunk.number)).all()
    )


def delete_old_events(session: Session, *, days: float, limit: int = 2000) -> int:
    """Deletes what lies between the first and the last event of jobs that ended so long ago."""
    before, after = aliased(JobEvent), aliased(JobEvent)
    old = (
        select(JobEvent.id)
        .join(Job, Job.id == JobEvent.job_id)
        .where(
            *_ended(days * DAY_SECONDS),
            exists().where(before.job_id == JobEvent.job_id, before.id < JobEvent.id),
            exists().where(after.job_id == JobEvent.job_id, after.id > JobEvent.id),
        )
        .limit(limit)
        .with_for_update(of=JobEvent, skip_locked=True)
    )
    return len(session.execute(delete(JobEvent).where(JobEvent.id.in_(old)).returning(JobEvent.id)).all())


def delete_old_answers(session: Session, *, hours: float, limit: int = 2000) -> int:
    """Forgets answers that were kept by ``Idempotency-Key``; returns how many."""
    key = (IdempotencyRecord.owner, IdempotencyRecord.key)
    old = (
        select(*key)
        .where(IdempotencyRecord.created_at < ago(hours * 3600.0))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = delete(IdempotencyRecord).where(tuple_(*key).in_(old))
    return len(session.execute(statement.returning(IdempotencyRecord.key)).all())


def delete_litter(database: Database, store: RetentionStore, *, bucket: str, limit: int = 500) -> int:
    """Deletes what attempts without success left in the store and no row names; returns how many objects.

    An attempt writes only under a prefix of its own. A few are drawn each time, so that none is left out.
    """
    with database.transaction() as session:
        attempts = session.execute(_fruitless_attempts(limit)).all()
    num_deleted = 0
    for job_id, number in attempts:
        found = store.list_sizes(f"s3://{bucket}/jobs/{job_id}/a{number}/")
        if found:
            with database.transaction() as session:
                litter = found.keys() - _named_objects(session, job_id)
            store.delete_all(sorted(litter))
            num_deleted += len(litter)
    return num_deleted


def _ranked_checkpoints() -> Subquery:
    """Visible checkpoints with their places among those of their job.

    Checkpoints within an epoch repeat the ``val_loss`` of the epoch before: only the first of a value counts.
    """
    val_loss = cast(Checkpoint.metrics["val_loss"].astext, Float)
    newest_first = (Checkpoint.step.desc(), Checkpoint.created_at.desc())
    of_job = Checkpoint.job_id
    return (
        select(
            Checkpoint.id,
            Checkpoint.at_epoch_end,
            val_loss.label("val_loss"),
            func.row_number().over(partition_by=of_job, order_by=newest_first).label("by_age"),
            func.row_number()
            .over(partition_by=(of_job, Checkpoint.at_epoch_end), order_by=newest_first)
            .label("by_age_of_sort"),
            func.row_number()
            .over(
                partition_by=(of_job, val_loss),
                order_by=(Checkpoint.at_epoch_end.desc(), Checkpoint.step, Checkpoint.created_at),
            )
            .label("of_value"),
            func.dense_rank().over(partition_by=of_job, order_by=val_loss.nulls_last()).label("by_value"),
        )
        .where(Checkpoint.retired_at.is_(None))
        .subquery("ranked")
    )


def _is_needed() -> ColumnElement[bool]:
    """Whether a job that may still run goes on from the checkpoint, or may be asked to export it again."""
    may_run = Job.status.not_in(TERMINAL)
    resumed = _named_by(JobKind.TRAIN, "resume_from", may_run)
    exported = _named_by(JobKind.EXPORT, "weights", or_(may_run, Job.status == JobStatus.SUCCEEDED.value))
    return or_(Checkpoint.uri.in_(resumed), Checkpoint.uri.in_(exported))


def _named_by(kind: JobKind, name: str, condition: ColumnElement[bool]) -> Select[str]:
    uri = Job.inputs[name]["uri"].astext
    return select(uri).where(Job.kind == kind.value, condition, uri.is_not(None))


def _ended(seconds: float) -> tuple[ColumnElement[bool], ...]:
    return (Job.status.in_(TERMINAL), Job.finished_at < ago(seconds))


def _fruitless_attempts(limit: int) -> Select[str, int]:
    return (
        select(JobAttempt.job_id, JobAttempt.number)
        .where(
            JobAttempt.outcome != AttemptOutcome.SUCCEEDED.value,
            JobAttempt.ended_at < ago(DAY_SECONDS),
            JobAttempt.ended_at > ago(_LITTER_DAYS * DAY_SECONDS),
        )
        .order_by(func.random())
        .limit(limit)
    )


def _named_objects(session: Session, job_id: str) -> set[str]:
    checkpoints = select(Checkpoint.uri).where(Checkpoint.job_id == job_id)
    artifacts = select(Artifact.uri).where(Artifact.job_id == job_id)
    return set(session.scalars(checkpoints.union_all(artifacts)))


def ago(seconds: float) -> ColumnElement[datetime]:
    """A moment of the database's clock."""
    return func.now() - literal(timedelta(seconds=seconds))
