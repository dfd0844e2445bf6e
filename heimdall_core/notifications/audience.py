"""Whether those who listen may still."""

from collections.abc import Collection

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from heimdall_core.database.account_tables import WebSession
from heimdall_core.database.catalogue_tables import ApiKey


def live_keys(session: Session, ids: Collection[str]) -> set[str]:
    """Those of the keys that were neither revoked nor have expired."""
    unexpired = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now())
    return set(
        session.scalars(select(ApiKey.id).where(ApiKey.id.in_(ids), ApiKey.revoked_at.is_(None), unexpired))
    )


def live_sessions(session: Session, ids: Collection[str]) -> set[str]:
    """Those of the browsers' sessions that have not ended; whether their keys have is another question."""
    unexpired = WebSession.expires_at > func.now()
    return set(session.scalars(select(WebSession.id).where(WebSession.id.in_(ids), unexpired)))
