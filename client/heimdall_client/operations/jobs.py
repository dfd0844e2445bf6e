"""Jobs: asked for, followed, steered."""

import builtins
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from heimdall_client.calls import get, history, pages, patch, post
from heimdall_client.documents.document import document, items, parse
from heimdall_client.documents.jobs import (
    Artifact,
    Attempt,
    Checkpoint,
    Event,
    Job,
    JobComparison,
    JobSpec,
    JobValidation,
    Lineage,
    Log,
    Metrics,
)
from heimdall_client.downloading import RemoteFile, download
from heimdall_client.errors import NotFound
from heimdall_client.exchanges import Answer, Json, path_of
from heimdall_client.following import watch_job
from heimdall_client.operations.binding import Answering, Blocking, Iterating, NonBlocking
from heimdall_client.operations.references import VersionReference, given, version_reference
from heimdall_client.steps import Feed, Flow
from heimdall_client.waiting import id_of, wait_for

Specification = Mapping[str, object]


def create_job(spec: Specification, *, idempotency_key: str | None = None) -> Flow[Job]:
    """Queues a job of any kind, given as the body of ``POST /v1/jobs``."""
    return post("/v1/jobs", _created, spec, key=idempotency_key)


def train(
    dataset: VersionReference,
    *,
    model: str | Mapping[str, object] | None = None,
    training: Mapping[str, object] | None = None,
    resources: Mapping[str, object] | None = None,
    export: Mapping[str, object] | None = None,
    register: Mapping[str, object] | None = None,
    limits: Mapping[str, object] | None = None,
    init_from: VersionReference | None = None,
    priority: str | None = None,
    tags: Mapping[str, str] | None = None,
    on_duplicate: str | None = None,
    idempotency_key: str | None = None,
) -> Flow[Job]:
    """Queues a training; what is not given has the service's default.

    Args:
        dataset: ``"northwest"`` (its newest version) or ``"northwest/3"``.
        model: The registered name, or the whole ``model`` member with backbone and the like.
        training: Epochs, batch size and the like.
        resources: Accelerator and devices.
        export: Whether and as what files it is exported.
        register: Whether it becomes a version of its model, and is promoted.
        limits: Seconds and attempts.
        init_from: The model version whose weights it starts from.
        priority: ``low``, ``normal`` or ``high``.
        tags: Words to find it by.
        on_duplicate: What becomes of a training that was done before: ``run``, ``return`` or ``reject``.
        idempotency_key: The same key never queues a second job; default: one made for this call.
    """
    body = given(
        kind="train",
        dataset=version_reference(dataset),
        model={"name": model} if isinstance(model, str) else model,
        training=training,
        resources=resources,
        export=export,
        register=register,
        limits=limits,
        init_from=None if init_from is None else version_reference(init_from),
        priority=priority,
        tags=tags,
        on_duplicate=on_duplicate,
    )
    return create_job(body, idempotency_key=idempotency_key)


def export(
    source: VersionReference | Job | Checkpoint,
    *,
    outputs: Sequence[Mapping[str, object]] | None = None,
    register: Mapping[str, object] | None = None,
    priority: str | None = None,
    tags: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
) -> Flow[Job]:
    """Queues an export of trained weights: of a model version, a job or a checkpoint, or the id of one."""
    body = given(
        kind="export",
        source=_export_source(source),
        outputs=None if outputs is None else builtins.list(outputs),
        register=register,
        priority=priority,
        tags=tags,
    )
    return create_job(body, idempotency_key=idempotency_key)


def evaluate(
    model: VersionReference,
    dataset: VersionReference,
    *,
    split: str | None = None,
    priority: str | None = None,
    tags: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
) -> Flow[Job]:
    """Queues an evaluation of a model version, as it is served, on a dataset version."""
    body = given(
        kind="evaluate",
        model=version_reference(model),
        dataset=version_reference(dataset),
        split=split,
        priority=priority,
        tags=tags,
    )
    return create_job(body, idempotency_key=idempotency_key)


def validate_job(spec: Specification) -> Flow[JobValidation]:
    """What a submission would come to: problems, warnings, estimates; queues nothing."""
    return post("/v1/jobs:validate", document(JobValidation), spec)


def read_request_schema() -> Flow[Json]:
    """The JSON Schema of what ``create`` takes: for forms, editors and checks."""
    return get("/v1/jobs:schema", Answer.json)


def list_jobs(
    *,
    status: str | Iterable[str] | None = None,
    kind: str | Iterable[str] | None = None,
    model: str | None = None,
    dataset: str | None = None,
    tag: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    created_by: str | None = None,
    ids: Iterable[str] | None = None,
    view: str | None = None,
    limit: int | None = None,
) -> Feed[Job]:
    """Jobs, newest first, page by page; all of them, or the first ``limit``."""
    wanted = {
        "status": _several(status),
        "kind": _several(kind),
        "model": model,
        "dataset": dataset,
        "tag": tag,
        "created_after": created_after,
        "created_before": created_before,
        "created_by": created_by,
        "id": _several(ids),
        "view": view,
    }
    return pages("/v1/jobs", Job, wanted, limit=limit)


def get_job(job: Job | str) -> Flow[Job]:
    """One job as it is now."""
    return get(_path(job), document(Job))


def update_job(
    job: Job | str,
    *,
    priority: str | None = None,
    tags: Mapping[str, str | None] | None = None,
    if_match: str | None = None,
) -> Flow[Job]:
    """Changes priority or tags; with ``if_match``, an ``ETag``, only while the job is as it was read.

    Tags are added to those that there are; None takes one away.
    """
    return patch(_path(job), document(Job), given(priority=priority, tags=tags), if_match=if_match)


def cancel_job(job: Job | str) -> Flow[Job]:
    """Cancels a waiting job at once and asks a running one to stop."""
    return _ask(job, "cancel")


def pause_job(job: Job | str) -> Flow[Job]:
    """Asks a running job to checkpoint and to release its accelerator."""
    return _ask(job, "pause")


def finish_job(job: Job | str) -> Flow[Job]:
    """Stops a running training now; its best epoch is evaluated, exported and registered as usual."""
    return _ask(job, "finish")


def resume_job(job: Job | str) -> Flow[Job]:
    """Queues a paused job again; it goes on from its newest durable checkpoint."""
    return _ask(job, "resume")


def retry_job(
    job: Job | str, *, from_checkpoint: bool = False, idempotency_key: str | None = None
) -> Flow[Job]:
    """Queues a new job of the specification of an ended one."""
    body = {"from_checkpoint": from_checkpoint}
    return post(_path(job) + ":retry", document(Job), body, key=idempotency_key)


def compare_jobs(jobs: Iterable[Job | str], *, max_points: int | None = None) -> Flow[JobComparison]:
    """Several jobs side by side: where their specifications differ, their curves and results."""
    wanted = {"ids": ",".join(id_of(job) for job in jobs), "max_points": max_points}
    return get("/v1/jobs:compare", document(JobComparison), wanted)


def job_lineage(job: Job | str) -> Flow[Lineage]:
    """Where a job comes from, and what came of it."""
    return get(_path(job, "lineage"), document(Lineage))


def list_job_events(job: Job | str, *, after: str | None = None) -> Feed[Event]:
    """The job's history as far as it goes now, oldest first, after the event of an id."""
    return history(_path(job, "events"), Event, after=after)


def job_spec(job: Job | str) -> Flow[JobSpec]:
    """The job's specification member by member, beside the defaults."""
    return get(_path(job, "spec"), document(JobSpec))


def read_metrics(
    job: Job | str,
    *,
    names: Iterable[str] = (),
    after_step: int | None = None,
    max_points: int | None = None,
) -> Flow[Metrics]:
    """The job's curves.

    Args:
        job: Whose.
        names: Only these curves; default: all.
        after_step: Only points of later steps.
        max_points: Of each curve, equally far apart, its last one included; default: all.
    """
    wanted = {"name": builtins.list(names), "after_step": after_step, "max_points": max_points}
    return get(_path(job, "metrics"), document(Metrics), wanted)


def read_log_end(job: Job | str, *, attempt: int | None = None, pieces: int = 20) -> Flow[Log]:
    """The last pieces of what an attempt wrote; default: the newest attempt."""
    wanted = {"attempt": attempt, "from_end": "true", "limit": pieces}
    return get(_path(job, "logs"), document(Log), wanted)


def read_log(job: Job | str, *, attempt: int | None = None) -> Flow[Log]:
    """What an attempt wrote, from its beginning; default: the newest attempt."""
    log = yield from get(_path(job, "logs"), document(Log), {"attempt": attempt})
    texts, piece = [log.content], log
    while piece.content:
        wanted = {"attempt": log.attempt, "after": piece.next_after}
        piece = yield from get(_path(job, "logs"), document(Log), wanted)
        texts.append(piece.content)
    return Log(attempt=log.attempt, content="".join(texts), next_after=piece.next_after)


def list_artifacts(job: Job | str) -> Flow[list[Artifact]]:
    """The files that the job handed out, by name."""
    return get(_path(job, "artifacts"), items(Artifact))


def list_checkpoints(job: Job | str) -> Flow[list[Checkpoint]]:
    """The job's durable checkpoints, that which got furthest first."""
    return get(_path(job, "checkpoints"), items(Checkpoint))


def list_attempts(job: Job | str) -> Flow[list[Attempt]]:
    """Every try at the job, oldest first."""
    return get(_path(job, "attempts"), items(Attempt))


def download_artifact(job: Job | str, name: str, to: Path | str = ".") -> Flow[Path]:
    """One of the job's files in the folder ``to``, whole and as its SHA-256 says.

    A download that broke goes on from its last byte, also in a later call; a file that is there stays.

    Raises:
        NotFound: the job has handed out no file of that name.
        DamagedDownload: the bytes are not those that the service registered.
    """
    found = yield from list_artifacts(job)
    artifact = next((one for one in found if one.name == name), None)
    if artifact is None:
        names = ", ".join(one.name for one in found) or "none: a job hands them out when it has succeeded"
        raise NotFound(
            f"job {id_of(job)} has no file {name!r}", code="artifact_not_found", hint=f"Its files: {names}"
        )
    return (yield from download(remote_file(artifact), Path(to)))


def remote_file(artifact: Artifact) -> RemoteFile:
    """Where an artifact's bytes are, preferably at the service itself."""
    url = artifact.content_url or artifact.download_url
    if url is None:
        raise NotFound(f"the service gives no URL of {artifact.name}", code="artifact_not_found")
    return RemoteFile(name=artifact.name, url=url, sha256=artifact.sha256, num_bytes=artifact.bytes)


def _created(answer: Answer) -> Job:
    job = parse(Job, answer.json())
    earlier = answer.headers.get("duplicate-of")
    return job if earlier is None else job.model_copy(update={"duplicate_of": earlier})


def _ask(job: Job | str, verb: str) -> Flow[Job]:
    return post(f"{_path(job)}:{verb}", document(Job))


def _path(job: Job | str, *parts: str) -> str:
    return path_of("jobs", id_of(job), *parts)


def _several(value: str | Iterable[str] | None) -> builtins.list[str] | None:
    if value is None:
        return None
    return [value] if isinstance(value, str) else builtins.list(value)


def _export_source(source: VersionReference | Job | Checkpoint) -> Json:
    if isinstance(source, Job):
        return {"job_id": source.id}
    if isinstance(source, Checkpoint):
        return {"checkpoint_id": source.id}
    if isinstance(source, str) and source.startswith("job_"):
        return {"job_id": source}
    if isinstance(source, str) and source.startswith("ckpt_"):
        return {"checkpoint_id": source}
    return {"model": version_reference(source)}


class JobOperations:
    """Every call about jobs."""

    create = Answering(create_job)
    train = Answering(train)
    export = Answering(export)
    evaluate = Answering(evaluate)
    validate = Answering(validate_job)
    schema = Answering(read_request_schema)
    list = Iterating(list_jobs)
    get = Answering(get_job)
    update = Answering(update_job)
    cancel = Answering(cancel_job)
    pause = Answering(pause_job)
    finish = Answering(finish_job)
    resume = Answering(resume_job)
    retry = Answering(retry_job)
    compare = Answering(compare_jobs)
    lineage = Answering(job_lineage)
    events = Iterating(list_job_events)
    spec = Answering(job_spec)
    metrics = Answering(read_metrics)
    logs = Answering(read_log)
    log_end = Answering(read_log_end)
    artifacts = Answering(list_artifacts)
    checkpoints = Answering(list_checkpoints)
    attempts = Answering(list_attempts)
    download = Answering(download_artifact)
    wait = Answering(wait_for)
    watch = Iterating(watch_job)


class Jobs(JobOperations, Blocking):
    """Jobs, blocking."""


class AsyncJobs(JobOperations, NonBlocking):
    """Jobs, to be awaited."""
