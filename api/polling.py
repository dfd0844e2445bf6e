"""Polls of unchanged jobs: answered from one row each, all that come at once by one statement.

A poll is ``GET /v1/jobs/{id}`` with ``If-None-Match``. Its caller was let in by an ordinary request a few
seconds ago at most; whatever differs from an unchanged job, of a known caller, takes the ordinary way.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import Text, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.types import ASGIApp, Receive, Scope, Send

from api.conditional import is_known, job_etag
from api.gathering import Gathering
from api.known_callers import KnownCallers
from heimdall_core.database import Database
from heimdall_core.database.arrays import any_texts
from heimdall_core.database.job_tables import Job
from heimdall_core.domain.job import JobStatus
from heimdall_core.jobs.queue_facts import QueuePolicy, queue_facts

POLL_SECONDS: Final = 1
_SCOPE: Final = "jobs:read"
_PATH = re.compile(r"/v1/jobs/([a-z]+_[a-z2-7]{24})")
_log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True, kw_only=True)
class Glimpse:
    """What a poll needs of a job."""

    owner: str
    etag: str
    is_terminal: bool


class JobGlances:
    """Looks at jobs: while one statement is under way, those that are asked for gather for the next."""

    def __init__(self, database: Database, policy: QueuePolicy) -> None:
        self._database, self._policy = database, policy
        self._gathering: Gathering[str, Glimpse] = Gathering(self._look_at_all, name="job-glances")

    async def look(self, job_id: str) -> Glimpse | None:
        """The job as it is now; None: there is none, or the database does not say."""
        return await self._gathering.ask(job_id)

    def _look_at_all(self, job_ids: Collection[str]) -> dict[str, Glimpse]:
        try:
            return self._read(job_ids)
        except SQLAlchemyError as error:
            _log.warning("glance_failed", reason=str(error))
            return {}

    def _read(self, job_ids: Collection[str]) -> dict[str, Glimpse]:
        with self._database.engine.connect() as connection:
            rows = connection.execution_options(isolation_level="AUTOCOMMIT").execute(
                _GLANCE, {"ids": list(job_ids)}
            )
            found = {
                row.id: Glimpse(
                    owner=row.owner,
                    etag=job_etag(row.revision, None),
                    is_terminal=JobStatus(row.status).is_terminal,
                )
                for row in rows
                if row.status != JobStatus.QUEUED.value
            }
        if queued := [job_id for job_id in job_ids if job_id not in found]:
            found |= self._read_queued(queued)
        return found

    def _read_queued(self, job_ids: Collection[str]) -> dict[str, Glimpse]:
        """With the places of all in the queue, which are no part of their rows."""
        with self._database.transaction() as session:
            jobs = list(session.scalars(select(Job).where(Job.id == any_texts(list(job_ids)))))
            return _glimpses(session, jobs, self._policy)

    def close(self) -> None:
        """Ends the thread."""
        self._gathering.close()


def _glimpses(session: Session, jobs: Collection[Job], policy: QueuePolicy) -> dict[str, Glimpse]:
    waiting = [job for job in jobs if job.status == JobStatus.QUEUED.value]
    facts = queue_facts(session, waiting, policy)
    found = {}
    for job in jobs:
        queue = facts.get(job.id)
        place = None if queue is None else {"position": queue.position, "reason": queue.reason}
        found[job.id] = Glimpse(
            owner=job.owner,
            etag=job_etag(job.revision, place),
            is_terminal=JobStatus(job.status).is_terminal,
        )
    return found


_IDS = bindparam("ids", type_=ARRAY(Text))
_GLANCE = select(Job.id, Job.owner, Job.revision, Job.status).where(Job.id == any_(_IDS))


class UnchangedJobs:
    """Answers polls of unchanged jobs with 304, before anything else looks at them."""

    def __init__(self, app: ASGIApp, *, callers: KnownCallers, glances: JobGlances) -> None:
        self._app, self._callers, self._glances = app, callers, glances

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        poll = _Poll.of(scope)
        caller = self._callers.find(poll.authorization, _SCOPE) if poll else None
        if poll is None or caller is None:
            await self._app(scope, receive, send)
            return
        job = await self._glances.look(poll.job_id)
        is_theirs = job is not None and caller.visible_owner in {None, job.owner}
        if job is None or not is_theirs or not is_known(poll.if_none_match, job.etag):
            await self._app(scope, receive, send)
            return
        await _send_unchanged(job, send, poll.request_id)


@dataclass(frozen=True, slots=True)
class _Poll:
    job_id: str
    authorization: bytes
    if_none_match: str
    request_id: bytes | None

    @staticmethod
    def of(scope: Scope) -> "_Poll | None":
        """The request as a poll; None: it is something else."""
        if scope["type"] != "http" or scope["method"] != "GET":
            return None
        match = _PATH.fullmatch(scope["path"])
        if match is None:
            return None
        headers = dict(scope["headers"])
        authorization, seen = headers.get(b"authorization"), headers.get(b"if-none-match")
        if authorization is None or seen is None:
            return None
        return _Poll(match[1], authorization, seen.decode("latin-1"), headers.get(b"x-request-id"))


async def _send_unchanged(job: Glimpse, send: Send, request_id: bytes | None) -> None:
    headers = [(b"etag", job.etag.encode()), (b"cache-control", b"private, no-cache")]
    if not job.is_terminal:
        headers.append((b"retry-after", str(POLL_SECONDS).encode()))
    if request_id is not None:
        headers.append((b"x-request-id", request_id))
    await send({"type": "http.response.start", "status": 304, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
