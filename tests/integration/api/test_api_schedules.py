"""Schedules and drift scores over HTTP."""

import pytest
from sqlalchemy import func, update

from heimdall_core.database.job_tables import Job
from heimdall_core.registry.promotion import Gate
from heimdall_core.registry.publishing import publish_model

SCHEDULES, SCORES = "/v1/schedules", "/v1/models/localization/drift-scores"
CRON = {"type": "cron", "expression": "0 3 * * mon", "time_zone": "Europe/Rome", "jitter_seconds": 600}
BODY = {"name": "weekly", "model": "localization", "when": CRON, "retrain": {"reason": "weekly"}}
ENDED = {"status": "succeeded", "started_at": func.now(), "finished_at": func.now()}


@pytest.fixture
def champion(client, dataset):
    """A champion trained on all that is approved."""
    job_id = client.post("/v1/jobs", json={"kind": "train", "dataset": {"name": "northwest"}}).json()["id"]
    gate = Gate(policy=client.settings.promotion, store=client.store)
    result = {
        "metrics": {"median_error_m": 1000.0, "nll_per_m2": 17.0, "coverage_68": 0.68},
        "onnx": {"uri": "s3://heimdall-models/x.onnx", "sha256": "1" * 64, "bytes": 7},
        "verification": {"passed": True},
        "dataset": {"name": "northwest", "version": 1},
    }
    with client.database.transaction() as session:
        job = session.get_one(Job, job_id)
        publish_model(session, job=job, name="localization", result=result, promote="if_better", gate=gate)
        session.execute(update(Job).where(Job.id == job_id).values(**ENDED))


def problem(response, status, code):
    assert response.status_code == status, response.text
    assert response.json()["code"] == code
    return response.json()


def create(client, headers=None, **fields):
    response = client.post(SCHEDULES, json=BODY | fields, headers=headers)
    assert response.status_code == 201, response.text
    return response.json()


REFUSED = [
    ({"when": CRON | {"expression": "never"}}, "bad_cron_expression", "#/when/expression"),
    ({"when": CRON | {"expression": "0 0 31 2 *"}}, "cron_never_fires", "#/when/expression"),
    ({"when": CRON | {"time_zone": "Mars/Base"}}, "bad_time_zone", "#/when/time_zone"),
    ({"when": CRON | {"jitter_seconds": 3601}}, "invalid_request", None),
    ({"when": CRON | {"catch_up": "all"}}, "invalid_request", None),
    ({"when": {"type": "new_sessions", "sessions": 0}}, "invalid_request", None),
    ({"when": {"type": "drift"}}, "invalid_request", None),
    ({"when": {"type": "moon"}}, "invalid_request", None),
    ({"retrain": {}}, "invalid_request", None),
    ({"retrain": {"reason": "x", "overrides": {"register": {}}}}, "not_overridable", None),
    ({"owner": "eve"}, "invalid_request", "#/owner"),
]


def test_what_cannot_be_is_refused_by_name(client, champion):
    for change, code, pointer in REFUSED:
        refused = problem(client.post(SCHEDULES, json=BODY | change), 422, code)
        pointers = [error["pointer"] for error in refused["errors"]]
        assert pointers if pointer is None else pointers == [pointer], change
    assert client.get(SCHEDULES).json()["data"] == []


def test_of_a_model_that_is_not_there_nothing_is_made(client):
    problem(client.post(SCHEDULES, json=BODY), 404, "model_not_found")
    problem(client.post(SCORES, json={"score": 0.5}), 404, "model_not_found")
    problem(client.get(SCORES), 404, "model_not_found")


def test_a_schedule_is_its_owners(client, champion):
    bob = client.make_key("jobs:read", "jobs:write", owner="bob")
    ann, his = create(client), create(client, bob)
    here = f"{SCHEDULES}/{ann['id']}"
    for method, path in [("GET", here), ("PATCH", here), ("DELETE", here), ("POST", f"{here}:run")]:
        json = {} if method == "PATCH" else None
        problem(client.request(method, path, json=json, headers=bob), 404, "schedule_not_found")
    sees_all = client.make_key("jobs:read:all", "jobs:write", owner="eve")
    assert client.get(here, headers=sees_all).status_code == 200
    problem(client.post(f"{here}:run", headers=sees_all), 404, "schedule_not_found")
    assert [one["id"] for one in client.get(SCHEDULES, headers=bob).json()["data"]] == [his["id"]]
    assert [one["id"] for one in client.get(SCHEDULES).json()["data"]] == [his["id"], ann["id"]]
    assert client.get(SCHEDULES, params={"model": "other"}).json()["data"] == []


def test_a_schedule_is_made_once_read_changed_and_deleted(client, champion):
    key = {"Idempotency-Key": '"one"'}
    made, again = (client.post(SCHEDULES, json=BODY, headers=key) for _ in range(2))
    assert (made.status_code, again.json()) == (201, made.json())
    here = made.headers["location"]
    read = client.get(here)
    assert read.json()["when"] == CRON | {"catch_up": "skip"}
    assert read.json()["next_run_at"] > read.json()["created_at"]
    assert client.get(here, headers={"If-None-Match": read.headers["etag"]}).status_code == 304
    seen = {"If-Match": read.headers["etag"]}
    changed = client.patch(here, json={"enabled": False, "name": "resting"}, headers=seen).json()
    assert (changed["name"], changed["enabled"], changed["next_run_at"]) == ("resting", False, None)
    assert client.patch(here, json={"name": "x"}, headers=seen).status_code == 412
    drift = {"type": "drift", "threshold": 0.5}
    changed = client.patch(here, json={"when": drift, "enabled": True}).json()
    assert (changed["when"]["consecutive"], changed["next_run_at"]) == (1, None)
    refused = client.patch(here, json={"when": CRON | {"expression": "0 0 31 2 *"}})
    problem(refused, 422, "cron_never_fires")
    assert client.delete(here).status_code == 204
    problem(client.get(here), 404, "schedule_not_found")


def test_a_schedule_runs_when_asked_and_its_job_is_the_owners(client, champion, hints):
    bob = client.make_key("jobs:read", "jobs:write", owner="bob")
    here = f"{SCHEDULES}/{create(client, bob, enabled=False)['id']}"
    problem(client.post(f"{here}:run"), 409, "nothing_new")
    client.import_sessions(range(12, 14), auto_approve=True)
    before, key = hints.num_hints, {"Idempotency-Key": '"two"'}
    ran = client.post(f"{here}:run", headers=key)
    assert ran.status_code == 202, ran.text
    assert client.post(f"{here}:run", headers=key).json() == ran.json()
    assert hints.num_hints > before
    job = client.get(ran.headers["location"], headers=bob).json()
    assert (job["created_by"], job["id"]) == ("bob", ran.json()["last_outcome"]["job_id"])
    problem(client.post(f"{here}:run"), 409, "still_running")


def test_scores_are_counted_and_listed_newest_first(client, champion):
    create(client, when={"type": "drift", "threshold": 0.5, "consecutive": 2})
    for bad in (
        {},
        {"score": "NaN"},
        {"score": 1, "observed_at": "2026-01-01T00:00:00"},
        {"score": 1, "x": 1},
    ):
        assert client.post(SCORES, json=bad).status_code == 422, bad
    problem(
        client.post(SCORES, json={"score": 1, "observed_at": "2999-01-01T00:00:00Z"}),
        422,
        "observed_in_future",
    )
    service = client.make_key("jobs:write", owner="inference")
    for score, num_due in ((0.6, 0), (0.7, 1)):
        posted = client.post(SCORES, json={"score": score, "source": "inference-1"}, headers=service)
        assert (posted.status_code, posted.json()["num_due"]) == (201, num_due)
    told = {"score": 0.1, "observed_at": "2026-01-01T00:00:00Z"}
    assert client.post(SCORES, json=told).status_code == 201
    problem(client.post(SCORES, json=told | {"score": 0.2}), 409, "drift_score_differs")
    listed = client.get(SCORES, params={"limit": 2}).json()
    assert [one["score"] for one in listed["data"]] == [0.7, 0.6]
    rest = client.get(SCORES, params={"limit": 2, "cursor": listed["next_cursor"]}).json()
    assert [one["score"] for one in rest["data"]] == [0.1]


def test_an_owner_has_a_bounded_number_of_schedules(client, champion, monkeypatch):
    monkeypatch.setattr("heimdall_core.scheduling.schedules.MAX_SCHEDULES", 1)
    create(client)
    problem(client.post(SCHEDULES, json=BODY), 409, "too_many_schedules")
