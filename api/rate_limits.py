"""Bounds on how fast one caller asks: ``RateLimit`` headers, and 429 beyond them.

The headers are those of draft-ietf-httpapi-ratelimit-headers; the problem is IANA's ``quota-exceeded``.
"""

import hashlib
from collections import OrderedDict

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.dashboard.viewer import SIGN_IN
from api.problems import problem_response
from api.session_cookie import session_token
from api.templates import render_page
from api.token_buckets import Allowance, RateLimiter
from heimdall_core.accounts.principal import Principal

_NOT_MODIFIED = 304
_MAX_GOOD = 10_000
_FREE = ("/livez", "/readyz", "/static/", "/favicon.ico")
_TOO_MANY = "There were too many attempts to sign in. Try again in a moment."


class RateLimits:
    """Counts requests by their key, token or browser, and refuses those beyond the quota.

    Probes, files and what is answered with 304 do not count. Calls without credentials, or with such as
    were not good here yet, count together by address: who makes them up gains nothing. So do attempts to
    sign in.
    """

    def __init__(self, app: ASGIApp, *, limiter: RateLimiter) -> None:
        self._app, self._limiter = app, limiter
        self._good: OrderedDict[str, None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if not _counts(scope):
            await self._app(scope, receive, send)
            return
        given = _credentials(scope)
        caller = given if given is not None and given in self._good else _address(scope)
        allowance = await self._limiter.spend(caller)
        telling = self._telling(caller, allowance, send)
        if allowance.granted:
            await self._app(scope, receive, self._noting(given, scope, telling))
        else:
            await _refusal(Request(scope), allowance)(scope, receive, telling)

    def _telling(self, caller: str, allowance: Allowance, send: Send) -> Send:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] == _NOT_MODIFIED:
                    self._limiter.give_back(caller)
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Policy"] = self._limiter.policy
                headers["RateLimit"] = f'"default";r={allowance.remaining};t={allowance.reset_seconds}'
            await send(message)

        return told

    def _noting(self, given: str | None, scope: Scope, send: Send) -> Send:
        async def noted(message: Message) -> None:
            if given is not None and message["type"] == "http.response.start":
                # What everybody may read is answered whatever credentials come with the request.
                caller: Principal | None = scope.get("state", {}).get("caller")
                if caller is not None and not caller.is_anonymous:
                    self._note(given)
            await send(message)

        return noted

    def _note(self, given: str) -> None:
        """Somebody was found who has the credentials; of many the latest are remembered."""
        self._good[given] = None
        self._good.move_to_end(given)
        if len(self._good) > _MAX_GOOD:
            self._good.popitem(last=False)


def _counts(scope: Scope) -> bool:
    return scope["type"] == "http" and not scope["path"].startswith(_FREE)


def _credentials(scope: Scope) -> str | None:
    """A digest of them; None: there are none, or they are what the request is about."""
    if _signs_in(scope):
        return None
    request = Request(scope)
    given = request.headers.get("authorization") or session_token(request)
    return None if given is None else _digest(given)


def _address(scope: Scope) -> str:
    return _digest(f"from {(scope.get('client') or ('unknown',))[0]}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _signs_in(scope: Scope) -> bool:
    return bool(scope["method"] == "POST" and scope["path"] == SIGN_IN)


def _refusal(request: Request, allowance: Allowance) -> ASGIApp:
    headers = {"Retry-After": str(allowance.retry_seconds)}
    if _signs_in(request.scope):
        page = render_page("sign_in.html", status_code=429, error=_TOO_MANY, next="/")
        page.headers.update(headers)
        return page
    return problem_response(
        request,
        status=429,
        code="quota_exceeded",
        detail="this key has used up its quota of requests",
        hint="Wait as Retry-After says. Poll with If-None-Match: what is unchanged does not count.",
        violated_policies=["default"],
        headers=headers,
    )
