"""Every error of this package, and what its reader can do about it.

    HeimdallError
    ├── InvalidRequest              400, 413, 422: the service names each wrong field in ``errors``
    ├── AuthenticationError
    │   ├── Unauthenticated         401: no key, or one that is unknown, expired or revoked
    │   └── Forbidden               403: a known key without the right
    ├── NotFound                    404: no such thing, or not yours to see
    │   └── NotOffered              the service knows no such call: it is older than this client
    ├── Conflict                    409: the present state of the thing forbids the request
    │   ├── PromotionRefused        the gate says no; ``verdict`` lists every check
    │   └── PreconditionFailed      412: it has changed since it was read
    ├── RateLimited                 429: too many requests; ``retry_after`` says when to come back
    ├── Unavailable                 502, 503, 504: the service cannot answer just now
    │   └── Unreachable             nobody answered, or the connection broke
    ├── ServiceFailure              500: its log knows why, under ``request_id``
    ├── UnreadableAnswer            an answer that is none of this API: a proxy's page, a redirect
    ├── DamagedDownload             the bytes are not those that the service registered
    ├── JobUnsuccessful             a job that was waited for failed or was cancelled
    ├── WaitTimedOut                a job that was waited for has not ended in time
    └── NotConfigured               no address or no key was given

The class of a refusal follows from the problem's ``code`` and, where that says nothing, from the status.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heimdall_client.documents.jobs import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One wrong field of a request."""

    pointer: str
    """JSON pointer into the body, such as ``#/training/epochs``."""
    detail: str


class HeimdallError(Exception):
    """The root of the tree; ``str()`` of it is one readable line."""

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        code: str = "client_error",
        title: str | None = None,
        hint: str | None = None,
        errors: tuple[FieldError, ...] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code
        self.title = title
        self.hint = hint
        self.errors = errors
        self.request_id = request_id
        self.retry_after = retry_after
        """Seconds that the service asks to wait before the request is repeated."""
        self.problem = dict(problem or {})
        """The problem document (RFC 9457) as it came."""

    def __str__(self) -> str:
        fields = [f"{e.pointer} {e.detail}".strip() for e in self.errors if e.detail not in self.detail]
        return "; ".join([self.detail, *fields])


class InvalidRequest(HeimdallError):
    """The service names each wrong field in ``errors``."""


class AuthenticationError(HeimdallError):
    """The key is missing, unknown, or without the right."""


class Unauthenticated(AuthenticationError):
    """No key, or one that is unknown, expired or revoked."""


class Forbidden(AuthenticationError):
    """A known key without the right."""


class NotFound(HeimdallError):
    """No such thing, or not yours to see."""


class NotOffered(NotFound):
    """The service knows no such call: it is older than this client."""


class Conflict(HeimdallError):
    """The present state of the thing forbids the request."""


class PromotionRefused(Conflict):
    """The gate keeps a version from becoming the champion."""

    @property
    def verdict(self) -> Mapping[str, Any] | None:
        """What the gate says, check by check."""
        verdict = self.problem.get("verdict")
        return verdict if isinstance(verdict, dict) else None


class PreconditionFailed(Conflict):
    """The thing has changed since it was read."""


class RateLimited(HeimdallError):
    """Too many requests; ``retry_after`` says when to come back."""


class Unavailable(HeimdallError):
    """The service cannot answer just now."""


class Unreachable(Unavailable):
    """Nobody answered, or the connection broke."""

    def __init__(self, detail: str, *, was_sent: bool, hint: str | None = None) -> None:
        super().__init__(detail, code="unreachable", hint=hint)
        self.was_sent = was_sent
        """Whether the service may have received the request."""


class ServiceFailure(HeimdallError):
    """The service failed; its log knows why, under ``request_id``."""


class UnreadableAnswer(HeimdallError):
    """An answer that is none of this API."""


class DamagedDownload(HeimdallError):
    """The bytes are not those that the service registered."""


class JobUnsuccessful(HeimdallError):
    """A job that was waited for failed or was cancelled."""

    def __init__(self, job: "Job") -> None:
        error = job.error
        told = error.message if error else f"job {job.status}"
        super().__init__(
            f"{job.kind} job {job.id} {job.status}: {told}",
            code=error.code if error else f"job_{job.status}",
            hint=error.hint if error else None,
        )
        self.job = job


class WaitTimedOut(HeimdallError):
    """A job that was waited for has not ended in time; it goes on."""

    def __init__(self, job: "Job", seconds: float) -> None:
        super().__init__(f"job {job.id} is still {job.status} after {seconds:g} s", code="wait_timed_out")
        self.job = job


class NotConfigured(HeimdallError):
    """No address or no key was given."""
