"""Freezing: approved sessions become an immutable, numbered dataset version."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import DatasetVersion
from heimdall_core.datasets.assembling import Selection, build_manifest
from heimdall_core.datasets.definition import DatasetDefinition, SessionQuery
from heimdall_core.datasets.duplicates import check_no_leak
from heimdall_core.datasets.query_bounds import check_approved_only, check_bounds
from heimdall_core.datasets.selection import select_sessions
from heimdall_core.datasets.summary import VersionStatistics, describe_version
from heimdall_core.domain.errors import FieldProblem, InvalidRequest
from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.ports import ObjectStore, StoredObject
from heimdall_core.storage import join_uri

_QUERY: TypeAdapter[SessionQuery] = TypeAdapter(SessionQuery)
_STATISTICS: TypeAdapter[VersionStatistics] = TypeAdapter(VersionStatistics)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenDataset:
    """A dataset version, and whether this request made it."""

    version: DatasetVersion
    created: bool


def freeze_dataset(
    session: Session,
    definition: DatasetDefinition,
    *,
    store: ObjectStore,
    bucket: str,
    raw_bucket: str,
    created_by: str,
) -> FrozenDataset:
    """Makes the next version of the dataset; content that a version has already gives that version.

    Raises:
        InvalidRequest: the query contradicts itself, names what does not exist or asks for sessions that are
            not approved; no approved session is found; a split would be empty, or share recordings.
        StorageUnavailable: the manifest could not be stored.
    """
    check_bounds(definition.query)
    check_approved_only(definition.query)
    _lock_name(session, definition.name)
    selection = select_sessions(session, definition.query, raw_bucket=raw_bucket)
    check_selection(selection, definition.query)
    manifest = build_manifest(selection, definition, version=next_version(session, definition.name))
    check_no_leak(selection.sessions, [chosen.split for chosen in manifest.sessions])
    digest = manifest.digest()
    if former := find_digest(session, definition.name, digest):
        return FrozenDataset(version=former, created=False)
    uri = join_uri(f"s3://{bucket}/datasets", definition.name, f"{digest}.json")
    stored = store.put_bytes(uri, manifest.to_json(), media_type="application/json")
    statistics = describe_version(
        selection,
        [chosen.block for chosen in manifest.sessions],
        [chosen.split for chosen in manifest.sessions],
    )
    version = _version(
        manifest, definition, digest=digest, stored=stored, statistics=statistics, created_by=created_by
    )
    session.add(version)
    session.flush()
    session.refresh(version)
    return FrozenDataset(version=version, created=True)


def _version(
    manifest: Manifest,
    definition: DatasetDefinition,
    *,
    digest: str,
    stored: StoredObject,
    statistics: VersionStatistics,
    created_by: str,
) -> DatasetVersion:
    return DatasetVersion(
        name=manifest.name,
        version=manifest.version,
        digest=digest,
        manifest_uri=stored.uri,
        manifest_sha256=stored.sha256,
        counts=_counts(manifest) | {"statistics": _STATISTICS.dump_python(statistics, mode="json")},
        receivers=[asdict(receiver) for receiver in manifest.receivers],
        query=_QUERY.dump_python(definition.query, mode="json"),
        split=asdict(definition.split),
        created_by=created_by,
    )


def check_selection(selection: Selection, query: SessionQuery) -> None:
    """Raises InvalidRequest if no session was found, or none with a recording of a named receiver."""
    if not selection.sessions:
        raise _nothing_found(query)
    heard = {receiver.name for receiver in selection.receivers}
    remedy = "it recorded none of the sessions found: leave it out or widen the query"
    problems = tuple(
        FieldProblem(pointer=f"/query/receivers/{index}", detail=f"{name!r}: {remedy}")
        for index, name in enumerate(query.receivers or ())
        if name not in heard
    )
    if problems:
        silent = ", ".join(sorted(set(query.receivers or ()) - heard))
        raise InvalidRequest(
            f"no recording of the sessions found is of {silent}",
            problems=problems,
            code="receiver_without_recordings",
        )


def next_version(session: Session, name: str) -> int:
    """The number that the next version of the dataset gets."""
    newest = session.scalar(select(func.max(DatasetVersion.version)).where(DatasetVersion.name == name))
    return (newest or 0) + 1


def find_digest(session: Session, name: str, digest: str) -> DatasetVersion | None:
    """The first version of the dataset with this content."""
    return session.scalar(
        select(DatasetVersion)
        .where(DatasetVersion.name == name, DatasetVersion.digest == digest)
        .order_by(DatasetVersion.version)
        .limit(1)
    )


def _nothing_found(query: SessionQuery) -> InvalidRequest:
    message = f"no {' or '.join(query.approval_status)} recording session matches the query"
    remedy = "approve sessions (POST /v1/recording-sessions:approve) or widen the query"
    return InvalidRequest(
        message,
        problems=(FieldProblem(pointer="/query", detail=f"{message}; {remedy}"),),
        hint=remedy,
        code="no_approved_sessions",
    )


def _counts(manifest: Manifest) -> dict[str, Any]:
    sessions = Counter(chosen.split for chosen in manifest.sessions)
    return {split: sessions[split] for split in ("train", "val", "test")} | {
        "recordings": sum(len(chosen.recordings) for chosen in manifest.sessions),
        "units": len({chosen.block for chosen in manifest.sessions}),
    }


def _lock_name(session: Session, name: str) -> None:
    """Holds the name until the transaction ends: versions are numbered one after the other."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"dataset {name}", 0))))
