"""Dataset versions."""

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session

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
from heimdall_core.datasets.queries import find_dataset_version, list_dataset_versions, list_datasets

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])


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
    definition: DatasetDefinition, session: Transaction, caller: Caller, services: Composition, once: Once
) -> Response:
    """Freezes the approved sessions of the query into the next version of the dataset."""
    return once.answer(lambda: _frozen(session, definition, services, caller.owner))


def _frozen(session: Session, definition: DatasetDefinition, services: Services, owner: str) -> Answer:
    frozen = freeze_dataset(
        session,
        definition,
        store=services.store,
        bucket=services.settings.storage.models_bucket,
        created_by=owner,
    )
    version = frozen.version
    return Answer(
        status_code=201 if frozen.created else 200,
        body=frozen_dataset_document(frozen, services.store).model_dump(mode="json"),
        headers={"Location": f"/v1/datasets/{version.name}/versions/{version.version}"},
    )


@router.get("", dependencies=[needs("datasets:read")])
def list_all_datasets(
    session: Transaction, store: Store, cursor: Cursor = None, limit: Limit = 50
) -> PageDocument[DatasetDocument]:
    """The newest version of each dataset."""
    page = list_datasets(session, cursor=cursor, limit=limit)
    return page_document(page, lambda row: dataset_document(row, store))


@router.get("/{name}", dependencies=[needs("datasets:read")])
def read_dataset(name: ResourceName, session: Transaction, store: Store) -> DatasetDocument:
    """The newest version of a dataset."""
    return dataset_document(list_dataset_versions(session, name)[0], store)


@router.get("/{name}/versions", dependencies=[needs("datasets:read")])
def list_versions_of_dataset(name: ResourceName, session: Transaction, store: Store) -> DatasetVersionList:
    """Every version of a dataset, newest first."""
    return DatasetVersionList(
        data=[dataset_document(row, store) for row in list_dataset_versions(session, name)]
    )


@router.get("/{name}/versions/{version}", dependencies=[needs("datasets:read")])
def read_dataset_version(
    name: ResourceName, version: VersionNumber, session: Transaction, store: Store
) -> DatasetDocument:
    """One version of a dataset."""
    return dataset_document(find_dataset_version(session, name, version), store)
