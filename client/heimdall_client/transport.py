"""What both shells make of requests and answers before and after httpx."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

import httpx

from heimdall_client.configuration import CONNECT_SECONDS, Configuration
from heimdall_client.errors import Unreachable
from heimdall_client.exchanges import Answer, Request

FILE_PIECE_BYTES: Final = 1 << 18
LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=20)
_REFUSED: Final = 300
#: Raised before the first byte of a request has left.
_BEFORE_SENDING: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Makes httpx's errors those of this package.

    Raises:
        Unreachable: there was no answer, or none that HTTP knows.
    """
    try:
        yield
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
        # The host alone: a presigned URL's query is a secret.
        place = "/".join(url.split("/")[:3])
        raise Unreachable(
            f"no answer from {place}: {error or type(error).__name__}",
            was_sent=not isinstance(error, _BEFORE_SENDING),
        ) from error


def timeout_of(configuration: Configuration) -> httpx.Timeout:
    """How long each part of an exchange may take."""
    seconds = configuration.timeout_seconds
    return httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))


def prepare(
    http: httpx.Client | httpx.AsyncClient,
    configuration: Configuration,
    request: Request,
    *,
    pieces: Iterator[bytes] | AsyncIterator[bytes] | None = None,
    silence_seconds: float | None = None,
) -> httpx.Request:
    """The request as httpx sends it, with address and key."""
    headers = configuration.headers_of(request)
    if request.file is not None:
        # With its length: object stores take no chunks.
        headers["Content-Length"] = str(request.file.stat().st_size)
    timeout = timeout_of(configuration).as_dict()
    if silence_seconds is not None:
        timeout["read"] = silence_seconds
    return http.build_request(
        request.method,
        configuration.url_of(request),
        params=list(request.parameters) or None,
        headers=headers,
        json=request.body,
        content=pieces,
        extensions={"timeout": timeout},
    )


def is_refused(response: httpx.Response) -> bool:
    """Whether the body is no stream but says why there is none."""
    return response.status_code >= _REFUSED


def answer_of(response: httpx.Response, content: bytes) -> Answer:
    """An answer of this package."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status=response.status_code, headers=headers, content=content)
