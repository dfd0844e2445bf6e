"""The upkeep that runs what is due by a schedule: one transaction for each."""

from typing import TYPE_CHECKING

import structlog

from heimdall_core.scheduling.running import ScheduledRun, Stores, due_schedules, run_if_due
from heimdall_core.storage import S3Store

if TYPE_CHECKING:
    from worker.control import ControlPlane

_MAX_RUNS = 100
_log = structlog.get_logger(__name__)


def run_schedules(plane: "ControlPlane") -> None:
    """Runs what is due; one that fails is tried again by the next call and keeps no other from running."""
    with plane.database.transaction() as session:
        due = due_schedules(session, limit=_MAX_RUNS)
    if not due:
        return
    storage = plane.settings.storage
    stores = Stores(store=S3Store(storage), bucket=storage.models_bucket, raw_bucket=storage.raw_bucket)
    for schedule_id in due:
        try:
            with plane.database.transaction() as session:
                run = run_if_due(session, schedule_id, stores)
        except Exception:  # noqa: BLE001 - whatever it is, the others are due too
            _log.exception("schedule_failed", schedule_id=schedule_id)
            continue
        _tell(plane, run)


def _tell(plane: "ControlPlane", run: ScheduledRun | None) -> None:
    if run is None:
        return
    facts = {"outcome": run.outcome.value, "job_id": run.job_id, "code": run.code}
    _log.info("schedule_ran", schedule_id=run.schedule_id, **facts)
    if run.job_id is not None:
        plane.hints.hint()
