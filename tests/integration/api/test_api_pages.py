"""The jobs pages, on a real database."""

import pytest
from sqlalchemy import func, update

from heimdall_core.database.job_tables import Artifact, Job, LogChunk

TRAIN = {"kind": "train", "dataset": {"name": "northwest"}}


@pytest.fixture
def signed_in(client):
    key = client.headers["Authorization"].removeprefix("Bearer ")
    response = client.post("/sign-in", data={"key": key}, follow_redirects=False)
    assert response.status_code == 303
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    return client


def test_a_job_is_listed_and_the_page_refreshes(signed_in, dataset):
    job = signed_in.post("/v1/jobs", json=TRAIN).json()
    page = signed_in.get("/")
    assert page.status_code == 200
    assert job["id"] in page.text
    assert "northwest v1" in page.text
    assert 'http-equiv="refresh"' in page.text


def test_a_failed_job_shows_why_with_everything_escaped(signed_in, dataset):
    job_id = signed_in.post("/v1/jobs", json=TRAIN).json()["id"]
    error = {"code": "bad_data", "category": "data", "message": "<script>x</script>", "hint": "look & see"}
    with signed_in.database.transaction() as session:
        values = {"status": "failed", "error": error, "attempt": 1, "metrics": {"val_loss": 1.25}}
        session.execute(update(Job).where(Job.id == job_id).values(finished_at=func.now(), **values))
        session.add(LogChunk(job_id=job_id, attempt=1, number=1, content="<b>last words</b>"))
        session.add(
            Artifact(
                id="art_1",
                job_id=job_id,
                attempt=1,
                name="map.png",
                kind="plot",
                uri="s3://b/map.png",
                sha256="0" * 64,
                num_bytes=4,
                media_type="image/png",
            )
        )
    for page in (signed_in.get("/"), signed_in.get(f"/jobs/{job_id}")):
        assert page.status_code == 200
        assert "&lt;script&gt;x" in page.text
        assert "<script" not in page.text
    assert "look &amp; see" in page.text
    assert "&lt;b&gt;last words" in page.text
    assert "1.25" in page.text
    assert "map.png" in page.text
    assert "job.queued" in page.text
    assert 'http-equiv="refresh"' not in page.text


def test_an_unknown_job_is_told_on_a_page(signed_in):
    response = signed_in.get("/jobs/job_aaaaaaaaaaaaaaaaaaaaaaaa")
    assert response.status_code == 404
    assert "no job" in response.text


def test_a_key_that_may_not_read_jobs_does_not_sign_in(client):
    key = client.make_key("models:read")["Authorization"].removeprefix("Bearer ")
    assert client.post("/sign-in", data={"key": key}).status_code == 401


def test_the_api_does_not_take_the_cookie(signed_in):
    del signed_in.headers["Authorization"]
    assert signed_in.get("/v1/jobs").status_code == 401
