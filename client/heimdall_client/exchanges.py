"""Requests and answers as values: what goes out, what comes back, and how a refusal reads."""

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from heimdall_client import errors
from heimdall_client.errors import FieldError, HeimdallError, NotConfigured, UnreadableAnswer

Json = dict[str, Any]
Parameter = str | int | float | bool | datetime | None

#: By the problem's code, where it says more than the status.
_BY_CODE: Final[Mapping[str, type[HeimdallError]]] = {
    "unknown_path": errors.NotOffered,
    "unknown_action": errors.NotOffered,
    "method_not_allowed": errors.NotOffered,
    "promotion_refused": errors.PromotionRefused,
}
_BY_STATUS: Final[Mapping[int, type[HeimdallError]]] = {
    HTTPStatus.BAD_REQUEST: errors.InvalidRequest,
    HTTPStatus.UNAUTHORIZED: errors.Unauthenticated,
    HTTPStatus.FORBIDDEN: errors.Forbidden,
    HTTPStatus.NOT_FOUND: errors.NotFound,
    HTTPStatus.METHOD_NOT_ALLOWED: errors.NotOffered,
    HTTPStatus.NOT_ACCEPTABLE: errors.NotOffered,
    HTTPStatus.CONFLICT: errors.Conflict,
    HTTPStatus.PRECONDITION_FAILED: errors.PreconditionFailed,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: errors.InvalidRequest,
    HTTPStatus.UNPROCESSABLE_ENTITY: errors.InvalidRequest,
    HTTPStatus.TOO_MANY_REQUESTS: errors.RateLimited,
    HTTPStatus.BAD_GATEWAY: errors.Unavailable,
    HTTPStatus.SERVICE_UNAVAILABLE: errors.Unavailable,
    HTTPStatus.GATEWAY_TIMEOUT: errors.Unavailable,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be sent; the shells add the address and the key."""

    method: str
    path: str
    """``/v1/...`` of the service, or a presigned URL, which never gets the key."""
    parameters: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json | None = None
    file: Path | None = None
    """Sent as it is, with its length, instead of a body."""
    is_repeatable: bool = True
    """Whether sending it twice does no more than sending it once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; ``headers`` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    content: bytes = b""

    @property
    def is_success(self) -> bool:
        """Whether the service did what it was asked."""
        return 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110

    def json(self) -> Json:
        """The body, a JSON object; an empty body is an empty object.

        Raises:
            UnreadableAnswer: it is something else, such as a proxy's page.
        """
        if not self.content:
            return {}
        try:
            value = json.loads(self.content)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise unreadable(self, "it is no JSON object")
        return value


def path_of(*parts: object) -> str:
    """``/v1/<part>/...`` with each part quoted, whatever a person typed."""
    return "/".join(["/v1", *(quote(str(part), safe="") for part in parts)])


def parameters_of(values: Mapping[str, Parameter | Iterable[Parameter]]) -> tuple[tuple[str, str], ...]:
    """Query parameters as text; what is None is left out, a list is repeated."""
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        several = value if isinstance(value, list | tuple | set | frozenset) else (value,)
        pairs += [(name, _text_of(one)) for one in several if one is not None]
    return tuple(pairs)


def _text_of(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return time_of(value) if isinstance(value, datetime) else str(value)


def time_of(moment: datetime) -> str:
    """A time as RFC 3339 in UTC.

    Raises:
        ValueError: it has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def keyed(key: str | None) -> dict[str, str]:
    """The header that makes a creation happen once however often it is sent.

    Raises:
        ValueError: the key has characters that no header may have.
    """
    key = key or str(uuid.uuid4())
    if not key.isascii() or not key.isprintable() or '"' in key or " " in key:
        raise ValueError(f"{key!r} is no idempotency key: use printable ASCII without spaces and quotes")
    return {"Idempotency-Key": f'"{key}"'}


def require_success(answer: Answer) -> Answer:
    """The answer, if the service did what it was asked.

    Raises:
        HeimdallError: it refused; the class says how.
    """
    if answer.is_success or answer.status == HTTPStatus.NOT_MODIFIED:
        return answer
    raise refusal(answer)


def refusal(answer: Answer) -> HeimdallError:
    """A problem document (RFC 9457) as an error; any other answer as what its status says."""
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        return unreadable(answer, f"it redirects to {answer.headers.get('location', 'nowhere')}")
    problem = _problem_of(answer)
    code = _string(problem, "code") or f"http_{answer.status}"
    detail = _string(problem, "detail") or _string(problem, "title") or f"HTTP {answer.status}"
    kind = _BY_CODE.get(code) or _BY_STATUS.get(answer.status) or _of_class(answer.status)
    return kind(
        detail,
        status=answer.status,
        code=code,
        title=_string(problem, "title"),
        hint=_string(problem, "hint"),
        errors=tuple(_fields(problem)),
        request_id=_string(problem, "request_id") or answer.headers.get("x-request-id"),
        retry_after=retry_after(answer),
        problem=problem,
    )


def unreadable(answer: Answer, why: str) -> UnreadableAnswer:
    """An answer that is none of this API."""
    return UnreadableAnswer(
        f"HTTP {answer.status} cannot be understood: {why}",
        status=answer.status,
        code="unreadable_answer",
        request_id=answer.headers.get("x-request-id"),
        hint="Check the address: a proxy or another service may answer there.",
    )


def retry_after(answer: Answer) -> float | None:
    """Seconds of ``Retry-After``, given as such or as a time (RFC 9110, 10.2.3); None: it says nothing."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def checked_url(url: str) -> str:
    """The service's address without a slash at its end.

    Raises:
        NotConfigured: it is no http or https URL, or carries a password.
    """
    scheme, separator, rest = url.strip().partition("://")
    host = rest.partition("/")[0]
    if scheme not in {"http", "https"} or not separator or not host:
        raise NotConfigured(f"{url!r} is no http or https URL", code="not_configured")
    if "@" in host:
        raise NotConfigured("the URL carries a password; give the key apart", code="not_configured")
    return url.strip().rstrip("/")


def _problem_of(answer: Answer) -> Json:
    try:
        problem = json.loads(answer.content)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _of_class(status: int) -> type[HeimdallError]:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return errors.ServiceFailure
    return errors.InvalidRequest if status >= HTTPStatus.BAD_REQUEST else errors.UnreadableAnswer


def _fields(problem: Json) -> Iterable[FieldError]:
    found = problem.get("errors")
    for entry in found if isinstance(found, list) else ():
        if isinstance(entry, dict):
            yield FieldError(pointer=_string(entry, "pointer") or "", detail=_string(entry, "detail") or "")


def _string(problem: Json, name: str) -> str | None:
    value = problem.get(name)
    return value if isinstance(value, str) else None
