"""Where the service is and who calls: by argument, else by the environment."""

import os
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Final
from urllib.parse import urlsplit

from heimdall_client.errors import NotConfigured
from heimdall_client.exchanges import Request, checked_url
from heimdall_client.retrying import RetryPolicy

URL_VARIABLE: Final = "HEIMDALL_URL"
KEY_VARIABLE: Final = "HEIMDALL_API_KEY"
_LOCAL: Final = {"127.0.0.1", "localhost", "::1"}
CONNECT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What both shells need to know."""

    url: str
    api_key: str = field(repr=False)
    timeout_seconds: float = 30.0
    """How long an answer, or the next piece of it, may take."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    @property
    def is_local(self) -> bool:
        """Whether the address is this machine's, which no proxy reaches."""
        return is_local(self.url)

    def url_of(self, request: Request) -> str:
        """The absolute URL of a request."""
        return self.url + request.path if request.path.startswith("/") else request.path

    def headers_of(self, request: Request) -> dict[str, str]:
        """The request's headers; the key goes to the service alone, never to a presigned URL."""
        headers = {"User-Agent": USER_AGENT, **request.headers}
        if request.path.startswith("/"):
            headers["Authorization"] = f"Bearer {self.api_key}"
        return headers


def configure(
    url: str | None, api_key: str | None, *, timeout_seconds: float, retry: RetryPolicy | None
) -> Configuration:
    """The configuration of a client.

    Raises:
        NotConfigured: neither the argument nor the environment names address and key.
    """
    return Configuration(
        url=checked_url(_given(url, URL_VARIABLE, "url")),
        api_key=_checked_key(_given(api_key, KEY_VARIABLE, "api_key")),
        timeout_seconds=timeout_seconds,
        retry=retry or RetryPolicy(),
    )


def is_local(url: str) -> bool:
    """Whether the address is this machine's."""
    return urlsplit(url).hostname in _LOCAL


def _given(value: str | None, variable: str, argument: str) -> str:
    found = value if value is not None else os.environ.get(variable, "")
    if not found.strip():
        raise NotConfigured(f"no {argument} was given, and {variable} is not set", code="not_configured")
    return found.strip()


def _checked_key(key: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise NotConfigured("the API key has characters that no key has", code="not_configured")
    return key


def _user_agent() -> str:
    try:
        return f"heimdall-client/{version('heimdall-client')}"
    except PackageNotFoundError:
        return "heimdall-client"


USER_AGENT: Final = _user_agent()
