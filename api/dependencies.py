"""What routes are given: services, the caller, one transaction, an answer kept for a retry."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request
from fastapi.params import Depends as DependsMarker
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse

from api.services import HandoutStore, Services
from heimdall_core.accounts.idempotency import Answer, recall_answer, remember_answer
from heimdall_core.accounts.keys import authenticate
from heimdall_core.accounts.principal import Principal
from heimdall_core.database.ids import ID_PATTERN
from heimdall_core.domain.errors import Unauthenticated
from heimdall_core.jobs.queue_facts import QueuePolicy

_HINT_WANTED = "hint_wanted"
_bearer = HTTPBearer(auto_error=False, description="An API key, `hmd_...`.")


def get_services(request: Request) -> Services:
    """The composition of this application."""
    services: Services = request.app.state.services
    return services


def get_store(services: Annotated[Services, Depends(get_services)]) -> HandoutStore:
    """The object store."""
    return services.store


def get_caller(
    services: Annotated[Services, Depends(get_services)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    """Who calls, by the key in ``Authorization``; in a transaction of its own."""
    if credentials is None:
        raise Unauthenticated(
            "this call needs an API key", hint="Send 'Authorization: Bearer hmd_...'.", code="missing_key"
        )
    with services.database.transaction() as session:
        return authenticate(session, credentials.credentials)


def open_transaction(services: Annotated[Services, Depends(get_services)]) -> Iterator[Session]:
    """One transaction per request, committed before the answer leaves; then, if asked for, the hint."""
    with services.database.transaction() as session:
        yield session
    if session.info.get(_HINT_WANTED):
        services.hints.hint()


def want_hint(session: Session) -> None:
    """Wakes a worker once the transaction has committed."""
    session.info[_HINT_WANTED] = True


# ``function`` scope ends the transaction before the response is sent; the default would end it after.
Transaction = Annotated[Session, Depends(open_transaction, scope="function")]
Caller = Annotated[Principal, Depends(get_caller)]
Store = Annotated[HandoutStore, Depends(get_store)]
Composition = Annotated[Services, Depends(get_services)]


def get_queue_policy(services: Composition) -> QueuePolicy:
    """What of the settings decides about waiting."""
    return QueuePolicy(
        worker_alive_seconds=services.settings.lease.lease_seconds,
        max_running_per_owner=services.settings.queue.max_running_per_owner,
    )


Policy = Annotated[QueuePolicy, Depends(get_queue_policy)]


def needs(scope: str) -> DependsMarker:
    """A dependency that lets only callers with the scope pass."""

    def check(caller: Caller) -> None:
        caller.require(scope)

    marker: DependsMarker = Depends(check)
    return marker


async def hash_request(request: Request) -> str:
    """SHA-256 of method, path and body: what makes two requests the same."""
    head = f"{request.method} {request.url.path}\n".encode()
    return hashlib.sha256(head + await request.body()).hexdigest()


class OnceOnly:
    """Gives a request that is repeated with its ``Idempotency-Key`` the first answer again."""

    def __init__(
        self,
        session: Transaction,
        caller: Caller,
        request_hash: Annotated[str, Depends(hash_request)],
        idempotency_key: Annotated[
            str | None,
            Header(
                min_length=1,
                max_length=255,
                pattern=r"^[\x21-\x7e]+$",
                description="Makes a retry safe: the same key and body get the first answer again.",
            ),
        ] = None,
    ) -> None:
        self._session, self._owner = session, caller.owner
        self._key = idempotency_key.strip('"') if idempotency_key else None
        self._request_hash = request_hash

    def answer(self, create: Callable[[], Answer]) -> JSONResponse:
        """The former answer, or that of ``create``, which is kept with what it made."""
        if self._key is None:
            return _respond(create())
        names = {"owner": self._owner, "key": self._key, "request_hash": self._request_hash}
        if former := recall_answer(self._session, **names):
            return _respond(former, {"Idempotency-Replayed": "true"})
        answer = create()
        remember_answer(self._session, answer, **names)
        return _respond(answer)


def _respond(answer: Answer, extra: dict[str, str] | None = None) -> JSONResponse:
    headers = {**answer.headers, **(extra or {})}
    return JSONResponse(answer.body, status_code=answer.status_code, headers=headers)


Once = Annotated[OnceOnly, Depends()]
JobId = Annotated[str, Path(pattern=ID_PATTERN, examples=["job_x4r2k7abcdefghijklmnop23"])]
UploadId = Annotated[str, Path(pattern=ID_PATTERN, examples=["upl_x4r2k7abcdefghijklmnop23"])]
ResourceName = Annotated[str, Path(min_length=1, max_length=100, pattern=r"^[^:/]+$")]
VersionNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]
Cursor = Annotated[
    str | None,
    Query(max_length=500, description="`next_cursor` of the page before; repeat the same filters."),
]
Limit = Annotated[int, Query(ge=1, le=500, description="Items per page.")]
