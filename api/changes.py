"""The entry in the audit log of each call that changed something: made here for every route."""

from collections.abc import Collection

from sqlalchemy.orm import Session
from starlette.requests import Request

from heimdall_core.accounts import audit
from heimdall_core.accounts.idempotency import Answer
from heimdall_core.accounts.principal import Principal
from heimdall_core.domain.scopes import READ_SCOPES

_READING = {"GET", "HEAD", "OPTIONS"}
_LOCATION, _REPLAYED = "audit_location", "audit_replayed"


def note_answer(session: Session, answer: Answer) -> None:
    """Where the thing is that the call made, if it made one."""
    session.info[_LOCATION] = answer.headers.get("Location")


def note_replay(session: Session) -> None:
    """The call repeats one that is in the log: it changes nothing."""
    session.info[_REPLAYED] = True


def record_change(request: Request, session: Session) -> None:
    """Adds the entry, unless the call only reads or has recorded itself what it did.

    Raises:
        Unauthenticated: the key was revoked since it was looked up.
    """
    if request.method in _READING or _only_reads(getattr(request.state, "scopes", ())):
        return
    if session.info.get(_REPLAYED) or audit.has_recorded(session):
        return
    target, action = request.url.path, request.url.path.rpartition("/")[2].partition(":")[2]
    location = session.info.get(_LOCATION)
    detail = {}
    if action:
        target = target.removesuffix(f":{action}")
        detail = {} if location is None else {"made": location}
    elif location is not None:
        target = location
    caller: Principal = request.state.caller
    audit.record_by_live_key(session, caller, request.scope["route"].name, target, **detail)


def _only_reads(scopes: Collection[str]) -> bool:
    """Of a POST such as ``:preview``, which needs scopes and none that changes anything."""
    return bool(scopes) and READ_SCOPES.issuperset(scopes)
