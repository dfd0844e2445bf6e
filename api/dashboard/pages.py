"""Signing in with an API key, and out."""

import re
from datetime import timedelta
from typing import Annotated
from urllib.parse import parse_qs, quote, urlencode

from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session
from starlette.responses import FileResponse, RedirectResponse, Response

from api.callers import circumstances_of
from api.dashboard.viewer import SIGN_IN
from api.dependencies import Composition
from api.services import Services
from api.session_cookie import (
    CSRF_HEADER,
    forget_session,
    keep_session,
    require_csrf_token,
    require_own_page,
    session_token,
)
from api.static_files import STATIC_DIR
from api.templates import render_page
from heimdall_core.accounts import audit
from heimdall_core.accounts.keys import authenticate
from heimdall_core.accounts.principal import READ_SCOPES
from heimdall_core.accounts.web_sessions import end_session, open_session
from heimdall_core.domain.errors import Forbidden, Unauthenticated

router = APIRouter(include_in_schema=False)

_MAX_FORM_BYTES = 16_384
_LOCAL_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]{0,2000}")
"""On this host whatever a browser makes of it: neither ``//host`` nor ``/\\host``, and nothing invisible."""


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a small form; what is beyond it is not looked at."""
    fields = parse_qs((await request.body())[:_MAX_FORM_BYTES].decode(errors="replace"))
    return {name: values[0] for name, values in fields.items()}


Form = Annotated[dict[str, str], Depends(read_form)]


def local_path(text: str) -> str:
    """The path if it lies on this host, else the first page."""
    return text if _LOCAL_PATH.fullmatch(text) else "/"


async def to_sign_in(request: Request, _error: Exception) -> Response:
    """Leads to the form, and from there back to the page.

    A browser that follows a link of another site keeps its cookie back: our own page has to ask again.
    """
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.headers.get("sec-fetch-site") == "cross-site":
        return render_page("arrival.html", wanted=local_path(wanted))
    query = urlencode({"next": wanted}, quote_via=quote) if wanted != "/" else ""
    return RedirectResponse(f"{SIGN_IN}?{query}".rstrip("?"), status_code=303)


@router.get("/favicon.ico")
async def show_icon() -> Response:
    """For browsers that ask without being told where it is."""
    return FileResponse(STATIC_DIR / "favicon.svg", headers={"Cache-Control": "max-age=86400"})


@router.get(SIGN_IN)
async def show_sign_in(request: Request) -> Response:
    """The form that takes a key."""
    wanted = local_path(request.query_params.get("next", "/"))
    return render_page("sign_in.html", error=None, next=wanted)


@router.post(SIGN_IN)
def sign_in(request: Request, services: Composition, form: Form) -> Response:
    """Opens a session for the browser, in place of any that it had."""
    require_own_page(request.headers)
    wanted = local_path(form.get("next", "/"))
    lifetime = timedelta(hours=services.settings.access.session_hours)
    try:
        token = _open(request, services, form.get("key", "").strip(), lifetime)
    except (Unauthenticated, Forbidden) as error:
        request.app.state.refusals.note(error, None, circumstances_of(request))
        status = 401 if isinstance(error, Unauthenticated) else 403
        return render_page("sign_in.html", status_code=status, error=_sentence(error.message), next=wanted)
    response = RedirectResponse(wanted, status_code=303)
    keep_session(response, request, token, seconds=round(lifetime.total_seconds()))
    return response


@router.post("/sign-out")
def sign_out(request: Request, services: Composition, form: Form) -> Response:
    """Ends the session of the browser, if a page of ours asks for it."""
    require_own_page(request.headers)
    response = RedirectResponse(SIGN_IN, status_code=303)
    token = session_token(request)
    if token is not None:
        require_csrf_token(token, form.get("csrf_token") or request.headers.get(CSRF_HEADER))
        with services.database.transaction() as session:
            _end(request, session, token)
        forget_session(response, request)
    return response


def _open(request: Request, services: Services, key: str, lifetime: timedelta) -> str:
    """The new session's token."""
    with services.database.transaction() as session:
        principal = authenticate(session, key)
        if not any(principal.may(scope) for scope in READ_SCOPES):
            raise Forbidden("this key opens nothing that these pages show", code="missing_scope")
        former = session_token(request)
        if former is not None:
            _end(request, session, former)
        audit.set_circumstances(session, circumstances_of(request))
        return open_session(session, principal, lifetime=lifetime)


def _end(request: Request, session: Session, token: str) -> None:
    audit.set_circumstances(session, circumstances_of(request))
    end_session(session, token)


def _sentence(message: str) -> str:
    return f"{message[:1].upper()}{message[1:]}."
