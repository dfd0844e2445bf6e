"""Errors on the wire: RFC 9457 problem documents. The only place that knows status codes."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import sqlalchemy.exc
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.templates import render_page
from api.validation import ProblemEntry, judge_validation
from heimdall_core.domain.errors import (
    Conflict,
    DataError,
    DuplicateJob,
    Forbidden,
    HeimdallError,
    InfrastructureError,
    InvalidRequest,
    NotFound,
    PreconditionFailed,
    PromotionRefused,
    RequestError,
    Unauthenticated,
)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5

#: The nearest class of an error's ancestry decides.
STATUS: Mapping[type[Exception], int] = {
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    PreconditionFailed: 412,
    InvalidRequest: 422,
    RequestError: 400,
    DataError: 422,
    InfrastructureError: 503,
    HeimdallError: 500,
    sqlalchemy.exc.DataError: 422,
    UnicodeEncodeError: 422,
    sqlalchemy.exc.OperationalError: 503,
    sqlalchemy.exc.InterfaceError: 503,
    sqlalchemy.exc.TimeoutError: 503,
}

_FRAMEWORK_CODES = {
    404: "unknown_path",
    405: "method_not_allowed",
    408: "body_too_slow",
    413: "body_too_large",
    503: "too_many_bodies",
}
PROBLEMS_PATH = "/problems"
"""Where a page for each code lies: `type` is relative to the service, so it is the same everywhere."""
_TYPES = {"quota_exceeded": "https://iana.org/assignments/http-problem-types#quota-exceeded"}
_OF_A_MOMENT = {"Retry-After": "1"}
_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": str(RETRY_AFTER_SECONDS)}}

_log = structlog.get_logger("api")


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(
        description="A page of this service that explains the code; for `quota_exceeded` that of IANA.",
        examples=["/problems/dataset_not_found"],
    )
    title: str = Field(examples=["Dataset not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["no dataset 'northwest'"])
    instance: str = Field(description="Path of the request.", examples=["/v1/jobs"])
    code: str = Field(description="Stable, for programs.", examples=["dataset_not_found"])
    request_id: str | None = Field(description="What the service's log knows the request by.")
    hint: str | None = Field(default=None, description="What to do about it.")
    errors: list[ProblemEntry] | None = Field(default=None, description="Each wrong field of the request.")
    verdict: dict[str, Any] | None = Field(
        default=None, description="Of `promotion_refused`: the gate's verdict, check by check."
    )
    links: dict[str, str] | None = Field(
        default=None, description="Of `duplicate_job`: `job`, and `model_version` if it registered one."
    )
    violated_policies: list[str] | None = Field(
        default=None,
        serialization_alias="violated-policies",
        description="Of `quota_exceeded`: names in `RateLimit-Policy`.",
    )


def problem_response(
    request: Request,
    *,
    status: int,
    code: str,
    detail: str,
    hint: str | None = None,
    errors: Sequence[ProblemEntry] = (),
    verdict: Mapping[str, object] | None = None,
    links: Mapping[str, str] | None = None,
    violated_policies: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer that states the problem; to a browser that asks for a page, on one."""
    problem = Problem(
        type=_TYPES.get(code, f"{PROBLEMS_PATH}/{code}"),
        title=code.replace("_", " ").capitalize(),
        status=status,
        detail=detail,
        instance=request.url.path,
        code=code,
        request_id=getattr(request.state, "request_id", None),
        hint=hint,
        errors=list(errors) or None,
        verdict=None if verdict is None else dict(verdict),
        links=None if links is None else dict(links),
        violated_policies=list(violated_policies) or None,
    )
    response: Response
    if _wants_page(request):
        response = render_page("error.html", status_code=status, problem=problem)
    else:
        document = problem.model_dump(exclude_none=True, by_alias=True)
        response = JSONResponse(document, status_code=status, media_type=MEDIA_TYPE)
    response.headers.update({**_HEADERS.get(status, {}), **(headers or {})})
    return response


def _wants_page(request: Request) -> bool:
    is_of_programs = request.url.path.startswith(("/v1/", "/static/"))
    return not is_of_programs and "text/html" in request.headers.get("accept", "")


def install_problem_handlers(app: FastAPI) -> None:
    """Makes every error of the application a problem document."""
    app.add_exception_handler(HeimdallError, _from_ours)
    app.add_exception_handler(RequestValidationError, _from_validation)
    app.add_exception_handler(HTTPException, _from_framework)
    app.add_exception_handler(sqlalchemy.exc.DataError, _from_unstorable)
    app.add_exception_handler(UnicodeEncodeError, _from_unstorable)
    for kind in (
        sqlalchemy.exc.OperationalError,
        sqlalchemy.exc.InterfaceError,
        sqlalchemy.exc.TimeoutError,
    ):
        app.add_exception_handler(kind, _from_database)


def status_of(error: Exception) -> int:
    """The status of the nearest class in the table."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def _from_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, HeimdallError)
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.warning("request_error", code=error.stable_code, reason=error.message)
    problems = error.problems if isinstance(error, RequestError) else ()
    return problem_response(
        request,
        status=status,
        code=error.stable_code,
        detail=error.message,
        hint=error.hint,
        errors=[ProblemEntry(detail=p.detail, pointer=f"#{p.pointer}") for p in problems],
        verdict=error.verdict if isinstance(error, PromotionRefused) else None,
        links=error.links if isinstance(error, DuplicateJob) else None,
        headers=_OF_A_MOMENT if error.stable_code == "idempotency_key_in_use" else None,
    )


def _from_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if _is_action(request) and any(e["loc"][0] == "path" for e in error.errors()):
        return _unknown_action(request)
    is_json = "json" in request.headers.get("content-type", "json")
    verdict = judge_validation(error.errors(), is_json=is_json)
    return problem_response(
        request,
        status=verdict.status,
        code=verdict.code,
        detail=verdict.detail,
        errors=verdict.entries,
    )


def _from_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code in {404, 405} and _is_action(request):
        return _unknown_action(request)
    code = _FRAMEWORK_CODES.get(error.status_code, "bad_request")
    details: dict[int, str] = {
        404: f"there is no {request.url.path}",
        405: f"{request.url.path} does not take {request.method}",
    }
    return problem_response(
        request,
        status=error.status_code,
        code=code,
        detail=details.get(error.status_code, error.detail),
        hint="GET /docs lists what there is." if error.status_code in details else None,
        headers=error.headers,
    )


def _from_database(request: Request, error: Exception) -> Response:
    _log.error("database_unavailable", reason=str(getattr(error, "orig", None) or error))
    return problem_response(
        request,
        status=status_of(error),
        code="database_unavailable",
        detail="the database did not answer",
        hint="Repeat the request in a moment, with its Idempotency-Key if it has one.",
    )


def _from_unstorable(request: Request, error: Exception) -> Response:
    """What no pattern forbids and PostgreSQL cannot hold: NUL, half a surrogate pair, a number too large."""
    _log.warning("unstorable_value", reason=str(getattr(error, "orig", None) or error))
    return problem_response(
        request,
        status=status_of(error),
        code="unstorable_value",
        detail="a value of the request cannot be stored: a NUL character, or a number that is too large",
    )


def _is_action(request: Request) -> bool:
    return ":" in request.url.path.rsplit("/", 1)[-1]


def _unknown_action(request: Request) -> Response:
    thing, _, action = request.url.path.rpartition(":")
    return problem_response(
        request,
        status=404,
        code="unknown_action",
        detail=f"{thing} has no action {action!r} for {request.method}",
        hint="GET /docs lists the actions.",
    )
