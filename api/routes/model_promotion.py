"""Which version of a model is to be used: compare, promote, roll back, and the history of it."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.dependencies import (
    Caller,
    Composition,
    Once,
    ResourceName,
    Transaction,
    VersionNumber,
    needs,
)
from api.schemas.model_promotion import (
    ComparisonDocument,
    ModelEventPage,
    PromoteBody,
    PromotionDocument,
    RollbackBody,
    VerdictDocument,
    comparison_document,
    model_event_document,
    promotion_document,
)
from heimdall_core.accounts.idempotency import Answer
from heimdall_core.registry.comparing import compare_versions
from heimdall_core.registry.events import list_model_events
from heimdall_core.registry.promotion import (
    Gate,
    Promotion,
    PromotionCall,
    RollbackCall,
    preview_verdict,
    promote_version,
    roll_back,
)
from heimdall_core.registry.queries import find_model
from heimdall_core.registry.reading import NotRead, ReadBefore, read_between

router = APIRouter()

#: For the files that a verdict needs; PostgreSQL lets the transaction idle for longer.
PATIENCE_SECONDS = 10.0

TwoVersions = Annotated[
    str, Query(pattern=r"^[1-9]\d{0,8},[1-9]\d{0,8}$", description="Two versions.", examples=["3,7"])
]


@router.get("/{name}:compare", dependencies=[needs("models:read")])
def compare(name: ResourceName, versions: TwoVersions, services: Composition) -> ComparisonDocument:
    """Two versions side by side, with paired bootstrap intervals where both met the same test sessions."""
    first, second = (int(number) for number in versions.split(","))
    store = ReadBefore(services.store, patience_seconds=PATIENCE_SECONDS)
    while True:
        try:
            with services.database.transaction() as session:
                return comparison_document(compare_versions(session, store, name, (first, second)))
        except NotRead as wanted:
            wanted.fetch()


@router.get("/{name}/events", dependencies=[needs("models:read")])
def list_events_of_model(
    name: ResourceName,
    session: Transaction,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="`next_after` of the answer before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> ModelEventPage:
    """Registrations, promotions, refusals and rollbacks of a model, oldest first."""
    find_model(session, name)
    events = list_model_events(session, name, after=after, limit=limit)
    return ModelEventPage(
        data=[model_event_document(event) for event in events], next_after=events[-1].id if events else after
    )


@router.get("/{name}/versions/{version}/verdict", dependencies=[needs("models:read")])
def preview_promotion(
    name: ResourceName, version: VersionNumber, session: Transaction, services: Composition
) -> VerdictDocument:
    """What the gate would say of a promotion now, check by check; nothing is changed."""
    store = ReadBefore(services.store, patience_seconds=PATIENCE_SECONDS)
    gate = Gate(policy=services.settings.promotion, store=store)
    verdict = read_between(session, lambda: preview_verdict(session, name, version, gate))
    return VerdictDocument.model_validate(verdict.to_dict())


@router.post(
    "/{name}/versions/{version}:promote",
    response_model=PromotionDocument,
    dependencies=[needs("models:promote")],
)
def promote(
    name: ResourceName,
    version: VersionNumber,
    session: Transaction,
    caller: Caller,
    services: Composition,
    once: Once,
    body: PromoteBody = PromoteBody(),  # noqa: B008 - frozen, and FastAPI reads the default here
) -> Response:
    """Makes a version the champion if the gate lets it; the former champion becomes the previous one.

    A refusal is a 409 `promotion_refused` whose `verdict` lists every check.
    """
    call = PromotionCall(
        model=name, version=version, caller=caller.owner, force=body.force, reason=body.reason
    )
    store = ReadBefore(services.store, patience_seconds=PATIENCE_SECONDS)
    gate = Gate(policy=services.settings.promotion, store=store)
    return once.answer(lambda: _answer(read_between(session, lambda: promote_version(session, call, gate))))


@router.post("/{name}:rollback", response_model=PromotionDocument, dependencies=[needs("models:promote")])
def rollback(
    name: ResourceName,
    session: Transaction,
    caller: Caller,
    once: Once,
    body: RollbackBody = RollbackBody(),  # noqa: B008 - as above
) -> Response:
    """Swaps the champion and the previous version; a second rollback swaps them again."""
    call = RollbackCall(
        model=name, caller=caller.owner, reason=body.reason, champion_version=body.champion_version
    )
    return once.answer(lambda: _answer(roll_back(session, call)))


def _answer(promotion: Promotion) -> Answer:
    return Answer(status_code=200, body=promotion_document(promotion).model_dump(mode="json"))
