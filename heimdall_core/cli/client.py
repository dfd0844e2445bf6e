"""The API over HTTP, in the words of the command line."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from heimdall_core.cli.errors import RequestRefused, ServerUnknown, ServerUnreachable
from heimdall_core.embedded.home import Home, default_home

Json = dict[str, Any]

_LOCAL = {"127.0.0.1", "localhost", "::1"}
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
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
        timeout: httpx.Timeout = _TIMEOUT,
    ) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=timeout,
            trust_env=not is_local(url),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **parameters: object) -> Json:
        """Reads one thing."""
        return self._json(self._request("GET", path, parameters=parameters))

    def get_text(self, path: str, **parameters: object) -> str:
        """Reads text, such as a log."""
        return self._request("GET", path, parameters=parameters).text

    @contextmanager
    def stream(self, path: str, *, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """An answer whose body is read piece by piece; a broken one raises ``httpx.HTTPError``."""
        with self._http.stream("GET", path, headers=dict(headers)) as answer:
            if answer.is_error:
                answer.read()
                raise refusal(answer)
            yield answer

    def post(self, path: str, body: Mapping[str, object] | None = None, *, key: str | None = None) -> Json:
        """Creates or changes something; ``key`` is its ``Idempotency-Key``."""
        headers = {} if key is None else {"Idempotency-Key": f'"{key}"'}
        return self._json(self._request("POST", path, body=body, headers=headers))

    def patch(self, path: str, body: Mapping[str, object]) -> Json:
        """Changes something."""
        return self._json(self._request("PATCH", path, body=body))

    def pages(self, path: str, *, limit: int | None = None, **parameters: object) -> Iterator[Json]:
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

    def _request(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        given = {name: str(value) for name, value in (parameters or {}).items() if value is not None}
        try:
            answer = self._http.request(method, path, params=given, json=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServerUnreachable(
                f"no answer from {self.url}: {error or type(error).__name__}",
                hint="`heimdall status` shows a local service, `heimdall up` starts one",
            ) from error
        if answer.is_error:
            raise refusal(answer)
        return answer

    @staticmethod
    def _json(answer: httpx.Response) -> Json:
        value = answer.json() if answer.content else {}
        assert isinstance(value, dict)
        return value


def path_of(collection: str, *parts: object) -> str:
    """``/v1/<collection>/<part>...`` with each part quoted, whatever a person typed."""
    return "/".join(["/v1", collection, *(quote(str(part), safe="") for part in parts)])


def is_local(url: str) -> bool:
    """Whether the address is this machine's, which no proxy reaches."""
    return urlsplit(url).hostname in _LOCAL


def refusal(answer: httpx.Response) -> RequestRefused:
    """A problem document (RFC 9457) as an error in one readable line."""
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    message = str(problem.get("detail") or problem.get("title") or f"HTTP {answer.status_code}")
    fields = [
        f"{e.get('pointer', '')} {e.get('detail', '')}".strip()
        for e in problem.get("errors") or ()
        if str(e.get("detail")) not in message  # one wrong field is all that the detail tells
    ]
    code = problem.get("code")
    return RequestRefused(
        "; ".join([message, *fields]),
        status=answer.status_code,
        code=code if isinstance(code, str) else None,
        hint=problem.get("hint"),
        problem=problem,
    )


def connect(*, timeout: httpx.Timeout = _TIMEOUT) -> ApiClient:
    """The API that ``HEIMDALL_URL`` and ``HEIMDALL_API_KEY`` name, else the one that ``heimdall up`` started.

    Raises:
        ServerUnknown: neither is there.
    """
    url, key = os.environ.get("HEIMDALL_URL"), os.environ.get("HEIMDALL_API_KEY")
    if url and key:
        return ApiClient(url, key, timeout=timeout)
    if url:
        raise ServerUnknown(
            "HEIMDALL_URL is set but HEIMDALL_API_KEY is not",
            hint="set HEIMDALL_API_KEY to a key of that service",
        )
    return connect_local(Home(default_home()), timeout=timeout)


def connect_local(home: Home, *, timeout: httpx.Timeout = _TIMEOUT) -> ApiClient:
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
    return ApiClient(state.url, home.api_key(), timeout=timeout)
