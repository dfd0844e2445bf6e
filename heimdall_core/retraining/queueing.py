"""One queued retraining of a model at a time, shared by all who ask while it waits."""

from dataclasses import replace
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import DatasetVersion, Model, ModelVersion
from heimdall_core.database.job_tables import Job, RetrainRequest
from heimdall_core.domain.errors import Conflict, InvalidRequest
from heimdall_core.domain.job import JobKind, JobStatus
from heimdall_core.domain.ports import ObjectStore
from heimdall_core.domain.spec import DatasetRef, ModelRef, TrainJobSpec, train_spec_from_dict
from heimdall_core.jobs.events import record_event
from heimdall_core.jobs.resolution import resolve
from heimdall_core.jobs.submission import enqueue, new_job
from heimdall_core.registry.queries import find_model, find_model_version
from heimdall_core.retraining.calls import REQUESTED, RetrainCall, Retraining, RetrainOutcome, served_by
from heimdall_core.retraining.freezing import freeze_for
from heimdall_core.retraining.overrides import moved, override, refuse_fixed, with_reason

_JOINED = "retrain.joined"


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
        InvalidRequest: the overrides, or the call's own dataset, are not valid.
        Conflict: the model has no champion, too little has changed since it was trained, or its dataset
            cannot be frozen.
        StorageUnavailable: a manifest could not be read or stored.
    """
    refuse_fixed(call.overrides)
    _lock(session, call.model)
    model = find_model(session, call.model)
    if former := session.get(RetrainRequest, (model.name, call.dedupe_key)):
        job = session.get_one(Job, former.job_id)
        return served_by(session, job, call, RetrainOutcome.REPEATED)
    if waiting := _find_waiting(session, model.name):
        return _join(session, model, call, waiting)
    return _queue(session, model, call, store=store, bucket=bucket, raw_bucket=raw_bucket)


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


def _join(session: Session, model: Model, call: RetrainCall, waiting: Job) -> Retraining:
    """The queued job as it is, for this call too."""
    if call.overrides:
        _plan(session, _require_champion(session, model), call)
    found = served_by(session, waiting, call, RetrainOutcome.JOINED)
    _remember(session, call, waiting)
    left = {"left_as_it_is": list(found.left_as_it_is)} if found.left_as_it_is else {}
    _tell(session, call, waiting, _JOINED, **left)
    return found


def _queue(
    session: Session, model: Model, call: RetrainCall, *, store: ObjectStore, bucket: str, raw_bucket: str
) -> Retraining:
    champion = _require_champion(session, model)
    plan = _plan(session, champion, call)
    dataset, changes = freeze_for(session, champion, call, store=store, bucket=bucket, raw_bucket=raw_bucket)
    job = _enqueue(session, model, champion, plan, dataset, call)
    _remember(session, call, job)
    new, withdrawn = changes.new, changes.withdrawn
    _tell(session, call, job, REQUESTED, new_sessions=new, withdrawn_sessions=withdrawn, **call.wish())
    return Retraining(job=job, outcome=RetrainOutcome.QUEUED, new_sessions=new, withdrawn_sessions=withdrawn)


def _enqueue(
    session: Session,
    model: Model,
    champion: ModelVersion,
    plan: TrainJobSpec,
    dataset: DatasetVersion,
    call: RetrainCall,
) -> Job:
    reference = DatasetRef(name=dataset.name, version=dataset.version)
    try:
        resolved, inputs = resolve(session, replace(plan, dataset=reference), owner=None)
    except InvalidRequest as refusal:
        raise moved(refusal, "/overrides") from refusal
    job = new_job(resolved, inputs, owner=call.caller)
    job.parent_job_id, job.coalesce_key = champion.job_id, coalesce_key(model.name)
    return enqueue(session, job)


def _remember(session: Session, call: RetrainCall, job: Job) -> None:
    """Keeps the key, whose job this is for ever."""
    request = RetrainRequest(
        model=call.model, dedupe_key=call.dedupe_key, owner=call.caller, reason=call.reason, job_id=job.id
    )
    session.add(request)


def _tell(session: Session, call: RetrainCall, job: Job, event: str, **facts: Any) -> None:
    names = {"reason": call.reason, "caller": call.caller, "dedupe_key": call.dedupe_key}
    record_event(session, job, event, **names, **facts)
    session.flush()


def _require_champion(session: Session, model: Model) -> ModelVersion:
    if model.champion_version is None:
        raise Conflict(
            f"model {model.name!r} has no champion to train again",
            code="no_champion",
            hint="Train it with POST /v1/jobs and register.promote 'if_better'.",
        )
    return find_model_version(session, model.name, model.champion_version)


def _plan(session: Session, champion: ModelVersion, call: RetrainCall) -> TrainJobSpec:
    """What to train, on a dataset that is yet to be frozen."""
    spec = _train_spec(session.get_one(Job, champion.job_id))
    if call.warm_start:
        spec = _started_from(spec, champion)
    spec = override(spec, call.overrides)
    if call.promote is not None:
        spec = replace(spec, register=replace(spec.register, promote=call.promote))
    return with_reason(spec, call.reason)


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
