"""``register.promote``: what a job's success, and the evaluations that it waits for, do through the gate.

A person may promote what is no worse; a job promotes only what is better. No refusal fails a job: the verdict
is kept in the version and in an event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import Model, ModelVersion
from heimdall_core.database.job_tables import Job
from heimdall_core.domain.errors import HeimdallError
from heimdall_core.registry.events import ModelEventKind, record_model_event
from heimdall_core.registry.gate import Verdict
from heimdall_core.registry.measurements import SPLIT, evaluated
from heimdall_core.registry.promotion import (
    Gate,
    Measure,
    champion_of,
    crown,
    find_verdict,
    is_waiting,
    lock_model,
)
from heimdall_core.registry.weights import have_same_weights

ABANDONED = "the jobs that were to measure it ended without a measurement"


def promote_if_better(session: Session, model: Model, row: ModelVersion, gate: Gate, job: Job) -> None:
    """Promotes the new version of a job if it is better; ``row.promotion`` says what it came to.

    If nothing is in the way but that champion and version were not measured on the same sessions, evaluate
    jobs are queued and the decision waits for them.

    Args:
        session: the transaction in which the job succeeds.
        model: locked.
        row: the version.
        gate: what the verdict is found with.
        job: the training or export.
    """
    if equal := _equal_of(session, model, row):
        _refuse(session, model, row, job, equal)
        return
    try:
        verdict = find_verdict(session, model, row, gate, must_be_better=True)
    except HeimdallError as error:
        _refuse(session, model, row, job, error.message)
        return
    if verdict.lacks_measurement and gate.measure is not None:
        _wait(session, model, row, verdict, gate.measure, job)
    else:
        _decide(session, model, row, verdict, job)
    session.flush()


def settle_waiting(session: Session, evaluation: Job, result: Mapping[str, Any], gate: Gate) -> list[str]:
    """Decides about the versions that wait, if an evaluate job of their model lets it; returns NAME/VERSION.

    One that waits for this very job is decided, unless another of its jobs is open or the champion is another
    than when it was queued: then it waits for a measurement of that one. Any other is decided only if it can
    be compared now.

    Args:
        session: the transaction in which the evaluate job succeeds.
        evaluation: the job, whose artifacts are written already.
        result: what it has measured.
        gate: what the verdict is found with.

    Raises:
        InfrastructureError: what a version waits for cannot be read now; the job is to be tried again.
    """
    if evaluation.spec["split"] != SPLIT:
        return []
    gate = replace(gate, fresh=(evaluated(evaluation, result),))
    rows = _waiting(session, ModelVersion.name == evaluation.spec["model"]["name"])
    settled = [f"{row.name}/{row.version}" for row in rows if _settle(session, row, evaluation, gate)]
    session.flush()
    return settled


def refuse_abandoned(session: Session) -> list[str]:
    """Refuses versions that wait although no evaluate job of their model is open; returns NAME/VERSION."""
    refused = []
    for row in _waiting(session):
        if _may_be_measured(session, row):
            continue
        model = lock_model(session, row.name)
        session.refresh(row)
        if is_waiting(row) and not _may_be_measured(session, row):
            _refuse(session, model, row, session.get_one(Job, row.job_id), ABANDONED)
            refused.append(f"{row.name}/{row.version}")
    session.flush()
    return refused


def _settle(session: Session, row: ModelVersion, evaluation: Job, gate: Gate) -> bool:
    """Decides about a version that waits; False: it waits on, or no longer did."""
    model = lock_model(session, row.name)
    session.refresh(row)
    if not is_waiting(row) or row.promotion is None:
        return False
    if equal := _equal_of(session, model, row):
        _refuse(session, model, row, evaluation, equal)
        return True
    is_awaited = evaluation.id in row.promotion["evaluation_job_ids"]
    try:
        verdict = find_verdict(session, model, row, gate, must_be_better=True)
    except HeimdallError as error:
        if not is_awaited:
            return False
        if error.retryable:
            raise
        _refuse(session, model, row, evaluation, error.message)
        return True
    if not verdict.is_measured and (
        not is_awaited or _waits_on(session, model, row, verdict, gate, evaluation)
    ):
        return False
    _decide(session, model, row, verdict, evaluation)
    return True


def _equal_of(session: Session, model: Model, row: ModelVersion) -> str | None:
    """Why the version is no better than the champion though nothing was compared: it is the same network."""
    champion = champion_of(session, model)
    if champion is None or not have_same_weights(session, row, champion):
        return None
    return (
        f"it has the weights of version {champion.version}, the champion, and is no better; "
        "if this file is the one to be served, promote it by request"
    )


def _waits_on(
    session: Session, model: Model, row: ModelVersion, verdict: Verdict, gate: Gate, evaluation: Job
) -> bool:
    """Whether it is left to another of its jobs, or to those queued here for a champion that is new."""
    if not verdict.lacks_measurement or row.promotion is None:
        return False
    others = [job_id for job_id in row.promotion["evaluation_job_ids"] if job_id != evaluation.id]
    if _is_open(session, Job.id.in_(others)):
        return True
    if gate.measure is None or row.promotion["verdict"]["champion_version"] == model.champion_version:
        return False
    _wait(session, model, row, verdict, gate.measure, session.get_one(Job, row.job_id))
    return True


def _wait(
    session: Session, model: Model, row: ModelVersion, verdict: Verdict, measure: Measure, job: Job
) -> None:
    """Queues what is lacking on behalf of the version's job; if that cannot be, the version is refused."""
    try:
        with session.begin_nested():
            queued = [measure(session, body, job) for body in verdict.evaluate]
    except HeimdallError as error:
        _refuse(session, model, row, job, error.message)
        return
    row.promotion = {"outcome": "waits", "verdict": verdict.to_dict(), "evaluation_job_ids": queued}
    reason = f"decided when it has been measured by {', '.join(queued)}"
    _tell(session, ModelEventKind.PROMOTION_WAITS, model, row, job, reason=reason)


def _waiting(session: Session, *where: ColumnElement[bool]) -> Sequence[ModelVersion]:
    waits = ModelVersion.promotion["outcome"].astext == "waits"
    statement = select(ModelVersion).where(waits, *where)
    return session.scalars(statement.order_by(ModelVersion.name, ModelVersion.version)).all()


def _may_be_measured(session: Session, row: ModelVersion) -> bool:
    """Whether an evaluate job of the model, a retried one too, is open."""
    return _is_open(
        session,
        Job.kind == "evaluate",
        Job.spec["model"]["name"].astext == row.name,
        Job.spec["split"].astext == SPLIT,
    )


def _is_open(session: Session, *where: ColumnElement[bool]) -> bool:
    return session.scalar(select(Job.id).where(Job.finished_at.is_(None), *where).limit(1)) is not None


def _refuse(session: Session, model: Model, row: ModelVersion, job: Job, reason: str) -> None:
    """Without a verdict: it could not be found."""
    row.promotion = {"outcome": "refused", "verdict": None, "reason": reason}
    _tell(session, ModelEventKind.PROMOTION_REFUSED, model, row, job, reason=reason)


def _decide(session: Session, model: Model, row: ModelVersion, verdict: Verdict, job: Job) -> None:
    found = verdict.to_dict()
    row.promotion = {"outcome": "promoted" if verdict.passed else "refused", "verdict": found}
    if verdict.passed:
        crown(session, model, row, actor=job.owner, verdict=found, job_id=job.id)
    else:
        _tell(session, ModelEventKind.PROMOTION_REFUSED, model, row, job, verdict=found)


def _tell(
    session: Session,
    kind: ModelEventKind,
    model: Model,
    row: ModelVersion,
    job: Job,
    *,
    reason: str | None = None,
    verdict: Mapping[str, Any] | None = None,
) -> None:
    record_model_event(
        session,
        kind,
        model=model.name,
        version=row.version,
        former_version=model.champion_version,
        actor=job.owner,
        job_id=job.id,
        reason=reason,
        verdict=verdict,
    )
