"""Lists of jobs: which of them, whose, and how much of each."""

from sqlalchemy import func, update

from heimdall_core.database.job_tables import Job

TRAIN = {"kind": "train", "dataset": {"name": "northwest"}, "training": {"epochs": 7}}


def test_jobs_are_asked_for_by_id_and_by_owner(client, dataset):
    mine, other = (client.post("/v1/jobs", json=TRAIN).json()["id"] for _ in range(2))
    alice = client.make_key("jobs:read", "jobs:write", owner="alice")
    hers = client.post("/v1/jobs", json=TRAIN, headers=alice).json()["id"]
    assert listed(client, id=[mine, hers]) == {mine, hers}
    assert listed(client, id=[mine, hers], created_by="alice") == {hers}
    assert listed(client, id=[other], status=["running"]) == set()
    assert listed(client, created_by="nobody") == set()
    seen = client.get("/v1/jobs", params={"id": [mine, hers]}, headers=alice).json()["data"]
    assert [job["id"] for job in seen] == [hers], "whoever guesses an id sees no more than before"


def test_a_brief_list_names_every_job_without_what_is_long(client, dataset):
    job = client.post("/v1/jobs", json=TRAIN).json()
    result = {
        "model": {"name": "localization", "version": 3},
        "metrics": {"median_error_m": 840.0},
        "report": {"long": "x" * 1000},
    }
    ended = {"status": "succeeded", "result": result, "metrics": {"val_loss": 1.5}, "finished_at": func.now()}
    with client.database.transaction() as session:
        session.execute(update(Job).where(Job.id == job["id"]).values(**ended))
    [full] = client.get("/v1/jobs", params={"id": job["id"]}).json()["data"]
    [brief] = client.get("/v1/jobs", params={"id": job["id"], "view": "brief"}).json()["data"]
    assert list(brief) == list(full)
    assert (brief["metrics"], brief["attempts"]) == ({}, [])
    assert brief["result"] == {"model": result["model"], "metrics": result["metrics"]}
    assert brief["spec"]["dataset"] == full["spec"]["dataset"]
    assert "training" not in brief["spec"]
    assert full["result"]["report"] == result["report"]
    assert client.get("/v1/jobs", params={"view": "tiny"}).status_code == 422


def listed(client, **params):
    answer = client.get("/v1/jobs", params=params)
    assert answer.status_code == 200, answer.text
    return {job["id"] for job in answer.json()["data"]}
