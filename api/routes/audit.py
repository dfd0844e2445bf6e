"""The audit log."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from api.dependencies import Cursor, Limit, Transaction, needs
from api.schemas.accounts import AuditEntryDocument
from api.schemas.pages import PageDocument, page_document
from heimdall_core.accounts.audit import AuditFilter, list_entries

router = APIRouter(prefix="/v1/audit", tags=["access"], dependencies=[needs("admin")])


@router.get("")
def list_audit_entries(
    session: Transaction,
    actor: Annotated[str | None, Query(max_length=255, description="Owner of the key or token.")] = None,
    key_id: Annotated[str | None, Query(max_length=100)] = None,
    action: Annotated[str | None, Query(max_length=100, description="Operation id.")] = None,
    target: Annotated[str | None, Query(max_length=1000, description="Path of what it was done to.")] = None,
    after: Annotated[datetime | None, Query(description="Later than this.")] = None,
    before: Annotated[datetime | None, Query(description="Earlier than this.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> PageDocument[AuditEntryDocument]:
    """Who changed what, and which sign-ins and calls were refused; newest first."""
    wanted = AuditFilter(actor=actor, key_id=key_id, action=action, target=target, after=after, before=before)
    page = list_entries(session, wanted, cursor=cursor, limit=limit)
    return page_document(page, AuditEntryDocument.model_validate)
