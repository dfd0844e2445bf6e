"""What the weights of a version had been trained on before its own dataset: warm starts of warm starts."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import ModelVersion
from heimdall_core.database.job_tables import Job
from heimdall_core.registry.reading import ByteSource, read_written


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerDataset:
    """A dataset version that an ancestor was trained on."""

    digest: str
    manifest_uri: str
    manifest_sha256: str


def former_datasets(session: Session, row: ModelVersion) -> tuple[FormerDataset, ...]:
    """Those of every version that the weights come from, the nearest first; empty: a cold start."""
    found: dict[str, FormerDataset] = {}
    for ancestor in _ancestors(session, row):
        inputs = session.get_one(Job, ancestor.job_id).inputs
        found[ancestor.dataset_digest] = FormerDataset(
            digest=ancestor.dataset_digest,
            manifest_uri=inputs["manifest_uri"],
            manifest_sha256=inputs["manifest_sha256"],
        )
    return tuple(found.values())


def read_used_sessions(store: ByteSource, former: FormerDataset) -> frozenset[str]:
    """The sessions that a training on the dataset version fits or is chosen by.

    Raises:
        StorageUnavailable: its manifest cannot be read, or is not what was frozen.
    """
    manifest = json.loads(read_written(store, former.manifest_uri, former.manifest_sha256))
    return frozenset(str(one["id"]) for one in manifest["sessions"] if one["split"] != "test")


def _ancestors(session: Session, row: ModelVersion) -> Iterator[ModelVersion]:
    while start := _start_of(session, row):
        row = session.get_one(ModelVersion, start)
        yield row


def _start_of(session: Session, row: ModelVersion) -> tuple[str, int] | None:
    """The version whose weights its training began with; an export's training is the one it exported."""
    job = session.get_one(Job, row.job_id)
    training = job.inputs["train_spec"] if row.origin == "export" else job.spec
    start = training.get("init_from")
    return (start["name"], start["version"]) if start else None
