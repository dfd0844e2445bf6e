"""The audit log: complete, atomic with what it tells, and only ever added to."""

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from api.refusals import MAX_ENTRIES, PERIOD_SECONDS, Refusals
from heimdall_core.accounts import audit
from heimdall_core.accounts.audit import Circumstances
from heimdall_core.domain.errors import Unauthenticated

RECEIVER = {"name": "cuneo", "latitude": 44.39, "longitude": 7.55}


@pytest.fixture
def entries(client):
    """What came into the log since, newest first; the log itself lets no test empty it."""
    before = client.get("/v1/audit", params={"limit": 1}).json()["data"]
    last = before[0]["id"] if before else 0

    def read(**wanted):
        found = client.get("/v1/audit", params={"limit": 500, **wanted}).json()["data"]
        return [entry for entry in found if entry["id"] > last]

    return read


@pytest.mark.parametrize(
    "statement",
    [
        "update training.audit_log set actor = 'nobody'",
        "delete from training.audit_log",
        "truncate training.audit_log",
    ],
)
def test_the_log_is_only_ever_added_to(database, statement):
    with database.transaction() as session:
        audit.record(session, None, "test", None)
    with pytest.raises(DBAPIError, match="only ever added to"), database.transaction() as session:
        session.execute(text(statement))


@pytest.mark.parametrize("path", ["/v1/audit", "/v1/audit?actor=bob"])
def test_only_an_admin_reads_it(client, path):
    everything_else = client.make_key("jobs:read:all", "jobs:write", "models:promote", "recordings:write")
    assert client.get(path, headers=everything_else).status_code == 403


def test_a_change_that_fails_leaves_no_entry_of_itself(client, entries):
    assert client.post("/v1/receivers", json=RECEIVER).status_code == 201
    assert client.post("/v1/receivers", json=RECEIVER).status_code == 409
    assert [entry["action"] for entry in entries()] == ["create_new_receiver"]


def test_a_change_whose_entry_cannot_be_written_is_not_made(client, database):
    def break_entry(_connection, _cursor, statement, *_):
        if "training.audit_log" in statement:
            raise OSError("the disk is full")

    event.listen(database.engine, "before_cursor_execute", break_entry)
    try:
        assert client.post("/v1/receivers", json=RECEIVER).status_code == 500
    finally:
        event.remove(database.engine, "before_cursor_execute", break_entry)
    assert client.get("/v1/receivers").json()["data"] == []


def test_an_entry_tells_who_did_what_to_what_by_which_request(client, entries):
    caller = client.make_key("jobs:write", "datasets:read", "jobs:read", owner="bob")
    key_id = client.get("/v1/whoami", headers=caller).json()["key_id"]
    request = {"headers": caller | {"X-Request-Id": "req-of-bob"}}
    answer = client.post("/v1/workers/nobody:drain", **request)
    assert answer.status_code == 403
    (entry,) = entries(actor="bob")
    assert entry["action"] == "refuse_call"
    assert entry["detail"]["code"] == "missing_scope"
    assert (entry["key_id"], entry["request_id"], entry["client"]) == (key_id, "req-of-bob", "testclient")


def test_an_attempt_at_a_stronger_key_is_in_it(client, entries):
    body = {"name": "n", "scopes": ["admin"]}
    client.post("/v1/api-keys", json=body, headers=client.make_key("jobs:read", owner="mallory"))
    (entry,) = entries(actor="mallory")
    assert (entry["action"], entry["detail"]["code"]) == ("refuse_call", "scope_not_yours")


def test_what_is_made_is_named_and_a_repetition_is_no_second_change(client, entries):
    body = {"files": [{"name": "a.sigmf", "size": 10}]}
    for _ in range(2):
        answer = client.post("/v1/uploads", json=body, headers={"Idempotency-Key": "once"})
    (entry,) = entries(action="create_new_upload")
    assert entry["target"] == answer.headers["location"]
    assert entry["actor"] == "ann"


def test_reading_leaves_no_entry_even_by_post(client, entries):
    client.get("/v1/jobs")
    client.post("/v1/datasets:preview", json={"name": "northwest"})
    assert entries() == []


def test_keys_made_and_revoked_are_in_it_and_never_their_secrets(client, entries):
    body = {"name": "n", "scopes": ["jobs:read"], "owner": "carl"}
    made = client.post("/v1/api-keys", json=body).json()
    client.delete(f"/v1/api-keys/{made['id']}")
    revoked, created = entries(target=f"/v1/api-keys/{made['id']}")
    assert (revoked["action"], created["action"]) == ("revoke_api_key", "create_api_key")
    assert created["detail"] == {"owner": "carl", "scopes": ["jobs:read"], "expires_at": None}
    assert made["key"] not in str(entries())


def test_a_refused_sign_in_is_in_it_once_a_minute_and_without_the_key(client, entries):
    wrong = {"Authorization": "Bearer hmd_" + "f" * 43}
    for _ in range(3):
        assert client.get("/v1/jobs", headers=wrong).status_code == 401
    (entry,) = entries()
    assert (entry["actor"], entry["action"]) == ("anonymous", "refuse_sign_in")
    assert "ffff" not in str(entry)


def test_a_refused_sign_in_on_the_dashboard_is_in_it(client, entries):
    client.post("/sign-in", data={"key": "hmd_" + "e" * 43})
    assert [entry["action"] for entry in entries()] == ["refuse_sign_in"]


def test_a_flood_of_refusals_is_counted_and_does_not_flood_the_log(database, entries):
    now = [1000.0]
    refusals = Refusals(database, clock=lambda: now[0])
    error = Unauthenticated("the API key is not known")
    for number in range(MAX_ENTRIES + 20):
        refusals.note(error, None, Circumstances(client=f"192.0.2.{number}"))
    for _ in range(5):
        refusals.note(error, None, Circumstances(client="192.0.2.0"))
    assert len(entries(action="refuse_sign_in")) == MAX_ENTRIES
    now[0] += PERIOD_SECONDS
    refusals.note(error, None, Circumstances(client="192.0.2.0"))
    assert entries()[0]["detail"]["left_out_before"] == 5


def test_it_is_read_page_by_page_newest_first(client, entries):
    for number in range(5):
        client.post("/v1/receivers", json=RECEIVER | {"name": f"r{number}"})
    whole = entries()
    first = client.get("/v1/audit", params={"limit": 3}).json()
    rest = client.get("/v1/audit", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [entry["id"] for entry in first["data"] + rest["data"]] == [entry["id"] for entry in whole]
    newest = whole[0]["at"]
    assert client.get("/v1/audit", params={"after": newest}).json()["data"] == []
    assert newest not in {e["at"] for e in client.get("/v1/audit", params={"before": newest}).json()["data"]}


@pytest.mark.parametrize("cursor", ["x", "WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwgImpvYl8xIl0"])
def test_a_cursor_of_another_list_is_refused(client, cursor):
    assert client.get("/v1/audit", params={"cursor": cursor}).status_code == 422
