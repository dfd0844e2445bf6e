"""Browsers that are signed in with a key: a random token in a cookie, of which the SHA-256 is kept.

A session lasts as long as its key does, and no longer than it was opened for.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast

from sqlalchemy import Connection, Delete, Row, Table, bindparam, delete, func, insert, or_, select
from sqlalchemy.orm import Session

from heimdall_core.accounts import audit
from heimdall_core.accounts.keys import UNNOTED, fingerprint, note_use
from heimdall_core.accounts.principal import Principal
from heimdall_core.database.account_tables import WebSession
from heimdall_core.database.catalogue_tables import ApiKey
from heimdall_core.database.ids import new_id
from heimdall_core.domain.errors import Unauthenticated

MAX_SESSIONS: Final = 50
"""Of one key; the oldest ends when another begins."""
_NUM_BYTES: Final = 32
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_KEY, _SESSION = cast("Table", ApiKey.__table__), cast("Table", WebSession.__table__)
_LOOK_UP = (
    select(
        _SESSION.c.id,
        _SESSION.c.key_id,
        _KEY.c.owner,
        _KEY.c.name,
        _KEY.c.scopes,
        func.least(_SESSION.c.expires_at, _KEY.c.expires_at).label("expires_at"),
        UNNOTED.label("is_unnoted"),
    )
    .join(_KEY, _KEY.c.id == _SESSION.c.key_id)
    .where(
        _SESSION.c.sha256 == bindparam("sha256"),
        _SESSION.c.expires_at > func.now(),
        _KEY.c.revoked_at.is_(None),
        or_(_KEY.c.expires_at.is_(None), _KEY.c.expires_at > func.now()),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """Whose browser it is."""

    principal: Principal
    key_name: str


def open_session(session: Session, principal: Principal, *, lifetime: timedelta) -> str:
    """Signs a browser in with the principal's key; returns the token, which nothing else ever shows.

    Raises:
        Unauthenticated: the key was revoked meanwhile, or has expired.
    """
    assert principal.key_id is not None, "sessions are of keys"
    audit.record_by_live_key(session, principal, "sign_in", f"/v1/api-keys/{principal.key_id}")
    token = secrets.token_urlsafe(_NUM_BYTES)
    session.execute(
        insert(WebSession).values(
            id=new_id("web"),
            key_id=principal.key_id,
            sha256=fingerprint(token),
            expires_at=func.now() + lifetime,
        )
    )
    session.execute(_deletion_beyond_the_newest(principal.key_id))
    return token


def find_session(database: Session | Connection, token: str) -> SignedIn:
    """Whose browser sent the token, by one statement; a second one notes the use of the key, to the minute.

    Raises:
        Unauthenticated: the session has ended, or its key has.
    """
    row = _find(database, token)
    if row is None:
        raise Unauthenticated(
            "this browser is not signed in any more", hint="Sign in again at /sign-in.", code="session_ended"
        )
    if row.is_unnoted:
        note_use(database, row.key_id)
    principal = Principal(
        owner=row.owner,
        key_id=row.key_id,
        scopes=frozenset(row.scopes),
        expires_at=row.expires_at,
        session_id=row.id,
    )
    return SignedIn(principal=principal, key_name=row.name)


def end_session(session: Session, token: str) -> None:
    """Signs the browser out; one that is not signed in stays so."""
    row = _find(session, token)
    if row is None:
        return
    session.execute(delete(WebSession).where(WebSession.id == row.id))
    principal = Principal(owner=row.owner, key_id=row.key_id, scopes=frozenset(row.scopes))
    audit.record(session, principal, "sign_out", f"/v1/api-keys/{row.key_id}")


def delete_ended_sessions(session: Session, *, limit: int = 2000) -> int:
    """Forgets sessions that have ended, by themselves or with their keys; returns how many."""
    has_ended = or_(
        WebSession.expires_at <= func.now(), ApiKey.revoked_at.is_not(None), ApiKey.expires_at <= func.now()
    )
    ended = (
        select(WebSession.id)
        .join(ApiKey, ApiKey.id == WebSession.key_id)
        .where(has_ended)
        .limit(limit)
        .with_for_update(of=WebSession, skip_locked=True)
    )
    return len(
        session.execute(delete(WebSession).where(WebSession.id.in_(ended)).returning(WebSession.id)).all()
    )


def csrf_token(token: str) -> str:
    """What a page of the session proves itself with; the session's token cannot be told from it."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def _find(database: Session | Connection, token: str) -> Row[Any] | None:
    if not _TOKEN.fullmatch(token):
        return None
    return database.execute(_LOOK_UP, {"sha256": fingerprint(token)}).one_or_none()


def _deletion_beyond_the_newest(key_id: str) -> Delete:
    of_key = select(WebSession.id).where(WebSession.key_id == key_id)
    newest_first = of_key.order_by(WebSession.created_at.desc(), WebSession.id)
    return delete(WebSession).where(WebSession.id.in_(newest_first.offset(MAX_SESSIONS)))
