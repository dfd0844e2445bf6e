"""Jobs over HTTP, on a real database."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, update

from api.schemas.jobs import JobDocument, JobPage
from heimdall_core.database.job_tables import Artifact, Job, JobEvent, LogChunk, MetricPoint

TRAIN = {"kind": "train", "dataset": {"name": "northwest"}}


def count_jobs(client, kind="train"):
    with client.database.transaction() as session:
        return session.scalar(select(func.count()).where(Job.kind == kind))


def change(client, job_id, **values):
    with client.database.transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(revision=Job.revision + 1, **values))


def test_an_unknown_dataset_is_named_and_nothing_is_queued(client, hints):
    response = client.post("/v1/jobs", json=TRAIN)
    assert response.status_code == 404
    assert response.json()["code"] == "dataset_not_found"
    assert response.json()["errors"][0]["pointer"] == "#/dataset/name"
    assert count_jobs(client) == 0
    assert hints.num_hints == 0


def test_an_unknown_version_is_named(client, dataset):
    response = client.post("/v1/jobs", json=TRAIN | {"dataset": {"name": "northwest", "version": 9}})
    assert response.status_code == 404
    assert response.json()["errors"][0]["pointer"] == "#/dataset/version"


@pytest.mark.parametrize(
    ("part", "pointer"),
    [
        ({"resources": {"devices": 2, "num_nodes": 2}}, "#/resources/num_nodes"),
        ({"export": {"outputs": [{"precision": "int8", "opset": 21}]}}, "#/export/outputs/0/opset"),
    ],
)
def test_what_is_not_built_is_refused_not_ignored(client, dataset, part, pointer):
    response = client.post("/v1/jobs", json=TRAIN | part)
    assert response.status_code == 422
    assert response.json()["code"] == "not_supported_yet"
    assert response.json()["errors"][0]["pointer"] == pointer
    assert count_jobs(client) == 0


@pytest.mark.parametrize(
    ("part", "status", "code", "pointer"),
    [
        ({"init_from": "ckpt_1"}, 422, "invalid_request", "#/init_from"),
        ({"init_from": {"name": "moon"}}, 404, "model_not_found", "#/init_from/name"),
        ({"model": {"backbone": "micro", "pretrained": True}}, 422, "bad_start", "#/model/pretrained"),
        ({"model": {"freeze_backbone": True}}, 422, "bad_start", "#/model/freeze_backbone"),
    ],
)
def test_a_start_that_cannot_be_is_refused_by_its_field(client, dataset, part, status, code, pointer):
    response = client.post("/v1/jobs", json=TRAIN | part)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
    assert count_jobs(client) == 0


def test_a_submitted_job_is_committed_then_hinted_and_says_where_it_is(client, dataset, hints):
    before = hints.num_hints
    response = client.post("/v1/jobs", json=TRAIN | {"tags": {"team": "rf"}})
    assert response.status_code == 202
    job = JobDocument.model_validate(response.json())
    assert response.headers["location"] == f"/v1/jobs/{job.id}"
    assert response.headers["retry-after"]
    assert job.status == "queued"
    assert job.spec["dataset"] == {"name": "northwest", "version": dataset["version"]}
    assert job.spec["training"]["epochs"] == 100
    assert job.created_by == "ann"
    assert hints.num_hints == before + 1
    assert client.get(response.headers["location"]).json()["id"] == job.id


def test_a_repeated_key_gives_the_first_answer_and_one_job(client, dataset, hints):
    headers = {"Idempotency-Key": '"once"'}
    first = client.post("/v1/jobs", json=TRAIN, headers=headers)
    before = hints.num_hints
    again = client.post("/v1/jobs", json=TRAIN, headers=headers)
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert count_jobs(client) == 1
    assert hints.num_hints == before


def test_a_key_with_another_body_is_refused(client, dataset):
    headers = {"Idempotency-Key": "once"}
    client.post("/v1/jobs", json=TRAIN, headers=headers)
    response = client.post("/v1/jobs", json=TRAIN | {"priority": "high"}, headers=headers)
    assert response.status_code == 422
    assert response.json()["code"] == "idempotency_key_reused"
    assert count_jobs(client) == 1


def test_the_same_key_of_another_owner_is_another_key(client, dataset):
    headers = {"Idempotency-Key": "once"}
    mine = client.post("/v1/jobs", json=TRAIN, headers=headers).json()
    theirs = client.post("/v1/jobs", json=TRAIN, headers=headers | client.make_key("jobs:write")).json()
    assert mine["id"] != theirs["id"]
    assert theirs["created_by"] == "bob"


def test_a_key_that_is_being_answered_is_in_use(client, dataset):
    lock = select(func.pg_advisory_xact_lock(func.hashtextextended("ann busy", 0)))
    with client.database.transaction() as session:
        session.execute(lock)
        response = client.post("/v1/jobs", json=TRAIN, headers={"Idempotency-Key": "busy"})
    assert response.status_code == 409
    assert response.json()["code"] == "idempotency_key_in_use"
    assert client.post("/v1/jobs", json=TRAIN, headers={"Idempotency-Key": "busy"}).status_code == 202


def test_a_refused_request_leaves_its_key_free(client):
    headers = {"Idempotency-Key": "early"}
    assert client.post("/v1/jobs", json=TRAIN, headers=headers).status_code == 404
    client.import_sessions(range(6), auto_approve=True)
    client.post("/v1/datasets", json={"name": "northwest"})
    assert client.post("/v1/jobs", json=TRAIN, headers=headers).status_code == 202


def test_an_unchanged_job_costs_a_304(client, dataset):
    job = client.post("/v1/jobs", json=TRAIN).json()
    path = f"/v1/jobs/{job['id']}"
    etag = client.get(path).headers["etag"]
    assert etag.startswith('"')
    same = client.get(path, headers={"If-None-Match": f'"other", {etag}'})
    assert same.status_code == 304
    assert same.content == b""
    assert same.headers["cache-control"] == "private, no-cache"
    change(client, job["id"], tags={"seen": "yes"})
    assert client.get(path, headers={"If-None-Match": etag}).status_code == 200


def test_moving_up_in_the_queue_changes_the_etag(client, dataset):
    first = client.post("/v1/jobs", json=TRAIN).json()
    path = client.post("/v1/jobs", json=TRAIN).headers["location"]
    etag = client.get(path).headers["etag"]
    client.post(f"/v1/jobs/{first['id']}:cancel")
    moved = client.get(path, headers={"If-None-Match": etag})
    assert moved.status_code == 200
    assert moved.json()["queue"]["position"] < 9


def test_a_queued_job_is_cancelled_at_once_and_again_without_effect(client, dataset):
    job = client.post("/v1/jobs", json=TRAIN).json()
    first = client.post(f"/v1/jobs/{job['id']}:cancel")
    assert first.status_code == 200
    assert first.json()["status"] == "cancelled"
    assert client.post(f"/v1/jobs/{job['id']}:cancel").json() == first.json()


def test_a_job_that_has_ended_cannot_be_cancelled(client, dataset):
    job = client.post("/v1/jobs", json=TRAIN).json()
    error = {"code": "x", "category": "bug", "message": "x", "retryable": False, "hint": None}
    change(client, job["id"], status="failed", error=error, finished_at=func.now())
    response = client.post(f"/v1/jobs/{job['id']}:cancel")
    assert response.status_code == 409
    assert response.json()["code"] == "job_already_ended"


def test_another_owners_job_is_not_found(client, dataset):
    job = client.post("/v1/jobs", json=TRAIN).json()
    bob = client.make_key("jobs:read", "jobs:write")
    for part in ("", "/events", "/metrics", "/logs", "/artifacts", "/attempts"):
        assert client.get(f"/v1/jobs/{job['id']}{part}", headers=bob).status_code == 404, part
    assert client.post(f"/v1/jobs/{job['id']}:cancel", headers=bob).status_code == 404
    assert client.get("/v1/jobs", headers=bob).json()["data"] == []


def test_an_unknown_job_is_not_found(client):
    response = client.get("/v1/jobs/job_aaaaaaaaaaaaaaaaaaaaaaaa")
    assert response.status_code == 404
    assert response.json()["code"] == "job_not_found"


def test_pages_hold_every_job_once(client, dataset):
    made = [client.post("/v1/jobs", json=TRAIN).json()["id"] for _ in range(5)]
    seen, cursor = [], None
    while True:
        parameters = {"limit": 2, "kind": "train"} | ({"cursor": cursor} if cursor else {})
        page = JobPage.model_validate(client.get("/v1/jobs", params=parameters).json())
        assert page.has_more == (page.next_cursor is not None)
        seen += [job.id for job in page.data]
        cursor = page.next_cursor
        if not cursor:
            break
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ("status=queued&status=running", True),
        ("status=succeeded", False),
        ("kind=train", True),
        ("kind=export", False),
        ("model=localization", True),
        ("model=other", False),
        ("dataset=northwest", True),
        ("dataset=northwest/1", True),
        ("dataset=northwest/2", False),
        ("dataset=other", False),
        ("tag=team", True),
        ("tag=team:rf", True),
        ("tag=team:ml", False),
        ("created_after=2020-01-01T00:00:00", True),
        ("created_before=2020-01-01T00:00:00Z", False),
    ],
)
def test_filters_select(client, dataset, query, matches):
    job = client.post("/v1/jobs", json=TRAIN | {"tags": {"team": "rf"}}).json()
    ids = [found["id"] for found in client.get(f"/v1/jobs?{query}").json()["data"]]
    assert (job["id"] in ids) == matches


def test_a_made_up_cursor_is_refused(client):
    response = client.get("/v1/jobs?cursor=made-up")
    assert response.status_code == 422


def test_what_a_job_reported_is_read_in_pieces(client, dataset):
    job_id = client.post("/v1/jobs", json=TRAIN).json()["id"]
    with client.database.transaction() as session:
        session.add_all(JobEvent(job_id=job_id, name=f"step.{i}", data={"i": i}) for i in range(3))
        session.add(MetricPoint(job_id=job_id, name="val_loss", step=10, epoch=1, value=0.5, attempt=1))
        session.add(MetricPoint(job_id=job_id, name="lr", step=10, epoch=1, value=0.1, attempt=1))
        session.add_all(LogChunk(job_id=job_id, attempt=1, number=n, content=f"line {n}\n") for n in (1, 2))
        uri = f"s3://{client.settings.storage.models_bucket}/jobs/{job_id}/a1/model.onnx"
        stored = client.store.put_bytes(uri, b"onnx")
        session.add(
            Artifact(
                id="art_1",
                job_id=job_id,
                attempt=1,
                name="model.onnx",
                kind="onnx",
                uri=uri,
                sha256=stored.sha256,
                num_bytes=4,
                media_type="application/octet-stream",
            )
        )
    base = f"/v1/jobs/{job_id}"
    events = client.get(f"{base}/events?limit=2").json()
    rest = client.get(f"{base}/events?after={events['next_after']}").json()
    names = [event["event"] for event in events["data"] + rest["data"]]
    assert names == ["job.queued", "step.0", "step.1", "step.2"]
    assert set(client.get(f"{base}/metrics").json()["metrics"]) == {"val_loss", "lr"}
    curves = client.get(f"{base}/metrics?name=lr").json()["metrics"]
    assert curves == {"lr": [{"step": 10, "epoch": 1, "value": 0.1, "attempt": 1}]}
    log = client.get(f"{base}/logs?attempt=1&limit=1").json()
    assert log == {"attempt": 1, "content": "line 1\n", "next_after": 1, "next_before": None}
    assert client.get(f"{base}/logs?attempt=1&after=1").json()["content"] == "line 2\n"
    assert client.get(f"{base}/attempts").json() == {"data": []}
    (artifact,) = client.get(f"{base}/artifacts").json()["data"]
    assert artifact["sha256"] == stored.sha256
    assert artifact["bytes"] == 4


def test_the_queue_and_the_workers_are_described(client, dataset):
    before = client.get("/v1/queue").json()["queued"]
    client.post("/v1/jobs", json=TRAIN)
    queue = client.get("/v1/queue").json()
    assert queue["queued"] == before + 1
    assert queue["oldest_queued_at"]
    assert client.get("/v1/workers").json() == {"data": []}


def test_the_service_is_ready(client):
    assert client.get("/readyz").json() == {
        "ready": True,
        "database": "ok",
        "redis": "ok",
        "storage": "ok",
        "tracking": "not_used",
    }


@pytest.mark.parametrize(
    "part", [{"tags": {"note": "a\u0000b"}}, {"dataset": {"name": "northwest", "version": 10**30}}]
)
def test_what_the_database_cannot_hold_is_told(client, dataset, part):
    response = client.post("/v1/jobs", json=TRAIN | part)
    assert response.status_code in {404, 422}
    assert response.headers["content-type"] == "application/problem+json"


def test_a_point_that_is_no_number_is_null(client, dataset):
    job_id = client.post("/v1/jobs", json=TRAIN).json()["id"]
    with client.database.transaction() as session:
        point = MetricPoint(job_id=job_id, name="loss", step=1, epoch=0, value=float("nan"), attempt=1)
        session.add(point)
    (point,) = client.get(f"/v1/jobs/{job_id}/metrics").json()["metrics"]["loss"]
    assert point["value"] is None


def test_two_requests_with_one_key_at_once_make_one_job(client, dataset):
    def submit(_):
        return client.post("/v1/jobs", json=TRAIN, headers={"Idempotency-Key": "race"})

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(submit, range(6)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 202}) == 1
    assert count_jobs(client) == 1
