"""The pages, on a real database."""

import pytest

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


@pytest.mark.parametrize("path", ["/", "/fleet"])
def test_a_page_is_a_shell_whose_data_come_from_the_public_api(signed_in, dataset, path):
    job = signed_in.post("/v1/jobs", json=TRAIN).json()
    page = signed_in.get(path)
    assert page.status_code == 200
    assert job["id"] not in page.text
    assert "New job" in page.text
    assert 'id="connection"' in page.text


def test_a_viewer_is_offered_only_what_the_key_opens(client):
    key = client.make_key("jobs:read")["Authorization"].removeprefix("Bearer ")
    client.post("/sign-in", data={"key": key})
    page = client.get("/").text
    assert 'href="/fleet"' in page
    for absent in ("New job", 'href="/models"', 'href="/datasets"', "Mine only", "select-all"):
        assert absent not in page


@pytest.mark.parametrize("path", ["/", "/fleet"])
def test_a_key_that_may_not_read_jobs_is_told_so(client, path):
    key = client.make_key("models:read")["Authorization"].removeprefix("Bearer ")
    client.post("/sign-in", data={"key": key})
    page = client.get(path)
    assert page.status_code == 403
    assert "jobs:read" in page.text


def test_an_unknown_job_is_told_on_a_page(signed_in):
    response = signed_in.get("/jobs/job_aaaaaaaaaaaaaaaaaaaaaaaa")
    assert response.status_code == 404
    assert "job_aaaaaaaaaaaaaaaaaaaaaaaa" in response.text
