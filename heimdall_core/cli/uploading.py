"""Files on their way into the service: presigned PUTs in parallel, then the import job."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import httpx

from heimdall_core.cli.client import ApiClient, Json, is_local, path_of
from heimdall_core.cli.errors import RequestRefused, ServerUnreachable
from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.recordings.files import COMPRESSED, IMPORTED_NAMES, IMPORTED_SUFFIXES

NUM_CONNECTIONS = 8
NUM_TRIES = 3
PAUSE_SECONDS = 0.5
_TIMEOUT = httpx.Timeout(120.0, connect=10.0)

_KNOWN = (
    f"an import takes files that end in {', '.join(IMPORTED_SUFFIXES)}, "
    f"and those named {', '.join(IMPORTED_NAMES)}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A file to upload, under the name that the service shall know it by."""

    name: str
    path: Path

    def describe(self) -> Json:
        """Its entry in the request for presigned URLs."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"name": self.name, "size": self.path.stat().st_size, "sha256": digest}


def find_files(
    paths: Sequence[Path], *, on_ignored: Callable[[int], None] = lambda _: None
) -> list[LocalFile]:
    """The recordings in files and folders, folders searched through, in order of their names.

    ``on_ignored`` is told how many files in the folders are no recordings, if there are any.

    Raises:
        InvalidRequest: a path does not exist or is no recording, or there is no recording in any.
    """
    found: list[LocalFile] = []
    num_ignored = 0
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file())
            known = [p for p in inside if _is_understood(p)]
            num_ignored += len(inside) - len(known)
        else:
            _check_understood(path)
            known = [path]
        root = path if path.is_dir() else path.parent
        found += [LocalFile(name=p.relative_to(root).as_posix(), path=p) for p in known]
    if not found:
        ignored = f" ({num_ignored} other files)" if num_ignored else ""
        raise InvalidRequest(f"no recording found{ignored}", hint=_KNOWN)
    if num_ignored:
        on_ignored(num_ignored)
    return found


def _is_understood(path: Path) -> bool:
    return path.suffix in IMPORTED_SUFFIXES or path.name in IMPORTED_NAMES


def _check_understood(path: Path) -> None:
    if not path.exists():
        raise InvalidRequest(f"{path} does not exist")
    if path.name.lower().endswith(COMPRESSED):
        raise InvalidRequest(f"{path} is compressed", hint=f"unpack it first; {_KNOWN}")
    if not _is_understood(path):
        raise InvalidRequest(f"{path} is no recording that can be imported", hint=_KNOWN)


def import_files(
    client: ApiClient,
    files: Sequence[LocalFile],
    *,
    options: Mapping[str, object],
    on_start: Callable[[str], None] = lambda _: None,
    on_file: Callable[[], None] = lambda: None,
    transport: httpx.BaseTransport | None = None,
) -> Json:
    """Uploads the files and starts the job that reads, validates and catalogues them; returns the job.

    ``on_start`` is told the id of the upload before the first file goes out.

    Raises:
        ServerUnreachable: the object store does not answer, after some tries.
    """
    upload = client.post("/v1/uploads", {"files": [file.describe() for file in files]})
    on_start(upload["id"])
    send_files(upload["files"], files, on_file=on_file, transport=transport)
    return complete_upload(client, upload["id"], options)


def complete_upload(client: ApiClient, upload_id: str, options: Mapping[str, object]) -> Json:
    """Starts the import of what has been sent; returns the job."""
    return client.post(path_of("uploads", upload_id) + ":complete", {"options": dict(options)})


def send_files(
    targets: Sequence[Json],
    files: Sequence[LocalFile],
    *,
    on_file: Callable[[], None] = lambda: None,
    transport: httpx.BaseTransport | None = None,
) -> None:
    """PUTs the file of each target, several at a time.

    Raises:
        ServerUnreachable: the object store does not answer, after some tries.
    """
    paths = {file.name: file.path for file in files}
    direct = all(is_local(target["url"]) for target in targets)
    with (
        httpx.Client(timeout=_TIMEOUT, trust_env=not direct, transport=transport) as storage,
        ThreadPoolExecutor(NUM_CONNECTIONS) as pool,
    ):
        puts = [pool.submit(_put, storage, target, paths[target["name"]]) for target in targets]
        try:
            for put in as_completed(puts):
                put.result()
                on_file()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _put(storage: httpx.Client, target: Json, path: Path) -> None:
    """Sends one file to its presigned URL, a piece at a time: with its length, for S3 takes no chunks."""
    headers = {**(target.get("headers") or {}), "Content-Length": str(path.stat().st_size)}
    for left in reversed(range(NUM_TRIES)):
        try:
            with path.open("rb") as file:
                answer = storage.put(target["url"], content=file, headers=headers)
        except httpx.TransportError as error:
            problem: Exception = error
        else:
            if answer.is_success:
                return
            problem = RequestRefused(
                f"HTTP {answer.status_code}: {answer.text[:200]}", status=answer.status_code
            )
            if answer.is_client_error:
                break
        if left:
            time.sleep(PAUSE_SECONDS)
    raise ServerUnreachable(f"the object store did not take {path.name}: {problem}") from problem
