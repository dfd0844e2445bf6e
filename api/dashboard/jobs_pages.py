"""The list of jobs."""

from fastapi import APIRouter, Response

from api.dashboard.viewer import Viewer
from api.templates import render_page
from heimdall_core.domain.job import JobKind, JobStatus

router = APIRouter(include_in_schema=False)


@router.get("/")
async def show_jobs(viewer: Viewer) -> Response:
    """Every job that the viewer may see, newest first."""
    if not viewer.may("jobs:read"):
        return render_page("forbidden.html", viewer=viewer, status_code=403, scope="jobs:read")
    return render_page("jobs/list.html", viewer=viewer, statuses=list(JobStatus), kinds=list(JobKind))
