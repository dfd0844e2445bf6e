"""The retrain call over HTTP."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, update

from api.schemas.models import RetrainDocument
from heimdall_core.database.catalogue_tables import Model
from heimdall_core.database.job_tables import Job
from heimdall_core.registry.promotion import Gate
from heimdall_core.registry.publishing import publish_model

PATH = "/v1/models/localization:retrain"
CALL = {"reason": "drift", "dedupe_key": "monday"}
ENDED = {"status": "succeeded", "started_at": func.now(), "finished_at": func.now()}


def gate(client):
    return Gate(policy=client.settings.promotion, store=client.store)


@pytest.fixture
def champion(client, dataset):
    """A champion trained on a frozen dataset; then six more sessions were approved."""
    job_id = client.post("/v1/jobs", json={"kind": "train", "dataset": {"name": "northwest"}}).json()["id"]
    with client.database.transaction() as session:
        job = session.get_one(Job, job_id)
        result = {
            "metrics": {"median_error_m": 1000.0, "nll_per_m2": 17.0, "coverage_68": 0.68},
            "onnx": {"uri": "s3://heimdall-models/x.onnx", "sha256": "1" * 64, "bytes": 7},
            "verification": {"passed": True},
            "dataset": {"name": "northwest", "version": 1},
        }
        publish_model(
            session, job=job, name="localization", result=result, promote="if_better", gate=gate(client)
        )
        session.execute(update(Job).where(Job.id == job_id).values(**ENDED))
    client.import_sessions(range(12, 18), auto_approve=True)
    return job_id


def count_jobs(client):
    with client.database.transaction() as session:
        return session.scalar(select(func.count()).where(Job.kind == "train"))


def test_an_unknown_model_is_a_problem(client):
    answer = client.post(PATH, json=CALL)
    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"reason": ""}, "#/reason"),
        ({"reason": "x" * 501}, "#/reason"),
        ({"dedupe_key": ""}, "#/dedupe_key"),
        ({"dedupe_key": "x" * 101}, "#/dedupe_key"),
        ({"priority": "high"}, "#/priority"),
        ({"min_new_sessions": -1}, "#/min_new_sessions"),
        ({"promote": "always"}, "#/promote"),
        ({"overrides": [1]}, "#/overrides"),
        ({"dataset": "newest"}, "#/dataset"),
        ({"dataset": None}, "#/dataset"),
        ({"dataset": {"name": "a/b"}}, "#/dataset/name"),
        ({"dataset": {"name": "a", "query": {"min_receivers": 0}}}, "#/dataset/query/min_receivers"),
        ({"overrides": {"kind": "export"}}, "#/overrides/kind"),
        ({"overrides": {"dataset": {"name": "b"}}}, "#/overrides/dataset"),
        ({"overrides": {"init_from": None}}, "#/overrides/init_from"),
        ({"overrides": {"register": {"promote": "never"}}}, "#/overrides/register"),
        ({"overrides": {"model": {"name": "b"}}}, "#/overrides/model/name"),
        ({"overrides": {"export": {"enabled": False}}}, "#/overrides/export/enabled"),
        ({"overrides": {"tags": {"retrain.reason": "x"}}}, "#/overrides/tags/retrain.reason"),
    ],
)
def test_a_wrong_field_is_named(client, change, pointer):
    answer = client.post(PATH, json=CALL | change)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("overrides", "pointer"),
    [
        ({"training": {"epochs": 0}}, "#/overrides/training/epochs"),
        ({"training": {"epoch": 3}}, "#/overrides/training/epoch"),
        ({"training": {"radio_map": {}}}, "#/overrides/training/radio_map/reach_m"),
        ({"training": 3}, "#/overrides/training"),
        ({"colour": "red"}, "#/overrides/colour"),
        ({"resources": {"num_nodes": 2}}, "#/overrides/resources/num_nodes"),
        ({"model": {"pretrained": True, "backbone": "micro"}}, "#/overrides/model/pretrained"),
    ],
)
def test_a_wrong_override_is_named_and_nothing_is_queued(client, champion, overrides, pointer):
    answer = client.post(PATH, json=CALL | {"overrides": overrides})
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert all(error["detail"] for error in answer.json()["errors"])
    assert count_jobs(client) == 1


def test_too_few_new_sessions_are_a_conflict_that_says_how_many_there_are(client, champion):
    answer = client.post(PATH, json=CALL | {"min_new_sessions": 7})
    assert (answer.status_code, answer.json()["code"]) == (409, "too_few_new_sessions")
    assert "6 sessions are new" in answer.json()["detail"]
    assert "force" in answer.json()["hint"]
    assert client.post(PATH, json=CALL | {"min_new_sessions": 7, "force": True}).status_code == 202


def test_a_dataset_of_ones_own_needs_the_scope_to_freeze_one(client, champion):
    body = CALL | {"dataset": {"name": "other", "split": {"strategy": "source"}}}
    refused = client.post(PATH, json=body, headers=client.make_key("jobs:write"))
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
    answer = client.post(PATH, json=body, headers=client.make_key("jobs:write", "datasets:write"))
    assert answer.status_code == 202, answer.text
    assert answer.json()["spec"]["dataset"] == {"name": "other", "version": 1}


def test_who_joins_is_told_what_it_asked_for_in_vain(client, champion):
    client.post(PATH, json=CALL | {"dataset": "latest"})
    other = CALL | {"dedupe_key": "tuesday", "promote": "never", "overrides": {"training": {"epochs": 2}}}
    joined = client.post(PATH, json=other).json()
    assert (joined["outcome"], joined["left_as_it_is"]) == ("joined", ["overrides", "promote"])
    assert joined["new_sessions"] == 6
    assert joined["spec"]["training"]["epochs"] != 2


def test_the_call_needs_the_scope_to_write_jobs_and_no_other(client, champion):
    assert client.post(PATH, json=CALL, headers=client.make_key("models:read")).status_code == 403
    answer = client.post(PATH, json=CALL, headers=client.make_key("jobs:write", owner="service"))
    assert answer.status_code == 202
    assert answer.json()["created_by"] == "service"
    assert client.get("/v1/models", headers=client.make_key("jobs:write")).status_code == 403


def test_nothing_new_is_a_conflict_that_says_what_to_do(client, champion):
    answer = client.post(PATH, json=CALL)
    with client.database.transaction() as session:
        done = session.get_one(Job, answer.json()["id"])
        result = {
            "metrics": {"median_error_m": 900.0, "nll_per_m2": 17.0, "coverage_68": 0.68},
            "onnx": {"uri": "s3://heimdall-models/x.onnx", "sha256": "1" * 64, "bytes": 7},
            "verification": {"passed": True},
            "dataset": {"name": "northwest", "version": 2},
        }
        publish_model(
            session, job=done, name="localization", result=result, promote="never", gate=gate(client)
        )
        session.execute(update(Job).where(Job.id == done.id).values(**ENDED))
        session.execute(update(Model).values(champion_version=2))
    refusal = client.post(PATH, json=CALL | {"dedupe_key": "tuesday"})
    assert (refusal.status_code, refusal.json()["code"]) == (409, "nothing_new")
    assert "force" in refusal.json()["hint"]
    forced = client.post(PATH, json=CALL | {"dedupe_key": "tuesday", "force": True})
    assert forced.status_code == 202
    assert forced.json()["spec"]["dataset"]["version"] == 2


def test_a_new_job_is_answered_as_a_submission(client, champion, hints):
    before = hints.num_hints
    answer = client.post(PATH, json=CALL)
    assert answer.status_code == 202
    job = RetrainDocument.model_validate(answer.json())
    assert answer.headers["location"] == f"/v1/jobs/{job.id}"
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["retrain-outcome"] == job.outcome == "queued"
    assert (job.new_sessions, job.withdrawn_sessions, job.left_as_it_is) == (6, 0, [])
    assert (job.parent_job_id, job.spec["dataset"]["version"]) == (champion, 2)
    assert hints.num_hints == before + 1


def test_another_caller_joins_and_a_repeated_call_gets_its_job_whatever_became_of_it(client, champion):
    first = client.post(PATH, json=CALL)
    joined = client.post(PATH, json=CALL | {"dedupe_key": "tuesday"})
    assert (joined.status_code, joined.headers["retrain-outcome"]) == (200, "joined")
    assert joined.headers["location"] == first.headers["location"]
    client.post(f"{first.headers['location']}:cancel")
    repeated = client.post(PATH, json=CALL | {"dedupe_key": "tuesday"})
    assert (repeated.status_code, repeated.headers["retrain-outcome"]) == (200, "repeated")
    assert (repeated.json()["id"], repeated.json()["status"]) == (first.json()["id"], "cancelled")
    assert "retry-after" not in repeated.headers


def test_a_service_that_may_not_read_anothers_job_can_still_follow_its_call(client, champion):
    client.post(PATH, json=CALL)
    key = client.make_key("jobs:write", "jobs:read", owner="service")
    joined = client.post(PATH, json=CALL | {"dedupe_key": "tuesday"}, headers=key)
    assert client.get(joined.headers["location"], headers=key).status_code == 404
    repeated = client.post(PATH, json=CALL | {"dedupe_key": "tuesday"}, headers=key)
    assert repeated.json()["status"] == "queued"


def test_an_idempotency_key_gets_the_first_answer_again(client, champion):
    headers = {"Idempotency-Key": '"k"'}
    first = client.post(PATH, json=CALL, headers=headers)
    again = client.post(PATH, json=CALL, headers=headers)
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert count_jobs(client) == 2


def test_services_that_call_at_once_share_one_job(client, champion):
    def call(number):
        return client.post(PATH, json=CALL | {"dedupe_key": f"key {number}"})

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(call, range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert count_jobs(client) == 2
