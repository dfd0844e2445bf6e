"""API keys, callers and the audit log on the wire."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from heimdall_core.accounts.key_management import KeyStatus, MadeKey, status_of
from heimdall_core.accounts.principal import Principal
from heimdall_core.database.base import JsonObject
from heimdall_core.database.catalogue_tables import ApiKey


class CallerDocument(BaseModel):
    """Who calls."""

    owner: str = Field(description="Whose jobs are the caller's; `anonymous`: nobody in particular.")
    key_id: str | None = Field(description="The API key; null: a token, or nobody.")
    scopes: list[str] = Field(description="What the key or token opens.")
    expires_at: datetime | None = Field(description="When the key or token ends; null: it does not.")


def caller_document(caller: Principal) -> CallerDocument:
    """The wire form of a caller."""
    return CallerDocument(
        owner=caller.owner,
        key_id=caller.key_id,
        scopes=sorted(caller.scopes),
        expires_at=caller.expires_at,
    )


class ApiKeyDocument(BaseModel):
    """An API key; what it is made of was shown once, to whoever made it."""

    id: str
    owner: str
    name: str
    prefix: str = Field(description="How the key begins.", examples=["hmd_7Kq2xA"])
    scopes: list[str]
    status: KeyStatus
    created_by: str | None = Field(description="The key whose holder made it; null: a token's, or nobody's.")
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")
    revoked_at: datetime | None


class NewApiKeyDocument(ApiKeyDocument):
    """A key that was just made."""

    key: str | None = Field(
        description="The key itself: keep it now, it is never shown again. Null in a repeated answer.",
        examples=["hmd_7Kq2xAr0Xw8vKcOpyIhJ5mVbFg3nTzQsLuE1dYi9HkM"],
    )


def api_key_document(row: ApiKey, now: datetime) -> ApiKeyDocument:
    """The wire form of a key as it is ``now``."""
    return ApiKeyDocument(
        id=row.id,
        owner=row.owner,
        name=row.name,
        prefix=row.prefix,
        scopes=row.scopes,
        status=status_of(row, now),
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )


def new_api_key_document(made: MadeKey, now: datetime) -> NewApiKeyDocument:
    """The wire form of a key that was just made, with its secret."""
    return NewApiKeyDocument(**api_key_document(made.row, now).model_dump(), key=made.secret)


class AuditEntryDocument(BaseModel):
    """Who did what."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(description="Rises with time.")
    at: datetime
    actor: str = Field(description="The owner; `anonymous`: a sign-in that was refused.")
    key_id: str | None = Field(description="By which key; null: a token, or nobody.")
    action: str = Field(
        description="Operation id of the call, or `refuse_sign_in`, `refuse_call`.", examples=["create_job"]
    )
    target: str | None = Field(description="Path of what it was done to.", examples=["/v1/jobs/job_..."])
    request_id: str | None
    client: str | None = Field(description="Address of the caller, as the server saw it.")
    detail: JsonObject
