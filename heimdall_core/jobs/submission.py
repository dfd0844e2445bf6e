"""T1: a request becomes a row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import Field, TypeAdapter
from sqlalchemy import ColumnElement, Select, Table, bindparam, func, insert, literal, select
from sqlalchemy.orm import Session, make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Job, JobEvent
from heimdall_core.domain.spec import (
    EvaluateJobSpec,
    ExportJobSpec,
    JobSpec,
    ModelRef,
    TrainJobSpec,
)
from heimdall_core.domain.tracing import current_trace
from heimdall_core.jobs.deduplication import content_key, find_twin, lock_content, refuse_twin
from heimdall_core.jobs.resolution import resolve
from heimdall_core.jobs.support import (
    refuse_bad_name,
    refuse_bad_start,
    refuse_naive_time,
    refuse_unsupported,
)
from heimdall_core.telemetry import note, told_as

#: Writes what ``spec_to_dict`` writes, twenty times as fast.
_SPEC: TypeAdapter[JobSpec] = TypeAdapter(Annotated[JobSpec, Field(discriminator="kind")])


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The job that a request came to."""

    job: Job
    is_new: bool = True
    """False: ``on_duplicate: return`` found a job that does it, or has done it."""


def submit_job(session: Session, spec: JobSpec, *, owner: str, sees_all: bool = False) -> Job:
    """As ``submit``; the job alone."""
    return submit(session, spec, owner=owner, sees_all=sees_all).job


@told_as("submit job", kind="producer")
def submit(session: Session, spec: JobSpec, *, owner: str, sees_all: bool = False) -> Submission:
    """Queues a job, or finds the one that ``on_duplicate`` asks for; commit, then hint.

    Args:
        session: the transaction of the request.
        spec: what is asked for.
        owner: whose job it becomes.
        sees_all: whether it may refer to other owners' jobs and uploads too.

    Raises:
        NotFound: something that the spec refers to does not exist.
        Conflict: it cannot serve, e.g. an upload that is not complete.
        DuplicateJob: ``on_duplicate`` is ``reject`` and another job does it, or has done it.
        InvalidRequest: the model's name cannot stand in a path, or the spec contradicts itself.
        NotSupportedYet: the spec asks for what this version does not build.
    """
    refuse_unfit(spec)
    visible = None if sees_all else owner
    spec, inputs = resolve(session, spec, owner=visible)
    job = new_job(spec, inputs, owner=owner)
    if isinstance(spec, TrainJobSpec) and spec.on_duplicate != "run":
        assert job.content_key is not None, "a training has one"
        lock_content(session, job.content_key)
        if twin := find_twin(session, job.content_key, owner=visible):
            if spec.on_duplicate == "reject":
                raise refuse_twin(twin)
            return Submission(job=twin, is_new=False)
    return Submission(job=enqueue(session, job))


def refuse_unfit(spec: JobSpec) -> None:
    """Raises InvalidRequest for what a look at the spec alone shows."""
    for check in CHECKS:
        check(spec)


CHECKS = (refuse_bad_name, refuse_naive_time, refuse_unsupported, refuse_bad_start)


def new_job(spec: JobSpec, inputs: dict[str, Any], *, owner: str) -> Job:
    """The row of an accepted spec, not yet in the database."""
    resources = spec.resources if isinstance(spec, TrainJobSpec) else None
    gigabytes = resources.min_memory_gb if resources else None
    accepted = _SPEC.dump_python(spec, mode="json")
    return Job(
        id=new_id("job"),
        kind=spec.kind,
        owner=owner,
        status="queued",
        spec=accepted,
        inputs=inputs,
        tags=dict(spec.tags),
        priority=spec.priority.value,
        priority_rank=spec.priority.rank,
        accelerator=resources.accelerator if resources else "cpu",
        min_memory_bytes=None if gigabytes is None else round(gigabytes * 1e9),
        max_attempts=spec.limits.max_attempts,
        max_pending_seconds=spec.limits.max_pending_seconds,
        max_runtime_seconds=spec.limits.max_runtime_seconds,
        parent_job_id=inputs.get("train_job_id"),
        content_key=content_key(spec.kind, accepted, inputs),
        source_model=_name_of(_source_model(spec)),
        **trace_columns(),
        **({"not_before": spec.not_before} if spec.not_before else {}),
    )


def trace_columns() -> Mapping[str, str | None]:
    """Of the request that makes a job."""
    trace = current_trace()
    return {} if trace is None else {"traceparent": trace.traceparent, "tracestate": trace.state}


def _source_model(spec: JobSpec) -> ModelRef | None:
    match spec:
        case TrainJobSpec():
            return spec.init_from
        case ExportJobSpec():
            return spec.source.model
        case EvaluateJobSpec():
            return spec.model
    return None


def _name_of(model: ModelRef | None) -> str | None:
    return None if model is None else f"{model.name}/{model.version}"


def enqueue(session: Session, job: Job) -> Job:
    """Writes the row and its first event, by one statement; commit, then hint."""
    given = {name: getattr(job, name) for name in GIVEN}
    filled_in = session.execute(_ENQUEUE, given).one()
    for name, value in filled_in._mapping.items():  # noqa: SLF001 - its public name
        set_committed_value(job, name, value)
    make_transient_to_detached(job)
    note({"heimdall.job.id": job.id, "heimdall.job.kind": job.kind})
    session.add(job)
    return job


_TABLE = cast("Table", Job.__table__)
#: What a new job states; the server fills in the rest.
GIVEN = (
    "id",
    "kind",
    "owner",
    "status",
    "spec",
    "inputs",
    "tags",
    "priority",
    "priority_rank",
    "accelerator",
    "min_memory_bytes",
    "coalesce_key",
    "content_key",
    "source_model",
    "traceparent",
    "tracestate",
    "parent_job_id",
    "not_before",
    "max_pending_seconds",
    "max_runtime_seconds",
    "max_attempts",
)


def _enqueue() -> Select[*tuple[Any, ...]]:
    given: dict[str, ColumnElement[Any]] = {
        name: bindparam(name, type_=_TABLE.c[name].type) for name in GIVEN
    }
    given["not_before"] = func.coalesce(given["not_before"], func.now())
    filled_in = [column for column in _TABLE.c if column.name not in GIVEN or column.name == "not_before"]
    queued = insert(_TABLE).values(given).returning(_TABLE.c.id, *filled_in).cte("queued")
    first = select(queued.c.id, literal("job.queued"))
    told = insert(JobEvent).from_select(["job_id", "name"], first).cte("told")
    return select(*(queued.c[column.name] for column in filled_in)).add_cte(told)


_ENQUEUE = _enqueue()
