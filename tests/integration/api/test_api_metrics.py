"""What Prometheus reads: levels as they are, and each attempt counted once."""

from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, update

from heimdall_core.database.catalogue_tables import DatasetVersion
from heimdall_core.database.job_tables import Job, Worker
from heimdall_core.database.notification_tables import WebhookDelivery, WebhookEndpoint
from heimdall_core.domain.errors import ErrorCategory, ErrorInfo
from heimdall_core.jobs.claiming import WorkerIdentity, claim_job
from heimdall_core.jobs.finishing import fail
from heimdall_core.jobs.leases import reap_expired

TRAIN = {"kind": "train", "dataset": {"name": "north"}, "model": {"backbone": "micro"}}
WORKER = WorkerIdentity(name="w@a", host="a", boot_id="b", has_gpu=False)
BROKEN = ErrorInfo(code="broken", category=ErrorCategory.DATA, message="broken")


@pytest.fixture
def north(client):
    facts = {
        "manifest_uri": "s3://b/k",
        "manifest_sha256": "1",
        "query": {},
        "split": {},
        "created_by": "ann",
    }
    row = DatasetVersion(name="north", version=1, digest="d", counts={"train": 8}, receivers=[], **facts)
    with client.database.transaction() as session:
        session.add(row)


def scrape(client):
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def claim(client):
    with client.database.transaction() as session:
        session.execute(update(Job).values(not_before=func.now()))
        return claim_job(session, WORKER, lease_seconds=60)


def test_only_who_may_see_everybodys_jobs_may_read_them(client):
    assert client.get("/metrics", headers=client.make_key("jobs:read")).status_code == 403
    assert client.get("/metrics", headers={"Authorization": ""}).status_code == 401
    key = client.make_key("jobs:read:all", owner="prometheus")
    assert client.get("/metrics", headers=key).status_code == 200


def test_each_attempt_is_counted_once_however_its_job_ends(client, north):
    scrape(client)
    job_id = client.post("/v1/jobs", json=TRAIN).json()["id"]
    waiting = scrape(client)
    assert waiting["heimdall_jobs", "queued", "train"] == 1
    assert waiting["heimdall_queue_oldest_seconds",] > 0
    claim(client)
    with client.database.transaction() as session:
        session.execute(update(Job).values(lease_expires_at=func.now() - timedelta(seconds=1)))
    with client.database.transaction() as session:
        reap_expired(session)
    client.post(f"/v1/jobs/{job_id}:cancel")  # while it waits: no attempt ends by it
    told = scrape(client)
    assert told["heimdall_job_wait_seconds_count", "train"] == 1
    assert told["heimdall_job_run_seconds_count", "lost", "train"] == 1
    assert told["heimdall_lease_expiries_total",] == 1
    assert ("heimdall_job_run_seconds_count", "cancelled", "train") not in told
    assert ("heimdall_jobs", "queued", "train") not in told
    client.post("/v1/jobs", json=TRAIN)
    failed = claim(client)
    with client.database.transaction() as session:
        fail(session, failed, BROKEN, exit_code=1)
    for _ in range(2):
        told = scrape(client)
        assert told["heimdall_job_run_seconds_count", "failed", "train"] == 1
        assert told["heimdall_job_wait_seconds_count", "train"] == 2


def test_a_worker_that_went_silent_is_lost_unless_it_was_drained_or_left_long_ago(client):
    def worker(name, hours, *, drained=False):
        seen = func.now() - timedelta(hours=hours)
        facts = {"host": "a", "boot_id": "b", "pid": 1, "slots": 1, "accelerator": "cpu"}
        gone = {"draining_at": func.now()} if drained else {}
        return Worker(name=name, last_seen_at=seen, **facts, **gone)

    with client.database.transaction() as session:
        session.add_all([worker("here", 0), worker("silent", 1), worker("last month", 700)])
        session.add_all([worker("sent away", 1, drained=True), worker("leaving", 0, drained=True)])
    told = scrape(client)
    found = {state: told["heimdall_workers", state] for state in ("alive", "draining", "lost")}
    assert found == {"alive": 1, "draining": 1, "lost": 1}


def test_webhooks_lag_by_what_is_due_and_not_by_what_waits_for_its_next_try(client):
    with client.database.transaction() as session:
        facts = {"owner": "ann", "events": ["*"], "secret": "s", "after_event_id": 0}
        session.add(WebhookEndpoint(id="whe_1", url="https://example.org", **facts))
        session.flush()
        for number, minutes in ((1, 10), (2, -10)):
            due = func.now() - timedelta(minutes=minutes)
            message = {"message_id": f"evt_{number}", "event": "job.failed", "body": "{}"}
            session.add(
                WebhookDelivery(id=f"whd_{number}", endpoint_id="whe_1", next_attempt_at=due, **message)
            )
    told = scrape(client)
    assert told["heimdall_webhook_lag_seconds",] == pytest.approx(600, abs=30)
    assert told["heimdall_webhook_deliveries_pending",] == 2
    with client.database.transaction() as session:
        session.execute(update(WebhookEndpoint).values(disabled_at=func.now()))
    assert scrape(client)["heimdall_webhook_lag_seconds",] == 0


def test_requests_are_timed_by_route_and_pools_told(client):
    client.get("/v1/jobs/job_aaaaaaaaaaaaaaaaaaaaaaaa")
    client.get("/v1/nothing/here")
    told = scrape(client)
    assert told["heimdall_http_request_seconds_count", "/v1/jobs/{job_id}", "404", "GET"] == 1
    assert told["heimdall_http_request_seconds_count", "404", "GET", "none"] == 1
    assert 1 <= told["heimdall_database_connections",] <= told["heimdall_database_connections_limit",]
    assert told["heimdall_event_streams",] == 0
