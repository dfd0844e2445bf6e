"""What a job reported: curves, log, files, attempts."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from api.dependencies import Caller, JobId, Store, Transaction, needs
from api.ranges import respond
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
from heimdall_core.jobs.queries import (
    find_artifact,
    find_job,
    list_artifacts,
    list_attempts,
    list_checkpoints,
    list_metrics,
    read_log,
)

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"], dependencies=[needs("jobs:read")])

FileName = Annotated[str, Path(min_length=1, max_length=255, examples=["model.onnx"])]
After = Annotated[int, Query(ge=0, le=2**63 - 1, description="`next_after` of the answer before.")]


@router.get("/metrics")
def read_job_metrics(
    job_id: JobId,
    session: Transaction,
    caller: Caller,
    name: Annotated[list[str] | None, Query(description="Only these curves.")] = None,
) -> MetricsDocument:
    """The job's curves."""
    find_job(session, job_id, owner=caller.visible_owner)
    return MetricsDocument.model_validate({"metrics": list_metrics(session, job_id, names=name)})


@router.get("/logs")
def read_job_log(
    job_id: JobId,
    session: Transaction,
    caller: Caller,
    attempt: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Default: the newest.")] = None,
    after: After = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="Pieces.")] = 200,
) -> LogDocument:
    """What an attempt wrote."""
    find_job(session, job_id, owner=caller.visible_owner)
    return LogDocument.model_validate(
        read_log(session, job_id, attempt=attempt, after=min(after, 2**31 - 1), limit=limit)
    )


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
