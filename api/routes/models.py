"""Models and their versions."""

from fastapi import APIRouter

from api.dependencies import Cursor, Limit, ResourceName, Store, Transaction, VersionNumber, needs
from api.schemas.models import (
    ModelDocument,
    ModelVersionDocument,
    ModelVersionList,
    model_document,
    model_version_document,
)
from api.schemas.pages import PageDocument, page_document
from heimdall_core.registry.queries import (
    find_model,
    find_model_version,
    list_model_versions,
    list_models,
)

router = APIRouter(prefix="/v1/models", tags=["models"], dependencies=[needs("models:read")])


@router.get("")
def list_all_models(
    session: Transaction, cursor: Cursor = None, limit: Limit = 50
) -> PageDocument[ModelDocument]:
    """All models, newest first."""
    return page_document(list_models(session, cursor=cursor, limit=limit), model_document)


@router.get("/{name}")
def read_model(name: ResourceName, session: Transaction) -> ModelDocument:
    """One model."""
    return model_document(find_model(session, name))


@router.get("/{name}/versions")
def list_versions_of_model(name: ResourceName, session: Transaction, store: Store) -> ModelVersionList:
    """Every version of a model, newest first."""
    model = find_model(session, name)
    versions = list_model_versions(session, name)
    return ModelVersionList(data=[model_version_document(row, model, store) for row in versions])


@router.get("/{name}/versions/{version}")
def read_model_version(
    name: ResourceName, version: VersionNumber, session: Transaction, store: Store
) -> ModelVersionDocument:
    """One version of a model, with a URL to fetch its ONNX file."""
    model = find_model(session, name)
    return model_version_document(find_model_version(session, name, version), model, store)
