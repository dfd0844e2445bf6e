"""What routes are given: services, the caller, one transaction, an answer kept for a retry."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse

from api.callers import (
    Caller,
    Composition,
    NamedCaller,
    circumstances_of,
    get_caller,
    get_services,
    needs,
    noted_refusals,
)
from api.changes import note_answer, note_replay, record_change
from api.services import HandoutStore
from heimdall_core.accounts import audit
from heimdall_core.accounts.idempotency import Answer, read_key, recall_answer, remember_answer
from heimdall_core.database.ids import ID_PATTERN
from heimdall_core.jobs.queue_facts import QueuePolicy

__all__ = [
    "Caller",
    "Composition",
    "Cursor",
    "JobId",
    "Limit",
    "NamedCaller",
    "Once",
    "Policy",
    "ResourceName",
    "Store",
    "Transaction",
    "UploadId",
    "VersionNumber",
    "get_caller",
    "get_services",
    "needs",
    "open_transaction",
    "want_hint",
]

_HINT_WANTED = "hint_wanted"


async def get_store(services: Composition) -> HandoutStore:
    """The object store."""
    return services.store


def open_transaction(request: Request, services: Composition) -> Iterator[Session]:
    """One transaction per request, committed before the answer leaves; then, if asked for, the hint.

    A call that changed something leaves an entry in the audit log, in the same transaction.
    """
    with noted_refusals(request), services.database.transaction() as session:
        audit.set_circumstances(session, circumstances_of(request))
        yield session
        record_change(request, session)
    if session.info.get(_HINT_WANTED):
        services.hints.hint()


def want_hint(session: Session) -> None:
    """Wakes a worker once the transaction has committed."""
    session.info[_HINT_WANTED] = True


# ``function`` scope ends the transaction before the response is sent; the default would end it after.
Transaction = Annotated[Session, Depends(open_transaction, scope="function")]
Store = Annotated[HandoutStore, Depends(get_store)]


async def get_queue_policy(services: Composition) -> QueuePolicy:
    """What of the settings decides about waiting."""
    return QueuePolicy(
        worker_alive_seconds=services.settings.lease.lease_seconds,
        max_running_per_owner=services.settings.queue.max_running_per_owner,
    )


Policy = Annotated[QueuePolicy, Depends(get_queue_policy)]


async def hash_request(request: Request) -> str:
    """SHA-256 of method, path and body: what makes two requests the same."""
    head = f"{request.method} {request.url.path}\n".encode()
    return hashlib.sha256(head + await request.body()).hexdigest()


class OnceOnly:
    """Gives a request that is repeated with its ``Idempotency-Key`` the first answer again."""

    def __init__(self, session: Session, *, owner: str, key: str | None, request_hash: str) -> None:
        self._session, self._owner, self._key, self._request_hash = session, owner, key, request_hash

    def answer(self, create: Callable[[], Answer], *, secret: str | None = None) -> JSONResponse:
        """The former answer, or that of ``create``, which is kept with what it made.

        The member ``secret`` of the body is never kept: it is null in the answer to a repetition.
        """
        if self._key is None:
            return self._respond(create())
        names = {"owner": self._owner, "key": self._key, "request_hash": self._request_hash}
        if former := recall_answer(self._session, **names):
            note_replay(self._session)
            return _respond(former, {"Idempotency-Replayed": "true"})
        answer = create()
        kept = answer if secret is None else replace(answer, body={**answer.body, secret: None})
        remember_answer(self._session, kept, **names)
        return self._respond(answer)

    def _respond(self, answer: Answer) -> JSONResponse:
        note_answer(self._session, answer)
        return _respond(answer)


def _respond(answer: Answer, extra: dict[str, str] | None = None) -> JSONResponse:
    headers = {**answer.headers, **(extra or {})}
    return JSONResponse(answer.body, status_code=answer.status_code, headers=headers)


async def answer_once(
    session: Transaction,
    caller: Caller,
    request_hash: Annotated[str, Depends(hash_request)],
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Makes a retry safe: the same key and body get the first answer again, for 24 hours. "
            "A quoted string of 1 to 255 characters.",
            examples=['"8e03978e-40d5-43dd-bc93-6894a57f9324"'],
        ),
    ] = None,
) -> OnceOnly:
    """By the request's key, if it has one."""
    key = None if idempotency_key is None else read_key(idempotency_key)
    return OnceOnly(session, owner=caller.owner, key=key, request_hash=request_hash)


Once = Annotated[OnceOnly, Depends(answer_once)]
JobId = Annotated[str, Path(pattern=ID_PATTERN, examples=["job_x4r2k7abcdefghijklmnop23"])]
UploadId = Annotated[str, Path(pattern=ID_PATTERN, examples=["upl_x4r2k7abcdefghijklmnop23"])]
ResourceName = Annotated[str, Path(min_length=1, max_length=100, pattern=r"^[^:/]+$")]
VersionNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]
Cursor = Annotated[
    str | None,
    Query(max_length=500, description="`next_cursor` of the page before; repeat the same filters."),
]
Limit = Annotated[int, Query(ge=1, le=500, description="Items per page.")]
