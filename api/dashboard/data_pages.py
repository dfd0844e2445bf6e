"""Recording sessions and datasets: the lists, one of each, and the form for a new version."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from api.dashboard.viewer import SignedInViewer, Viewer
from api.dependencies import ResourceName, VersionNumber
from api.templates import render_page

router = APIRouter(include_in_schema=False)


@router.get("/recordings")
async def show_recordings(viewer: Viewer) -> Response:
    """Every recording session, newest first, and their approval."""
    return _page("recordings", viewer, "recordings:read")


@router.get("/recordings/{session_id}")
async def show_recording(session_id: UUID, viewer: Viewer) -> Response:
    """One session: who heard it, and how the network sees it."""
    return _page("recording", viewer, "recordings:read", session_id=str(session_id))


@router.get("/datasets")
async def show_datasets(viewer: Viewer) -> Response:
    """The newest version of each dataset."""
    return _page("datasets", viewer, "datasets:read")


@router.get("/datasets/new")
async def show_new_dataset(viewer: Viewer) -> Response:
    """The form for a version; ``?from=NAME/VERSION`` begins with the query of another."""
    return _page("new_dataset", viewer, "datasets:read")


@router.get("/datasets/{name}")
async def show_newest_version(name: ResourceName, viewer: Viewer) -> Response:
    """The newest version of a dataset."""
    return _page("dataset", viewer, "datasets:read", name=name, version=None)


@router.get("/datasets/{name}/versions/{version}")
async def show_version(name: ResourceName, version: VersionNumber, viewer: Viewer) -> Response:
    """One version: what it holds, and what was made of it."""
    return _page("dataset", viewer, "datasets:read", name=name, version=version)


def _page(template: str, viewer: SignedInViewer, need: str, **values: Any) -> Response:
    """The page, or what the viewer's key lacks for it."""
    if not viewer.may(need):
        return render_page("forbidden.html", viewer=viewer, status_code=403, scope=need)
    return render_page(f"data/{template}.html", viewer=viewer, **values)
