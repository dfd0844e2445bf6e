"""The audit log: who changed what, written in the transaction of the change."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Insert, Select, Table, bindparam, func, insert, or_, select, tuple_
from sqlalchemy.orm import Session

from heimdall_core.accounts.principal import ANONYMOUS, Principal
from heimdall_core.database.account_tables import AuditEntry
from heimdall_core.database.base import JsonObject
from heimdall_core.database.catalogue_tables import ApiKey
from heimdall_core.database.paging import Page, decode_cursor, encode_cursor
from heimdall_core.domain.errors import InvalidRequest, Unauthenticated

_TABLE = cast("Table", AuditEntry.__table__)
_CIRCUMSTANCES = "audit_circumstances"
_RECORDED = "audit_recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """How a request came."""

    request_id: str | None = None
    client: str | None = None
    """Address of the caller, as the server sees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries to list; None: any."""

    actor: str | None = None
    key_id: str | None = None
    action: str | None = None
    target: str | None = None
    after: datetime | None = None
    before: datetime | None = None


def set_circumstances(session: Session, circumstances: Circumstances) -> None:
    """What ``record`` notes of the request that the session serves."""
    session.info[_CIRCUMSTANCES] = circumstances


def record(
    session: Session, principal: Principal | None, action: str, target: str | None, **detail: object
) -> None:
    """Adds an entry to the caller's transaction; ``principal`` None: nobody that is known.

    ``detail`` is JSON, and never a secret.
    """
    session.info[_RECORDED] = True
    session.execute(insert(_TABLE).values(_entry(session, principal, action, target, detail)))


def record_by_live_key(
    session: Session, principal: Principal, action: str, target: str | None, **detail: object
) -> None:
    """The same, if the key is valid still: who was let in by a key that was revoked since changes nothing.

    Raises:
        Unauthenticated: the key was revoked, or has expired.
    """
    if principal.key_id is None:
        record(session, principal, action, target, **detail)
        return
    session.info[_RECORDED] = True
    entry = _entry(session, principal, action, target, detail)
    if session.execute(_ADDITION_BY_LIVE_KEY, entry).first() is None:
        raise Unauthenticated("the API key was revoked, or has expired, meanwhile", code="key_revoked")


def _addition_by_live_key() -> Insert:
    """Parameters are the columns of an entry; of a key that is not valid any more, no row is added."""
    values = select(*(bindparam(name, type_=_TABLE.c[name].type) for name in _COLUMNS))
    is_live = select(ApiKey.id).where(
        ApiKey.id == bindparam("key_id"),
        ApiKey.revoked_at.is_(None),
        or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()),
    )
    return insert(_TABLE).from_select(_COLUMNS, values.where(is_live.exists())).returning(_TABLE.c.id)


_COLUMNS = ["actor", "key_id", "action", "target", "request_id", "client", "detail"]
_ADDITION_BY_LIVE_KEY = _addition_by_live_key()


def _entry(
    session: Session, principal: Principal | None, action: str, target: str | None, detail: JsonObject
) -> dict[str, Any]:
    circumstances: Circumstances = session.info.get(_CIRCUMSTANCES, Circumstances())
    return {
        "actor": ANONYMOUS if principal is None else principal.owner,
        "key_id": None if principal is None else principal.key_id,
        "action": action,
        "target": target,
        "request_id": circumstances.request_id,
        "client": circumstances.client,
        "detail": detail,
    }


def has_recorded(session: Session) -> bool:
    """Whether this transaction has an entry already."""
    return session.info.get(_RECORDED, False) is True


def list_entries(
    session: Session, wanted: AuditFilter, *, cursor: str | None, limit: int
) -> Page[AuditEntry]:
    """Newest first.

    Raises:
        InvalidRequest: the cursor is none of this list.
    """
    statement = _filtered(select(AuditEntry), wanted)
    if cursor:
        statement = statement.where(tuple_(AuditEntry.at, AuditEntry.id) < _position(cursor))
    ordered = statement.order_by(AuditEntry.at.desc(), AuditEntry.id.desc())
    entries = session.scalars(ordered.limit(limit + 1)).all()
    more = len(entries) > limit
    entries = entries[:limit]
    following = encode_cursor(entries[-1].at, str(entries[-1].id)) if more else None
    return Page(items=entries, next_cursor=following)


def _position(cursor: str) -> tuple[datetime, int]:
    at, entry_id = decode_cursor(cursor)
    if not entry_id.isascii() or not entry_id.isdecimal():
        raise InvalidRequest("the cursor is not valid")
    return at, int(entry_id)


def _filtered(statement: Select[AuditEntry], wanted: AuditFilter) -> Select[AuditEntry]:
    equal = {
        AuditEntry.actor: wanted.actor,
        AuditEntry.key_id: wanted.key_id,
        AuditEntry.action: wanted.action,
        AuditEntry.target: wanted.target,
    }
    statement = statement.where(*(column == value for column, value in equal.items() if value is not None))
    if wanted.after is not None:
        statement = statement.where(AuditEntry.at > wanted.after)
    if wanted.before is not None:
        statement = statement.where(AuditEntry.at < wanted.before)
    return statement
