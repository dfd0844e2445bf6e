"""The public keys of an OpenID Connect issuer: kept for a while, and fetched again when a token needs it."""

import time
from collections.abc import Callable
from threading import Lock
from typing import Any

import httpx
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from heimdall_core.domain.errors import IssuerUnavailable
from heimdall_core.settings import OidcSettings, is_confidential

MAX_DOCUMENT_BYTES = 256 * 1024
STALE_FACTOR = 6
"""Keys are used so many times longer than ``jwks_seconds`` while the issuer is away."""
RETRY_SECONDS = 10.0
"""Between two attempts to fetch, whatever tokens say: a stranger can make up any number of key ids."""

_log = structlog.get_logger("accounts")


class IssuerKeys:
    """The keys of one issuer; safe to use from several threads, of which one at a time fetches.

    Raises, from ``find``:
        IssuerUnavailable: the key is not known, and the issuer did not answer.
    """

    def __init__(
        self,
        settings: OidcSettings,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert settings.issuer is not None
        self._issuer, self._settings, self._clock = settings.issuer, settings, clock
        self._transport = transport
        self._lock = Lock()
        self._keys: KeySet | None = None
        self._fetched_at = self._tried_at = float("-inf")
        self._failure: IssuerUnavailable | None = None

    def find(self, key_id: str | None) -> KeySet | None:
        """The issuer's keys if one of them has this id, else None; without an id: if there is only one."""
        if not self._has(key_id) or self._age() > self._settings.jwks_seconds:
            self._refresh(key_id)
        return self._keys if self._has(key_id) else None

    def _refresh(self, key_id: str | None) -> None:
        """Fetches, unless another thread just has, or it is too early to ask again."""
        with self._lock:
            is_wanted = not self._has(key_id) or self._age() > self._settings.jwks_seconds
            if is_wanted and self._clock() - self._tried_at >= RETRY_SECONDS:
                self._fetch()
            is_usable = self._has(key_id) and self._age() <= STALE_FACTOR * self._settings.jwks_seconds
            if self._failure is not None and not is_usable:
                raise self._failure

    def _fetch(self) -> None:
        self._tried_at = self._clock()
        try:
            self._keys, self._failure = self._download(), None
            self._fetched_at = self._clock()
        except IssuerUnavailable as failure:
            _log.warning("issuer_unavailable", issuer=self._issuer, reason=failure.message)
            self._failure = failure

    def _download(self) -> KeySet:
        with httpx.Client(
            timeout=self._settings.timeout_seconds,
            transport=self._transport,
            follow_redirects=False,
            trust_env=self._issuer.startswith("https:"),
        ) as http:
            url = self._settings.jwks_uri or self._discover(http)
            try:
                return KeySet.import_key_set(_public(_get(http, url)))
            except (JoseError, ValueError, TypeError, KeyError) as error:
                raise IssuerUnavailable("the issuer of tokens hands out keys that cannot be read") from error

    def _discover(self, http: httpx.Client) -> str:
        found = _get(http, self._issuer.rstrip("/") + "/.well-known/openid-configuration")
        url = found.get("jwks_uri")
        if found.get("issuer") != self._issuer or not isinstance(url, str):
            raise IssuerUnavailable("the issuer of tokens describes itself as another")
        if not self._settings.allow_http and not is_confidential(url):
            raise IssuerUnavailable("the issuer of tokens hands out its keys without TLS")
        return url

    def _has(self, key_id: str | None) -> bool:
        keys = self._keys.keys if self._keys is not None else []
        return len(keys) == 1 if key_id is None else any(key.kid == key_id for key in keys)

    def _age(self) -> float:
        return self._clock() - self._fetched_at


def _public(document: dict[str, Any]) -> Any:
    """Only keys that verify signatures: no shared secrets, none for encryption."""
    keys = document["keys"]
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError("no list of keys")
    return {"keys": [key for key in keys if key.get("kty") != "oct" and key.get("use", "sig") == "sig"]}


def _get(http: httpx.Client, url: str) -> dict[str, Any]:
    try:
        with http.stream("GET", url, headers={"Accept": "application/json"}) as answer:
            answer.raise_for_status()
            content = b""
            for chunk in answer.iter_bytes():
                content += chunk
                if len(content) > MAX_DOCUMENT_BYTES:
                    raise IssuerUnavailable("the issuer of tokens answers with too much")
        document = httpx.Response(200, content=content).json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise IssuerUnavailable("the issuer of tokens does not answer as it should") from error
    if not isinstance(document, dict):
        raise IssuerUnavailable("the issuer of tokens does not answer as it should")
    return document
