"""API keys: ``hmd_`` and 160 random bits, of which the database keeps the SHA-256 alone."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from heimdall_core.accounts.principal import ADMIN, SCOPES, Principal
from heimdall_core.database.catalogue_tables import ApiKey
from heimdall_core.database.ids import new_id
from heimdall_core.domain.errors import Unauthenticated

KEY_PATTERN = re.compile(r"hmd_[A-Za-z0-9_-]{20,200}")
_PREFIX_CHARS = 10
_USE_RESOLUTION = timedelta(minutes=1)
_HINT = "Send 'Authorization: Bearer hmd_...' with a key of this service."


def make_key() -> str:
    """A new secret key."""
    return "hmd_" + secrets.token_hex(20)


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
    sha256 = _fingerprint(key)
    values = {
        "id": new_id("key"),
        "owner": owner,
        "name": name,
        "prefix": key[:_PREFIX_CHARS],
        "sha256": sha256,
        "scopes": sorted(scopes),
        "expires_at": expires_at,
    }
    session.execute(insert(ApiKey).values(values).on_conflict_do_nothing(index_elements=["sha256"]))
    return session.scalars(select(ApiKey).where(ApiKey.sha256 == sha256)).one()


def authenticate(session: Session, key: str) -> Principal:
    """The caller that holds the key; notes the time of use, to the minute.

    Raises:
        Unauthenticated: the key is unknown, revoked or expired.
    """
    if not KEY_PATTERN.fullmatch(key):
        raise Unauthenticated("this is not an API key", hint=_HINT)
    row = session.scalar(select(ApiKey).where(ApiKey.sha256 == _fingerprint(key)))
    if row is None:
        raise Unauthenticated("the API key is not known", hint=_HINT)
    if row.revoked_at is not None:
        raise Unauthenticated("the API key was revoked", hint=_HINT, code="key_revoked")
    if row.expires_at is not None and row.expires_at <= _now(session):
        raise Unauthenticated("the API key has expired", hint=_HINT, code="key_expired")
    _note_use(session, row.id)
    return Principal(owner=row.owner, key_id=row.id, scopes=frozenset(row.scopes))


def _fingerprint(key: str) -> str:
    """SHA-256 without salt or stretching is enough for 160 random bits."""
    return hashlib.sha256(key.encode()).hexdigest()


def _now(session: Session) -> datetime:
    return session.execute(select(func.now())).scalar_one()


def _note_use(session: Session, key_id: str) -> None:
    stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.now() - literal(_USE_RESOLUTION))
    session.execute(update(ApiKey).where(ApiKey.id == key_id, stale).values(last_used_at=func.now()))
