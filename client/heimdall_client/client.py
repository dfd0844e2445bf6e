"""The two clients: the same calls, blocking or to be awaited."""

from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from heimdall_client.blocking import BlockingShell
from heimdall_client.configuration import configure
from heimdall_client.documents.jobs import Artifact
from heimdall_client.downloading import RemoteFile, download
from heimdall_client.exchanges import Answer, Request
from heimdall_client.nonblocking import AsyncShell
from heimdall_client.operations.access import ApiKeys, AsyncApiKeys, list_audit_entries, read_caller
from heimdall_client.operations.binding import Answering, Blocking, Iterating, NonBlocking
from heimdall_client.operations.data import (
    AsyncDatasets,
    AsyncReceivers,
    AsyncRecordings,
    AsyncUploads,
    Datasets,
    Receivers,
    Recordings,
    Uploads,
)
from heimdall_client.operations.fleet import (
    AsyncEvents,
    AsyncWorkers,
    Events,
    Workers,
    read_queue,
    read_readiness,
)
from heimdall_client.operations.jobs import AsyncJobs, Jobs, remote_file
from heimdall_client.operations.models import AsyncModels, Models
from heimdall_client.operations.schedules import AsyncSchedules, Schedules
from heimdall_client.operations.webhooks import AsyncWebhooks, Webhooks
from heimdall_client.retrying import RetryPolicy
from heimdall_client.steps import Flow, send


def send_request(request: Request) -> Flow[Answer]:
    """Sends any request, for what this client has no method for."""
    return send(request)


def download_file(file: Artifact | RemoteFile, to: Path | str = ".") -> Flow[Path]:
    """A file that is known already, in the folder ``to``, whole and as its SHA-256 says.

    Raises:
        DamagedDownload: the bytes are not those that the service registered.
    """
    return download(file if isinstance(file, RemoteFile) else remote_file(file), Path(to))


class _ServiceOperations:
    """Calls about the service as a whole."""

    queue = Answering(read_queue)
    readiness = Answering(read_readiness)
    whoami = Answering(read_caller)
    audit = Iterating(list_audit_entries)
    request = Answering(send_request)
    download = Answering(download_file)


class HeimdallClient(_ServiceOperations, Blocking):
    """The service, blocking; a context manager. Threads may share one.

    Args:
        url: Address of the service; default: ``HEIMDALL_URL``.
        api_key: ``hmd_...``; default: ``HEIMDALL_API_KEY``.
        timeout_seconds: How long an answer, or the next piece of it, may take.
        retry: When a request is sent again.
        transport: What carries requests, for tests.

    Raises:
        NotConfigured: neither the argument nor the environment names address and key.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_seconds: float = 30.0,
        retry: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        configuration = configure(url, api_key, timeout_seconds=timeout_seconds, retry=retry)
        super().__init__(BlockingShell(configuration, transport=transport))
        self.url = configuration.url
        self.jobs = Jobs(self._shell)
        self.models = Models(self._shell)
        self.datasets = Datasets(self._shell)
        self.recordings = Recordings(self._shell)
        self.receivers = Receivers(self._shell)
        self.uploads = Uploads(self._shell)
        self.workers = Workers(self._shell)
        self.events = Events(self._shell)
        self.api_keys = ApiKeys(self._shell)
        self.webhooks = Webhooks(self._shell)
        self.schedules = Schedules(self._shell)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._shell.close()


class AsyncHeimdallClient(_ServiceOperations, NonBlocking):
    """The service, to be awaited; an asynchronous context manager. Tasks of one event loop may share one.

    Arguments and errors are those of ``HeimdallClient``.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_seconds: float = 30.0,
        retry: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        configuration = configure(url, api_key, timeout_seconds=timeout_seconds, retry=retry)
        super().__init__(AsyncShell(configuration, transport=transport))
        self.url = configuration.url
        self.jobs = AsyncJobs(self._shell)
        self.models = AsyncModels(self._shell)
        self.datasets = AsyncDatasets(self._shell)
        self.recordings = AsyncRecordings(self._shell)
        self.receivers = AsyncReceivers(self._shell)
        self.uploads = AsyncUploads(self._shell)
        self.workers = AsyncWorkers(self._shell)
        self.events = AsyncEvents(self._shell)
        self.api_keys = AsyncApiKeys(self._shell)
        self.webhooks = AsyncWebhooks(self._shell)
        self.schedules = AsyncSchedules(self._shell)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._shell.close()
