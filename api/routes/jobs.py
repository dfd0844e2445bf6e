"""Jobs: submit, list, read, change, cancel."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from pydantic import Field
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse

from api.conditional import (
    NOT_MODIFIED,
    PRECONDITION_FAILED,
    IfMatch,
    IfNoneMatch,
    is_known,
    job_etag,
    matching_revisions,
)
from api.dependencies import Caller, Cursor, JobId, Limit, Once, Policy, Transaction, needs, want_hint
from api.job_selection import Selected
from api.joint_submissions import JoiningRoute
from api.polling import POLL_SECONDS
from api.schemas.jobs import JobDocument, JobPage, JobPatch, JobView, RetryRequest
from heimdall_core.accounts.idempotency import Answer
from heimdall_core.accounts.principal import Principal
from heimdall_core.database.job_tables import Job
from heimdall_core.domain.job import JobKind, JobStatus
from heimdall_core.domain.spec import (
    EvaluateJobSpec,
    ExportJobSpec,
    ImportJobSpec,
    JobSpec,
    TrainJobSpec,
)
from heimdall_core.jobs.queries import (
    JobFilter,
    find_job,
    job_document,
    job_documents,
    list_jobs,
    new_job_document,
)
from heimdall_core.jobs.queue_facts import QueuePolicy, RecentQueue
from heimdall_core.jobs.requests import (
    JobChange,
    cancel_job,
    change_job,
    finish_job,
    pause_job,
    resume_job,
)
from heimdall_core.jobs.retrying import retry_job
from heimdall_core.jobs.submission import submit

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

DUPLICATE_HEADER = "Duplicate-Of"
EXAMPLES: dict[str, Any] = {
    "train": {
        "summary": "Train on a dataset version",
        "value": {
            "kind": "train",
            "dataset": {"name": "northwest", "version": 3},
            "model": {"name": "localization", "backbone": "micro"},
            "training": {"epochs": 30},
        },
    },
    "export": {
        "summary": "Export a model version again",
        "value": {
            "kind": "export",
            "source": {"model": {"name": "localization", "version": 7}},
            "outputs": [{"opset": 17}],
        },
    },
    "evaluate": {
        "summary": "Evaluate a model version on another dataset",
        "value": {
            "kind": "evaluate",
            "model": {"name": "localization", "version": 7},
            "dataset": {"name": "northwest", "version": 4},
            "split": "test",
        },
    },
    "import": {
        "summary": "Import a completed upload",
        "value": {"kind": "import", "upload_id": "upl_x4r2k7abcdefghijklmnop23"},
    },
}
JobRequest = Annotated[
    TrainJobSpec | ExportJobSpec | EvaluateJobSpec | ImportJobSpec, Field(discriminator="kind")
]
SpecBody = Annotated[JobRequest, Body(openapi_examples=EXAMPLES)]


def queued(session: Session, job: Job, queue: RecentQueue) -> Answer:
    """The answer to a request that has queued a job."""
    want_hint(session)
    headers = {"Location": f"/v1/jobs/{job.id}", "Retry-After": str(POLL_SECONDS)}
    document = new_job_document(job, queue.facts_of_newest(session, job))
    return Answer(status_code=202, body=document, headers=headers)


def accepted(session: Session, job: Job, policy: QueuePolicy) -> Answer:
    """The answer to a submission: where the job is, and when to ask."""
    want_hint(session)
    headers = {"Location": f"/v1/jobs/{job.id}", "Retry-After": str(POLL_SECONDS)}
    return Answer(status_code=202, body=job_document(session, job, policy), headers=headers)


def create_job(
    spec: SpecBody,
    request: Request,
    session: Transaction,
    caller: Caller,
    once: Once,
    policy: Policy,
) -> Response:
    """Queues a job; poll `Location` until `is_terminal`."""
    queue: RecentQueue = request.app.state.layers.queue
    return once.answer(lambda: _submitted(session, spec, caller, policy, queue))


router.add_api_route(
    "",
    create_job,
    methods=["POST"],
    route_class_override=JoiningRoute,
    status_code=202,
    response_model=JobDocument,
    dependencies=[needs("jobs:write")],
    responses={
        200: {
            "model": JobDocument,
            "description": "`on_duplicate` is `return`, and this job trains the same or has trained it: "
            "then `result.model` is the model version.",
        }
    },
)


def _submitted(
    session: Session, spec: JobSpec, caller: Principal, policy: QueuePolicy, queue: RecentQueue
) -> Answer:
    found = submit(session, spec, owner=caller.owner, sees_all=caller.visible_owner is None)
    if found.is_new:
        return queued(session, found.job, queue)
    headers = {"Location": f"/v1/jobs/{found.job.id}", DUPLICATE_HEADER: found.job.id}
    return Answer(status_code=200, body=job_document(session, found.job, policy), headers=headers)


@dataclass(frozen=True, slots=True)
class JobSubject:
    """What the jobs of a list are about; None: anything."""

    model: str | None
    dataset: tuple[str, int | None] | None
    tag: tuple[str, str | None] | None


async def read_subject(
    model: Annotated[str | None, Query(description="Name of the model that is trained.")] = None,
    dataset: Annotated[
        str | None,
        Query(
            description="Name of the dataset that is trained or evaluated on, or `name/version`.",
            pattern=r"^[^:/]{1,100}(/[1-9][0-9]{0,8})?$",
        ),
    ] = None,
    tag: Annotated[str | None, Query(description="`key`, or `key:value`.")] = None,
) -> JobSubject:
    """From the query."""
    return JobSubject(model, _parse_dataset(dataset), _parse_tag(tag))


@router.get("", response_model=JobPage, dependencies=[needs("jobs:read")])
def list_all_jobs(
    session: Transaction,
    caller: Caller,
    policy: Policy,
    subject: Annotated[JobSubject, Depends(read_subject)],
    selected: Selected,
    status: Annotated[list[JobStatus] | None, Query(description="One or more.")] = None,
    kind: Annotated[list[JobKind] | None, Query(description="One or more.")] = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """The caller's jobs, newest first; an admin's: everybody's."""
    job_filter = JobFilter(
        owner=caller.visible_owner,
        statuses=[value.value for value in status or ()],
        kinds=[value.value for value in kind or ()],
        model=subject.model,
        dataset=subject.dataset,
        tag=subject.tag,
        created_after=_aware(created_after),
        created_before=_aware(created_before),
        created_by=selected.created_by,
        ids=selected.ids,
    )
    page = list_jobs(session, job_filter, cursor=cursor, limit=limit)
    data = job_documents(session, page.items, policy, is_brief=selected.view is JobView.BRIEF)
    return JSONResponse(
        {"data": data, "next_cursor": page.next_cursor, "has_more": page.next_cursor is not None}
    )


@router.get(
    "/{job_id}", response_model=JobDocument, dependencies=[needs("jobs:read")], responses=NOT_MODIFIED
)
def read_job(
    job_id: JobId,
    session: Transaction,
    caller: Caller,
    policy: Policy,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One job. Poll with `If-None-Match`: an unchanged job costs a 304."""
    job = find_job(session, job_id, owner=caller.visible_owner)
    answer = _described(session, job, policy)
    if is_known(if_none_match, answer.headers["ETag"]):
        told = ("ETag", "Cache-Control", "Retry-After")
        headers = {name: answer.headers[name] for name in told if name in answer.headers}
        return Response(status_code=304, headers=headers)
    return answer


@router.patch(
    "/{job_id}",
    response_model=JobDocument,
    dependencies=[needs("jobs:write")],
    responses=PRECONDITION_FAILED,
)
def patch_job(
    job_id: JobId,
    patch: JobPatch,
    session: Transaction,
    caller: Caller,
    policy: Policy,
    if_match: IfMatch = None,
) -> Response:
    """Changes the priority of a job that has not ended, and the tags of any; what is not named stays.

    `If-Match` is not required: two that change different tags do not undo each other. With it, the job's row
    must be as it was read; its place in the queue does not count, and each report of a running job does.
    """
    wanted = JobChange(priority=patch.priority, tags=patch.tags)
    revisions = matching_revisions(if_match)
    job = change_job(session, job_id, wanted, owner=caller.writable_owner, revisions=revisions)
    return _described(session, job, policy)


def _described(session: Session, job: Job, policy: QueuePolicy) -> Response:
    document = job_document(session, job, policy)
    headers = {"ETag": job_etag(job.revision, document["queue"]), "Cache-Control": "private, no-cache"}
    if not document["is_terminal"]:
        headers["Retry-After"] = str(POLL_SECONDS)
    return JSONResponse(document, headers=headers)


@router.post("/{job_id}:cancel", response_model=JobDocument, dependencies=[needs("jobs:write")])
def cancel(job_id: JobId, session: Transaction, caller: Caller, policy: Policy) -> Response:
    """Cancels a waiting job at once and asks a running one to stop, more firmly if it does not.

    Repeating it changes nothing.
    """
    return _asked(session, cancel_job(session, job_id, owner=caller.writable_owner), policy)


@router.post("/{job_id}:pause", response_model=JobDocument, dependencies=[needs("jobs:write")])
def pause(job_id: JobId, session: Transaction, caller: Caller, policy: Policy) -> Response:
    """Asks a running job to checkpoint and to release its accelerator; poll until it is `paused`."""
    return _asked(session, pause_job(session, job_id, owner=caller.writable_owner), policy)


@router.post("/{job_id}:finish", response_model=JobDocument, dependencies=[needs("jobs:write")])
def finish(job_id: JobId, session: Transaction, caller: Caller, policy: Policy) -> Response:
    """Stops a running training now; its best epoch is evaluated, exported and registered as usual."""
    return _asked(session, finish_job(session, job_id, owner=caller.writable_owner), policy)


@router.post("/{job_id}:resume", response_model=JobDocument, dependencies=[needs("jobs:write")])
def resume(job_id: JobId, session: Transaction, caller: Caller, policy: Policy) -> Response:
    """Queues a paused job again; its next attempt goes on from the newest durable checkpoint."""
    job = resume_job(session, job_id, owner=caller.writable_owner)
    want_hint(session)
    return _asked(session, job, policy)


@router.post(
    "/{job_id}:retry", status_code=202, response_model=JobDocument, dependencies=[needs("jobs:write")]
)
def retry(
    job_id: JobId,
    session: Transaction,
    caller: Caller,
    once: Once,
    policy: Policy,
    request: RetryRequest = RetryRequest(),  # noqa: B008 - frozen, and FastAPI reads the default here
) -> Response:
    """Queues a new job of the same specification, whose `parent_job_id` is the ended one."""
    return once.answer(
        lambda: accepted(
            session,
            retry_job(
                session,
                job_id,
                owner=caller.visible_owner,
                submitter=caller.owner,
                from_checkpoint=request.from_checkpoint,
            ),
            policy,
        )
    )


def _asked(session: Session, job: Job, policy: QueuePolicy) -> Response:
    return JSONResponse(job_document(session, job, policy))


def _parse_dataset(dataset: str | None) -> tuple[str, int | None] | None:
    if dataset is None:
        return None
    name, _, version = dataset.partition("/")
    return name, int(version) if version else None


def _parse_tag(tag: str | None) -> tuple[str, str | None] | None:
    if tag is None:
        return None
    key, colon, value = tag.partition(":")
    return key, value if colon else None


def _aware(moment: datetime | None) -> datetime | None:
    """A time without a zone is taken as UTC."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
