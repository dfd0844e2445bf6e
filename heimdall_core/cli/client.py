"""The API over HTTP, in the words of the command line: `heimdall_client` with JSON in and out."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote, urlsplit

import httpx

from heimdall_core.cli.errors import RequestRefused, ServerUnknown, ServerUnreachable
from heimdall_core.embedded.home import Home, default_home

if TYPE_CHECKING:
    # Late, where it is used: it loads pydantic, which not every command needs.
    from heimdall_client import Answer, RemoteFile
    from heimdall_client import HeimdallError as ClientError

Json = dict[str, Any]

_LOCAL = {"127.0.0.1", "localhost", "::1"}
_TIMEOUT_SECONDS: Final = 30.0
_NUM_TRIES: Final = 3
_PAGE_SIZE = 100


class ApiClient:
    """One API, called with one key; a context manager.

    Raises, from every call:
        RequestRefused: the API answered with a problem.
        ServerUnreachable: it did not answer.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        transport: httpx.BaseTransport | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        num_tries: int = _NUM_TRIES,
    ) -> None:
        from heimdall_client import HeimdallClient, NotConfigured, RetryPolicy

        # Somebody waits at a terminal: where nobody listens, that is said at once.
        retry = RetryPolicy(
            max_tries=num_tries, max_connects=1, max_pause_seconds=5.0, max_retry_after_seconds=10.0
        )
        try:
            self.service = HeimdallClient(
                url, api_key, transport=transport, timeout_seconds=timeout_seconds, retry=retry
            )
        except NotConfigured as error:
            raise ServerUnknown(error.detail, hint=error.hint) from error
        self.url = self.service.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.service.close()

    def get(self, path: str, **parameters: Any) -> Json:
        """Reads one thing."""
        return self._send("GET", path, parameters=parameters)

    def post(self, path: str, body: Mapping[str, object] | None = None, *, key: str | None = None) -> Json:
        """Creates or changes something, once; ``key`` is its ``Idempotency-Key``, else one is made."""
        from heimdall_client.exchanges import keyed

        return self._send("POST", path, body=body, headers=keyed(key))

    def patch(self, path: str, body: Mapping[str, object]) -> Json:
        """Changes something."""
        return self._send("PATCH", path, body=body)

    def delete(self, path: str) -> Json:
        """Ends something."""
        return self._send("DELETE", path)

    def pages(self, path: str, *, limit: int | None = None, **parameters: Any) -> Iterator[Json]:
        """Every item of a collection, page by page, or the first ``limit``."""
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            page_size = _PAGE_SIZE if left is None else min(left, _PAGE_SIZE)
            page = self.get(path, **parameters, limit=page_size, cursor=cursor)
            yield from page["data"]
            left = None if left is None else left - len(page["data"])
            cursor = page.get("next_cursor")
            if not cursor:
                return

    def download(self, file: "RemoteFile", folder: Path) -> Path:
        """A file in the folder, whole and as its SHA-256 says."""
        with translated():
            return self.service.download(file, folder)

    def _send(self, method: str, path: str, **parts: Any) -> Json:
        with translated():
            return self.ask(method, path, **parts).json()

    def ask(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> "Answer":
        """The whole answer, with its headers."""
        from heimdall_client import Request
        from heimdall_client.exchanges import parameters_of

        request = Request(
            method=method,
            path=path,
            parameters=parameters_of(parameters or {}),
            body=None if body is None else dict(body),
            headers=headers or {},
        )
        with translated():
            return self.service.request(request)


class Polled:
    """Something that is read again and again: while it is unchanged, an answer costs a 304."""

    def __init__(self, client: ApiClient, path: str) -> None:
        self.thing: Json = {}
        self.num_unchanged = 0
        """Reads since the last change."""
        self._client, self._path = client, path
        self._etag: str | None = None

    def get(self) -> Json:
        """The thing as it is now."""
        answer = self._client.ask("GET", self._path, headers=self._condition())
        if answer.status == httpx.codes.NOT_MODIFIED:
            self.num_unchanged += 1
            return self.thing
        self.thing, self._etag, self.num_unchanged = answer.json(), answer.headers.get("etag"), 0
        return self.thing

    def _condition(self) -> dict[str, str]:
        return {} if self._etag is None else {"If-None-Match": self._etag}


def path_of(collection: str, *parts: object) -> str:
    """``/v1/<collection>/<part>...`` with each part quoted, whatever a person typed."""
    return "/".join(["/v1", collection, *(quote(str(part), safe="") for part in parts)])


def is_local(url: str) -> bool:
    """Whether the address is this machine's, which no proxy reaches."""
    return urlsplit(url).hostname in _LOCAL


@contextmanager
def translated() -> Iterator[None]:
    """Makes the client's errors those of the command line.

    Raises:
        RequestRefused: the API answered with a problem.
        ServerUnreachable: it did not answer.
    """
    from heimdall_client import HeimdallError, Unreachable

    try:
        yield
    except Unreachable as error:
        hint = error.hint or "`heimdall status` shows a local service, `heimdall up` starts one"
        raise ServerUnreachable(str(error), hint=hint) from error
    except HeimdallError as error:
        raise _refusal(error) from error


def _refusal(error: "ClientError") -> RequestRefused:
    code = error.problem.get("code")
    return RequestRefused(
        str(error),
        status=error.status or 0,
        code=code if isinstance(code, str) else None,
        hint=error.hint,
        problem=error.problem,
    )


def connect(*, timeout_seconds: float = _TIMEOUT_SECONDS, num_tries: int = _NUM_TRIES) -> ApiClient:
    """The API that ``HEIMDALL_URL`` and ``HEIMDALL_API_KEY`` name, else the one that ``heimdall up`` started.

    Raises:
        ServerUnknown: neither is there.
    """
    url, key = os.environ.get("HEIMDALL_URL"), os.environ.get("HEIMDALL_API_KEY")
    if url and key:
        return ApiClient(url, key, timeout_seconds=timeout_seconds, num_tries=num_tries)
    if url:
        raise ServerUnknown(
            "HEIMDALL_URL is set but HEIMDALL_API_KEY is not",
            hint="set HEIMDALL_API_KEY to a key of that service",
        )
    return connect_local(Home(default_home()), timeout_seconds=timeout_seconds, num_tries=num_tries)


def connect_local(
    home: Home, *, timeout_seconds: float = _TIMEOUT_SECONDS, num_tries: int = _NUM_TRIES
) -> ApiClient:
    """The API of a running local stack.

    Raises:
        ServerUnknown: none runs in this state directory.
    """
    state = home.read_state()
    if state.url is None or not state.is_running:
        raise ServerUnknown(
            f"no Heimdall runs in {home.root}",
            hint="`heimdall up` starts one; HEIMDALL_URL and HEIMDALL_API_KEY name another",
        )
    return ApiClient(state.url, home.api_key(), timeout_seconds=timeout_seconds, num_tries=num_tries)
