"""The control plane's upkeep: each task small, idempotent, and safe to run in any number."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError

from heimdall_core.database.engine import Database
from heimdall_core.jobs.dispatch import expire_waiting, mark_for_hint
from heimdall_core.jobs.hints import HintPublisher
from heimdall_core.jobs.leases import database_uptime_seconds, reap_expired
from heimdall_core.registry.automatic_promotion import refuse_abandoned
from heimdall_core.settings import LeaseSettings, Settings
from worker import retention, schedules
from worker.reaper_hold import ReaperHold

_log = structlog.get_logger(__name__)
#: A queued job that nobody was hinted about for so long is hinted again.
HINT_SILENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """What upkeep works on."""

    database: Database
    hints: HintPublisher
    settings: Settings
    hold: ReaperHold


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlTask:
    """A named piece of upkeep."""

    name: str
    run: Callable[[ControlPlane], None]


def reap(plane: ControlPlane) -> None:
    """T6: takes jobs back from workers that went silent, unless it was the database that did."""
    try:
        with plane.database.transaction() as session:
            if plane.hold.holds(database_uptime_seconds(session)):
                return
            jobs = [(job.id, job.attempt) for job in reap_expired(session)]
    except (OperationalError, InterfaceError):
        plane.hold.database_away()
        raise
    for job_id, attempt in jobs:
        _log.warning("lease_expired", job_id=job_id, attempt=attempt)
        plane.hints.hint()


def dispatch(plane: ControlPlane) -> None:
    """T2: hints again about queued jobs whose hint may have been lost."""
    with plane.database.transaction() as session:
        num_jobs = mark_for_hint(session, silence_seconds=HINT_SILENCE_SECONDS)
    for _ in range(num_jobs):
        plane.hints.hint()


def expire(plane: ControlPlane) -> None:
    """T9: ends jobs that waited beyond the limit."""
    with plane.database.transaction() as session:
        num_jobs = expire_waiting(session, limit_seconds=plane.settings.lease.queued_limit_seconds)
    if num_jobs:
        _log.warning("jobs_expired", count=num_jobs)


def refuse_unmeasured(plane: ControlPlane) -> None:
    """Ends the waiting of model versions whose evaluate jobs ended without a measurement."""
    with plane.database.transaction() as session:
        versions = refuse_abandoned(session)
    if versions:
        _log.warning("promotions_abandoned", versions=versions)


def project(plane: ControlPlane) -> None:
    """Tells MLflow what PostgreSQL has published."""
    if plane.settings.tracking.uri is None:
        return
    from worker.projection import deliver_due

    deliver_due(plane.database, plane.settings)


def end_strays(plane: ControlPlane) -> None:
    """Ends runs in MLflow that go on though their jobs have ended."""
    if plane.settings.tracking.uri is None:
        return
    from worker.projection import end_stray_runs

    end_stray_runs(plane.database, plane.settings)


REAP = ControlTask(name="heimdall.reap", run=reap)
DISPATCH = ControlTask(name="heimdall.dispatch", run=dispatch)
EXPIRE = ControlTask(name="heimdall.expire", run=expire)
REFUSE_UNMEASURED = ControlTask(name="heimdall.refuse_unmeasured", run=refuse_unmeasured)
PROJECT = ControlTask(name="heimdall.project", run=project)
END_STRAYS = ControlTask(name="heimdall.end_strays", run=end_strays)
RETAIN_CHECKPOINTS = ControlTask(name="heimdall.retain_checkpoints", run=retention.retain_checkpoints)
RETAIN_HISTORY = ControlTask(name="heimdall.retain_history", run=retention.retain_history)
RETAIN_UPLOADS = ControlTask(name="heimdall.retain_uploads", run=retention.retain_uploads)
RETAIN_ANSWERS = ControlTask(name="heimdall.retain_answers", run=retention.retain_answers)
SWEEP_LITTER = ControlTask(name="heimdall.sweep_litter", run=retention.sweep_litter)
RETAIN_DELIVERIES = ControlTask(name="heimdall.retain_deliveries", run=retention.retain_deliveries)
RETAIN_SESSIONS = ControlTask(name="heimdall.retain_sessions", run=retention.retain_sessions)
RUN_SCHEDULES = ControlTask(name="heimdall.run_schedules", run=schedules.run_schedules)
CONTROL_TASKS = (
    REAP,
    DISPATCH,
    EXPIRE,
    REFUSE_UNMEASURED,
    PROJECT,
    END_STRAYS,
    RETAIN_CHECKPOINTS,
    RETAIN_HISTORY,
    RETAIN_UPLOADS,
    RETAIN_ANSWERS,
    SWEEP_LITTER,
    RETAIN_DELIVERIES,
    RETAIN_SESSIONS,
    RUN_SCHEDULES,
)


def beat_schedule(lease: LeaseSettings) -> dict[str, Any]:
    """How often each runs; a message that waited a whole interval is thrown away."""
    every = {
        REAP: min(5.0, lease.lease_seconds / 4),
        DISPATCH: 5.0,
        EXPIRE: 60.0,
        REFUSE_UNMEASURED: 60.0,
        PROJECT: 5.0,
        END_STRAYS: 60.0,
        RETAIN_CHECKPOINTS: 120.0,
        RETAIN_HISTORY: 900.0,
        RETAIN_UPLOADS: 900.0,
        RETAIN_ANSWERS: 900.0,
        SWEEP_LITTER: 3600.0,
        RETAIN_DELIVERIES: 900.0,
        RETAIN_SESSIONS: 900.0,
        RUN_SCHEDULES: 5.0,
    }
    return {
        task.name: {"task": task.name, "schedule": seconds, "options": {"expires": seconds}}
        for task, seconds in every.items()
    }
