"""Events as pages and as streams: of one job, and of everything that the caller may see."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from api.dependencies import Caller, Composition, JobId, Transaction, needs
from api.event_hub import EventHub
from api.event_streams import MEDIA_TYPE, EventStream, StreamPlan
from api.schemas.events import EventPage, event_page
from heimdall_core.domain.job import JobKind, JobStatus
from heimdall_core.jobs.queries import find_job
from heimdall_core.notifications.stream import (
    ID_PATTERN,
    NAME_PATTERN,
    EventFilter,
    event_number,
    last_event_number,
    of_job,
    read_events,
)

router = APIRouter(tags=["events"], dependencies=[needs("jobs:read")])

_JOB = "/v1/jobs/{job_id}/events"
_NOW = "now"
_FRAMES = {
    "description": "Server-sent events: `id`, `event` and, as `data`, the event's document. A comment keeps "
    "an idle connection alive. Come back with the `Last-Event-ID` when it ends.",
    "content": {
        MEDIA_TYPE: {
            "schema": {"type": "string"},
            "example": 'id: evt_42\nevent: job.succeeded\ndata: {"id":"evt_42","event":"job.succeeded"}\n\n',
        }
    },
}
_STREAM: dict[int | str, dict[str, Any]] = {200: _FRAMES}
_PAGE_OR_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": _FRAMES["content"]}}
_JOB_OVER: dict[int | str, dict[str, Any]] = {
    204: {"description": "The job has ended and told everything: do not come back."}
}

After = Annotated[
    str,
    Query(
        pattern=ID_PATTERN, description="`next_after` of the page before, or an event's id.", examples=["0"]
    ),
]
AfterOrNow = Annotated[
    str,
    Query(
        pattern=f"^{_NOW}$|{ID_PATTERN}",
        description=f"As of a job's events; `{_NOW}`: only what is yet to happen.",
        examples=["0", _NOW],
    ),
]
StreamAfter = Annotated[
    str | None,
    Query(pattern=ID_PATTERN, description="As `Last-Event-ID`, which goes before it."),
]
WithProgress = Annotated[
    bool,
    Query(
        alias="progress",
        description="Also `job.progress` of running jobs, about once a second if something has changed, "
        "whatever `name` says. It has no id and is not kept.",
    ),
]
LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", pattern=ID_PATTERN, description="The last event that you have.")
]
Limit = Annotated[int, Query(ge=1, le=1000)]
Name = Annotated[str, Query(pattern=NAME_PATTERN)]


def get_hub(request: Request) -> EventHub:
    """The fan-out of this application."""
    hub: EventHub = request.app.state.events
    return hub


Hub = Annotated[EventHub, Depends(get_hub)]


def get_filter(
    caller: Caller,
    name: Annotated[
        list[Name] | None,
        Query(description="Only these; `*` at the end stands for anything.", examples=[["job.*"]]),
    ] = None,
    kind: Annotated[list[JobKind] | None, Query(description="Only of jobs of these kinds.")] = None,
    job: Annotated[str | None, Query(max_length=100, description="Only of this job.")] = None,
    model: Annotated[str | None, Query(max_length=100, description="Only about this model.")] = None,
) -> EventFilter:
    """The wanted events that the caller may see; those of models need `models:read` besides."""
    return EventFilter(
        owner=caller.visible_owner,
        models_too=caller.may("models:read"),
        names=tuple(name or ()),
        kinds=tuple(kind or ()),
        job_id=job,
        model=model,
    )


Wanted = Annotated[EventFilter, Depends(get_filter)]


@router.get(_JOB, response_model=EventPage, responses=_PAGE_OR_STREAM | _JOB_OVER)
def list_job_events(
    job_id: JobId,
    request: Request,
    session: Transaction,
    caller: Caller,
    services: Composition,
    hub: Hub,
    after: After = "0",
    limit: Limit = 100,
    last_event_id: LastEventId = None,
) -> EventPage | Response:
    """The job's history, oldest first; as a stream with `Accept: text/event-stream`."""
    if _wants_stream(request):
        return stream_job_events(job_id, session, caller, services, hub, after, last_event_id=last_event_id)
    find_job(session, job_id, owner=caller.visible_owner)
    number = event_number(after, pointer="/after")
    events = read_events(session, of_job(job_id), after=number, limit=limit)
    return event_page(events, next_after=events[-1].id if events else number)


@router.get(_JOB + "/stream", response_class=Response, responses=_STREAM | _JOB_OVER)
def stream_job_events(
    job_id: JobId,
    session: Transaction,
    caller: Caller,
    services: Composition,
    hub: Hub,
    after: StreamAfter = None,
    progress: WithProgress = False,
    last_event_id: LastEventId = None,
) -> Response:
    """The job's history and what comes to it, until its terminal event."""
    job = find_job(session, job_id, owner=caller.visible_owner)
    has_ended = JobStatus(job.status).is_terminal
    number = event_number(last_event_id or after or "0", pointer="/after")
    wanted = of_job(job_id)
    if has_ended and not read_events(session, wanted, after=number, limit=1):
        return Response(status_code=HTTPStatus.NO_CONTENT)
    plan = StreamPlan(
        wanted=wanted,
        caller=caller,
        after=number,
        with_progress=progress,
        until_job_ends=True,
        has_ended=has_ended,
    )
    return EventStream(plan, hub, services.database)


@router.get("/v1/events", response_model=EventPage, responses=_PAGE_OR_STREAM)
def list_events(
    request: Request,
    session: Transaction,
    caller: Caller,
    services: Composition,
    hub: Hub,
    wanted: Wanted,
    after: AfterOrNow = "0",
    limit: Limit = 100,
    last_event_id: LastEventId = None,
) -> EventPage | Response:
    """What happened to all jobs and models that you may see, oldest first; also as a stream."""
    if _wants_stream(request):
        given = after if "after" in request.query_params and after != _NOW else None
        return stream_events(caller, services, hub, wanted, given, last_event_id=last_event_id)
    newest = last_event_number(session)
    number = newest if after == _NOW else event_number(after, pointer="/after")
    events = read_events(session, wanted, after=number, limit=limit)
    seen = newest if len(events) < limit else 0
    return event_page(events, next_after=max(number, seen, *(event.id for event in events)))


@router.get("/v1/events/stream", response_class=Response, responses=_STREAM)
def stream_events(
    caller: Caller,
    services: Composition,
    hub: Hub,
    wanted: Wanted,
    after: StreamAfter = None,
    progress: WithProgress = False,
    last_event_id: LastEventId = None,
) -> Response:
    """What happens to all jobs and models that you may see; from now on, or after an event."""
    given = last_event_id or after
    number = None if given is None else event_number(given, pointer="/after")
    plan = StreamPlan(wanted=wanted, caller=caller, after=number, with_progress=progress)
    return EventStream(plan, hub, services.database)


def _wants_stream(request: Request) -> bool:
    return MEDIA_TYPE in request.headers.get("accept", "")
