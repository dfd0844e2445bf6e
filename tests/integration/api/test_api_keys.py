"""Keys against a real table."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, func, select, text, update

from heimdall_core.accounts import audit
from heimdall_core.accounts.audit import AuditFilter
from heimdall_core.accounts.key_management import MAX_LIVE_KEYS
from heimdall_core.accounts.keys import authenticate, ensure_key, fingerprint, make_key
from heimdall_core.accounts.principal import Principal
from heimdall_core.database.catalogue_tables import ApiKey, IdempotencyRecord
from heimdall_core.domain.errors import Unauthenticated

SOON = datetime.now(UTC) + timedelta(days=1)
LATER = SOON + timedelta(days=1)


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def refused(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == code
    return answer.json()


@contextmanager
def statements_of(database):
    """What the database is asked meanwhile."""
    seen = []

    def note(_connection, _cursor, statement, parameters, *_):
        seen.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine, "before_cursor_execute", note)


def test_an_unknown_key_is_refused(session):
    with pytest.raises(Unauthenticated, match="not known"):
        authenticate(session, make_key())


def test_a_revoked_key_is_refused(session):
    key = make_key()
    row = ensure_key(session, key, owner="ann", name="test")
    session.execute(update(ApiKey).where(ApiKey.id == row.id).values(revoked_at=func.now()))
    with pytest.raises(Unauthenticated, match="revoked"):
        authenticate(session, key)


def test_an_expired_key_is_refused(session):
    key, past = make_key(), datetime.now(UTC) - timedelta(seconds=1)
    ensure_key(session, key, owner="ann", name="test", expires_at=past)
    with pytest.raises(Unauthenticated, match="expired"):
        authenticate(session, key)


def test_a_key_is_registered_once_and_kept_only_as_a_hash(session):
    key = make_key()
    first = ensure_key(session, key, owner="ann", name="test", scopes=["jobs:read"])
    again = ensure_key(session, key, owner="eve", name="other")
    assert again.id == first.id
    assert again.owner == "ann"
    assert key not in {first.sha256, first.prefix}
    principal = authenticate(session, key)
    assert (principal.owner, principal.scopes) == ("ann", frozenset({"jobs:read"}))


def test_the_time_of_use_is_noted(session):
    key = make_key()
    row = ensure_key(session, key, owner="ann", name="test")
    authenticate(session, key)
    session.refresh(row)
    first = row.last_used_at
    assert first is not None
    authenticate(session, key)
    session.refresh(row)
    assert row.last_used_at == first


def test_scopes_open_what_they_name_and_nothing_else(client):
    reader = client.make_key("jobs:read")
    assert client.get("/v1/jobs", headers=reader).status_code == 200
    for method, path in [
        ("POST", "/v1/uploads"),
        ("GET", "/v1/models"),
        ("GET", "/v1/datasets"),
        ("POST", "/v1/receivers"),
    ]:
        response = client.request(method, path, headers=reader, json={} if method == "POST" else None)
        assert response.status_code == 403, path
        assert response.json()["code"] == "missing_scope"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "", "scopes": ["jobs:read"]}, "#/name"),
        ({"name": "n", "scopes": []}, "#/scopes"),
        ({"name": "n", "scopes": ["jobs:own"]}, "#/scopes/0"),
        ({"name": "n", "scopes": ["jobs:read"], "owner": " ann"}, "#/owner"),
        ({"name": "n", "scopes": ["jobs:read"], "owner": "Anonymous"}, "#/owner"),
        ({"name": "n", "scopes": ["jobs:read"], "expires_at": "2020-01-01T00:00:00Z"}, "#/expires_at"),
        ({"name": "n", "scopes": ["jobs:read"], "key": "hmd_of_my_own_choice_0000"}, "#/key"),
    ],
)
def test_a_key_that_cannot_be_is_refused_by_the_name_of_the_field(client, body, pointer):
    found = refused(client.post("/v1/api-keys", json=body), 422, "invalid_request")
    assert [error["pointer"] for error in found["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"scopes": ["jobs:read", "jobs:write"]}, "scope_not_yours"),
        ({"scopes": ["admin"]}, "scope_not_yours"),
        ({"scopes": ["jobs:read:all"]}, "scope_not_yours"),
        ({"owner": "ann"}, "owner_not_yours"),
        ({"expires_at": LATER.isoformat()}, "expiry_beyond_yours"),
    ],
)
def test_nobody_but_an_admin_makes_a_key_that_opens_more_or_longer(client, change, code):
    mine = client.make_key("jobs:read", expires_at=SOON)
    body = {"name": "n", "scopes": ["jobs:read"]} | change
    refused(client.post("/v1/api-keys", json=body, headers=mine), 403, code)


def test_nobody_but_an_admin_sees_or_revokes_keys_of_others(client):
    mine, theirs = client.make_key("jobs:read"), client.make_key("jobs:read", owner="eve")
    listed = client.get("/v1/api-keys", headers=theirs, params={"owner": "bob"}).json()["data"]
    assert {key["owner"] for key in listed} == {"eve"}
    (key_id,) = [key["id"] for key in client.get("/v1/api-keys", headers=mine).json()["data"]]
    refused(client.get(f"/v1/api-keys/{key_id}", headers=theirs), 404, "key_not_found")
    refused(client.delete(f"/v1/api-keys/{key_id}", headers=theirs), 404, "key_not_found")
    assert client.get("/v1/whoami", headers=mine).status_code == 200


def test_a_key_ends_no_key_of_its_owner_that_opens_more(client):
    lesser, greater = client.make_key("jobs:read"), client.make_key("jobs:read", "jobs:write")
    ids = {
        name: client.get("/v1/whoami", headers=key).json()["key_id"]
        for name, key in (("lesser", lesser), ("greater", greater))
    }
    refused(client.delete(f"/v1/api-keys/{ids['greater']}", headers=lesser), 403, "scope_not_yours")
    assert client.get("/v1/whoami", headers=greater).status_code == 200
    assert client.delete(f"/v1/api-keys/{ids['lesser']}", headers=greater).status_code == 200


def test_an_owner_cannot_fill_the_table(client, database):
    mine = client.make_key("jobs:read")
    with database.transaction() as session:
        for number in range(MAX_LIVE_KEYS - 1):
            ensure_key(session, f"hmd_{number:020}", owner="bob", name="filler", scopes=["jobs:read"])
    body = {"name": "one more", "scopes": ["jobs:read"]}
    refused(client.post("/v1/api-keys", json=body, headers=mine), 409, "too_many_keys")
    assert client.post("/v1/api-keys", json=body | {"owner": "bob"}).status_code == 201, "by an admin"


def test_a_new_key_is_shown_once_and_opens_what_it_says(client, database):
    answer = client.post("/v1/api-keys", json={"name": "for ci", "scopes": ["jobs:read"], "owner": "carl"})
    made = answer.json()
    assert answer.headers["location"] == f"/v1/api-keys/{made['id']}"
    assert len(made["key"]) == len("hmd_") + 43, "256 bits in base64"
    again = client.get(answer.headers["location"])
    assert made["key"] not in again.text
    assert "sha256" not in again.text
    caller = client.get("/v1/whoami", headers=bearer(made["key"])).json()
    assert caller == {"owner": "carl", "key_id": made["id"], "scopes": ["jobs:read"], "expires_at": None}
    with database.engine.connect() as connection:
        stored = connection.execute(text("select * from training.api_key where owner = 'carl'")).one()
    assert made["key"] not in str(stored)
    assert fingerprint(made["key"]) in stored


def test_a_repeated_answer_shows_the_key_no_more_and_the_database_never_had_it(client, database):
    body, headers = {"name": "n", "scopes": ["jobs:read"]}, {"Idempotency-Key": "k1"}
    first = client.post("/v1/api-keys", json=body, headers=headers).json()
    again = client.post("/v1/api-keys", json=body, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first | {"key": None}
    with database.transaction() as session:
        assert first["key"] not in str(session.scalars(select(IdempotencyRecord.body)).all())


def test_a_key_made_by_a_key_that_expires_expires_with_it(client):
    mine = client.make_key("jobs:read", expires_at=SOON)
    made = client.post("/v1/api-keys", json={"name": "n", "scopes": ["jobs:read"]}, headers=mine).json()
    assert datetime.fromisoformat(made["expires_at"]) == SOON
    assert made["owner"] == "bob"
    assert made["created_by"] == client.get("/v1/whoami", headers=mine).json()["key_id"]


def test_a_revoked_key_opens_nothing_from_then_on(client):
    mine = client.make_key("jobs:read")
    key_id = client.get("/v1/whoami", headers=mine).json()["key_id"]
    first = client.delete(f"/v1/api-keys/{key_id}", headers=mine).json()
    refused(client.get("/v1/whoami", headers=mine), 401, "key_revoked")
    assert client.delete(f"/v1/api-keys/{key_id}").json() == first, "repeating it changes nothing"
    assert first["status"] == "revoked"


def test_keys_are_listed_newest_first_page_by_page_by_status_and_beginning(client):
    old = client.make_key("jobs:read", expires_at=datetime.now(UTC) - timedelta(days=1))
    names = ["one", "two", "three"]
    made = [
        client.post("/v1/api-keys", json={"name": name, "scopes": ["jobs:read"], "owner": "bob"}).json()
        for name in names
    ]
    first = client.get("/v1/api-keys", params={"owner": "bob", "limit": 2}).json()
    rest = client.get(
        "/v1/api-keys", params={"owner": "bob", "limit": 2, "cursor": first["next_cursor"]}
    ).json()
    assert [key["name"] for key in first["data"] + rest["data"]] == ["three", "two", "one", "test"]
    assert rest["next_cursor"] is None
    (expired,) = client.get("/v1/api-keys", params={"owner": "bob", "status": "expired"}).json()["data"]
    assert old["Authorization"].startswith(f"Bearer {expired['prefix']}")
    (found,) = client.get("/v1/api-keys", params={"prefix": made[1]["prefix"]}).json()["data"]
    assert found["id"] == made[1]["id"]


def test_a_key_of_the_former_form_stays_valid(session):
    key = "hmd_" + "0123456789abcdef" * 2 + "01234567"
    ensure_key(session, key, owner="ann", name="of a former version", scopes=["jobs:read"])
    assert authenticate(session, key).owner == "ann"


def test_keys_that_begin_alike_are_told_apart(session):
    for owner in ("ann", "bob", "carl"):
        ensure_key(session, f"hmd_alike0{owner:0>20}", owner=owner, name="n", scopes=["jobs:read"])
    assert authenticate(session, f"hmd_alike0{'bob':0>20}").owner == "bob"
    with pytest.raises(Unauthenticated, match="not known"):
        authenticate(session, f"hmd_alike0{'dora':0>20}")


def test_a_request_looks_its_key_up_by_one_statement_on_an_index(client, database):
    client.get("/v1/whoami")
    with statements_of(database) as seen:
        assert client.get("/v1/whoami").status_code == 200
    ((statement, parameters),) = seen
    with database.engine.begin() as connection:
        connection.execute(text("set local enable_seqscan = off"))
        plan = connection.exec_driver_sql(f"explain {statement}", parameters).scalars().all()
    assert any("ix_api_key_prefix" in line for line in plan), plan


def revoke_all_of(database, owner):
    with database.transaction() as session:
        session.execute(update(ApiKey).where(ApiKey.owner == owner).values(revoked_at=func.now()))


def test_the_next_call_sees_a_revoked_key_as_revoked(client, database):
    mine = client.make_key("recordings:read", "recordings:write")
    assert client.get("/v1/receivers", headers=mine).status_code == 200
    revoke_all_of(database, "bob")
    refused(client.get("/v1/receivers", headers=mine), 401, "key_revoked")


def test_a_key_that_was_revoked_submits_nothing_more(client, database, dataset):
    mine = client.make_key("jobs:read", "jobs:write")
    body = {"kind": "train", "dataset": {"name": dataset["name"]}}
    assert client.post("/v1/jobs", json=body, headers=mine).status_code == 202
    revoke_all_of(database, "bob")
    refused(client.post("/v1/jobs", json=body, headers=mine), 401, "key_revoked")
    assert len(client.get("/v1/jobs?kind=train").json()["data"]) == 1


@pytest.mark.parametrize("change", [{"revoked_at": func.now()}, {"expires_at": func.now()}])
def test_no_change_is_recorded_by_a_key_that_is_no_longer_valid(session, change):
    row = ensure_key(session, make_key(), owner="ann", name="test")
    caller = Principal(owner="ann", key_id=row.id, scopes=frozenset({"admin"}))
    audit.record_by_live_key(session, caller, "change", "/v1/things/1")
    session.execute(update(ApiKey).where(ApiKey.id == row.id).values(change))
    with pytest.raises(Unauthenticated):
        audit.record_by_live_key(session, caller, "change", "/v1/things/2")
    entries = audit.list_entries(session, AuditFilter(key_id=row.id), cursor=None, limit=10).items
    assert [entry.target for entry in entries] == ["/v1/things/1"]
