"""Freezing: approved sessions become an immutable, numbered dataset version."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import DatasetVersion
from heimdall_core.datasets.definition import DatasetDefinition, SplitSpec
from heimdall_core.datasets.selection import SelectedSession, Selection, select_sessions
from heimdall_core.datasets.splitting import block_label, split_units
from heimdall_core.domain.errors import FieldProblem, InvalidRequest
from heimdall_core.domain.manifest import Manifest, ManifestReceiver, ManifestSession
from heimdall_core.domain.ports import ObjectStore
from heimdall_core.recordings.geodesy import to_plane_km
from heimdall_core.storage import join_uri

_ORIGIN_DECIMALS = 4
"""About 10 m: where the plane's origin lies need not be finer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenDataset:
    """A dataset version, and whether this request made it."""

    version: DatasetVersion
    created: bool


def freeze_dataset(
    session: Session, definition: DatasetDefinition, *, store: ObjectStore, bucket: str, created_by: str
) -> FrozenDataset:
    """Makes the next version of the dataset; content that a version has already gives that version.

    Raises:
        InvalidRequest: no approved session is found, or a split would be empty.
        StorageUnavailable: the manifest could not be stored.
    """
    _lock_name(session, definition.name)
    selection = select_sessions(session, definition.query)
    _check_selection(selection)
    newest = session.scalar(
        select(func.max(DatasetVersion.version)).where(DatasetVersion.name == definition.name)
    )
    manifest = build_manifest(selection, definition, version=(newest or 0) + 1)
    digest = manifest.digest()
    if former := _find_digest(session, definition.name, digest):
        return FrozenDataset(version=former, created=False)
    uri = join_uri(f"s3://{bucket}/datasets", definition.name, f"{digest}.json")
    stored = store.put_bytes(uri, manifest.to_json(), media_type="application/json")
    version = DatasetVersion(
        name=manifest.name,
        version=manifest.version,
        digest=digest,
        manifest_uri=stored.uri,
        manifest_sha256=stored.sha256,
        counts=_counts(manifest),
        receivers=[asdict(receiver) for receiver in manifest.receivers],
        query=_query_document(definition),
        split=asdict(definition.split),
        created_by=created_by,
    )
    session.add(version)
    session.flush()
    session.refresh(version)
    return FrozenDataset(version=version, created=True)


def build_manifest(selection: Selection, definition: DatasetDefinition, *, version: int) -> Manifest:
    """The manifest of the selected sessions, split. Pure."""
    origin = _origin(selection.receivers)
    units = _units(selection.sessions, definition.split, origin)
    splits = split_units(units, definition.split)
    return Manifest(
        name=definition.name,
        version=version,
        origin_latitude=origin[0],
        origin_longitude=origin[1],
        receivers=selection.receivers,
        sessions=tuple(
            ManifestSession(
                id=chosen.id,
                source=chosen.source,
                latitude=chosen.latitude,
                longitude=chosen.longitude,
                frequency_hz=chosen.frequency_hz,
                started_at=chosen.started_at,
                split=splits[unit],
                block=unit,
                recordings=chosen.recordings,
            )
            for chosen, unit in zip(selection.sessions, units, strict=True)
        ),
    )


def _origin(receivers: Sequence[ManifestReceiver]) -> tuple[float, float]:
    """Mean of the receivers' latitudes and longitudes, degrees."""
    latitude = sum(r.latitude for r in receivers) / len(receivers)
    longitude = sum(r.longitude for r in receivers) / len(receivers)
    return round(latitude, _ORIGIN_DECIMALS), round(longitude, _ORIGIN_DECIMALS)


def _units(
    sessions: Sequence[SelectedSession], split: SplitSpec, origin: tuple[float, float]
) -> Sequence[str]:
    """The unit of each session that no split may divide."""
    if split.strategy == "source":
        return [chosen.source for chosen in sessions]
    if split.strategy == "group":
        return [_group(chosen) for chosen in sessions]
    east_km, north_km = to_plane_km(
        np.array([chosen.latitude for chosen in sessions]),
        np.array([chosen.longitude for chosen in sessions]),
        origin=origin,
    )
    return [
        block_label(float(e), float(n), block_km=split.block_km)
        for e, n in zip(east_km, north_km, strict=True)
    ]


def _group(chosen: SelectedSession) -> str:
    if chosen.group is None:
        detail = "use spatial_block or source, or import the sessions with a group"
        problem = FieldProblem(pointer="/split/strategy", detail=detail)
        raise InvalidRequest(
            f"session {chosen.id} has no group", problems=(problem,), hint=detail, code="bad_split"
        )
    return chosen.group


def _check_selection(selection: Selection) -> None:
    if selection.sessions:
        return
    remedy = "approve sessions (POST /v1/recording-sessions:approve) or widen the query"
    problem = FieldProblem(pointer="/query", detail=f"no approved recording session matches; {remedy}")
    raise InvalidRequest(
        "no approved recording session matches the query",
        problems=(problem,),
        hint=remedy,
        code="no_approved_sessions",
    )


def _counts(manifest: Manifest) -> dict[str, Any]:
    sessions = Counter(chosen.split for chosen in manifest.sessions)
    return {split: sessions[split] for split in ("train", "val", "test")} | {
        "recordings": sum(len(chosen.recordings) for chosen in manifest.sessions),
        "units": len({chosen.block for chosen in manifest.sessions}),
    }


def _query_document(definition: DatasetDefinition) -> dict[str, Any]:
    query = definition.query
    return {
        "import_job_ids": query.import_job_ids and list(query.import_job_ids),
        "session_ids": query.session_ids and [str(identifier) for identifier in query.session_ids],
    }


def _find_digest(session: Session, name: str, digest: str) -> DatasetVersion | None:
    return session.scalar(
        select(DatasetVersion)
        .where(DatasetVersion.name == name, DatasetVersion.digest == digest)
        .order_by(DatasetVersion.version)
        .limit(1)
    )


def _lock_name(session: Session, name: str) -> None:
    """Holds the name until the transaction ends: versions are numbered one after the other."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"dataset {name}", 0))))
