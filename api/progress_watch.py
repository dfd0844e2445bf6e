"""What running jobs report between their events, for the streams that want it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from api.event_hub import EventHub, Follower, Frame
from api.schemas.events import progress_frame
from heimdall_core.database.engine import Database
from heimdall_core.jobs.progress import JobGlimpse, glimpse_running
from heimdall_core.notifications.stream import StreamEvent

_log = structlog.get_logger("api")
#: The name of such a frame.
PROGRESS: Final = "job.progress"


class ProgressWatch:
    """Looks at the running jobs once in a while, with one statement for all streams, and tells of changes.

    Reports of progress notify nobody: a notification would make commits wait for each other. So somebody
    has to look, and only while somebody follows.
    """

    def __init__(
        self, database: Database, followers: Callable[[], Sequence[Follower]], *, every_seconds: float
    ) -> None:
        self._database, self._followers, self._every_seconds = database, followers, every_seconds
        self._revisions: dict[str, int] = {}

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            await asyncio.sleep(self._every_seconds)
            try:
                await self.look()
            except SQLAlchemyError as error:
                _log.warning("progress_not_read", reason=str(getattr(error, "orig", None) or error))
            except Exception:  # noqa: BLE001 - nobody would start it again
                _log.exception("progress_not_told")

    async def look(self) -> None:
        """Tells everybody who wants to know of what has changed since the last time."""
        followers = [follower for follower in self._followers() if follower.wants_progress]
        if not followers:
            self._revisions = {}
            return
        found = await asyncio.to_thread(self._read, _jobs_of(followers))
        for glimpse in found:
            if self._revisions.get(glimpse.id) != glimpse.revision:
                frame = _frame(glimpse)
                for follower in followers:
                    follower.offer_progress(frame)
        self._revisions = {glimpse.id: glimpse.revision for glimpse in found}

    def _read(self, job_ids: Collection[str] | None) -> list[JobGlimpse]:
        with self._database.transaction() as session:
            return glimpse_running(session, job_ids)


@asynccontextmanager
async def watching_progress(hub: EventHub, database: Database) -> AsyncIterator[None]:
    """While the application runs."""
    watch = ProgressWatch(database, hub.everybody, every_seconds=hub.settings.progress_seconds)
    looking = asyncio.create_task(watch.run())
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


def _jobs_of(followers: Sequence[Follower]) -> set[str] | None:
    """The jobs that are followed; None where somebody follows all."""
    ids = {follower.wanted.job_id for follower in followers}
    return None if None in ids else {job_id for job_id in ids if job_id is not None}


def _frame(glimpse: JobGlimpse) -> Frame:
    event = StreamEvent(
        id=0,
        name=PROGRESS,
        job_id=glimpse.id,
        job_kind=glimpse.kind,
        model=glimpse.model,
        owner=glimpse.owner,
        attempt=glimpse.attempt,
        created_at=glimpse.at,
        data={"phase": glimpse.phase, "progress": glimpse.progress, "metrics": glimpse.metrics},
        is_of_job=True,
    )
    return Frame(event=event, encoded=progress_frame(event))
