"""Where a run's manifest, its recordings and published weights are found for ``heimdall replay``."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from heimdall_core.cli.client import ApiClient, Json, connect, path_of
from heimdall_core.cli.models_commands import download_checked, find_version
from heimdall_core.domain.errors import DataError, InvalidRequest, NotFound

if TYPE_CHECKING:
    from heimdall_core.domain.ports import ObjectStore

MANIFEST = "manifest.json"
_DATASET_BESIDE = "dataset.json"
_JOB_ID = re.compile(r"job_[a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundManifest:
    """The text of a run's manifest, and where it was found."""

    data: bytes
    name: str
    beside: Path | None = None
    """The folder of a file."""


def find_manifest(named: str, *, store_root: str | None = None) -> FoundManifest:
    """The manifest that a file, an ``s3://`` URI, a job or a model version names.

    Raises:
        InvalidRequest: there is no such file, or the job has no manifest.
        HeimdallError: as the API, or the store, says.
    """
    path = Path(named)
    if path.is_dir():
        path = path / MANIFEST
    if path.is_file():
        return FoundManifest(data=path.read_bytes(), name=str(path), beside=path.parent)
    if named.startswith("s3://"):
        return FoundManifest(data=_read(named, store_root), name=named)
    if path.suffix == ".json":
        raise InvalidRequest(f"no file {named}", code="manifest_not_found")
    with connect() as client:
        return _of_service(client, named)


def _read(uri: str, store_root: str | None) -> bytes:
    try:
        return find_store(store_root).get_bytes(uri)
    except NotFound as error:
        raise InvalidRequest(
            f"no object {uri}", code="manifest_not_found", hint="Give the URI of a run's manifest.json."
        ) from error


def _of_service(client: ApiClient, named: str) -> FoundManifest:
    job_id = named if _JOB_ID.fullmatch(named) else find_version(client, named)["job_id"]
    job = _training_of(client, client.get(path_of("jobs", job_id)))
    files = client.get(path_of("jobs", job["id"], "artifacts"))["data"]
    file = next((f for f in files if f["name"] == MANIFEST), None)
    if file is None:
        raise InvalidRequest(
            f"job {job['id']} has no {MANIFEST}: it is a {job['kind']} job that is {job['status']}",
            code="manifest_not_found",
            hint="Trainings have one when they have succeeded.",
        )
    with TemporaryDirectory() as folder:
        path = Path(folder) / MANIFEST
        download_checked(file["download_url"], path, sha256=file["sha256"])
        return FoundManifest(data=path.read_bytes(), name=file["uri"])


def _training_of(client: ApiClient, job: Json) -> Json:
    """The training whose weights an export took; any other job is itself."""
    while job["kind"] == "export" and job["parent_job_id"]:
        job = client.get(path_of("jobs", job["parent_job_id"]))
    return job


def find_store(store_root: str | None, beside: Path | None = None) -> "ObjectStore":
    """The store that is named, else the folder of a local run, else that of the settings or the local stack.

    Raises:
        DataError: there is none.
    """
    from heimdall_core.cli.doctor_surroundings import find_surroundings
    from heimdall_core.local.run_files import open_recordings
    from heimdall_core.storage import FolderStore, S3Store

    if store_root is not None:
        return open_recordings(store_root)
    if beside is not None and (beside / _DATASET_BESIDE).is_file():
        return FolderStore(beside)
    settings = find_surroundings(None).settings
    if settings is None:
        raise DataError(
            "no object store is named",
            code="no_store",
            hint="Give --store-root, or set HEIMDALL_STORAGE__* as the service has them.",
        )
    return S3Store(settings.storage)


def pretrained_dir() -> Path | None:
    """The folder of published weights, as a worker finds it."""
    folder = os.environ.get("HEIMDALL_WORKER__PRETRAINED_DIR")
    return Path(folder) if folder else None
