"""Uploads: places to PUT files, and the import that follows."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session

from api.dependencies import Caller, Composition, Once, Policy, Transaction, UploadId, needs
from api.routes.jobs import accepted
from api.schemas.jobs import JobDocument
from api.schemas.recordings import UploadDocument, upload_document
from api.services import Services
from heimdall_core.accounts.idempotency import Answer
from heimdall_core.catalogue.uploads import (
    NewUpload,
    UploadCompletion,
    complete_upload,
    create_upload,
    find_upload,
    received_files,
)
from heimdall_core.database.catalogue_tables import Upload
from heimdall_core.jobs.submission import submit_job

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])


@router.post("", status_code=201, response_model=UploadDocument, dependencies=[needs("recordings:write")])
def create_new_upload(
    request: NewUpload, session: Transaction, caller: Caller, services: Composition, once: Once
) -> Response:
    """Gives a presigned URL for each file: SigMF archives, loose SigMF files or a power table's two CSVs."""
    return once.answer(lambda: _created(session, request, services, caller.owner))


def _created(session: Session, request: NewUpload, services: Services, owner: str) -> Answer:
    bucket = services.settings.storage.raw_bucket
    upload = create_upload(session, request, bucket=bucket, owner=owner)
    body = _document(upload, services).model_dump(mode="json")
    return Answer(status_code=201, body=body, headers={"Location": f"/v1/uploads/{upload.id}"})


@router.get("/{upload_id}", dependencies=[needs("recordings:read")])
def read_upload(
    upload_id: UploadId, session: Transaction, caller: Caller, services: Composition
) -> UploadDocument:
    """An upload; while it is open with fresh URLs, and for each file whether it has arrived."""
    upload = find_upload(session, upload_id, owner=caller.visible_owner)
    writable = caller.may("recordings:write") and caller.writable_owner in {None, upload.owner}
    return _document(upload, services, received=_received(upload, services), writable=writable)


def _received(upload: Upload, services: Services) -> frozenset[str]:
    if upload.completed_at is not None:
        return frozenset()
    bucket = services.settings.storage.raw_bucket
    return received_files(upload, bucket=bucket, list_sizes=services.store.list_sizes)


@router.post(
    "/{upload_id}:complete",
    status_code=202,
    response_model=JobDocument,
    dependencies=[needs("recordings:write")],
)
def complete(
    upload_id: UploadId,
    session: Transaction,
    caller: Caller,
    once: Once,
    policy: Policy,
    completion: UploadCompletion = UploadCompletion(),  # noqa: B008 - frozen, and FastAPI reads the default here
) -> Response:
    """Starts the import of the files that were PUT; answers with its job."""
    return once.answer(
        lambda: accepted(
            session,
            complete_upload(session, upload_id, completion, owner=caller.owner, submit=submit_job),
            policy,
        )
    )


def _document(
    upload: Upload, services: Services, *, received: Collection[str] = frozenset(), writable: bool = True
) -> UploadDocument:
    lifetime = timedelta(seconds=services.settings.storage.presign_seconds)
    return upload_document(
        upload,
        services.store,
        received=received,
        writable=writable,
        now=datetime.now(UTC),
        lifetime=lifetime,
    )
