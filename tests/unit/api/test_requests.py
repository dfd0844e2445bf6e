"""Request ids, log lines and headers."""

import pytest
from structlog.testing import capture_logs


def test_a_good_request_id_is_kept(client):
    assert client.get("/livez", headers={"X-Request-Id": "a.b-1"}).headers["x-request-id"] == "a.b-1"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a;b"])
def test_a_bad_request_id_is_replaced(client, given):
    returned = client.get("/livez", headers={"X-Request-Id": given}).headers["x-request-id"]
    assert returned.startswith("req_")


def test_each_request_writes_one_line_with_its_template(client):
    with capture_logs() as lines:
        client.get("/v1/jobs/job_aaaaaaaaaaaaaaaaaaaaaaaa/events?after=1")
    (line,) = [line for line in lines if line["event"] == "request"]
    assert line["path"] == "/v1/jobs/{job_id}/events"
    assert line["method"] == "GET"
    assert line["status"] == 401
    assert line["duration_ms"] >= 0


def test_answers_are_not_cached_nor_sniffed(client):
    headers = client.get("/livez").headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_liveness_needs_no_neighbour(client):
    assert client.get("/livez").json() == {"status": "ok"}


def test_readiness_names_who_does_not_answer(client):
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {
        "ready": False,
        "database": "unavailable",
        "redis": "unavailable",
        "storage": "ok",
        "tracking": "not_used",
    }
