"""An upload that broke, continued: what the store has is not sent again."""

from collections.abc import Callable, Mapping, Sequence

import httpx

from heimdall_core.cli.client import ApiClient, Json, path_of
from heimdall_core.cli.uploading import LocalFile, complete_upload, send_files
from heimdall_core.domain.errors import InvalidRequest


def resume_upload(
    client: ApiClient,
    upload_id: str,
    files: Sequence[LocalFile],
    *,
    options: Mapping[str, object],
    on_start: Callable[[str], None] = lambda _: None,
    on_file: Callable[[], None] = lambda: None,
    transport: httpx.BaseTransport | None = None,
) -> Json:
    """Sends what is missing and starts the import; returns its job, also if it was started before.

    ``on_file`` is told of every file of the upload, also of those that had arrived.

    Raises:
        InvalidRequest: the files are not those of the upload.
        ServerUnreachable: the object store does not answer, after some tries.
    """
    upload = client.get(path_of("uploads", upload_id))
    if upload["job_id"]:
        return client.get(path_of("jobs", upload["job_id"]))
    local = {file.name: file for file in files}
    _check_announced(local, upload)
    missing = [target for target in upload["files"] if not target["received"]]
    for target in missing:
        _check_unchanged(local.get(target["name"]), target)
    on_start(upload_id)
    for _ in range(len(upload["files"]) - len(missing)):
        on_file()
    send_files(missing, files, on_file=on_file, transport=transport)
    return complete_upload(client, upload_id, options)


def _check_announced(local: Mapping[str, LocalFile], upload: Json) -> None:
    strange = sorted(local.keys() - {target["name"] for target in upload["files"]})
    if strange:
        raise InvalidRequest(
            f"{len(strange)} files are not part of upload {upload['id']}, such as {strange[0]}",
            hint="Give the same paths as before; import other files without --resume.",
        )


def _check_unchanged(file: LocalFile | None, target: Json) -> None:
    """A file that has yet to be sent must be the one that was announced."""
    if file is None:
        raise InvalidRequest(
            f"{target['name']} has yet to be sent and is not in these paths",
            hint="Give the same paths as before.",
        )
    described = file.describe()
    if described["size"] != target["size"] or target["sha256"] not in (None, described["sha256"]):
        raise InvalidRequest(
            f"{file.path} has changed since the upload began",
            hint="Import it anew, without --resume.",
        )
