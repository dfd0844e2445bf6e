"""API keys, callers and the audit log."""

from datetime import datetime
from typing import Any

from pydantic import Field

from heimdall_client.documents.document import Document, OpenEnum


class KeyStatus(OpenEnum):
    """Whether a key opens anything."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Caller(Document):
    """Who calls, and what the key opens."""

    owner: str
    scopes: list[str]
    key_id: str | None = None
    expires_at: datetime | None = None


class ApiKey(Document):
    """An API key."""

    id: str
    name: str
    owner: str | None = None
    prefix: str | None = None
    """How the key begins."""
    scopes: list[str] = Field(default_factory=list)
    status: KeyStatus | None = None
    created_by: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


class NewApiKey(ApiKey):
    """A key that was just made."""

    key: str | None = Field(default=None, repr=False)
    """The key itself, shown once. None: the answer that showed it was lost; revoke it, make another."""


class AuditEntry(Document):
    """Who did what."""

    id: str
    at: datetime
    actor: str
    action: str
    key_id: str | None = None
    target: str | None = None
    request_id: str | None = None
    client: str | None = None
    detail: dict[str, Any] = Field(default_factory=dict)
