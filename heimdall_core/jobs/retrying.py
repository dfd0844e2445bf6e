"""A new job from the specification of an ended one."""

from typing import Any

from sqlalchemy.orm import Session

from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Checkpoint, Job
from heimdall_core.domain.errors import Conflict
from heimdall_core.domain.job import JobStatus
from heimdall_core.jobs.deduplication import content_key
from heimdall_core.jobs.queries import find_job, newest_checkpoint
from heimdall_core.jobs.submission import enqueue, trace_columns

_COPIED = (
    "kind",
    "spec",
    "tags",
    "priority",
    "priority_rank",
    "accelerator",
    "min_memory_bytes",
    "max_attempts",
    "max_pending_seconds",
    "max_runtime_seconds",
    "source_model",
)


def retry_job(
    session: Session, job_id: str, *, owner: str | None, submitter: str, from_checkpoint: bool = False
) -> Job:
    """Queues a new job of the same specification and inputs, whose parent is the old one.

    Args:
        session: the transaction.
        job_id: an ended job.
        owner: whose jobs may be retried; None: everybody's.
        submitter: whose job the new one becomes.
        from_checkpoint: go on from the old job's newest durable checkpoint instead of from the beginning.

    Raises:
        NotFound: no such job, or another owner's.
        Conflict: the job has not ended, or has no durable checkpoint to go on from.
    """
    old = find_job(session, job_id, owner=owner)
    if not JobStatus(old.status).is_terminal:
        raise Conflict(
            f"the job is {old.status}; only an ended one can be retried",
            code="job_not_in_state",
            hint="`:resume` goes on with a paused one." if old.status == JobStatus.PAUSED else None,
        )
    copied = {name: getattr(old, name) for name in _COPIED}
    inputs: dict[str, Any] = {k: v for k, v in old.inputs.items() if k != "resume_from"}
    if from_checkpoint:
        inputs["resume_from"] = describe_checkpoint(_require_checkpoint(session, old))
    job = Job(
        id=new_id("job"),
        owner=submitter,
        status=JobStatus.QUEUED.value,
        inputs=inputs,
        parent_job_id=old.id,
        content_key=content_key(old.kind, old.spec, inputs),
        **trace_columns(),
        **copied,
    )
    return enqueue(session, job)


def describe_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a trainer needs to go on from it."""
    return {
        "uri": checkpoint.uri,
        "sha256": checkpoint.sha256,
        "num_bytes": checkpoint.num_bytes,
        "epoch": checkpoint.epoch,
        "step": checkpoint.step,
        "metrics": checkpoint.metrics,
        "at_epoch_end": checkpoint.at_epoch_end,
    }


def _require_checkpoint(session: Session, job: Job) -> Checkpoint:
    checkpoint = newest_checkpoint(session, job.id)
    if checkpoint is None:
        raise Conflict(
            f"job {job.id} has no durable checkpoint",
            code="no_checkpoint",
            hint="Retry without from_checkpoint: it begins anew.",
        )
    return checkpoint
