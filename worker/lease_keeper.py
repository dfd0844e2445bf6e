"""The heartbeat of one attempt, in a thread and on a connection of its own."""

import threading
from dataclasses import dataclass, field

import structlog
from sqlalchemy.exc import SQLAlchemyError

from heimdall_core.database.engine import Database
from heimdall_core.jobs.claiming import Claim, LeaseLost
from heimdall_core.jobs.leases import Requests, extend_lease, read_requests
from heimdall_core.settings import LeaseSettings
from worker.process_control import boot_seconds

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class LeaseState:
    """What the supervisor reads between two looks at its trainer."""

    extended_at: float
    is_lost: bool = False
    requests: Requests = field(default_factory=Requests)

    def silence_seconds(self) -> float:
        """Since the last good heartbeat."""
        return boot_seconds() - self.extended_at


class LeaseKeeper:
    """Extends the lease every ``heartbeat_seconds``; every ``flag_poll_seconds`` reads what was asked."""

    def __init__(
        self, database: Database, claim: Claim, settings: LeaseSettings, *, claimed_at: float | None = None
    ) -> None:
        """``claimed_at``: from before the claim was asked for, since its answer may have come late."""
        self._database, self._claim, self._settings = database, claim, settings
        self.state = LeaseState(extended_at=boot_seconds() if claimed_at is None else claimed_at)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease-{claim.job_id}", daemon=True)

    def start(self) -> None:
        """Begins; the lease was just taken by the claim."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the heartbeat; the lease then runs out by itself unless the attempt is finished."""
        self._done.set()
        self._thread.join(timeout=self._settings.heartbeat_seconds)

    def _run(self) -> None:
        next_beat = boot_seconds() + self._settings.heartbeat_seconds
        while not self._done.wait(self._settings.flag_poll_seconds):
            beat = boot_seconds() >= next_beat
            try:
                self._tick(beat=beat)
            except LeaseLost:
                self.state.is_lost = True
                return
            except SQLAlchemyError as error:
                _log.warning(
                    "heartbeat_failed", job_id=self._claim.job_id, reason=str(error.__cause__ or error)
                )
                continue
            if beat:
                next_beat = boot_seconds() + self._settings.heartbeat_seconds

    def _tick(self, *, beat: bool) -> None:
        asked_at = boot_seconds()
        with self._database.transaction() as session:
            if beat:
                requests = extend_lease(session, self._claim, lease_seconds=self._settings.lease_seconds)
            else:
                requests = read_requests(session, self._claim)
        if beat:
            # From before the question: the database may have answered late.
            self.state.extended_at = asked_at
        self.state.requests = requests
