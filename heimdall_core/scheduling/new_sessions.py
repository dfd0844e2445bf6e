"""New recordings: sessions that a model's next dataset would have and its champion's has not."""

import json
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import DatasetVersion
from heimdall_core.database.job_tables import Job
from heimdall_core.database.platform_tables import RecordingSession
from heimdall_core.database.schedule_tables import Schedule
from heimdall_core.datasets.definition import SessionQuery
from heimdall_core.datasets.queries import find_dataset_version
from heimdall_core.datasets.selection import select_sessions
from heimdall_core.domain.ports import ObjectStore
from heimdall_core.registry.queries import find_model, find_model_version
from heimdall_core.registry.reading import read_written

_QUERY: TypeAdapter[SessionQuery] = TypeAdapter(SessionQuery)


def has_new_sessions(
    session: Session, schedule: Schedule, wanted: int, *, now: datetime, store: ObjectStore, raw_bucket: str
) -> bool:
    """Whether enough sessions are new; counted only if the catalogue has changed since the last count.

    Without a champion there is nothing to compare with: the run itself says what is missing.

    Raises:
        NotFound: no model has the name.
        InvalidRequest: the champion's query names what no longer exists.
        StorageUnavailable: the manifest could not be read.
    """
    known = _known_dataset(session, schedule)
    if known is None:
        return True
    state = _catalogue_state(session, known, now)
    if state == schedule.catalogue_state:
        return False
    num_new = count_new_sessions(session, known, store=store, raw_bucket=raw_bucket)
    if num_new >= wanted:
        return True
    schedule.catalogue_state = state
    return False


def count_new_sessions(
    session: Session, known: DatasetVersion, *, store: ObjectStore, raw_bucket: str
) -> int:
    """How many sessions its query finds today that the version does not hold."""
    held = json.loads(read_written(store, known.manifest_uri, known.manifest_sha256))["sessions"]
    found = select_sessions(session, _QUERY.validate_python(known.query), raw_bucket=raw_bucket).sessions
    return len({one.id for one in found} - {str(one["id"]) for one in held})


def _known_dataset(session: Session, schedule: Schedule) -> DatasetVersion | None:
    """The champion's dataset, or the one of the last run: what came of that is not asked for twice."""
    model = find_model(session, schedule.model)
    if model.champion_version is None:
        return None
    champion = find_model_version(session, model.name, model.champion_version)
    version = champion.dataset_version
    last = session.get(Job, schedule.job_id) if schedule.job_id else None
    used = (last.spec.get("dataset") or {}) if last else {}
    if used.get("name") == champion.dataset_name:
        version = max(version, used.get("version") or 0)
    return find_dataset_version(session, champion.dataset_name, version)


def _catalogue_state(session: Session, known: DatasetVersion, now: datetime) -> str:
    """What differs once a session was approved; and once an hour, for what leaves no trace there."""
    approved = select(func.count(), func.max(RecordingSession.updated_at)).where(
        RecordingSession.approval_status == "approved"
    )
    count, newest = session.execute(approved).one()
    return f"{known.name}/{known.version} {count} {newest} {now:%Y-%m-%dT%H}"
