"""Dataset versions on the wire."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from api.services import HandoutStore
from heimdall_core.database.catalogue_tables import DatasetVersion
from heimdall_core.datasets.freezing import FrozenDataset
from heimdall_core.datasets.summary import VersionStatistics
from heimdall_core.domain.manifest import ManifestReceiver


class DatasetCounts(BaseModel):
    """Sessions of each split; recordings and split units in all."""

    train: int
    val: int
    test: int
    recordings: int
    units: int = Field(description="Blocks, groups or sources that no split divides.")


class ManifestDocument(BaseModel):
    """Where the manifest lies: everything that a training reads."""

    uri: str
    sha256: str
    download_url: str = Field(description="Presigned; expires.")


class DatasetDocument(BaseModel):
    """An immutable dataset version."""

    name: str
    version: int
    digest: str = Field(description="SHA-256 of the content; equal content has an equal digest.")
    counts: DatasetCounts
    statistics: VersionStatistics | None = Field(
        description="What it holds, in numbers; null: it was frozen before these were kept."
    )
    receivers: list[ManifestReceiver] = Field(description="In the order of the network's channels.")
    query: dict[str, Any] = Field(description="As it was frozen; null members do not restrict.")
    split: dict[str, Any] = Field(description="As it was frozen.")
    manifest: ManifestDocument
    created_by: str
    created_at: datetime


class FrozenDatasetDocument(DatasetDocument):
    """The answer to a request to freeze."""

    created: bool = Field(description="False: a version with this content existed already.")


class DatasetVersionList(BaseModel):
    """Every version, newest first."""

    data: list[DatasetDocument]


def dataset_document(row: DatasetVersion, store: HandoutStore) -> DatasetDocument:
    """The wire form of a version."""
    return DatasetDocument(
        name=row.name,
        version=row.version,
        digest=row.digest,
        counts=DatasetCounts.model_validate(row.counts),
        statistics=row.counts.get("statistics"),
        receivers=[ManifestReceiver(**receiver) for receiver in row.receivers],
        query=row.query,
        split=row.split,
        manifest=ManifestDocument(
            uri=row.manifest_uri,
            sha256=row.manifest_sha256,
            download_url=store.presign_get(row.manifest_uri),
        ),
        created_by=row.created_by,
        created_at=row.created_at,
    )


def frozen_dataset_document(frozen: FrozenDataset, store: HandoutStore) -> FrozenDatasetDocument:
    """The wire form of what a request to freeze gave."""
    document = dataset_document(frozen.version, store)
    return FrozenDatasetDocument(**document.model_dump(), created=frozen.created)
