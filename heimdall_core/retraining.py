"""A model trained again as its champion was, on the recordings that are approved now.

Services call this unattended: callers join the job that waits already, and a repeated call changes nothing.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import DatasetVersion, Model, ModelVersion
from heimdall_core.database.job_tables import Job, RetrainRequest
from heimdall_core.datasets.definition import DatasetDefinition
from heimdall_core.datasets.freezing import freeze_dataset
from heimdall_core.datasets.queries import find_dataset_version
from heimdall_core.domain.errors import Conflict, InvalidRequest
from heimdall_core.domain.job import JobKind, JobStatus
from heimdall_core.domain.ports import ObjectStore
from heimdall_core.domain.spec import DatasetRef, ModelRef, TrainJobSpec, train_spec_from_dict
from heimdall_core.jobs.events import record_event
from heimdall_core.jobs.resolution import resolve
from heimdall_core.jobs.submission import enqueue, new_job
from heimdall_core.registry.queries import find_model, find_model_version

REASON_TAG = "retrain.reason"
_TAG_CHARS = 255
_DEFINITION: TypeAdapter[DatasetDefinition] = TypeAdapter(DatasetDefinition)


class RetrainOutcome(StrEnum):
    """What a call came to."""

    #: It queued a job.
    QUEUED = "queued"
    #: A job was queued already, which serves this call too.
    JOINED = "joined"
    #: A call with this ``dedupe_key`` has had its job before.
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainCall:
    """A caller's wish to have a model trained again."""

    model: str
    reason: str
    dedupe_key: str
    caller: str
    #: Train even if no recording was approved or withdrawn since the champion was trained.
    force: bool = False
    #: Start from the champion's weights instead of as the champion started.
    warm_start: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """The job that serves a call."""

    job: Job
    outcome: RetrainOutcome


def retrain_model(
    session: Session, call: RetrainCall, *, store: ObjectStore, bucket: str, raw_bucket: str
) -> Retraining:
    """Finds or queues the job that trains the model again; commit, then hint.

    Args:
        session: the transaction; calls for one model go one after the other until it ends.
        call: what is asked for.
        store: takes the manifest of the dataset's next version.
        bucket: where manifests lie.
        raw_bucket: where recordings lie.

    Raises:
        NotFound: no model has the name.
        Conflict: the model has no champion, its dataset would be the champion's own, or cannot be frozen.
        StorageUnavailable: the manifest could not be stored.
    """
    _lock(session, call.model)
    model = find_model(session, call.model)
    if former := session.get(RetrainRequest, (model.name, call.dedupe_key)):
        job = session.get_one(Job, former.job_id)
        return Retraining(job=job, outcome=RetrainOutcome.REPEATED)
    if waiting := _find_waiting(session, model.name):
        _remember(session, call, waiting, "retrain.joined")
        return Retraining(job=waiting, outcome=RetrainOutcome.JOINED)
    job = _queue(session, model, call, store=store, bucket=bucket, raw_bucket=raw_bucket)
    _remember(session, call, job, "retrain.requested")
    return Retraining(job=job, outcome=RetrainOutcome.QUEUED)


def coalesce_key(model: str) -> str:
    """What the queued retraining of a model is known by: there is at most one."""
    return f"retrain:{model}"


def _lock(session: Session, name: str) -> None:
    """Holds the model's retraining until the transaction ends: of two callers at once the second joins."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"retrain {name}", 0))))


def _find_waiting(session: Session, model: str) -> Job | None:
    """The queued retraining, held against a claim until this transaction ends."""
    queued = (Job.coalesce_key == coalesce_key(model), Job.status == JobStatus.QUEUED.value)
    return session.scalar(select(Job).where(*queued).with_for_update())


def _remember(session: Session, call: RetrainCall, job: Job, event: str) -> None:
    request = RetrainRequest(
        model=call.model, dedupe_key=call.dedupe_key, owner=call.caller, reason=call.reason, job_id=job.id
    )
    session.add(request)
    record_event(session, job, event, reason=call.reason, caller=call.caller, dedupe_key=call.dedupe_key)
    session.flush()


def _queue(
    session: Session, model: Model, call: RetrainCall, *, store: ObjectStore, bucket: str, raw_bucket: str
) -> Job:
    champion = _require_champion(session, model)
    origin = session.get_one(Job, champion.job_id)
    dataset = _freeze(
        session, champion, store=store, bucket=bucket, raw_bucket=raw_bucket, created_by=call.caller
    )
    if dataset.digest == champion.dataset_digest and not call.force:
        raise Conflict(
            f"version {champion.version} of model {model.name!r} was trained on all that is approved now",
            code="nothing_new",
            hint='Approve recordings first, or send "force": true.',
        )
    former = _train_spec(origin)
    if call.warm_start:
        former = _started_from(former, champion)
    spec = replace(
        former,
        dataset=DatasetRef(name=dataset.name, version=dataset.version),
        tags={**former.tags, REASON_TAG: call.reason[:_TAG_CHARS]},
    )
    resolved, inputs = resolve(session, spec, owner=None)
    job = new_job(resolved, inputs, owner=call.caller)
    job.parent_job_id, job.coalesce_key = origin.id, coalesce_key(model.name)
    return enqueue(session, job)


def _require_champion(session: Session, model: Model) -> ModelVersion:
    if model.champion_version is None:
        raise Conflict(
            f"model {model.name!r} has no champion to train again",
            code="no_champion",
            hint="Train it with POST /v1/jobs and register.promote 'if_better'.",
        )
    return find_model_version(session, model.name, model.champion_version)


def _train_spec(origin: Job) -> TrainJobSpec:
    """The training that gave the champion; of an export's with what the export made and registered."""
    if origin.kind != JobKind.EXPORT:
        return train_spec_from_dict(origin.spec)
    exported: dict[str, Any] = {
        "export": {"enabled": True, "outputs": origin.spec["outputs"]},
        "register": origin.spec["register"],
    }
    return train_spec_from_dict({**origin.inputs["train_spec"], **exported})


def _started_from(spec: TrainJobSpec, champion: ModelVersion) -> TrainJobSpec:
    init_from = ModelRef(name=champion.name, version=champion.version)
    return replace(spec, init_from=init_from, model=replace(spec.model, pretrained=False))


def _freeze(
    session: Session,
    champion: ModelVersion,
    *,
    store: ObjectStore,
    bucket: str,
    raw_bucket: str,
    created_by: str,
) -> DatasetVersion:
    """The dataset of the champion, frozen anew with its own query and split."""
    row = find_dataset_version(session, champion.dataset_name, champion.dataset_version)
    stored = {"name": row.name, "query": row.query, "split": row.split}
    definition = _DEFINITION.validate_python(stored)
    try:
        frozen = freeze_dataset(
            session, definition, store=store, bucket=bucket, raw_bucket=raw_bucket, created_by=created_by
        )
    except InvalidRequest as refusal:
        # What is approved has changed; the caller's request is not at fault.
        raise Conflict(
            f"dataset {row.name!r} cannot be frozen anew: {refusal.message}",
            code=refusal.stable_code,
            hint=refusal.hint,
        ) from refusal
    return frozen.version
