"""Uploaded files are kept until nobody imports them any more."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, DateTime, and_, cast, exists, func, not_, or_, select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import Upload
from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Job
from heimdall_core.domain.job import JobKind
from heimdall_core.jobs.retention import DAY_SECONDS, GRACE_SECONDS, RetentionStore, ago

#: Members of each file of an upload: since when it is out of sight, and since when it is gone.
RETIRED_AT, DELETED_AT = "retired_at", "deleted_at"


def retire_uploads(session: Session, *, days: float, limit: int = 20) -> int:
    """Marks the files of uploads that nobody imports any more; from then on no import takes them.

    So long after the last import has ended; after its creation, if an upload was never completed.
    """
    due = (
        select(Upload)
        .where(_is_idle(days), not_(Upload.files[0].has_key(RETIRED_AT)))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    uploads = session.scalars(due).all()
    for upload in uploads:
        _mark(session, upload, RETIRED_AT)
    return len(uploads)


def delete_retired_uploads(
    database: Database,
    store: RetentionStore,
    *,
    bucket: str,
    days: float,
    grace_seconds: float = GRACE_SECONDS,
    limit: int = 20,
) -> int:
    """Deletes the files of retired uploads; the row stays and says so. Returns the number of uploads."""
    retired_at = cast(Upload.files[0][RETIRED_AT].astext, DateTime(timezone=True))
    with database.transaction() as session:
        statement = (
            select(Upload.id)
            .where(_is_idle(days), retired_at < ago(grace_seconds), not_(Upload.files[0].has_key(DELETED_AT)))
            .limit(limit)
        )
        retired = session.scalars(statement).all()
    for upload_id in retired:
        store.delete_all(store.list_sizes(f"s3://{bucket}/uploads/{upload_id}/"))
        with database.transaction() as session:
            upload = session.get_one(Upload, upload_id, with_for_update=True)
            _mark(session, upload, DELETED_AT)
    return len(retired)


def _is_idle(days: float) -> ColumnElement[bool]:
    """Whether the upload's files are ours, old enough, and no import of them runs or has ended lately."""
    since = ago(days * DAY_SECONDS)
    recent = exists().where(
        Job.kind == JobKind.IMPORT.value,
        Job.spec["upload_id"].astext == Upload.id,
        or_(Job.finished_at.is_(None), Job.finished_at >= since),
    )
    # The platform's own objects are never ours to delete.
    return and_(
        func.coalesce(Upload.completed_at, Upload.created_at) < since,
        not_(Upload.options.has_key("platform")),
        not_(recent),
    )


def _mark(session: Session, upload: Upload, name: str) -> None:
    now: datetime = session.execute(select(func.now())).scalar_one()
    marked: list[dict[str, Any]] = [{**file, name: now.isoformat()} for file in upload.files]
    upload.files = marked
