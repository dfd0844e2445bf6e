"""The upkeep of what is kept: bounded runs over ``heimdall_core.jobs.retention``, one task per concern."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.orm import Session

from heimdall_core.accounts.web_sessions import delete_ended_sessions
from heimdall_core.domain.spectrograms import folder_uri, is_outdated
from heimdall_core.jobs import retention, upload_retention
from heimdall_core.notifications.deliveries import delete_old_deliveries
from heimdall_core.storage import S3Store

if TYPE_CHECKING:
    from worker.control import ControlPlane

#: Parts of an upload to the store that were begun so long ago belong to nobody.
UNFINISHED_UPLOAD_AGE = timedelta(days=1)
#: Where the local stack's S3 server keeps parts; it forgets them when it restarts.
_LOCAL_PARTS = "s3/**/.rclone_temp_multipart_*"
_MAX_BATCHES = 20
_log = structlog.get_logger(__name__)


def retain_checkpoints(plane: "ControlPlane") -> None:
    """Retires superseded checkpoints, and deletes those retired a while ago."""
    with plane.database.transaction() as session:
        retired = retention.retire_checkpoints(session, num_best=plane.settings.retention.best_checkpoints)
    deleted = retention.delete_retired_checkpoints(plane.database, S3Store(plane.settings.storage))
    _tell("checkpoints", retired=retired, deleted=deleted)


def retain_history(plane: "ControlPlane") -> None:
    """Deletes logs and events of jobs that ended long ago; their curves stay."""
    settings = plane.settings.retention
    logs = _in_batches(plane, lambda s: retention.delete_old_logs(s, days=settings.log_days))
    events = _in_batches(plane, lambda s: retention.delete_old_events(s, days=settings.event_days))
    _tell("history", log_chunks=logs, events=events)


def retain_uploads(plane: "ControlPlane") -> None:
    """Deletes uploaded files that have been imported, or that nobody completed."""
    settings = plane.settings
    days = settings.retention.upload_days
    with plane.database.transaction() as session:
        retired = upload_retention.retire_uploads(session, days=days)
    deleted = upload_retention.delete_retired_uploads(
        plane.database, S3Store(settings.storage), bucket=settings.storage.raw_bucket, days=days
    )
    _tell("uploads", retired=retired, deleted=deleted)


def retain_answers(plane: "ControlPlane") -> None:
    """Forgets answers kept for repeated requests."""
    hours = plane.settings.retention.idempotency_hours
    answers = _in_batches(plane, lambda s: retention.delete_old_answers(s, hours=hours))
    _tell("answers", deleted=answers)


def retain_deliveries(plane: "ControlPlane") -> None:
    """Deletes webhook deliveries that ended long ago."""
    days = plane.settings.retention.delivery_days
    deliveries = _in_batches(plane, lambda s: delete_old_deliveries(s, days=days))
    _tell("deliveries", deleted=deliveries)


def retain_sessions(plane: "ControlPlane") -> None:
    """Forgets browsers that are not signed in any more."""
    _tell("sessions", deleted=_in_batches(plane, delete_ended_sessions))


def sweep_litter(plane: "ControlPlane") -> None:
    """Deletes objects that no row names, and parts of uploads to the store that were never completed."""
    settings = plane.settings.storage
    store = S3Store(settings)
    objects = retention.delete_litter(plane.database, store, bucket=settings.models_bucket)
    begun_before = datetime.now(UTC) - UNFINISHED_UPLOAD_AGE
    aborted = [
        store.abort_uploads(bucket, begun_before=begun_before)
        for bucket in (settings.raw_bucket, settings.models_bucket)
    ]
    local_parts = delete_local_parts(plane.settings.home)
    old = delete_old_spectrograms(store, bucket=settings.models_bucket, now=datetime.now(UTC))
    counts = {"objects": objects, "unfinished_uploads": sum(aborted), "local_parts": local_parts}
    _tell("litter", **counts, spectrograms=old)


def delete_old_spectrograms(store: retention.RetentionStore, *, bucket: str, now: datetime) -> int:
    """Deletes those made before the last month; returns how many."""
    old = [uri for uri in store.list_sizes(folder_uri(bucket)) if is_outdated(uri, now)]
    store.delete_all(old)
    return len(old)


def delete_local_parts(home: Path) -> int:
    """Deletes parts that an S3 server of this host left when it was killed; returns how many."""
    begun_before = time.time() - UNFINISHED_UPLOAD_AGE.total_seconds()
    stale = [path for path in home.glob(_LOCAL_PARTS) if path.stat().st_mtime < begun_before]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)


def _in_batches(plane: "ControlPlane", delete: Callable[[Session], int]) -> int:
    """Each batch is a transaction; a run ends when nothing is left, or after ``_MAX_BATCHES``."""
    num_deleted = 0
    for _ in range(_MAX_BATCHES):
        with plane.database.transaction() as session:
            batch = delete(session)
        if not batch:
            break
        num_deleted += batch
    return num_deleted


def _tell(concern: str, **counts: int) -> None:
    if any(counts.values()):
        _log.info("retention", concern=concern, **counts)
