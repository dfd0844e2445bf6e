"""Schedules of retrainings, and the drift scores that some of them wait for."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from sqlalchemy.orm import Session

from api.conditional import (
    NOT_MODIFIED,
    PRECONDITION_FAILED,
    Conditional,
    IfMatch,
    etag_of,
    require_match,
)
from api.dependencies import (
    Caller,
    Composition,
    Cursor,
    Limit,
    Once,
    ResourceName,
    Transaction,
    needs,
    want_hint,
)
from api.schemas.pages import PageDocument, page_document
from api.schemas.schedules import (
    CountedDriftScoreDocument,
    DriftScoreBody,
    DriftScoreDocument,
    ScheduleBody,
    ScheduleDocument,
    SchedulePatch,
    drift_score_document,
    schedule_document,
)
from api.services import Services
from heimdall_core.accounts.idempotency import Answer
from heimdall_core.database.ids import ID_PATTERN
from heimdall_core.scheduling.drift import NewScore, list_scores, record_score
from heimdall_core.scheduling.running import Stores, run_now
from heimdall_core.scheduling.schedules import (
    change_schedule,
    create_schedule,
    find_schedule,
    list_schedules,
)

router = APIRouter(prefix="/v1", tags=["schedules"])

ScheduleId = Annotated[str, Path(pattern=ID_PATTERN, examples=["sch_x4r2k7abcdefghijklmnop23"])]
ModelFilter = Annotated[
    str | None,
    Query(min_length=1, max_length=100, description="Only of this model.", examples=["localization"]),
]


@router.get("/schedules", dependencies=[needs("jobs:read")])
def list_all_schedules(
    caller: Caller,
    session: Transaction,
    model: ModelFilter = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> PageDocument[ScheduleDocument]:
    """Your schedules, newest first; everybody's for those who see everybody's jobs."""
    page = list_schedules(session, owner=caller.visible_owner, model=model, cursor=cursor, limit=limit)
    return page_document(page, schedule_document)


@router.post(
    "/schedules", status_code=201, response_model=ScheduleDocument, dependencies=[needs("jobs:write")]
)
def add_schedule(body: ScheduleBody, caller: Caller, session: Transaction, once: Once) -> Response:
    """Adds a schedule, which queues jobs of yours: by the clock, on new recordings, or on drift."""

    def create() -> Answer:
        members = {name: getattr(body, name) for name in ScheduleBody.model_fields}
        row = create_schedule(session, owner=caller.owner, **members)
        location = {"Location": f"/v1/schedules/{row.id}"}
        return Answer(status_code=201, body=schedule_document(row).model_dump(mode="json"), headers=location)

    return once.answer(create)


@router.get(
    "/schedules/{schedule_id}",
    response_model=ScheduleDocument,
    dependencies=[needs("jobs:read")],
    responses=NOT_MODIFIED,
)
def read_schedule(
    schedule_id: ScheduleId,
    caller: Caller,
    session: Transaction,
    conditional: Annotated[Conditional, Depends()],
) -> Response:
    """One schedule: when it runs next, and what came of the last time."""
    return conditional.answer(
        schedule_document(find_schedule(session, schedule_id, owner=caller.visible_owner))
    )


@router.patch("/schedules/{schedule_id}", dependencies=[needs("jobs:write")], responses=PRECONDITION_FAILED)
def change_one_schedule(
    schedule_id: ScheduleId,
    body: SchedulePatch,
    caller: Caller,
    session: Transaction,
    services: Composition,
    response: Response,
    if_match: IfMatch = None,
) -> ScheduleDocument:
    """Changes what the body names; a job that it has queued goes on."""
    row = find_schedule(session, schedule_id, owner=caller.writable_owner, for_update=True)
    require_match(if_match, schedule_document(row), services.settings)
    document = schedule_document(change_schedule(session, row, body.wish()))
    response.headers["ETag"] = etag_of(document, services.settings)
    return document


@router.delete("/schedules/{schedule_id}", status_code=204, dependencies=[needs("jobs:write")])
def delete_schedule(schedule_id: ScheduleId, caller: Caller, session: Transaction) -> None:
    """Deletes a schedule; a job that it has queued goes on."""
    session.delete(find_schedule(session, schedule_id, owner=caller.writable_owner, for_update=True))


@router.post(
    "/schedules/{schedule_id}:run",
    status_code=202,
    response_model=ScheduleDocument,
    dependencies=[needs("jobs:write")],
)
def run_schedule(
    schedule_id: ScheduleId, caller: Caller, session: Transaction, services: Composition, once: Once
) -> Response:
    """Does now what the schedule asks for, enabled or not, whatever it waits for; `Location` is the job's."""

    def run() -> Answer:
        row = find_schedule(session, schedule_id, owner=caller.writable_owner, for_update=True)
        ran = run_now(session, row, _stores(services))
        want_hint(session)
        location = {"Location": f"/v1/jobs/{ran.job_id}"}
        return Answer(status_code=202, body=schedule_document(row).model_dump(mode="json"), headers=location)

    return once.answer(run)


@router.get("/models/{name}/drift-scores", dependencies=[needs("models:read")])
def list_drift_scores(
    name: ResourceName, session: Transaction, cursor: Cursor = None, limit: Limit = 50
) -> PageDocument[DriftScoreDocument]:
    """The newest 1000 scores of a model, by the time of observation."""
    page = list_scores(session, name, cursor=cursor, limit=limit)
    return page_document(page, drift_score_document)


@router.post(
    "/models/{name}/drift-scores",
    status_code=201,
    response_model=CountedDriftScoreDocument,
    dependencies=[needs("jobs:write")],
)
def post_drift_score(
    name: ResourceName, body: DriftScoreBody, caller: Caller, session: Transaction, once: Once
) -> Response:
    """Takes a score from whoever uses the model; schedules of every owner that wait for drift count it."""
    new = NewScore(model=name, created_by=caller.owner, **body.model_dump())
    return once.answer(lambda: _counted(session, new))


def _counted(session: Session, new: NewScore) -> Answer:
    counted = record_score(session, new)
    members = drift_score_document(counted.row).model_dump()
    document = CountedDriftScoreDocument(**members, num_due=len(counted.due))
    return Answer(status_code=201, body=document.model_dump(mode="json"), headers={})


def _stores(services: Services) -> Stores:
    storage = services.settings.storage
    return Stores(store=services.store, bucket=storage.models_bucket, raw_bucket=storage.raw_bucket)
