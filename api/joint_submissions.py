"""``POST /v1/jobs`` of many callers at a time: one transaction queues what gathered during the last one.

Each request keeps what it has alone: its job, its entry in the audit log and the answer for its
``Idempotency-Key`` are written together or not at all, by a key that is valid then. What is not a plain
training by a good API key, or is wrong in any way, takes the ordinary way, which also says what is wrong.
See docs/decisions/0014.
"""

import json
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from api.callers import circumstances_of
from api.dependencies import hash_request
from api.gathering import Gathering
from api.known_callers import KnownCallers
from api.polling import POLL_SECONDS
from api.services import Services
from heimdall_core.accounts.audit import Circumstances
from heimdall_core.accounts.idempotency import Answer, read_key
from heimdall_core.accounts.keys import KEY_PATTERN
from heimdall_core.accounts.principal import Principal
from heimdall_core.accounts.together import (
    Change,
    KeyedAnswer,
    OwnedKey,
    authenticate_each,
    claim_keys,
    find_callers,
    record_changes,
    remember_answers,
)
from heimdall_core.database.job_tables import Job
from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.domain.spec import TrainJobSpec
from heimdall_core.domain.tracing import Trace, current_trace, within_trace
from heimdall_core.jobs.joint_submission import (
    DatasetRows,
    can_join,
    encode_job,
    enqueue_all,
    find_datasets,
    joining_job,
)
from heimdall_core.jobs.queries import new_job_document
from heimdall_core.jobs.queue_facts import RecentQueue
from heimdall_core.telemetry import note, step

_SCOPE: Final = "jobs:write"
_MOST: Final = 64
"""Of one transaction: what waits for it shall not wait long."""
_UNSTORABLE: Final = re.compile(rb"\\u(0000|[dD][89a-fA-F])")
"""NUL, and halves of surrogate pairs."""
_SPEC: Final = TypeAdapter(TrainJobSpec)
_log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """A request that can join others."""

    spec: TrainJobSpec
    key: str
    """Its API key."""
    idempotency_key: str | None
    request_hash: str
    circumstances: Circumstances
    trace: Trace | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """What became of it."""

    caller: Principal
    answer: Answer
    encoded: str
    """The body of the answer."""


@dataclass(slots=True, kw_only=True)
class _Entry:
    asked: Asked
    caller: Principal
    job: Job
    encoded: str

    @property
    def target(self) -> str:
        return f"/v1/jobs/{self.job.id}"

    @property
    def owned_key(self) -> OwnedKey | None:
        key = self.asked.idempotency_key
        return None if key is None else (self.caller.owner, key)


class JointSubmissions:
    """Queues trainings together."""

    def __init__(self, services: Services, queue: RecentQueue, callers: KnownCallers) -> None:
        self._services, self._queue, self._callers = services, queue, callers
        self._gathering: Gathering[Asked, Queued] = Gathering(
            self._serve, name="joint-submissions", most=_MOST
        )

    async def answer(self, request: Request) -> Response | None:
        """The answer to a request whose job is queued; None: it is to take the ordinary way."""
        asked = await _read(request)
        queued = None if asked is None else await self._ask(asked)
        if queued is None:
            return None
        self._services.hints.hint()
        request.state.caller = queued.caller
        self._callers.remember(request.headers["authorization"], queued.caller)
        return Response(
            queued.encoded,
            status_code=queued.answer.status_code,
            headers=dict(queued.answer.headers),
            media_type="application/json",
        )

    async def _ask(self, asked: Asked) -> Queued | None:
        with step("submit job", kind="producer"):
            queued = await self._gathering.ask(replace(asked, trace=current_trace()))
            if queued is not None:
                note({"heimdall.job.id": str(queued.answer.body["id"]), "heimdall.job.kind": "train"})
        return queued

    @property
    def num_waiting(self) -> int:
        """Requests that wait for the next transaction."""
        return self._gathering.num_waiting

    def close(self) -> None:
        """Ends the thread."""
        self._gathering.close()

    def _serve(self, asked: Sequence[Asked]) -> Mapping[Asked, Queued]:
        """Raises where nobody knows whether the transaction was committed: then nothing may be done again."""
        try:
            with self._services.database.transaction() as session:
                return self._queue_all(session, self._admit(session, asked))
        except (OperationalError, InterfaceError, PoolTimeout):
            raise
        except SQLAlchemyError as error:
            _log.warning("joint_submission_failed", reason=str(error), num_requests=len(asked))
            return {}

    def _admit(self, session: Session, asked: Sequence[Asked]) -> Sequence[_Entry]:
        keys = {one.key for one in asked}
        callers = find_callers(session, keys)
        if unknown := keys - callers.keys():
            callers |= authenticate_each(self._services.database, unknown)
        datasets = find_datasets(session, {one.spec.dataset for one in asked})
        found = (_entry(one, callers.get(one.key), datasets) for one in asked)
        entries = _without_repetitions([entry for entry in found if entry is not None])
        return _recorded(session, _claimed(session, entries))

    def _queue_all(self, session: Session, entries: Sequence[_Entry]) -> dict[Asked, Queued]:
        if not entries:
            return {}
        self._queue.look(session)
        enqueue_all(session, [entry.job for entry in entries], [entry.encoded for entry in entries])
        queued = {entry.asked: self._queued(entry) for entry in entries}
        remember_answers(session, _kept(entries, queued))
        return queued

    def _queued(self, entry: _Entry) -> Queued:
        document = new_job_document(entry.job, self._queue.facts_of_added(entry.job))
        headers = {"Location": entry.target, "Retry-After": str(POLL_SECONDS)}
        encoded = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        answer = Answer(status_code=202, body=document, headers=headers)
        return Queued(caller=entry.caller, answer=answer, encoded=encoded)


async def _read(request: Request) -> Asked | None:
    """The request, if it can join others."""
    headers: dict[bytes, bytes] = dict(reversed(request.scope["headers"]))  # of two the first counts
    key = _key_of(headers.get(b"authorization", b""))
    is_json = headers.get(b"content-type", b"").partition(b";")[0] == b"application/json"
    if key is None or not is_json:
        return None
    try:
        spec = _read_spec(await request.body())
        given = headers.get(b"idempotency-key")
        idempotency_key = None if given is None else read_key(given.decode("latin-1"))
    except (ClientDisconnect, InvalidRequest):
        return None
    if spec is None:
        return None
    return Asked(
        spec=spec,
        key=key,
        idempotency_key=idempotency_key,
        request_hash="" if idempotency_key is None else await hash_request(request),
        circumstances=circumstances_of(request),
        trace=current_trace(),
    )


def _key_of(authorization: bytes) -> str | None:
    scheme, _, credentials = authorization.decode("latin-1").partition(" ")
    return credentials if scheme.lower() == "bearer" and KEY_PATTERN.fullmatch(credentials) else None


def _read_spec(body: bytes) -> TrainJobSpec | None:
    if _UNSTORABLE.search(body):
        return None
    try:
        spec = _SPEC.validate_python(json.loads(body.decode()))
    except (ValueError, RecursionError):
        return None
    return spec if can_join(spec) else None


def _entry(asked: Asked, caller: Principal | None, datasets: DatasetRows) -> _Entry | None:
    dataset = datasets.get(asked.spec.dataset)
    if caller is None or dataset is None or not caller.may(_SCOPE):
        return None
    with within_trace(asked.trace):
        job = joining_job(asked.spec, dataset, owner=caller.owner)
    try:
        encoded = encode_job(job)
    except ValueError:
        return None
    return _Entry(asked=asked, caller=caller, job=job, encoded=encoded)


def _without_repetitions(entries: Sequence[_Entry]) -> list[_Entry]:
    """Of those with the same ``Idempotency-Key`` the first: the others find its answer."""
    seen: set[OwnedKey] = set()
    kept = []
    for entry in entries:
        if (key := entry.owned_key) is None or key not in seen:
            kept.append(entry)
        if key is not None:
            seen.add(key)
    return kept


def _claimed(session: Session, entries: Sequence[_Entry]) -> Sequence[_Entry]:
    keys = {key for entry in entries if (key := entry.owned_key) is not None}
    claimed = claim_keys(session, keys) if keys else set()
    return [entry for entry in entries if (key := entry.owned_key) is None or key in claimed]


def _recorded(session: Session, entries: Sequence[_Entry]) -> Sequence[_Entry]:
    if not entries:
        return ()
    changes = [
        Change(caller=entry.caller, target=entry.target, circumstances=entry.asked.circumstances)
        for entry in entries
    ]
    recorded = record_changes(session, "create_job", changes)
    return [entry for entry in entries if entry.target in recorded]


def _kept(entries: Sequence[_Entry], queued: Mapping[Asked, Queued]) -> Sequence[KeyedAnswer]:
    return [
        KeyedAnswer(
            key=key,
            request_hash=entry.asked.request_hash,
            answer=queued[entry.asked].answer,
            encoded=queued[entry.asked].encoded,
        )
        for entry in entries
        if (key := entry.owned_key) is not None
    ]


class JoiningRoute(APIRoute):
    """A route whose requests are queued together where they can be."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """First together; what cannot be goes alone."""
        alone = super().get_route_handler()

        async def handle(request: Request) -> Response:
            together: JointSubmissions = request.app.state.submissions
            answer = await together.answer(request)
            return await alone(request) if answer is None else answer

        return handle
