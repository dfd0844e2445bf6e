"""The form for a new job."""

from fastapi import APIRouter
from starlette.responses import Response

from api.dashboard.viewer import Viewer
from api.templates import render_page

router = APIRouter(include_in_schema=False)


@router.get("/jobs/new")
def show_new_job(viewer: Viewer) -> Response:
    """A form, filled as the query says: ``clone=job_..``, or ``kind`` and fields by their path."""
    return render_page("new_job/new_job.html", viewer=viewer)
