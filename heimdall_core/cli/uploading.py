"""Files on their way into the service: presigned PUTs in parallel, then the import job."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import httpx

from heimdall_core.cli.client import ApiClient, Json, is_local
from heimdall_core.cli.errors import RequestRefused, ServerUnreachable
from heimdall_core.domain.errors import InvalidRequest

NUM_CONNECTIONS = 8
NUM_TRIES = 3
PAUSE_SECONDS = 0.5
_TIMEOUT = httpx.Timeout(120.0, connect=10.0)

#: What an import understands, by the end of the name.
SUFFIXES = (".sigmf", ".sigmf-meta", ".sigmf-data", ".sigmf-collection")


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


def find_files(paths: Sequence[Path]) -> list[LocalFile]:
    """The recordings in files and folders, folders searched through, in order of their names.

    Raises:
        InvalidRequest: a path does not exist, or there is no recording in any.
    """
    found: list[LocalFile] = []
    for path in paths:
        if not path.exists():
            raise InvalidRequest(f"{path} does not exist")
        inside = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES) if path.is_dir() else [path]
        root = path if path.is_dir() else path.parent
        found += [LocalFile(name=p.relative_to(root).as_posix(), path=p) for p in inside]
    if not found:
        raise InvalidRequest(
            "no recording found", hint=f"an import takes files that end in {', '.join(SUFFIXES)}"
        )
    return found


def import_files(
    client: ApiClient,
    files: Sequence[LocalFile],
    *,
    options: Mapping[str, object],
    on_file: Callable[[], None] = lambda: None,
    transport: httpx.BaseTransport | None = None,
) -> Json:
    """Uploads the files and starts the job that reads, validates and catalogues them; returns the job.

    Raises:
        ServerUnreachable: the object store does not answer, after some tries.
    """
    upload = client.post("/v1/uploads", {"files": [file.describe() for file in files]})
    paths = {file.name: file.path for file in files}
    direct = all(is_local(target["url"]) for target in upload["files"])
    with (
        httpx.Client(timeout=_TIMEOUT, trust_env=not direct, transport=transport) as storage,
        ThreadPoolExecutor(NUM_CONNECTIONS) as pool,
    ):
        puts = [pool.submit(_put, storage, target, paths[target["name"]]) for target in upload["files"]]
        try:
            for put in as_completed(puts):
                put.result()
                on_file()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return client.post(f"/v1/uploads/{upload['id']}:complete", {"options": dict(options)})


def _put(storage: httpx.Client, target: Json, path: Path) -> None:
    """Sends one file, whole, to its presigned URL."""
    content = path.read_bytes()
    for left in reversed(range(NUM_TRIES)):
        try:
            answer = storage.put(target["url"], content=content, headers=target.get("headers") or {})
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
