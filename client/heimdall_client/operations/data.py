"""Receivers, uploads, recording sessions and datasets."""

import builtins
from collections.abc import Iterable, Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path

from heimdall_client.calls import get, pages, patch, post
from heimdall_client.documents.data import (
    Dataset,
    DatasetPreview,
    Receiver,
    RecordingSession,
    Spectrogram,
    Upload,
)
from heimdall_client.documents.document import document, items, parse
from heimdall_client.documents.jobs import Job
from heimdall_client.exchanges import Request, parameters_of, path_of, retry_after
from heimdall_client.operations.binding import Answering, Blocking, Iterating, NonBlocking
from heimdall_client.operations.references import given
from heimdall_client.steps import Feed, Flow, Sleep, now, run, send
from heimdall_client.uploading import describe_files, find_files, send_files
from heimdall_client.waiting import POLL_SECONDS


def list_receivers() -> Flow[list[Receiver]]:
    """All receivers, by name."""
    return get("/v1/receivers", items(Receiver))


def create_receiver(
    name: str,
    *,
    latitude: float,
    longitude: float,
    altitude_m: float | None = None,
    url: str | None = None,
    idempotency_key: str | None = None,
) -> Flow[Receiver]:
    """Adds a receiver; an import adds those that its recordings name by itself."""
    body = given(name=name, latitude=latitude, longitude=longitude, altitude_m=altitude_m, url=url)
    return post("/v1/receivers", document(Receiver), body, key=idempotency_key)


def create_upload(
    files: Iterable[Mapping[str, object]], *, idempotency_key: str | None = None
) -> Flow[Upload]:
    """Asks for a presigned URL for each file, given as ``name``, ``size`` and ``sha256``."""
    body = {"files": [dict(file) for file in files]}
    return post("/v1/uploads", document(Upload), body, key=idempotency_key)


def get_upload(upload: Upload | str) -> Flow[Upload]:
    """An upload; while it is open with fresh URLs, and for each file whether it has arrived."""
    return get(path_of("uploads", _upload_id(upload)), document(Upload))


def send_upload(upload: Upload | str, paths: Iterable[Path | str]) -> Flow[Upload]:
    """Sends what the store does not have yet of an upload of these files and folders.

    Raises:
        ValueError: a file of the upload is not among these, or has changed since it was announced.
    """
    found = yield from get_upload(upload)
    files = yield from run(lambda: find_files(paths))
    yield from send_files(found, files)
    return (yield from get_upload(upload))


def complete_upload(
    upload: Upload | str,
    *,
    auto_approve: bool | None = None,
    receivers: Iterable[str] | None = None,
    idempotency_key: str | None = None,
) -> Flow[Job]:
    """Starts the import of the files that were sent.

    Args:
        upload: The upload or its id.
        auto_approve: Whether the imported sessions train at once, without a person's approval.
        receivers: Those to take from a power table; default: all.
        idempotency_key: Default: one made for this call.
    """
    options = given(
        auto_approve=auto_approve, receivers=None if receivers is None else builtins.list(receivers)
    )
    path = path_of("uploads", _upload_id(upload)) + ":complete"
    return post(path, document(Job), {"options": options}, key=idempotency_key)


def upload_recordings(
    paths: Iterable[Path | str],
    *,
    auto_approve: bool | None = None,
    receivers: Iterable[str] | None = None,
) -> Flow[Job]:
    """Uploads files and folders of recordings and starts their import; the job's result is its report.

    Raises:
        FileNotFoundError: a path does not exist.
        ValueError: there is no file, or two have one name.
    """
    files = yield from run(lambda: find_files(paths))
    upload = yield from create_upload((yield from describe_files(files)))
    yield from send_files(upload, files)
    return (yield from complete_upload(upload, auto_approve=auto_approve, receivers=receivers))


def list_sessions(
    *,
    approval_status: str | None = None,
    import_job_id: str | None = None,
    source: str | None = None,
    started_after: datetime | None = None,
    started_before: datetime | None = None,
    flag: str | None = None,
    limit: int | None = None,
) -> Feed[RecordingSession]:
    """Recording sessions, newest first."""
    wanted = {
        "approval_status": approval_status,
        "import_job_id": import_job_id,
        "source": source,
        "started_after": started_after,
        "started_before": started_before,
        "flag": flag,
    }
    return pages("/v1/recording-sessions", RecordingSession, wanted, limit=limit)


def get_session(session_id: str) -> Flow[RecordingSession]:
    """One session with its recordings."""
    return get(path_of("recording-sessions", session_id), document(RecordingSession))


def get_spectrogram(session_id: str, *, segment: int = 0, timeout: float = 60.0) -> Flow[Spectrogram]:
    """A segment of a session as the network sees it; waits while a worker makes it.

    Args:
        session_id: The session.
        segment: From 0; a long session has several.
        timeout: Seconds.

    Raises:
        TimeoutError: it has not been made in time.
    """
    path = path_of("recording-sessions", session_id, "spectrogram")
    request = Request(method="GET", path=path, parameters=parameters_of({"segment": segment}))
    started = yield from now()
    while (answer := (yield from send(request))).status == HTTPStatus.ACCEPTED:
        left = timeout - ((yield from now()) - started)
        if left <= 0:
            raise TimeoutError(f"the spectrogram of session {session_id} was not made in {timeout:g} s")
        yield Sleep(min(retry_after(answer) or POLL_SECONDS, left))
    return parse(Spectrogram, answer.json())


def set_approval(session_id: str, approval_status: str) -> Flow[RecordingSession]:
    """Approves or rejects a session; dataset versions frozen before keep what they have."""
    path = path_of("recording-sessions", session_id)
    return patch(path, document(RecordingSession), {"approval_status": approval_status})


def approve_sessions(*, import_job: Job | str | None = None, ids: Iterable[str] | None = None) -> Flow[int]:
    """Approves the pending sessions of an import, or those of these ids; how many were not before."""
    body = _named(import_job, ids)
    return post("/v1/recording-sessions:approve", lambda answer: int(answer.json()["approved"]), body)


def reject_sessions(*, import_job: Job | str | None = None, ids: Iterable[str] | None = None) -> Flow[int]:
    """Rejects the pending sessions of an import, or those of these ids; how many were not before."""
    body = _named(import_job, ids)
    return post("/v1/recording-sessions:reject", lambda answer: int(answer.json()["rejected"]), body)


def _named(import_job: Job | str | None, ids: Iterable[str] | None) -> dict[str, object]:
    return given(
        import_job_id=import_job.id if isinstance(import_job, Job) else import_job,
        ids=None if ids is None else builtins.list(ids),
    )


def import_platform_sessions(
    request: Mapping[str, object], *, idempotency_key: str | None = None
) -> Flow[Job]:
    """Takes over sessions that the Heimdall platform recorded; the body of ``recording-sessions:import``."""
    return post("/v1/recording-sessions:import", document(Job), request, key=idempotency_key)


def list_datasets(*, limit: int | None = None) -> Feed[Dataset]:
    """The newest version of each dataset."""
    return pages("/v1/datasets", Dataset, limit=limit)


def get_dataset(name: str, version: int | None = None) -> Flow[Dataset]:
    """One version of a dataset; default: the newest."""
    parts = ("datasets", name) if version is None else ("datasets", name, "versions", version)
    return get(path_of(*parts), document(Dataset))


def list_dataset_versions(name: str) -> Flow[list[Dataset]]:
    """Every version of a dataset, newest first."""
    return get(path_of("datasets", name, "versions"), items(Dataset))


def create_dataset(
    name: str,
    *,
    query: Mapping[str, object] | None = None,
    split: Mapping[str, object] | None = None,
    idempotency_key: str | None = None,
) -> Flow[Dataset]:
    """Freezes the approved sessions of the query into the next version of the dataset."""
    body = given(name=name, query=query, split=split)
    return post("/v1/datasets", document(Dataset), body, key=idempotency_key)


def preview_dataset(
    name: str, *, query: Mapping[str, object] | None = None, split: Mapping[str, object] | None = None
) -> Flow[DatasetPreview]:
    """What freezing would make now, in numbers, and what would make it fail; writes nothing."""
    return post("/v1/datasets:preview", document(DatasetPreview), given(name=name, query=query, split=split))


def _upload_id(upload: Upload | str) -> str:
    return upload if isinstance(upload, str) else upload.id


class ReceiverOperations:
    """Every call about receivers."""

    list = Answering(list_receivers)
    create = Answering(create_receiver)


class UploadOperations:
    """Every call about uploads."""

    create = Answering(create_upload)
    get = Answering(get_upload)
    send = Answering(send_upload)
    complete = Answering(complete_upload)


class RecordingOperations:
    """Every call about recording sessions."""

    upload = Answering(upload_recordings)
    list = Iterating(list_sessions)
    get = Answering(get_session)
    spectrogram = Answering(get_spectrogram)
    set_approval = Answering(set_approval)
    approve = Answering(approve_sessions)
    reject = Answering(reject_sessions)
    import_platform = Answering(import_platform_sessions)


class DatasetOperations:
    """Every call about datasets."""

    list = Iterating(list_datasets)
    get = Answering(get_dataset)
    versions = Answering(list_dataset_versions)
    create = Answering(create_dataset)
    preview = Answering(preview_dataset)


class Receivers(ReceiverOperations, Blocking):
    """Receivers, blocking."""


class AsyncReceivers(ReceiverOperations, NonBlocking):
    """Receivers, to be awaited."""


class Uploads(UploadOperations, Blocking):
    """Uploads, blocking."""


class AsyncUploads(UploadOperations, NonBlocking):
    """Uploads, to be awaited."""


class Recordings(RecordingOperations, Blocking):
    """Recording sessions, blocking."""


class AsyncRecordings(RecordingOperations, NonBlocking):
    """Recording sessions, to be awaited."""


class Datasets(DatasetOperations, Blocking):
    """Datasets, blocking."""


class AsyncDatasets(DatasetOperations, NonBlocking):
    """Datasets, to be awaited."""
