"""The cookie of a browser that is signed in, and how a request of it proves that a page of ours made it."""

import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from heimdall_core.accounts.web_sessions import csrf_token
from heimdall_core.domain.errors import Forbidden

CSRF_HEADER: Final = "X-CSRF-Token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_NAME: Final = "heimdall_session"
_FROM_HERE: Final = {"same-origin", "none"}
"""``Sec-Fetch-Site`` of what a page of ours, or a person at the address bar, asks for."""


def cookie_name(scheme: str) -> str:
    """Over https one that no other host, not even a subdomain's, can set."""
    return f"__Host-{_NAME}" if scheme == "https" else _NAME


def session_token(request: Request) -> str | None:
    """The token that the browser sent, if it did."""
    return request.cookies.get(cookie_name(request.url.scheme))


def keep_session(response: Response, request: Request, token: str, *, seconds: int) -> None:
    """Makes the browser send the token to this service alone, and no script see it."""
    response.set_cookie(
        cookie_name(request.url.scheme),
        token,
        max_age=seconds,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def forget_session(response: Response, request: Request) -> None:
    """Makes the browser forget the token."""
    is_secure = request.url.scheme == "https"
    name = cookie_name(request.url.scheme)
    response.delete_cookie(name, httponly=True, samesite="strict", secure=is_secure)


def require_own_page(headers: Mapping[str, str]) -> None:
    """Raises if another site made the browser send this.

    Raises:
        Forbidden: ``Sec-Fetch-Site``, or where that is missing ``Origin``, names another.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    is_ours = site in _FROM_HERE if site is not None else _is_ours(origin, headers.get("host"))
    if not is_ours:
        raise Forbidden(
            "another site made the browser send this request",
            hint="Use the pages of this service; a proxy before it must pass on `Host` as it came.",
            code="csrf_failed",
        )


def require_csrf_token(token: str, given: str | None) -> None:
    """Raises unless the request carries what the pages of the session carry.

    Raises:
        Forbidden: it does not.
    """
    if not hmac.compare_digest(csrf_token(token).encode(), (given or "").encode()):
        raise Forbidden(
            f"a call with the cookie of a browser lacks the right {CSRF_HEADER}",
            hint="Load the page again; a program sends 'Authorization: Bearer hmd_...' instead.",
            code="csrf_failed",
        )


def _is_ours(origin: str | None, host: str | None) -> bool:
    """Programs send no ``Origin``; behind a proxy the scheme may be another, the host is not."""
    return origin is None or (host is not None and urlsplit(origin).netloc == host)
