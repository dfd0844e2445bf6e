"""Models and their versions."""

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from sqlalchemy.orm import Session

from api.conditional import NOT_MODIFIED, Conditional
from api.dependencies import (
    Caller,
    Composition,
    Cursor,
    Limit,
    Once,
    Policy,
    ResourceName,
    Store,
    Transaction,
    VersionNumber,
    needs,
)
from api.routes import model_promotion
from api.routes.jobs import accepted
from api.schemas.models import (
    ModelDocument,
    ModelOverviewDocument,
    ModelVersionDetail,
    ModelVersionList,
    RetrainBody,
    RetrainDocument,
    model_document,
    model_overview_document,
    model_version_detail,
    model_version_document,
)
from api.schemas.pages import PageDocument, page_document
from api.services import Services
from heimdall_core.accounts.idempotency import Answer
from heimdall_core.database.paging import Page
from heimdall_core.jobs.queue_facts import QueuePolicy
from heimdall_core.registry.queries import (
    find_model,
    find_model_version,
    list_model_versions,
    list_models,
    list_version_artifacts,
    overview_models,
)
from heimdall_core.retraining import LATEST, RetrainCall, Retraining, RetrainOutcome, retrain_model

router = APIRouter(prefix="/v1/models", tags=["models"])
# First: of GET ``/{name}:compare`` and GET ``/{name}`` the former must be tried before the latter.
router.include_router(model_promotion.router)

OUTCOME_HEADER = "Retrain-Outcome"
IfChanged = Annotated[Conditional, Depends()]


@router.get("", dependencies=[needs("models:read")])
def list_all_models(
    session: Transaction, cursor: Cursor = None, limit: Limit = 50
) -> PageDocument[ModelOverviewDocument]:
    """All models with their champions, newest first."""
    page = list_models(session, cursor=cursor, limit=limit)
    overviews = Page(items=overview_models(session, page.items), next_cursor=page.next_cursor)
    return page_document(overviews, model_overview_document)


@router.get(
    "/{name}", response_model=ModelDocument, dependencies=[needs("models:read")], responses=NOT_MODIFIED
)
def read_model(name: ResourceName, session: Transaction, conditional: IfChanged) -> Response:
    """One model."""
    return conditional.answer(model_document(find_model(session, name)))


@router.get("/{name}/versions", dependencies=[needs("models:read")])
def list_versions_of_model(name: ResourceName, session: Transaction, store: Store) -> ModelVersionList:
    """Every version of a model, newest first."""
    model = find_model(session, name)
    versions = list_model_versions(session, name)
    return ModelVersionList(data=[model_version_document(row, model, store) for row in versions])


@router.get(
    "/{name}/versions/{version}",
    response_model=ModelVersionDetail,
    dependencies=[needs("models:read")],
    responses=NOT_MODIFIED,
)
def read_model_version(
    name: ResourceName,
    version: VersionNumber,
    session: Transaction,
    store: Store,
    caller: Caller,
    conditional: IfChanged,
) -> Response:
    """One version of a model: metrics, lineage, verification, and URLs to fetch its files.

    The `artifacts` of the job are listed to those who may see the job.
    """
    model = find_model(session, name)
    row = find_model_version(session, name, version)
    is_visible = caller.visible_owner in {None, row.created_by}
    artifacts = list_version_artifacts(session, row) if is_visible else ()
    return conditional.answer(model_version_detail(row, model, artifacts, store))


@router.post(
    "/{name}:retrain",
    status_code=202,
    response_model=RetrainDocument,
    dependencies=[needs("jobs:write")],
    responses={
        200: {
            "model": RetrainDocument,
            "description": "`Retrain-Outcome: joined`: a queued job serves this call too. "
            "`repeated`: the `dedupe_key` has had this job before.",
        }
    },
)
def retrain(
    name: ResourceName,
    body: RetrainBody,
    session: Transaction,
    caller: Caller,
    services: Composition,
    once: Once,
    policy: Policy,
) -> Response:
    """Trains the champion again on what is approved now; made for services that call unattended.

    Callers share the job while it is queued, and `left_as_it_is` names what they asked for in vain. Repeat a
    call to follow its job: the same `dedupe_key` gets the same job, whatever its status.
    """
    if body.dataset is not None:
        caller.require("datasets:write")
    call = RetrainCall(
        model=name,
        caller=caller.owner,
        dataset=body.dataset or LATEST,
        **body.model_dump(exclude={"dataset"}),
    )
    return once.answer(lambda: _retrained(session, call, services, policy))


def _retrained(session: Session, call: RetrainCall, services: Services, policy: QueuePolicy) -> Answer:
    buckets = services.settings.storage
    found = retrain_model(
        session, call, store=services.store, bucket=buckets.models_bucket, raw_bucket=buckets.raw_bucket
    )
    answer = accepted(session, found.job, policy)
    is_new = found.outcome is RetrainOutcome.QUEUED
    headers = {**answer.headers, OUTCOME_HEADER: found.outcome.value}
    if answer.body["is_terminal"]:
        del headers["Retry-After"]
    status = HTTPStatus.ACCEPTED if is_new else HTTPStatus.OK
    return replace(answer, status_code=status.value, headers=headers, body={**answer.body, **_told(found)})


def _told(found: Retraining) -> dict[str, Any]:
    return {
        "outcome": found.outcome.value,
        "new_sessions": found.new_sessions,
        "withdrawn_sessions": found.withdrawn_sessions,
        "left_as_it_is": list(found.left_as_it_is),
    }
