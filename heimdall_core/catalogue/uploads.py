"""Uploads: files on their way into the object store, and from there into the catalogue."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Protocol

from annotated_types import Ge, Le, MaxLen, MinLen
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heimdall_core.database.base import JsonObject
from heimdall_core.database.catalogue_tables import Upload
from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Job
from heimdall_core.domain.errors import Conflict, FieldProblem, InvalidRequest, NotFound
from heimdall_core.domain.spec import STRICT, ImportJobSpec
from heimdall_core.recordings.fields import MAX_TEXT
from heimdall_core.recordings.files import MAX_ARCHIVE_BYTES
from heimdall_core.recordings.power_table import MAX_RECEIVERS

MAX_FILES = 50_000
MAX_FILE_BYTES = MAX_ARCHIVE_BYTES
"""What an import reads; S3 would take 5 GiB in one PUT."""
MAX_NAME_CHARS = 255
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA256_DETAIL = "use 64 lower-case hexadecimal digits"
_UNSAFE_IN_KEY = re.compile(r"[^A-Za-z0-9._-]")
_KEY_NAME_CHARS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadFile:
    """One file that the caller is going to PUT."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    name: Annotated[str, MinLen(1), MaxLen(MAX_NAME_CHARS)]
    """A relative path, for people and reports; it does not choose where the file is stored."""
    size: Annotated[int, Ge(0), Le(MAX_FILE_BYTES)]
    """Bytes."""
    sha256: str | None = None
    """Hexadecimal; the import refuses the file if it differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUpload:
    """A request for places to PUT files."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    files: Annotated[tuple[UploadFile, ...], MinLen(1), MaxLen(MAX_FILES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """How the files of an upload are imported."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    receivers: (
        Annotated[tuple[Annotated[str, MinLen(1), MaxLen(MAX_TEXT)], ...], MinLen(1), MaxLen(MAX_RECEIVERS)]
        | None
    ) = None
    """Names of the receivers to take from a power table; null: all."""
    auto_approve: bool = False
    """Whether the imported sessions train at once, without a person's approval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedFile:
    """What is known of a file once it has been PUT."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    name: Annotated[str, MinLen(1), MaxLen(MAX_NAME_CHARS)]
    sha256: str
    """Hexadecimal; the import refuses the file if it differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadCompletion:
    """The caller's word that every file has been PUT."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    options: ImportOptions = field(default_factory=ImportOptions)
    files: Annotated[tuple[CompletedFile, ...], MaxLen(MAX_FILES)] = ()
    """Checksums that were not known when the upload was announced."""


class ListSizes(Protocol):
    """Bytes of each object whose URI begins so."""

    def __call__(self, prefix: str) -> Mapping[str, int]:
        """URI -> bytes."""
        ...


class SubmitImport(Protocol):
    """``jobs.submission.submit_job``."""

    def __call__(self, session: Session, spec: ImportJobSpec, *, owner: str) -> Job:
        """Queues the job."""
        ...


def create_upload(session: Session, request: NewUpload, *, bucket: str, owner: str) -> Upload:
    """Reserves a key for each file; nothing is stored yet.

    Raises:
        InvalidRequest: a name or checksum is not usable; each is named.
    """
    _check_files(request.files)
    upload_id = new_id("upl")
    upload = Upload(
        id=upload_id,
        owner=owner,
        files=[
            {
                "name": file.name,
                "uri": f"{_prefix(bucket, upload_id)}{number}/{_key_name(file.name)}",
                "num_bytes": file.size,
                "sha256": file.sha256,
            }
            for number, file in enumerate(request.files)
        ],
    )
    session.add(upload)
    session.flush()
    session.refresh(upload)
    return upload


def find_upload(session: Session, upload_id: str, *, owner: str | None, lock: bool = False) -> Upload:
    """The upload, if this owner may see it; ``lock`` holds it until the transaction ends.

    Raises:
        NotFound: no such upload, or another owner's.
    """
    statement = select(Upload).where(Upload.id == upload_id)
    upload = session.scalar(statement.with_for_update() if lock else statement)
    if upload is None or (owner is not None and upload.owner != owner):
        raise NotFound(f"no upload {upload_id!r}", code="upload_not_found", hint="POST /v1/uploads makes one")
    return upload


def complete_upload(
    session: Session, upload_id: str, completion: UploadCompletion, *, owner: str, submit: SubmitImport
) -> Job:
    """Queues the import of the upload's files.

    Raises:
        NotFound: no such upload, or another owner's.
        Conflict: it has been completed before.
        InvalidRequest: a stated checksum cannot be that of a file of the upload; each is named.
    """
    upload = find_upload(session, upload_id, owner=owner, lock=True)
    if upload.completed_at is not None:
        raise Conflict(
            "the upload has been completed before",
            code="upload_already_complete",
            hint=f"Its import is /v1/jobs/{upload.job_id}.",
        )
    upload.files = _with_checksums(upload.files, completion.files)
    upload.options = asdict(completion.options)
    upload.completed_at = session.execute(select(func.now())).scalar_one()
    session.flush()
    job = submit(session, ImportJobSpec(kind="import", upload_id=upload.id), owner=owner)
    upload.job_id = job.id
    session.flush()
    return job


def received_files(upload: Upload, *, bucket: str, list_sizes: ListSizes) -> frozenset[str]:
    """Names of the files that lie in the store with the announced size, by listing them once.

    Raises:
        StorageUnavailable: the store did not answer.
    """
    stored = list_sizes(_prefix(bucket, upload.id))
    return frozenset(file["name"] for file in upload.files if stored.get(file["uri"]) == file["num_bytes"])


def _prefix(bucket: str, upload_id: str) -> str:
    return f"s3://{bucket}/uploads/{upload_id}/"


def _with_checksums(files: Sequence[JsonObject], stated: Sequence[CompletedFile]) -> list[JsonObject]:
    problems = tuple(_checksum_problems({file["name"]: file["sha256"] for file in files}, stated))
    if problems:
        raise InvalidRequest("some checksums cannot be right", problems=problems[:100])
    checksums = {file.name: file.sha256 for file in stated}
    return [{**file, "sha256": checksums.get(file["name"], file["sha256"])} for file in files]


def _checksum_problems(
    announced: Mapping[str, str | None], stated: Sequence[CompletedFile]
) -> Iterator[FieldProblem]:
    counts = Counter(file.name for file in stated)
    for number, file in enumerate(stated):
        if file.name not in announced:
            yield FieldProblem(pointer=f"/files/{number}/name", detail="is no file of this upload")
        elif counts[file.name] > 1:
            yield FieldProblem(pointer=f"/files/{number}/name", detail="use each name once")
        if not _SHA256.fullmatch(file.sha256):
            yield FieldProblem(pointer=f"/files/{number}/sha256", detail=_SHA256_DETAIL)
        elif announced.get(file.name) not in (None, file.sha256):
            detail = f"{announced[file.name]} was announced"
            yield FieldProblem(pointer=f"/files/{number}/sha256", detail=detail)


def _key_name(name: str) -> str:
    return _UNSAFE_IN_KEY.sub("_", PurePosixPath(name).name)[-_KEY_NAME_CHARS:]


def _check_files(files: Sequence[UploadFile]) -> None:
    problems = tuple(_problems(files))
    if problems:
        raise InvalidRequest("some files cannot be uploaded as described", problems=problems[:100])


def _problems(files: Sequence[UploadFile]) -> Iterator[FieldProblem]:
    counts = Counter(file.name for file in files)
    for number, file in enumerate(files):
        if not _is_plain_path(file.name):
            detail = "use a relative path with '/' between its parts, without '.' and '..'"
            yield FieldProblem(pointer=f"/files/{number}/name", detail=detail)
        elif counts[file.name] > 1:
            yield FieldProblem(pointer=f"/files/{number}/name", detail="use each name once")
        if file.sha256 is not None and not _SHA256.fullmatch(file.sha256):
            yield FieldProblem(pointer=f"/files/{number}/sha256", detail=_SHA256_DETAIL)


def _is_plain_path(name: str) -> bool:
    parts = name.split("/")
    return name.isprintable() and "\\" not in name and not {"", ".", ".."} & set(parts)
