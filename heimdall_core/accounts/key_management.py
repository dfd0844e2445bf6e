"""Making, listing and revoking API keys, each owner its own and an admin everybody's."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from annotated_types import MaxLen, MinLen
from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_, update
from sqlalchemy.orm import Session

from heimdall_core.accounts import audit
from heimdall_core.accounts.keys import ensure_key, make_key
from heimdall_core.accounts.principal import Principal, is_owner_name
from heimdall_core.database.catalogue_tables import ApiKey
from heimdall_core.database.paging import Page, decode_cursor, encode_cursor
from heimdall_core.domain.errors import Conflict, FieldProblem, Forbidden, InvalidRequest, NotFound
from heimdall_core.domain.scopes import Scope
from heimdall_core.domain.spec import STRICT

MAX_LIVE_KEYS = 100
"""Of one owner, where no admin makes them."""


class KeyStatus(StrEnum):
    """Whether a key opens anything."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key to be made."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    name: Annotated[str, MinLen(1), MaxLen(100)]
    """What it is for, for people."""
    scopes: Annotated[tuple[Scope, ...], MinLen(1), MaxLen(len(Scope))]
    """What it opens; without the scope `admin` no more than the caller has itself."""
    owner: Annotated[str, MinLen(1), MaxLen(255)] | None = None
    """Whose it is; default: the caller's. Another's takes the scope `admin`."""
    expires_at: datetime | None = None
    """Default: when the caller's own key does, if it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeKey:
    """A key, and the only sight of its secret."""

    row: ApiKey
    secret: str


def create_key(
    session: Session, caller: Principal, request: NewKey, *, token_key_lifetime: timedelta
) -> MadeKey:
    """Makes a key; ``token_key_lifetime`` bounds what the holder of a token makes who is no admin.

    Raises:
        InvalidRequest: a field is wrong; it is named.
        Forbidden: the key would open more, or longer, than the caller's own.
        Conflict: the owner has too many keys.
    """
    owner = _owner_of(caller, request)
    scopes = sorted({scope.value for scope in request.scopes})
    now = session.execute(select(func.now())).scalar_one()
    expires_at = _expiry_of(caller, request, now, token_key_lifetime)
    if not caller.is_admin:
        _check_scopes(caller, scopes)
        _check_number(session, owner)
    secret = make_key()
    row = ensure_key(session, secret, owner=owner, name=request.name, scopes=scopes, expires_at=expires_at)
    row.created_by = caller.key_id
    session.flush()
    audit.record_by_live_key(
        session,
        caller,
        "create_api_key",
        f"/v1/api-keys/{row.id}",
        owner=owner,
        scopes=scopes,
        expires_at=None if expires_at is None else expires_at.isoformat(),
    )
    return MadeKey(row=row, secret=secret)


def list_keys(
    session: Session,
    *,
    owner: str | None,
    status: KeyStatus | None = None,
    prefix: str | None = None,
    cursor: str | None,
    limit: int,
) -> Page[ApiKey]:
    """Newest first; ``owner`` None: everybody's."""
    statement = select(ApiKey)
    if owner is not None:
        statement = statement.where(ApiKey.owner == owner)
    if status is not None:
        statement = statement.where(_is(status))
    if prefix is not None:
        statement = statement.where(ApiKey.prefix == prefix)
    if cursor:
        statement = statement.where(tuple_(ApiKey.created_at, ApiKey.id) < decode_cursor(cursor))
    ordered = statement.order_by(ApiKey.created_at.desc(), ApiKey.id.desc())
    rows = session.scalars(ordered.limit(limit + 1)).all()
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(items=rows, next_cursor=encode_cursor(rows[-1].created_at, rows[-1].id) if more else None)


def find_key(session: Session, key_id: str, *, owner: str | None) -> ApiKey:
    """The key, if this owner may see it.

    Raises:
        NotFound: no such key, or another owner's.
    """
    row = session.get(ApiKey, key_id)
    if row is None or (owner is not None and row.owner != owner):
        raise NotFound(f"no API key {key_id!r}", code="key_not_found", hint="GET /v1/api-keys lists yours")
    return row


def revoke_key(session: Session, caller: Principal, key_id: str) -> ApiKey:
    """Ends the key now and for good; it may be the caller's own. Repeating it changes nothing.

    Raises:
        NotFound: no such key, or another owner's.
        Forbidden: it opens what the caller's own does not.
    """
    row = find_key(session, key_id, owner=caller.writable_owner)
    _check_no_greater(caller, row)
    audit.record_by_live_key(session, caller, "revoke_api_key", f"/v1/api-keys/{key_id}", owner=row.owner)
    live = ApiKey.id == key_id, ApiKey.revoked_at.is_(None)
    session.execute(update(ApiKey).where(*live).values(revoked_at=func.now()))
    session.refresh(row)
    return row


def status_of(row: ApiKey, now: datetime) -> KeyStatus:
    """Whether the key opens anything now."""
    if row.revoked_at is not None:
        return KeyStatus.REVOKED
    return KeyStatus.EXPIRED if row.expires_at is not None and row.expires_at <= now else KeyStatus.ACTIVE


def _is(status: KeyStatus) -> ColumnElement[bool]:
    is_revoked, is_past = ApiKey.revoked_at.is_not(None), ApiKey.expires_at <= func.now()
    live = ApiKey.revoked_at.is_(None)
    return {
        KeyStatus.REVOKED: is_revoked,
        KeyStatus.EXPIRED: and_(live, is_past),
        KeyStatus.ACTIVE: and_(live, or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now())),
    }[status]


def _owner_of(caller: Principal, request: NewKey) -> str:
    owner = caller.owner if request.owner is None else request.owner
    if not caller.is_admin and owner != caller.owner:
        raise Forbidden(
            "only an admin makes keys for others",
            hint="Leave out `owner`, or ask an admin.",
            code="owner_not_yours",
        )
    if not is_owner_name(owner):
        detail = "use up to 255 printable characters without blanks at the ends, and not 'anonymous'"
        raise InvalidRequest(
            "the owner cannot be called so", problems=(FieldProblem(pointer="/owner", detail=detail),)
        )
    return owner


def _check_scopes(caller: Principal, scopes: list[str]) -> None:
    beyond = [scope for scope in scopes if not caller.may(scope)]
    if beyond:
        raise Forbidden(
            f"the key would open what the caller's own does not: {', '.join(beyond)}",
            hint="Leave those scopes out, or ask an admin.",
            code="scope_not_yours",
        )


def _check_no_greater(caller: Principal, row: ApiKey) -> None:
    """A key that leaked ends none that opens more than itself."""
    beyond = [scope for scope in row.scopes if not caller.may(scope)]
    if beyond and row.id != caller.key_id:
        raise Forbidden(
            f"the key opens what the caller's own does not: {', '.join(beyond)}",
            hint="Revoke it with itself or a key that opens as much, or ask an admin.",
            code="scope_not_yours",
        )


def _expiry_of(
    caller: Principal, request: NewKey, now: datetime, token_key_lifetime: timedelta
) -> datetime | None:
    wanted = request.expires_at
    if wanted is not None and wanted.tzinfo is None:
        wanted = wanted.replace(tzinfo=UTC)
    if wanted is not None and wanted <= now:
        problem = FieldProblem(pointer="/expires_at", detail="use a time in the future")
        raise InvalidRequest("the key would have expired already", problems=(problem,))
    latest = None if caller.is_admin else _latest_expiry(caller, now, token_key_lifetime)
    if wanted is not None and latest is not None and wanted > latest:
        raise Forbidden(
            f"the key would outlive the caller's right to make it, which ends {latest.isoformat()}",
            hint="Give an earlier `expires_at`, leave it out, or ask an admin.",
            code="expiry_beyond_yours",
        )
    return wanted or latest


def _latest_expiry(caller: Principal, now: datetime, token_key_lifetime: timedelta) -> datetime | None:
    return caller.expires_at if caller.key_id is not None else now + token_key_lifetime


def _check_number(session: Session, owner: str) -> None:
    count = select(func.count()).select_from(ApiKey).where(ApiKey.owner == owner, _is(KeyStatus.ACTIVE))
    if session.execute(count).scalar_one() >= MAX_LIVE_KEYS:
        raise Conflict(
            f"{owner!r} has {MAX_LIVE_KEYS} keys already",
            hint="Revoke those that nobody uses, or ask an admin.",
            code="too_many_keys",
        )
