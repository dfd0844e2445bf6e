"""API keys, who calls, and the audit log."""

import builtins
from collections.abc import Iterable
from datetime import datetime

from heimdall_client.calls import delete, get, pages, post
from heimdall_client.documents.access import ApiKey, AuditEntry, Caller, NewApiKey
from heimdall_client.documents.document import document
from heimdall_client.exchanges import path_of, time_of
from heimdall_client.operations.binding import Answering, Blocking, Iterating, NonBlocking
from heimdall_client.operations.references import given
from heimdall_client.steps import Feed, Flow


def read_caller() -> Flow[Caller]:
    """Who you are to the service, and what you may do."""
    return get("/v1/whoami", document(Caller))


def list_keys(
    *,
    owner: str | None = None,
    status: str | None = None,
    prefix: str | None = None,
    limit: int | None = None,
) -> Feed[ApiKey]:
    """Your keys, newest first; an admin's: everybody's, or those of one owner."""
    return pages("/v1/api-keys", ApiKey, {"owner": owner, "status": status, "prefix": prefix}, limit=limit)


def create_key(
    name: str,
    *,
    scopes: Iterable[str],
    owner: str | None = None,
    expires_at: datetime | None = None,
    idempotency_key: str | None = None,
) -> Flow[NewApiKey]:
    """Makes a key, which this answer alone shows."""
    expiry = None if expires_at is None else time_of(expires_at)
    body = given(name=name, scopes=builtins.list(scopes), owner=owner, expires_at=expiry)
    return post("/v1/api-keys", document(NewApiKey), body, key=idempotency_key)


def get_key(key_id: str) -> Flow[ApiKey]:
    """One of your keys; an admin's: anybody's."""
    return get(path_of("api-keys", key_id), document(ApiKey))


def revoke_key(key_id: str) -> Flow[ApiKey]:
    """Ends a key now and for good."""
    return delete(path_of("api-keys", key_id), document(ApiKey))


def list_audit_entries(
    *,
    actor: str | None = None,
    key_id: str | None = None,
    action: str | None = None,
    target: str | None = None,
    after: datetime | None = None,
    before: datetime | None = None,
    limit: int | None = None,
) -> Feed[AuditEntry]:
    """Who changed what, newest first; for admins."""
    wanted = {
        "actor": actor,
        "key_id": key_id,
        "action": action,
        "target": target,
        "after": after,
        "before": before,
    }
    return pages("/v1/audit", AuditEntry, wanted, limit=limit)


class ApiKeyOperations:
    """Every call about API keys."""

    list = Iterating(list_keys)
    create = Answering(create_key)
    get = Answering(get_key)
    revoke = Answering(revoke_key)


class ApiKeys(ApiKeyOperations, Blocking):
    """API keys, blocking."""


class AsyncApiKeys(ApiKeyOperations, NonBlocking):
    """API keys, to be awaited."""
