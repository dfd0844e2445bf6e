"""API keys, and who calls."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy.orm import Session

from api.dependencies import Caller, Composition, Cursor, Limit, NamedCaller, Once, Transaction
from api.schemas.accounts import (
    ApiKeyDocument,
    CallerDocument,
    NewApiKeyDocument,
    api_key_document,
    caller_document,
    new_api_key_document,
)
from api.schemas.pages import PageDocument, page_document
from api.services import Services
from heimdall_core.accounts.idempotency import Answer
from heimdall_core.accounts.key_management import (
    KeyStatus,
    NewKey,
    create_key,
    find_key,
    list_keys,
    revoke_key,
)
from heimdall_core.accounts.principal import Principal
from heimdall_core.database.ids import ID_PATTERN

router = APIRouter(prefix="/v1", tags=["access"])

KeyId = Annotated[str, Path(pattern=ID_PATTERN, examples=["key_x4r2k7abcdefghijklmnop23"])]


@router.get("/whoami")
def read_caller(caller: Caller) -> CallerDocument:
    """Who you are to this service, and what you may do."""
    return caller_document(caller)


@router.get("/api-keys")
def list_api_keys(
    caller: NamedCaller,
    session: Transaction,
    owner: Annotated[str | None, Query(max_length=255, description="Of an admin's list: only whose.")] = None,
    status: KeyStatus | None = None,
    prefix: Annotated[str | None, Query(max_length=10, description="How the key begins.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> PageDocument[ApiKeyDocument]:
    """Your keys, newest first; an admin's: everybody's."""
    whose = owner if caller.is_admin else caller.owner
    page = list_keys(session, owner=whose, status=status, prefix=prefix, cursor=cursor, limit=limit)
    now = datetime.now(UTC)
    return page_document(page, lambda row: api_key_document(row, now))


@router.post("/api-keys", status_code=201, response_model=NewApiKeyDocument)
def create_api_key(
    request: NewKey, caller: NamedCaller, session: Transaction, services: Composition, once: Once
) -> Response:
    """Makes a key, which this answer alone shows.

    An admin makes any key for any owner. Others make their own, which open no more than the key that they
    call with, and no longer.
    """
    return once.answer(lambda: _created(session, caller, request, services), secret="key")  # noqa: S106 - a name


def _created(session: Session, caller: Principal, request: NewKey, services: Services) -> Answer:
    lifetime = timedelta(days=services.settings.oidc.key_days)
    made = create_key(session, caller, request, token_key_lifetime=lifetime)
    body = new_api_key_document(made, datetime.now(UTC)).model_dump(mode="json")
    return Answer(status_code=201, body=body, headers={"Location": f"/v1/api-keys/{made.row.id}"})


@router.get("/api-keys/{key_id}")
def read_api_key(key_id: KeyId, caller: NamedCaller, session: Transaction) -> ApiKeyDocument:
    """One of your keys; an admin's: anybody's."""
    row = find_key(session, key_id, owner=caller.writable_owner)
    return api_key_document(row, datetime.now(UTC))


@router.delete("/api-keys/{key_id}")
def revoke_api_key(key_id: KeyId, caller: NamedCaller, session: Transaction) -> ApiKeyDocument:
    """Ends a key now and for good; the key that you call with may be one. Repeating it changes nothing."""
    row = revoke_key(session, caller, key_id)
    return api_key_document(row, datetime.now(UTC))
