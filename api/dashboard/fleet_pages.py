"""The workers and the queue."""

from fastapi import APIRouter, Response

from api.dashboard.viewer import Viewer
from api.templates import render_page

router = APIRouter(include_in_schema=False)


@router.get("/fleet")
async def show_fleet(viewer: Viewer) -> Response:
    """Who runs jobs, and what waits for them."""
    if not viewer.may("jobs:read"):
        return render_page("forbidden.html", viewer=viewer, status_code=403, scope="jobs:read")
    return render_page("fleet/fleet.html", viewer=viewer)
