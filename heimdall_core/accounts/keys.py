"""API keys: ``hmd_`` and 256 random bits, of which the database keeps the SHA-256 alone."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Connection, Row, Table, bindparam, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from heimdall_core.accounts.principal import ADMIN, SCOPES, Principal
from heimdall_core.database.catalogue_tables import ApiKey
from heimdall_core.database.ids import new_id
from heimdall_core.domain.errors import Unauthenticated

KEY_PREFIX = "hmd_"
KEY_PATTERN = re.compile(r"hmd_[A-Za-z0-9_-]{20,200}")
PREFIX_CHARS = 10
"""Of a key are shown in lists and look it up: ``hmd_`` and 36 random bits."""

_NUM_BYTES = 32
_USE_RESOLUTION = timedelta(minutes=1)
_HINT = "Send 'Authorization: Bearer hmd_...' with a key of this service."
_TABLE = cast("Table", ApiKey.__table__)
UNNOTED = or_(_TABLE.c.last_used_at.is_(None), _TABLE.c.last_used_at < func.now() - literal(_USE_RESOLUTION))
_LOOK_UP = select(
    _TABLE.c.id,
    _TABLE.c.owner,
    _TABLE.c.scopes,
    _TABLE.c.sha256,
    _TABLE.c.expires_at,
    _TABLE.c.revoked_at.is_not(None).label("is_revoked"),
    func.coalesce(_TABLE.c.expires_at <= func.now(), literal(False)).label("is_expired"),
    UNNOTED.label("is_unnoted"),
).where(_TABLE.c.prefix == bindparam("prefix"))
_NOTE_USE = update(_TABLE).where(_TABLE.c.id == bindparam("key_id"), UNNOTED).values(last_used_at=func.now())


def make_key() -> str:
    """A new secret key."""
    return KEY_PREFIX + secrets.token_urlsafe(_NUM_BYTES)


def fingerprint(key: str) -> str:
    """SHA-256 without salt or stretching is enough for so many random bits."""
    return hashlib.sha256(key.encode()).hexdigest()


def ensure_key(
    session: Session,
    key: str,
    *,
    owner: str,
    name: str,
    scopes: Sequence[str] = (ADMIN,),
    expires_at: datetime | None = None,
) -> ApiKey:
    """Registers the key; one that is known already stays as it is.

    Raises:
        ValueError: the key has not the form of one, or a scope is unknown.
    """
    if not KEY_PATTERN.fullmatch(key):
        raise ValueError("an API key is 'hmd_' and at least 20 letters, digits, '-' or '_'")
    if unknown := set(scopes) - SCOPES:
        raise ValueError(f"unknown scopes {sorted(unknown)}; known are {sorted(SCOPES)}")
    sha256 = fingerprint(key)
    values = {
        "id": new_id("key"),
        "owner": owner,
        "name": name,
        "prefix": key[:PREFIX_CHARS],
        "sha256": sha256,
        "scopes": sorted(scopes),
        "expires_at": expires_at,
    }
    session.execute(insert(ApiKey).values(values).on_conflict_do_nothing(index_elements=["sha256"]))
    return session.scalars(select(ApiKey).where(ApiKey.sha256 == sha256)).one()


def authenticate(database: Session | Connection, key: str) -> Principal:
    """The caller that holds the key, by one statement; a second one notes the use, to the minute.

    Raises:
        Unauthenticated: the key is unknown, revoked or expired.
    """
    require_form(key)
    row = _find(database, key)
    if row is None:
        raise Unauthenticated("the API key is not known", hint=_HINT)
    if row.is_revoked:
        raise Unauthenticated("the API key was revoked", hint=_HINT, code="key_revoked")
    if row.is_expired:
        raise Unauthenticated("the API key has expired", hint=_HINT, code="key_expired")
    if row.is_unnoted:
        note_use(database, row.id)
    return Principal(owner=row.owner, key_id=row.id, scopes=frozenset(row.scopes), expires_at=row.expires_at)


def note_use(database: Session | Connection, key_id: str) -> None:
    """Notes that the key was used now, to the minute."""
    database.execute(_NOTE_USE, {"key_id": key_id})


def require_form(key: str) -> None:
    """Raises Unauthenticated unless the text could be a key."""
    if not KEY_PATTERN.fullmatch(key):
        raise Unauthenticated("this is not an API key", hint=_HINT)


def _find(database: Session | Connection, key: str) -> Row[Any] | None:
    """The row of the key; hashes of the few that share its prefix are compared in constant time."""
    sha256 = fingerprint(key)
    rows = database.execute(_LOOK_UP, {"prefix": key[:PREFIX_CHARS]})
    return next((row for row in rows.all() if secrets.compare_digest(row.sha256, sha256)), None)
