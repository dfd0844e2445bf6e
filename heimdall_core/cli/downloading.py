"""Downloads that go on where they broke off, and are checked against their SHA-256."""

from pathlib import Path

from heimdall_core.cli.client import ApiClient, Json
from heimdall_core.cli.errors import RequestRefused
from heimdall_core.domain.errors import DataError, InvalidRequest


def download_file(client: ApiClient, file: Json, folder: Path) -> Path:
    """A job's file in ``folder``, whole and as its SHA-256 says; one that is there already stays.

    What was downloaded before the connection broke is kept beside it, and the next call goes on from there.

    Raises:
        DataError: the bytes are not those that the service registered (``object_changed``).
        InvalidRequest: the folder cannot be written.
        RequestRefused, ServerUnreachable: as the service says, or does not.
    """
    from heimdall_client import DamagedDownload, RemoteFile

    remote = RemoteFile(
        name=file["name"], url=file["content_url"], sha256=file["sha256"], num_bytes=file["bytes"]
    )
    try:
        return client.download(remote, folder)
    except OSError as error:
        target = folder / Path(remote.name).name
        raise InvalidRequest(f"cannot write {target}: {error.strerror}", code="output_unwritable") from error
    except RequestRefused as error:
        if isinstance(error.__cause__, DamagedDownload):
            raise DataError(error.message, code="object_changed", hint=error.hint) from error
        raise
