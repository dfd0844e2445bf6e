"""Jobs looked at before they are queued, side by side, and in their line of descent."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Response
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import text

from api.conditional import NOT_MODIFIED, Conditional
from api.dependencies import Caller, JobId, Policy, ResourceName, Transaction, VersionNumber, needs
from api.routes.jobs import JobRequest
from api.schemas.job_reviews import (
    JobComparison,
    JobLineage,
    JobRequestSchema,
    ValidationDocument,
    validation_document,
)
from api.validation import judge_validation
from heimdall_core.domain.spec import JobSpec
from heimdall_core.jobs.comparison import compare_jobs
from heimdall_core.jobs.lineage import job_lineage, version_lineage
from heimdall_core.jobs.validation import Finding, JobValidation, validate_job
from heimdall_core.registry.queries import find_model_version

router = APIRouter()

_SPEC: TypeAdapter[JobSpec] = TypeAdapter(JobRequest)
_SCHEMA = JobRequestSchema(
    {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Request for a job",
        **_SPEC.json_schema(),
    }
)
JobIds = Annotated[
    str,
    Query(
        max_length=400,
        description="2 to 8 ids, separated by commas.",
        examples=["job_x4r2k7abcdefghijklmnop23,job_x4r2k7abcdefghijklmnop24"],
    ),
]


@router.get(
    "/v1/jobs:schema",
    tags=["jobs"],
    response_model=JobRequestSchema,
    dependencies=[needs("jobs:read")],
    responses=NOT_MODIFIED,
)
def read_request_schema(conditional: Annotated[Conditional, Depends()]) -> Response:
    """The JSON Schema of a request for a job, as `POST /v1/jobs` takes it: for forms, editors and checks."""
    return conditional.answer(_SCHEMA)


@router.post("/v1/jobs:validate", tags=["jobs"], dependencies=[needs("jobs:read")])
def validate_request(
    body: Annotated[dict[str, Any], Body()], session: Transaction, caller: Caller, policy: Policy
) -> ValidationDocument:
    """Checks a request for a job without queuing it: problems, warnings, facts, estimates; 200 in any case.

    The body is that of `POST /v1/jobs`. Estimates are what like jobs took; without any they are null.
    """
    try:
        spec = _SPEC.validate_python(body)
    except ValidationError as error:
        return validation_document(JobValidation(problems=_problems(error)))
    session.execute(text("set transaction read only"))
    sees_all = caller.visible_owner is None
    found = validate_job(session, spec, owner=caller.owner, sees_all=sees_all, policy=policy)
    return validation_document(found)


def _problems(error: ValidationError) -> list[Finding]:
    errors = [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
    verdict = judge_validation(errors, is_json=True)
    return [
        Finding(code=verdict.code, detail=entry.detail, pointer=entry.pointer) for entry in verdict.entries
    ]


@router.get("/v1/jobs:compare", tags=["jobs"], dependencies=[needs("jobs:read")])
def compare_several_jobs(
    ids: JobIds,
    session: Transaction,
    caller: Caller,
    max_points: Annotated[int, Query(ge=2, le=2000, description="Of each curve of each job.")] = 200,
) -> JobComparison:
    """Jobs side by side: in what their specifications differ, their curves, their results."""
    wanted = [job_id.strip() for job_id in ids.split(",") if job_id.strip()]
    compared = compare_jobs(session, wanted, owner=caller.visible_owner, max_points=max_points)
    return JobComparison.model_validate(compared)


@router.get("/v1/jobs/{job_id}/lineage", tags=["jobs"], dependencies=[needs("jobs:read")])
def read_job_lineage(job_id: JobId, session: Transaction, caller: Caller) -> JobLineage:
    """What the job comes from and what came of it: retries, exports, evaluations, models and datasets."""
    return JobLineage.model_validate(job_lineage(session, job_id, owner=caller.visible_owner))


@router.get(
    "/v1/models/{name}/versions/{version}/lineage", tags=["models"], dependencies=[needs("models:read")]
)
def read_version_lineage(
    name: ResourceName, version: VersionNumber, session: Transaction, caller: Caller
) -> JobLineage:
    """What the version comes from and what was made of it; of other owners' jobs only that there is one."""
    find_model_version(session, name, version)
    lineage = version_lineage(session, name, version, owner=caller.visible_owner)
    return JobLineage.model_validate(lineage)
