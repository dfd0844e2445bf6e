"""The jobs pages: read-only, signed in with an API key that a cookie keeps out of reach of scripts."""

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Cookie, Depends, Request
from starlette.responses import RedirectResponse, Response

from api.callers import circumstances_of
from api.dashboard.views import view_job, view_jobs
from api.dependencies import Composition, JobId, Transaction
from api.services import Services
from api.templates import DASHBOARD_DIR, render_page
from heimdall_core.accounts.keys import authenticate
from heimdall_core.accounts.principal import Principal
from heimdall_core.domain.errors import NotFound, Unauthenticated

router = APIRouter(include_in_schema=False)

STATIC_DIR = DASHBOARD_DIR / "static"
_COOKIE = "heimdall_key"
_COOKIE_SECONDS = 30 * 86_400


def find_viewer(
    services: Composition, key: Annotated[str | None, Cookie(alias=_COOKIE)] = None
) -> Principal | None:
    """Who is signed in, if anybody is."""
    return _authenticated(services, key) if key else None


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a small form."""
    fields = parse_qs((await request.body()).decode(errors="replace"))
    return {name: values[0] for name, values in fields.items()}


Viewer = Annotated[Principal | None, Depends(find_viewer)]


@router.get("/")
def show_jobs(session: Transaction, viewer: Viewer) -> Response:
    """The newest jobs."""
    if viewer is None:
        return RedirectResponse("/sign-in", status_code=303)
    return render_page("jobs.html", **view_jobs(session, viewer))


@router.get("/jobs/{job_id}")
def show_job(job_id: JobId, session: Transaction, viewer: Viewer) -> Response:
    """One job: curves, history, end of the log."""
    if viewer is None:
        return RedirectResponse("/sign-in", status_code=303)
    try:
        return render_page("job.html", **view_job(session, viewer, job_id))
    except NotFound as error:
        return render_page("missing.html", status_code=404, message=error.message)


@router.get("/sign-in")
def show_sign_in() -> Response:
    """The form that takes a key."""
    return render_page("sign_in.html", error=None)


@router.post("/sign-in")
def sign_in(
    request: Request, services: Composition, form: Annotated[dict[str, str], Depends(read_form)]
) -> Response:
    """Keeps the key in a cookie that only this server gets back."""
    key = form.get("key", "").strip()
    viewer = _authenticated(services, key, request)
    if viewer is None:
        return render_page("sign_in.html", status_code=401, error="This key is not known.")
    response = RedirectResponse("/", status_code=303)
    response.set_cookie(
        _COOKIE,
        key,
        max_age=_COOKIE_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/sign-out")
def sign_out() -> Response:
    """Forgets the key."""
    response = RedirectResponse("/sign-in", status_code=303)
    response.delete_cookie(_COOKIE, httponly=True, samesite="strict")
    return response


def _authenticated(services: Services, key: str, request: Request | None = None) -> Principal | None:
    """Whose key it is, if it may read jobs; with the ``request`` of a sign-in a refusal is noted."""
    try:
        with services.database.transaction() as session:
            principal = authenticate(session, key)
    except Unauthenticated as error:
        if request is not None:
            request.app.state.refusals.note(error, None, circumstances_of(request))
        return None
    return principal if principal.may("jobs:read") else None
