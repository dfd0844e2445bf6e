"""Bounds on how fast one caller asks: ``RateLimit`` headers, and 429 beyond them.

The headers are those of draft-ietf-httpapi-ratelimit-headers; the problem is IANA's ``quota-exceeded``.
"""

import hashlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem_response
from api.token_buckets import Allowance, RateLimiter

_NOT_MODIFIED = 304


class RateLimits:
    """Counts requests under ``/v1`` by what their ``Authorization`` says, and refuses those beyond the quota.

    What is answered with 304 does not count. Calls without credentials count together by address.
    """

    def __init__(self, app: ASGIApp, *, limiter: RateLimiter) -> None:
        self._app, self._limiter = app, limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        caller = _caller_of(scope)
        if caller is None:
            await self._app(scope, receive, send)
            return
        allowance = await self._limiter.spend(caller)
        telling = self._telling(caller, allowance, send)
        if allowance.granted:
            await self._app(scope, receive, telling)
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


def _caller_of(scope: Scope) -> str | None:
    """A digest of the credentials, or of the address of who has none; None: the request is not counted."""
    if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
        return None
    given = Headers(scope=scope).get("authorization") or f"from {(scope.get('client') or ('unknown',))[0]}"
    return hashlib.sha256(given.encode()).hexdigest()[:32]


def _refusal(request: Request, allowance: Allowance) -> ASGIApp:
    return problem_response(
        request,
        status=429,
        code="quota_exceeded",
        detail="this key has used up its quota of requests",
        hint="Wait as Retry-After says. Poll with If-None-Match: what is unchanged does not count.",
        violated_policies=["default"],
        headers={"Retry-After": str(allowance.retry_seconds)},
    )
