"""The page of a job."""

from fastapi import APIRouter
from starlette.responses import Response

from api.dashboard.viewer import Viewer
from api.dependencies import Transaction
from api.templates import render_page
from heimdall_core.domain.errors import NotFound
from heimdall_core.jobs.queries import find_job

router = APIRouter(include_in_schema=False)


@router.get("/jobs/{job_id}")
def show_job(job_id: str, viewer: Viewer, session: Transaction) -> Response:
    """One job: how it goes, what it reported, what came of it."""
    if not viewer.may("jobs:read"):
        return render_page("forbidden.html", viewer=viewer, status_code=403, scope="jobs:read")
    try:
        job = find_job(session, job_id, owner=viewer.principal.visible_owner)
    except NotFound:
        return render_page("job/missing.html", viewer=viewer, status_code=404, job_id=job_id)
    return render_page("job/job.html", viewer=viewer, job=job)
