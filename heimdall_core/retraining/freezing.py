"""The dataset of a retraining: frozen anew, held against the champion's, kept only if it is to be used."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import DatasetVersion, ModelVersion
from heimdall_core.datasets.definition import DatasetDefinition
from heimdall_core.datasets.freezing import freeze_dataset
from heimdall_core.datasets.queries import find_dataset_version
from heimdall_core.domain.errors import Conflict, InvalidRequest, StorageRefused
from heimdall_core.domain.ports import ObjectStore, StoredObject
from heimdall_core.registry.reading import read_written
from heimdall_core.retraining.calls import RetrainCall
from heimdall_core.retraining.overrides import moved

_DEFINITION: TypeAdapter[DatasetDefinition] = TypeAdapter(DatasetDefinition)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionChanges:
    """How the sessions of a dataset version differ from those that the champion's holds."""

    new: int | None
    """That the champion's does not hold; None: the champion's manifest is lost."""
    withdrawn: int | None
    """That only the champion's holds; None: the champion's manifest is lost."""


def freeze_for(
    session: Session,
    champion: ModelVersion,
    call: RetrainCall,
    *,
    store: ObjectStore,
    bucket: str,
    raw_bucket: str,
) -> tuple[DatasetVersion, SessionChanges]:
    """The dataset version to train on; a refusal leaves neither a version nor an object behind.

    Raises:
        Conflict: nothing has changed (``nothing_new``) or too little (``too_few_new_sessions``), unless it
            is forced; or what is approved now cannot be frozen by the champion's definition.
        InvalidRequest: the call's own definition cannot be frozen.
        StorageUnavailable: a manifest can be neither read nor stored.
    """
    held = _HeldBack(store)
    with session.begin_nested():
        version = _freeze(session, champion, call, store=held, bucket=bucket, raw_bucket=raw_bucket)
        changes = _compare(session, champion, version, held, may_be_lost=call.force)
        if not call.force:
            _require_news(champion, version, changes, call.min_new_sessions)
        held.store_now()
    return version, changes


class _HeldBack:
    """An object store that keeps what it is given until ``store_now``."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._held: dict[str, tuple[bytes, str]] = {}

    def get_bytes(self, uri: str, *, offset: int = 0, num_bytes: int | None = None) -> bytes:
        """The object; a whole one that is held back, too."""
        if uri in self._held:
            return self._held[uri][0]
        return self._store.get_bytes(uri, offset=offset, num_bytes=num_bytes)

    def put_bytes(
        self, uri: str, data: bytes, *, media_type: str = "application/octet-stream"
    ) -> StoredObject:
        """Holds the object back."""
        self._held[uri] = (data, media_type)
        sha256 = hashlib.sha256(data).hexdigest()
        return StoredObject(uri=uri, sha256=sha256, num_bytes=len(data), media_type=media_type)

    def put_file(self, uri: str, path: Path, *, media_type: str = "application/octet-stream") -> StoredObject:
        """Stores at once."""
        return self._store.put_file(uri, path, media_type=media_type)

    def get_file(self, uri: str, path: Path) -> None:
        """Downloads to a file."""
        self._store.get_file(uri, path)

    def store_now(self) -> None:
        """Stores what was held back."""
        for uri, (data, media_type) in self._held.items():
            self._store.put_bytes(uri, data, media_type=media_type)


def _freeze(
    session: Session,
    champion: ModelVersion,
    call: RetrainCall,
    *,
    store: ObjectStore,
    bucket: str,
    raw_bucket: str,
) -> DatasetVersion:
    own = call.dataset if isinstance(call.dataset, DatasetDefinition) else None
    definition = own or _definition(session, champion)
    try:
        frozen = freeze_dataset(
            session, definition, store=store, bucket=bucket, raw_bucket=raw_bucket, created_by=call.caller
        )
    except InvalidRequest as refusal:
        if own is not None:
            raise moved(refusal, "/dataset") from refusal
        # What is approved has changed; the caller's request is not at fault.
        raise Conflict(
            f"dataset {definition.name!r} cannot be frozen anew: {refusal.message}",
            code=refusal.stable_code,
            hint=refusal.hint,
        ) from refusal
    return frozen.version


def _definition(session: Session, champion: ModelVersion) -> DatasetDefinition:
    """That of the champion's dataset version: its own query and split."""
    row = find_dataset_version(session, champion.dataset_name, champion.dataset_version)
    return _DEFINITION.validate_python({"name": row.name, "query": row.query, "split": row.split})


def _compare(
    session: Session,
    champion: ModelVersion,
    version: DatasetVersion,
    store: ObjectStore,
    *,
    may_be_lost: bool,
) -> SessionChanges:
    if version.digest == champion.dataset_digest:
        return SessionChanges(new=0, withdrawn=0)
    former = find_dataset_version(session, champion.dataset_name, champion.dataset_version)
    try:
        known, chosen = _sessions_of(store, former), _sessions_of(store, version)
    except StorageRefused:
        if not may_be_lost:
            raise
        return SessionChanges(new=None, withdrawn=None)
    return SessionChanges(new=len(chosen - known), withdrawn=len(known - chosen))


def _sessions_of(store: ObjectStore, version: DatasetVersion) -> frozenset[str]:
    manifest: Mapping[str, Any] = json.loads(
        read_written(store, version.manifest_uri, version.manifest_sha256)
    )
    return frozenset(str(one["id"]) for one in manifest["sessions"])


def _require_news(
    champion: ModelVersion, version: DatasetVersion, changes: SessionChanges, floor: int
) -> None:
    name = f"version {champion.version} of model {champion.name!r}"
    if version.digest == champion.dataset_digest:
        raise Conflict(
            f"{name} was trained on all that is approved now",
            code="nothing_new",
            hint='Approve recordings first, or send "force": true.',
        )
    missing = floor - (changes.new or 0)
    if missing > 0:
        raise Conflict(
            f"{changes.new} sessions are new since {name} was trained, {changes.withdrawn} are withdrawn; "
            f"a retraining waits for {floor} new ones",
            code="too_few_new_sessions",
            hint=f'Approve {missing} more, or send a lower "min_new_sessions" or "force": true.',
        )
