"""Models: the list, one model with its versions, two versions side by side."""

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.responses import Response

from api.dashboard.viewer import SignedInViewer, Viewer
from api.dependencies import Transaction
from api.templates import render_page
from heimdall_core.domain.errors import NotFound
from heimdall_core.registry.queries import find_model

router = APIRouter(include_in_schema=False)
_NEED = "models:read"


@router.get("/models")
async def show_models(viewer: Viewer) -> Response:
    """Every model with its champion."""
    if not viewer.may(_NEED):
        return _forbidden(viewer)
    return render_page("models/models.html", viewer=viewer)


@router.get("/models/{name}")
def show_model(name: str, session: Transaction, viewer: Viewer) -> Response:
    """The versions of a model and its history; ``?version=`` says of which to show everything."""
    return _page("model", name, session, viewer)


@router.get("/models/{name}/compare")
def show_comparison(name: str, session: Transaction, viewer: Viewer) -> Response:
    """Two versions of a model side by side: ``?a=1&b=2``."""
    return _page("compare", name, session, viewer)


def _page(template: str, name: str, session: Session, viewer: SignedInViewer) -> Response:
    """The page about a model, or that there is none, or what the viewer's key lacks for it."""
    if not viewer.may(_NEED):
        return _forbidden(viewer)
    try:
        model = find_model(session, name)
    except NotFound:
        return render_page("models/missing.html", viewer=viewer, status_code=404, name=name)
    return render_page(f"models/{template}.html", viewer=viewer, name=model.name)


def _forbidden(viewer: SignedInViewer) -> Response:
    return render_page("forbidden.html", viewer=viewer, status_code=403, scope=_NEED)
