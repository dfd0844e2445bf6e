"""What a job reported: curves, log, files, attempts."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from api.dependencies import Caller, JobId, Store, Transaction, needs
from api.ranges import respond
from api.schemas.job_specs import JobSpecDocument, spec_document
from api.schemas.jobs import (
    ArtifactList,
    AttemptDocument,
    AttemptList,
    CheckpointList,
    LogDocument,
    MetricsDocument,
    artifact_document,
    checkpoint_document,
    content_of,
)
from heimdall_core.domain.job import JobKind
from heimdall_core.jobs.queries import (
    find_artifact,
    find_job,
    list_artifacts,
    list_attempts,
    list_checkpoints,
)
from heimdall_core.jobs.reported import list_metrics, read_log
from heimdall_core.jobs.spec_defaults import spec_members

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"], dependencies=[needs("jobs:read")])

FileName = Annotated[str, Path(min_length=1, max_length=255, examples=["model.onnx"])]
After = Annotated[int, Query(ge=0, le=2**63 - 1, description="`next_after` of the answer before.")]
Before = Annotated[
    int | None, Query(ge=0, le=2**63 - 1, description="`next_before` of an answer, with `from_end`.")
]
_MAX_PIECE = 2**31 - 1


@router.get("/spec")
def read_job_spec(job_id: JobId, session: Transaction, caller: Caller) -> JobSpecDocument:
    """The job's specification member by member: what it is, what it would be by default, what it means."""
    job = find_job(session, job_id, owner=caller.visible_owner)
    kind = JobKind(job.kind)
    return spec_document(kind, spec_members(kind, job.spec))


@router.get("/metrics")
def read_job_metrics(
    job_id: JobId,
    session: Transaction,
    caller: Caller,
    name: Annotated[list[str] | None, Query(description="Only these curves.")] = None,
    after_step: Annotated[
        int | None, Query(ge=-1, le=2**63 - 1, description="Only points of later steps.")
    ] = None,
    max_points: Annotated[
        int | None,
        Query(ge=2, le=10_000, description="Of each curve, equally far apart, its last one included."),
    ] = None,
) -> MetricsDocument:
    """The job's curves.

    A resumed attempt reports steps again: what was read of them before is to be read anew.
    """
    find_job(session, job_id, owner=caller.visible_owner)
    curves = list_metrics(session, job_id, names=name, after_step=after_step, max_points=max_points)
    return MetricsDocument.model_validate({"metrics": curves})


@router.get("/logs")
def read_job_log(
    job_id: JobId,
    session: Transaction,
    caller: Caller,
    attempt: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Default: the newest.")] = None,
    after: After = 0,
    before: Before = None,
    from_end: Annotated[bool, Query(description="The last pieces of these in place of the first.")] = False,
    limit: Annotated[int, Query(ge=1, le=1000, description="Pieces.")] = 200,
) -> LogDocument:
    """What an attempt wrote; with `from_end` its end first, and with `before` what comes before that."""
    find_job(session, job_id, owner=caller.visible_owner)
    found = read_log(
        session,
        job_id,
        attempt=attempt,
        after=min(after, _MAX_PIECE),
        before=None if before is None else min(before, _MAX_PIECE),
        from_end=from_end,
        limit=limit,
    )
    return LogDocument.model_validate(found)


@router.get("/artifacts")
def list_job_artifacts(job_id: JobId, session: Transaction, caller: Caller, store: Store) -> ArtifactList:
    """The files that the job handed out."""
    find_job(session, job_id, owner=caller.visible_owner)
    return ArtifactList(data=[artifact_document(row, store) for row in list_artifacts(session, job_id)])


@router.head("/artifacts/{name}", include_in_schema=False)
@router.get(
    "/artifacts/{name}",
    response_class=Response,
    responses={
        200: {"description": "The file; its `ETag` is its SHA-256.", "content": {"*/*": {}}},
        206: {"description": "The part that `Range` asks for.", "content": {"*/*": {}}},
        304: {"description": "The file is as `If-None-Match` says."},
        416: {"description": "It has no such range."},
    },
)
def download_job_artifact(
    job_id: JobId, name: FileName, request: Request, session: Transaction, caller: Caller, store: Store
) -> Response:
    """One of the files, whole or, with `Range` (and `If-Range`), from where a download broke off."""
    find_job(session, job_id, owner=caller.visible_owner)
    return respond(request, content_of(find_artifact(session, job_id, name)), store)


@router.get("/checkpoints")
def list_job_checkpoints(job_id: JobId, session: Transaction, caller: Caller, store: Store) -> CheckpointList:
    """The job's durable checkpoints; each can be exported."""
    find_job(session, job_id, owner=caller.visible_owner)
    return CheckpointList(data=[checkpoint_document(row, store) for row in list_checkpoints(session, job_id)])


@router.get("/attempts")
def list_job_attempts(job_id: JobId, session: Transaction, caller: Caller) -> AttemptList:
    """Every try at the job, oldest first."""
    find_job(session, job_id, owner=caller.visible_owner)
    return AttemptList(data=[AttemptDocument.model_validate(row) for row in list_attempts(session, job_id)])
