"""Trainings that many callers submit at a time."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError

import api.joint_submissions
from heimdall_core.database.account_tables import AuditEntry
from heimdall_core.database.catalogue_tables import ApiKey, DatasetVersion
from heimdall_core.database.job_tables import Job, JobEvent
from heimdall_core.database.notification_tables import Event

TRAIN = {"kind": "train", "dataset": {"name": "northwest"}}
ORDINARY = {"Content-Type": "application/of-a-kind+json"}
"""What such a request goes alone by."""


@pytest.fixture
def dataset(client):
    """A version that nobody reads."""
    with client.database.transaction() as session:
        for version in (1, 2):
            session.add(
                DatasetVersion(
                    name="northwest",
                    version=version,
                    digest=f"{version}" * 64,
                    manifest_uri=f"s3://models/{version}.json",
                    manifest_sha256="e" * 64,
                    counts={},
                    receivers=[],
                    query={},
                    split={},
                    created_by="ann",
                )
            )


@pytest.fixture
def key(client, dataset):
    """Of Bob, used a moment ago."""
    headers = client.make_key("jobs:write", "jobs:read")
    client.get("/v1/jobs", headers=headers)
    return headers


def submit(client, headers=None, **parts):
    return client.post("/v1/jobs", json=TRAIN | parts, headers=headers)


def submit_at_once(client, requests):
    """Answers in the order of the requests, all of which wait while the key of the first is looked up."""
    submissions = client.app.state.submissions
    with ThreadPoolExecutor(len(requests)) as threads, holding(client, "training.api_key"):
        answers = []
        for number, (headers, parts) in enumerate(requests):
            answers.append(threads.submit(submit, client, headers, **parts))
            wait_until(lambda number=number: submissions.num_waiting == number if number else waits(client))
    return [answer.result() for answer in answers]


@contextmanager
def holding(client, table):
    """Lets nobody read the table meanwhile."""
    with client.database.transaction() as session:
        session.execute(text(f"lock table {table} in access exclusive mode"))
        yield


def waits(client):
    """Whether somebody waits for a lock."""
    return rows(client, text("select 1 from pg_locks where not granted"))


def wait_until(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never held"
        time.sleep(0.002)


def rows(client, statement):
    with client.database.transaction() as session:
        return session.execute(statement).all()


def num_transactions(client):
    return rows(client, select(func.count(text("distinct xmin::text"))).select_from(Job))[0][0]


def test_what_comes_at_once_is_queued_together_and_in_the_order_in_which_it_came(client, key, hints):
    before = hints.num_hints
    answers = submit_at_once(client, [(key, {"tags": {"n": str(n)}}) for n in range(12)])
    assert {answer.status_code for answer in answers} == {202}
    ids = [answer.json()["id"] for answer in answers]
    assert [answer.headers["location"] for answer in answers] == [f"/v1/jobs/{job_id}" for job_id in ids]
    assert [answer.json()["tags"] for answer in answers] == [{"n": str(n)} for n in range(12)]
    assert [answer.json()["queue"]["position"] for answer in answers] == list(range(1, 13))
    assert [row.id for row in rows(client, select(Job.id).order_by(Job.created_at))] == ids
    assert num_transactions(client) <= 2
    assert hints.num_hints == before + 12
    events = select(Event.job_id).join(JobEvent, JobEvent.id == Event.job_event_id)
    assert [row.job_id for row in rows(client, events.order_by(Event.id))] == ids
    listed = client.get("/v1/jobs", headers=key).json()["data"]
    assert [job["id"] for job in listed] == ids[::-1]


def test_each_is_told_its_place_among_those_that_came_with_it(client, key):
    assert submit(client, key | ORDINARY).json()["queue"]["position"] == 1
    priorities = ("normal", "high", "normal", "low", "high")
    answers = submit_at_once(client, [(key, {"priority": priority}) for priority in priorities])
    assert [answer.json()["queue"]["position"] for answer in answers] == [2, 1, 4, 5, 2]
    places = [client.get(a.headers["location"], headers=key).json()["queue"]["position"] for a in answers]
    assert places == [4, 1, 5, 6, 2]


def test_each_has_an_entry_of_its_own_in_the_audit_log(client, key):
    requests = [(key | {"X-Request-Id": f"r{n}"}, {}) for n in range(4)]
    answers = submit_at_once(client, requests)
    noted = rows(client, select(AuditEntry).where(AuditEntry.request_id.like("r_")))
    found = {entry.request_id: (entry.actor, entry.key_id, entry.target, entry.client) for (entry,) in noted}
    key_id = rows(client, select(ApiKey.id).where(ApiKey.owner == "bob"))[0].id
    assert found == {
        f"r{n}": ("bob", key_id, answer.headers["location"], "testclient") for n, answer in enumerate(answers)
    }


def test_the_answer_is_that_of_a_request_that_went_alone(client, key):
    parts = {"priority": "high", "not_before": "2031-05-01T12:00:00+02:00", "tags": {"team": "Gerät"}}
    together = submit(client, key, **parts).json()
    alone = submit(client, key | ORDINARY, **parts).json()
    read = client.get(f"/v1/jobs/{together['id']}", headers=key).json()
    assert read == together
    own = {"id", "created_at", "trace_id", "links", "queue"}
    assert {k: v for k, v in together.items() if k not in own} == {
        k: v for k, v in alone.items() if k not in own
    }
    first, second = rows(client, select(Job).order_by(Job.created_at))
    differing = {"id", "created_at", "updated_at", "queued_at", "traceparent"}
    for column in set(Job.__table__.columns.keys()) - differing:
        assert getattr(first[0], column) == getattr(second[0], column), column


def test_the_trace_of_each_request_goes_into_its_job(client, key):
    traces = [f"{n:032x}" for n in range(1, 4)]
    requests = [(key | {"traceparent": f"00-{trace}-{'1' * 16}-01"}, {}) for trace in traces]
    assert [answer.json()["trace_id"] for answer in submit_at_once(client, requests)] == traces


def test_an_idempotency_key_that_comes_many_times_at_once_makes_one_job(client, key):
    requests = [(key | {"Idempotency-Key": '"once"'}, {}) for _ in range(6)]
    answers = submit_at_once(client, [(key, {}), *requests])[1:]
    made = [answer for answer in answers if answer.status_code == 202]
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.json()["id"] for answer in made}) == 1
    assert [a.headers.get("idempotency-replayed") for a in made].count(None) == 1
    assert len(rows(client, select(Job.id))) == 2
    again = submit(client, requests[0][0])
    assert (again.json(), again.headers["idempotency-replayed"]) == (made[0].json(), "true")


def test_a_key_answered_together_is_not_taken_with_another_body(client, key):
    headers = key | {"Idempotency-Key": '"once"'}
    assert submit(client, headers).status_code == 202
    response = submit(client, headers, priority="high")
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    assert len(rows(client, select(Job.id))) == 1


def test_what_is_wrong_with_one_is_said_to_it_alone(client, key):
    reader = client.make_key("jobs:read", owner="eve")
    client.get("/v1/jobs", headers=reader)
    unknown = {"Authorization": "Bearer hmd_" + "x" * 40}
    answers = submit_at_once(
        client,
        [
            (key, {}),
            (key, {"dataset": {"name": "moon"}}),
            (reader, {}),
            (unknown, {}),
            (key, {"dataset": {"name": "northwest", "version": 9}}),
            (key, {"dataset": {"name": "northwest", "version": 1}}),
        ],
    )
    assert [answer.status_code for answer in answers] == [202, 404, 403, 401, 404, 202]
    versions = [row.spec["dataset"]["version"] for row in rows(client, select(Job.spec).order_by(Job.id))]
    assert sorted(versions) == [1, 2]


@pytest.mark.parametrize(
    "part", ['"tags": {"a": "\\u0000"}', '"tags": {"a": "\\ud800"}', '"training": {"gradient_clip": 1e999}']
)
def test_what_cannot_be_stored_joins_no_others(client, key, part, monkeypatch):
    monkeypatch.setattr(api.joint_submissions, "enqueue_all", lambda *_: pytest.fail("it joined others"))
    body = f'{{"kind": "train", "dataset": {{"name": "northwest"}}, {part}}}'
    response = client.post("/v1/jobs", content=body, headers=key | {"Content-Type": "application/json"})
    assert response.status_code == 422
    assert rows(client, select(Job.id)) == []


def test_a_key_that_is_revoked_before_the_job_is_written_queues_nothing(client, key, monkeypatch):
    looked_up = api.joint_submissions.find_callers

    def then_revoked(session, keys):
        found = looked_up(session, keys)
        with client.database.transaction() as another:
            another.execute(update(ApiKey).where(ApiKey.owner == "bob").values(revoked_at=func.now()))
        return found

    monkeypatch.setattr(api.joint_submissions, "find_callers", then_revoked)
    response = submit(client, key)
    assert (response.status_code, response.json()["code"]) == (401, "key_revoked")
    assert rows(client, select(Job.id)) == []


def test_what_may_have_been_committed_is_not_done_again(client, key, hints, monkeypatch):
    written = api.joint_submissions.enqueue_all

    def then_lost(session, jobs, encoded):
        written(session, jobs, encoded)
        session.commit()
        raise OperationalError("commit", {}, Exception("the connection is lost"))

    before = hints.num_hints
    monkeypatch.setattr(api.joint_submissions, "enqueue_all", then_lost)
    response = submit(client, key)
    assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
    assert len(rows(client, select(Job.id))) == 1
    assert hints.num_hints == before


def test_what_the_database_refused_together_goes_alone(client, key, monkeypatch):
    def refused(session, jobs, encoded):
        raise IntegrityError("insert", {}, Exception("no"))

    monkeypatch.setattr(api.joint_submissions, "enqueue_all", refused)
    answers = submit_at_once(client, [(key, {}) for _ in range(3)])
    assert [answer.status_code for answer in answers] == [202] * 3
    assert len(rows(client, select(Job.id))) == 3


@pytest.mark.parametrize(
    "parts", [{"on_duplicate": "reject"}, {"on_duplicate": "return"}, {"init_from": {"name": "moon"}}]
)
def test_what_needs_to_be_looked_at_alone_is(client, key, parts, monkeypatch):
    monkeypatch.setattr(api.joint_submissions, "find_callers", lambda *_: pytest.fail("it joined others"))
    assert submit(client, key, **parts).status_code in {202, 404}
