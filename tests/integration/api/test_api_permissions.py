"""Whose things are whose: real keys on real rows."""

from dataclasses import replace

import pytest

from heimdall_core.database.job_tables import Job
from heimdall_core.settings import AccessSettings

JOB = "job_" + "b" * 24
READS = ["", "/events", "/metrics", "/logs", "/artifacts", "/checkpoints", "/attempts"]
CHANGES = [":cancel", ":pause", ":finish", ":resume"]


@pytest.fixture
def job(client):
    """A job of bob's, queued."""
    with client.database.transaction() as session:
        session.add(Job(id=JOB, kind="train", owner="bob", spec={"kind": "train"}))
    return f"/v1/jobs/{JOB}"


@pytest.mark.parametrize("path", READS)
def test_a_job_is_read_by_its_owner_and_by_whoever_reads_all(client, job, path):
    answers = {
        name: client.get(job + path, headers=headers).status_code
        for name, headers in {
            "owner": client.make_key("jobs:read", owner="bob"),
            "another": client.make_key("jobs:read", "jobs:write", owner="eve"),
            "reader of all": client.make_key("jobs:read:all", owner="eve"),
            "admin": client.make_key("admin", owner="eve"),
        }.items()
    }
    assert answers == {"owner": 200, "another": 404, "reader of all": 200, "admin": 200}


@pytest.mark.parametrize("action", CHANGES)
def test_a_job_is_changed_by_nobody_but_its_owner_and_an_admin(client, job, action):
    for scopes in (["jobs:read", "jobs:write"], ["jobs:read:all", "jobs:write"]):
        answer = client.post(job + action, headers=client.make_key(*scopes, owner="eve"))
        assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
    answer = client.post(job + action, headers=client.make_key("jobs:read", owner="bob"))
    assert answer.status_code == 403
    assert client.get(job).json()["status"] == "queued"


@pytest.mark.parametrize("owner", ["bob", "eve"])
def test_an_owner_and_an_admin_cancel(client, job, owner):
    scope = "jobs:write" if owner == "bob" else "admin"
    assert client.post(job + ":cancel", headers=client.make_key(scope, owner=owner)).status_code == 200


def test_lists_hold_what_the_caller_may_see(client, job):
    def ids(*scopes, owner):
        listed = client.get("/v1/jobs", headers=client.make_key(*scopes, owner=owner)).json()["data"]
        return [entry["id"] for entry in listed]

    assert ids("jobs:read", owner="eve") == []
    assert (
        ids("jobs:read", owner="bob") == ids("jobs:read:all", owner="eve") == ids("admin", owner="x") == [JOB]
    )


def test_places_to_write_an_upload_are_shown_to_whoever_may_write_it_alone(client):
    mine = client.make_key("recordings:write", "recordings:read", owner="bob")
    files = {"files": [{"name": "a.sigmf", "size": 10}]}
    made = client.post("/v1/uploads", json=files, headers=mine).json()
    path = f"/v1/uploads/{made['id']}"

    def url(*scopes, owner):
        answer = client.get(path, headers=client.make_key(*scopes, owner=owner))
        return answer.json()["files"][0]["url"] if answer.status_code == 200 else answer.status_code

    assert url("recordings:read", "recordings:write", owner="eve") == 404
    assert url("recordings:read", owner="bob") is None
    assert url("recordings:read", "recordings:write", "jobs:read:all", owner="eve") is None
    assert url("recordings:read", "recordings:write", owner="bob").startswith("http")
    complete = f"{path}:complete"
    assert client.post(complete, headers=client.make_key("recordings:write", owner="eve")).status_code == 404


def test_a_refusal_tells_which_scope_is_missing_and_none_of_the_secrets(client):
    key = client.make_key("models:read")
    answer = client.get("/v1/jobs", headers=key)
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
    assert "jobs:read" in answer.json()["detail"]
    assert key["Authorization"].removeprefix("Bearer ") not in answer.text


@pytest.fixture
def let_everybody(client):
    """Sets what everybody may read."""
    services = client.app.state.services

    def change(*scopes):
        access = AccessSettings(anonymous_scopes=scopes)
        changed = services.settings.model_copy(update={"access": access})
        client.app.state.services = replace(services, settings=changed)
        client.headers.pop("Authorization", None)

    yield change
    client.app.state.services = services


def test_nobody_in_particular_reads_nothing_unless_the_settings_say_so(client, job, let_everybody):
    let_everybody()
    assert client.get(job).status_code == 401
    assert client.get("/v1/whoami").json()["code"] == "missing_key"


def test_everybody_reads_what_the_settings_say_and_changes_nothing(client, job, let_everybody):
    let_everybody("jobs:read:all")
    assert client.get(job).json()["created_by"] == "bob"
    assert client.get("/v1/whoami").json()["owner"] == "anonymous"
    assert client.get("/v1/models").status_code == 401
    for path in (f"{job}:cancel", "/v1/jobs", "/v1/uploads", "/v1/api-keys"):
        assert client.post(path, json={}).status_code == 401, path
    assert client.get("/v1/api-keys").status_code == 401
    assert client.get(job).json()["status"] == "queued"


def test_a_wrong_key_is_refused_where_none_would_do(client, job, let_everybody):
    let_everybody("jobs:read:all")
    for given in ("Bearer hmd_" + "f" * 43, "Basic YTpi", "Bearer "):
        assert client.get(job, headers={"Authorization": given}).status_code == 401, given


def test_everybody_sees_no_jobs_of_owners_by_the_scope_for_ones_own(client, job, let_everybody):
    let_everybody("jobs:read")
    assert client.get("/v1/jobs").json()["data"] == []
    assert client.get(job).status_code == 404
