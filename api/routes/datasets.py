"""Dataset versions."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Response
from sqlalchemy.orm import Session

from api.conditional import NOT_MODIFIED, Conditional
from api.dependencies import (
    Caller,
    Composition,
    Cursor,
    Limit,
    Once,
    ResourceName,
    Store,
    Transaction,
    VersionNumber,
    needs,
)
from api.schemas.datasets import (
    DatasetDocument,
    DatasetVersionList,
    FrozenDatasetDocument,
    dataset_document,
    frozen_dataset_document,
)
from api.schemas.pages import PageDocument, page_document
from api.services import Services
from heimdall_core.accounts.idempotency import Answer
from heimdall_core.datasets.definition import DatasetDefinition
from heimdall_core.datasets.freezing import freeze_dataset
from heimdall_core.datasets.preview import DatasetPreview, preview_dataset
from heimdall_core.datasets.queries import (
    find_dataset_version,
    find_newest_version,
    list_dataset_versions,
    list_datasets,
)

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

_EXAMPLES: dict[str, Any] = {
    "all": {"summary": "Everything that is approved", "value": {"name": "northwest"}},
    "band_and_region": {
        "summary": "A season of one band about a town, heard by at least three of four receivers",
        "value": {
            "name": "northwest-2m",
            "query": {
                "started_after": "2025-03-01T00:00:00Z",
                "started_before": "2025-06-01T00:00:00Z",
                "min_frequency_hz": 144e6,
                "max_frequency_hz": 146e6,
                "region": {"circle": {"latitude": 45.07, "longitude": 7.69, "radius_km": 80}},
                "receivers": ["aosta", "genoa", "milano", "turin"],
                "min_receivers": 3,
                "min_snr_db": 6,
            },
            "split": {"strategy": "spatial_block", "block_km": 10, "seed": 1},
        },
    },
    "held_out_group": {
        "summary": "One named group held out for test, another for validation",
        "value": {
            "name": "campaign",
            "query": {"import_job_ids": ["job_x4r2k7abcdefghijklmnop23"]},
            "split": {"strategy": "group", "test_groups": ["0"], "val_groups": ["1"]},
        },
    },
}
IfChanged = Annotated[Conditional, Depends()]
DefinitionBody = Annotated[DatasetDefinition, Body(openapi_examples=_EXAMPLES)]


@router.post(
    "",
    status_code=201,
    response_model=FrozenDatasetDocument,
    dependencies=[needs("datasets:write")],
    responses={
        200: {"model": FrozenDatasetDocument, "description": "A version with this content exists already."}
    },
)
def create_dataset_version(
    definition: DefinitionBody, session: Transaction, caller: Caller, services: Composition, once: Once
) -> Response:
    """Freezes the approved sessions of the query into the next version of the dataset."""
    return once.answer(lambda: _frozen(session, definition, services, caller.owner))


def _frozen(session: Session, definition: DatasetDefinition, services: Services, owner: str) -> Answer:
    frozen = freeze_dataset(
        session,
        definition,
        store=services.store,
        bucket=services.settings.storage.models_bucket,
        raw_bucket=services.settings.storage.raw_bucket,
        created_by=owner,
    )
    version = frozen.version
    return Answer(
        status_code=201 if frozen.created else 200,
        body=frozen_dataset_document(frozen, services.store).model_dump(mode="json"),
        headers={"Location": f"/v1/datasets/{version.name}/versions/{version.version}"},
    )


# Matches ``/v1/datasets:preview``: the router's prefix and this path are joined as they are.
@router.post(":preview", dependencies=[needs("datasets:read")])
def preview_dataset_version(
    definition: DefinitionBody, session: Transaction, services: Composition
) -> DatasetPreview:
    """What freezing the same body would make now, in numbers, and what would make it fail; writes nothing."""
    return preview_dataset(session, definition, raw_bucket=services.settings.storage.raw_bucket)


@router.get("", dependencies=[needs("datasets:read")])
def list_all_datasets(
    session: Transaction, store: Store, cursor: Cursor = None, limit: Limit = 50
) -> PageDocument[DatasetDocument]:
    """The newest version of each dataset."""
    page = list_datasets(session, cursor=cursor, limit=limit)
    return page_document(page, lambda row: dataset_document(row, store))


@router.get(
    "/{name}", response_model=DatasetDocument, dependencies=[needs("datasets:read")], responses=NOT_MODIFIED
)
def read_dataset(name: ResourceName, session: Transaction, store: Store, conditional: IfChanged) -> Response:
    """The newest version of a dataset."""
    return conditional.answer(dataset_document(find_newest_version(session, name), store))


@router.get("/{name}/versions", dependencies=[needs("datasets:read")])
def list_versions_of_dataset(name: ResourceName, session: Transaction, store: Store) -> DatasetVersionList:
    """Every version of a dataset, newest first."""
    return DatasetVersionList(
        data=[dataset_document(row, store) for row in list_dataset_versions(session, name)]
    )


@router.get(
    "/{name}/versions/{version}",
    response_model=DatasetDocument,
    dependencies=[needs("datasets:read")],
    responses=NOT_MODIFIED,
)
def read_dataset_version(
    name: ResourceName,
    version: VersionNumber,
    session: Transaction,
    store: Store,
    conditional: IfChanged,
) -> Response:
    """One version of a dataset."""
    return conditional.answer(dataset_document(find_dataset_version(session, name, version), store))
