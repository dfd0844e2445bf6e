"""Workers over HTTP: who lives, what they run, and keeping them from new jobs."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, insert, literal, select, update

from heimdall_core.database.job_tables import Job, Worker
from heimdall_core.jobs.claiming import WorkerIdentity, claim_job
from heimdall_core.jobs.queue_facts import QueuePolicy
from heimdall_core.jobs.waiting import waiting_groups

TRAIN = {"kind": "train", "dataset": {"name": "northwest"}}
NAME = "worker@giaveno"
IDENTITY = WorkerIdentity(name=NAME, host="giaveno", boot_id="boot", has_gpu=False)


def add_worker(client, name=NAME, *, silent_seconds=0.0, **values):
    seen = func.now() - literal(timedelta(seconds=silent_seconds))
    row = {"host": "giaveno", "boot_id": "boot", "pid": 1, "slots": 2, "light_slots": 1, "accelerator": "cpu"}
    with client.database.transaction() as session:
        session.execute(insert(Worker).values(name=name, last_seen_at=seen, **row | values))


def claim(client):
    with client.database.transaction() as session:
        return claim_job(session, IDENTITY, lease_seconds=60)


def by_name(answer):
    assert answer.status_code == 200, answer.text
    return {worker["name"]: worker for worker in answer.json()["data"]}


@pytest.mark.parametrize("action", ["drain", "undrain"])
def test_only_an_admin_drains(client, action):
    add_worker(client)
    for headers in (client.make_key("jobs:read", "jobs:write"), {"Authorization": ""}):
        assert client.post(f"/v1/workers/{NAME}:{action}", headers=headers).status_code in {401, 403}
    assert by_name(client.get("/v1/workers"))[NAME]["draining"] is False


def test_who_may_read_jobs_may_read_workers(client):
    assert client.get("/v1/workers", headers=client.make_key("jobs:read")).status_code == 200
    assert client.get("/v1/workers", headers=client.make_key("models:read")).status_code == 403


@pytest.mark.parametrize("action", ["drain", "undrain"])
def test_an_unknown_worker_is_a_problem(client, action):
    answer = client.post(f"/v1/workers/nobody:{action}")
    assert (answer.status_code, answer.json()["code"]) == (404, "worker_not_found")


def test_an_unknown_action_is_a_problem(client):
    add_worker(client)
    answer = client.post(f"/v1/workers/{NAME}:explode")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_action")


def test_workers_are_described_by_name(client):
    add_worker(client, "b", kinds=["import"], memory_bytes=8_000_000_000)
    add_worker(client, "a", accelerator="2 gpu", silent_seconds=100_000)
    workers = by_name(client.get("/v1/workers"))
    assert list(workers) == ["a", "b"]
    assert (workers["a"]["kinds"], workers["a"]["accelerator"]) == (None, "2 gpu")
    assert (workers["b"]["kinds"], workers["b"]["memory_bytes"]) == (["import"], 8_000_000_000)
    assert (workers["a"]["is_alive"], workers["b"]["is_alive"]) == (False, True)


def test_alive_is_who_was_heard_of_within_a_lease(client):
    lease = client.settings.lease.lease_seconds
    add_worker(client, "late", silent_seconds=lease + 5)
    add_worker(client, "live", silent_seconds=lease / 2)
    workers = by_name(client.get("/v1/workers"))
    assert (workers["late"]["is_alive"], workers["live"]["is_alive"]) == (False, True)


def test_a_drained_worker_ends_what_it_runs_and_takes_nothing_new(client, dataset):
    add_worker(client)
    first, second = (client.post("/v1/jobs", json=TRAIN).json()["id"] for _ in range(2))
    client.post(f"/v1/jobs/{second}:cancel")
    taken = claim(client)
    while taken is not None and taken.job_id != first:
        taken = claim(client)
    drained = by_name(client.post(f"/v1/workers/{NAME}:drain"))[NAME]
    assert drained["draining"] is True
    assert first in drained["running_job_ids"]
    waiting = client.post("/v1/jobs", json=TRAIN).json()["id"]
    assert claim(client) is None
    assert client.get(f"/v1/jobs/{first}").json()["status"] == "running"
    assert by_name(client.post(f"/v1/workers/{NAME}:undrain"))[NAME]["draining"] is False
    taken = claim(client)
    assert taken is not None
    assert taken.job_id == waiting


def test_repeating_is_harmless(client):
    add_worker(client)
    for _ in range(2):
        assert by_name(client.post(f"/v1/workers/{NAME}:drain"))[NAME]["draining"] is True
    with client.database.transaction() as session:
        since = session.scalar(select(Worker.draining_at))
    client.post(f"/v1/workers/{NAME}:drain")
    with client.database.transaction() as session:
        assert session.scalar(select(Worker.draining_at)) == since, "since when it drains stays known"
    for _ in range(2):
        assert by_name(client.post(f"/v1/workers/{NAME}:undrain"))[NAME]["draining"] is False


def test_one_worker_is_drained_and_no_other(client):
    add_worker(client)
    add_worker(client, "other")
    assert by_name(client.post(f"/v1/workers/{NAME}:drain"))["other"]["draining"] is False


def test_a_drain_that_meets_a_claim_shows_the_job(client, dataset):
    add_worker(client)
    client.post("/v1/jobs", json=TRAIN)
    with ThreadPoolExecutor(1) as pool:
        with client.database.transaction() as session:
            taken = claim_job(session, IDENTITY, lease_seconds=60)
            answer = pool.submit(client.post, f"/v1/workers/{NAME}:drain")
            with pytest.raises(TimeoutError):
                answer.result(timeout=1.0)
        drained = by_name(answer.result(timeout=30))[NAME]
    assert taken.job_id in drained["running_job_ids"], "who waits for an idle host must not be told too early"


def test_the_queue_says_what_it_waits_for(client, dataset):
    empty_queue(client)
    assert client.get("/v1/queue").json()["waiting"] == []
    first = client.post("/v1/jobs", json=TRAIN).json()
    gpu = {**TRAIN, "resources": {"accelerator": "gpu"}}
    client.post("/v1/jobs", json=gpu)
    assert reasons(client) == {"no_worker": 2}
    add_worker(client)
    assert reasons(client) == {"no_worker": 1, "starting": 1}
    with client.database.transaction() as session:
        later = {"not_before": func.now() + literal(timedelta(hours=1)), "queued_at": func.now()}
        session.execute(update(Job).where(Job.id == first["id"]).values(**later))
    assert reasons(client) == {"no_worker": 1, "not_before": 1}


def test_an_owner_at_the_limit_waits_apart_from_others(client, dataset):
    empty_queue(client)
    add_worker(client)
    for owner in ("alice", "bob"):
        client.post("/v1/jobs", json=TRAIN, headers=client.make_key("jobs:write", owner=owner))
    claim(client)
    with client.database.transaction() as session:
        groups = waiting_groups(session, QueuePolicy(max_running_per_owner=1))
        assert [(group.reason, group.num_jobs) for group in groups] == [("starting", 1)]
        more = session.scalar(select(Job.owner).where(Job.status == "running"))
    client.post("/v1/jobs", json=TRAIN, headers=client.make_key("jobs:write", owner=more))
    with client.database.transaction() as session:
        groups = waiting_groups(session, QueuePolicy(max_running_per_owner=1))
        assert {group.reason: group.num_jobs for group in groups} == {"starting": 1, "quota": 1}


def test_recent_waits_are_told_by_kind(client, dataset):
    assert client.get("/v1/queue").json()["recent_waits"] == []
    ids = [client.post("/v1/jobs", json=TRAIN).json()["id"] for _ in range(3)]
    with client.database.transaction() as session:
        for job_id, seconds in zip(ids, (10, 30, None), strict=True):
            if seconds is not None:
                started = {"started_at": Job.created_at + literal(timedelta(seconds=seconds))}
                session.execute(update(Job).where(Job.id == job_id).values(**started))
    [told] = client.get("/v1/queue").json()["recent_waits"]
    assert (told["kind"], told["num_jobs"]) == ("train", 2)
    assert (told["p50_seconds"], told["p90_seconds"]) == (20, 28)


def empty_queue(client):
    """The import of the dataset's sessions is queued still."""
    for job_id in listed(client, status=["queued"]):
        assert client.post(f"/v1/jobs/{job_id}:cancel").status_code == 200


def reasons(client):
    return {group["reason"]: group["num_jobs"] for group in client.get("/v1/queue").json()["waiting"]}


def listed(client, **params):
    answer = client.get("/v1/jobs", params=params)
    assert answer.status_code == 200, answer.text
    return {job["id"] for job in answer.json()["data"]}
