"""Browsers that are signed in: what their cookie opens, and when it opens nothing any more."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, func, select, update

from heimdall_core.accounts.keys import authenticate
from heimdall_core.accounts.web_sessions import (
    MAX_SESSIONS,
    csrf_token,
    delete_ended_sessions,
    open_session,
)
from heimdall_core.database.account_tables import AuditEntry, WebSession
from heimdall_core.database.catalogue_tables import ApiKey

COOKIE = "heimdall_session"
RECEIVER = {"name": "r1", "latitude": 45.0, "longitude": 7.0}
EVIL = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}


@pytest.fixture
def browser(client):
    """Signs in with a key and sends it no more; returns the token of the session."""

    def sign_in(key=None, **fields):
        key = key or client.headers["Authorization"]
        client.headers.pop("Authorization", None)
        form = {"key": key.removeprefix("Bearer "), **fields}
        client.answer = client.post("/sign-in", data=form, follow_redirects=False)
        return client.cookies.get(COOKIE)

    return sign_in


@pytest.fixture
def csrf(browser):
    return {"X-CSRF-Token": csrf_token(browser())}


@pytest.fixture
def entries(client):
    """Entries of the audit log since the test began."""

    def read(action):
        with client.database.transaction() as session:
            wanted = select(AuditEntry).where(AuditEntry.id > newest, AuditEntry.action == action)
            return session.scalars(wanted).all()

    with client.database.transaction() as session:
        newest = session.scalar(select(func.coalesce(func.max(AuditEntry.id), 0)))
    return read


def count(client, table, *conditions):
    with client.database.transaction() as session:
        return session.scalar(select(func.count()).select_from(table).where(*conditions))


def test_signing_in_gives_a_cookie_that_scripts_and_other_sites_do_not_get(client, browser):
    token = browser(next="/jobs/job_1?tab=log")
    assert client.answer.status_code == 303
    assert client.answer.headers["location"] == "/jobs/job_1?tab=log"
    cookie = client.answer.headers["set-cookie"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=604800"} <= set(cookie.split("; "))
    assert "hmd_" not in cookie


def test_over_https_no_other_host_can_set_or_get_the_cookie(client, browser):
    client.base_url = "https://api.test"
    browser()
    cookie = client.answer.headers["set-cookie"]
    assert cookie.startswith("__Host-heimdall_session=")
    assert "Secure" in cookie.split("; ")
    assert "Domain" not in cookie
    assert client.get("/v1/whoami").status_code == 200
    client.cookies.clear()
    client.cookies.set(COOKIE, cookie.partition("=")[2].partition(";")[0])
    assert client.get("/v1/whoami").status_code == 401


def test_the_cookie_opens_what_its_key_opens(client, browser):
    browser(client.make_key("models:read", "recordings:write")["Authorization"])
    assert client.get("/v1/whoami").json()["owner"] == "bob"
    assert client.get("/v1/models").status_code == 200
    assert client.get("/v1/jobs").status_code == 403


def test_the_database_never_had_the_token(client, browser):
    token = browser()
    with client.database.transaction() as session:
        row = session.scalars(select(WebSession)).one()
    assert token not in str(vars(row))
    assert len(row.sha256) == 64


def test_a_change_by_cookie_needs_the_token_of_a_page(client, csrf):
    for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "0" * 64}, {"X-CSRF-Token": "ä"}):
        raw = {name: value.encode("latin-1") for name, value in headers.items()}
        refused = client.post("/v1/receivers", json=RECEIVER, headers=raw)
        assert (refused.status_code, refused.json()["code"]) == (403, "csrf_failed")
    assert client.post("/v1/receivers", json=RECEIVER, headers=csrf).status_code == 201


def test_the_token_of_one_session_is_not_that_of_another(client, csrf, browser):
    client.headers["Authorization"] = client.make_key("recordings:read", "recordings:write")["Authorization"]
    browser()
    assert client.post("/v1/receivers", json=RECEIVER, headers=csrf).status_code == 403


def test_another_site_changes_nothing_though_it_had_the_token(client, csrf, entries):
    refused = client.post("/v1/receivers", json=RECEIVER, headers=csrf | EVIL)
    assert (refused.status_code, refused.json()["code"]) == (403, "csrf_failed")
    assert [entry.detail["code"] for entry in entries("refuse_sign_in")] == ["csrf_failed"]


def test_another_site_signs_nobody_in_or_out(client, browser, csrf):
    key = client.make_key("jobs:read")["Authorization"].removeprefix("Bearer ")
    assert client.post("/sign-in", data={"key": key}, headers=EVIL).status_code == 403
    assert (
        client.post("/sign-out", data={"csrf_token": csrf["X-CSRF-Token"]}, headers=EVIL).status_code == 403
    )
    assert client.post("/sign-out").status_code == 403
    assert client.get("/v1/whoami").json()["owner"] == "ann"


def test_another_site_makes_no_browser_forget_its_cookie(client):
    """It comes without the cookie, which the browser keeps back, and an answer could delete it all the same."""
    for headers in (EVIL, {}):
        answer = client.post("/sign-out", headers=headers, follow_redirects=False)
        assert "set-cookie" not in answer.headers


def test_a_key_in_the_header_goes_before_the_cookie(client, browser):
    browser(client.make_key("models:read")["Authorization"])
    headers = client.make_key("jobs:read", owner="carl")
    assert client.get("/v1/whoami", headers=headers).json()["owner"] == "carl"
    wrong = {"Authorization": "Bearer hmd_" + "f" * 43}
    assert client.get("/v1/whoami", headers=wrong).status_code == 401
    assert client.get("/v1/whoami", headers={"Authorization": "Basic eDp5"}).status_code == 401


@pytest.mark.parametrize("end", ["revoked_at", "expires_at"])
def test_a_session_ends_with_its_key_at_once(client, browser, end):
    browser()
    assert client.get("/v1/jobs").status_code == 200
    with client.database.transaction() as session:
        session.execute(update(ApiKey).values({end: func.now()}))
    refused = client.get("/v1/jobs")
    assert (refused.status_code, refused.json()["code"]) == (401, "session_ended")
    assert client.get("/", follow_redirects=False).headers["location"] == "/sign-in"


def test_a_session_ends_by_itself(client, browser):
    browser()
    with client.database.transaction() as session:
        session.execute(update(WebSession).values(expires_at=func.now()))
    assert client.get("/v1/jobs").json()["code"] == "session_ended"
    with client.database.transaction() as session:
        assert delete_ended_sessions(session) == 1
    assert count(client, WebSession) == 0


def test_sessions_that_are_good_are_kept(client, browser):
    browser()
    with client.database.transaction() as session:
        assert delete_ended_sessions(session) == 0


def test_signing_out_ends_the_session_and_not_the_cookie_alone(client, browser, entries):
    token = browser()
    answer = client.post("/sign-out", data={"csrf_token": csrf_token(token)}, follow_redirects=False)
    assert answer.status_code == 303
    assert COOKIE not in client.cookies
    client.cookies.set(COOKIE, token)
    assert client.get("/v1/jobs").json()["code"] == "session_ended"
    assert [entry.actor for entry in entries("sign_out")] == ["ann"]


def test_signing_in_never_takes_over_a_token_that_was_there(client, browser):
    key = client.headers["Authorization"]
    planted = "A" * 43
    client.cookies.set(COOKIE, planted, domain="api.test", path="/")
    first = browser(key)
    assert first != planted
    second = browser(key)
    assert second != first
    client.cookies.clear()
    client.cookies.set(COOKIE, first)
    assert client.get("/v1/jobs").status_code == 401


def test_a_made_up_cookie_opens_nothing(client, browser):
    client.headers.pop("Authorization")
    for token in ("A" * 43, "x", "", "%00"):
        client.cookies.set(COOKIE, token)
        assert client.get("/v1/jobs").status_code == 401


def test_what_opens_nothing_does_not_sign_in_and_leaves_a_trace(client, entries):
    for key in ("<script>", "a.b.c", "", "hmd_" + "ü" * 43, "hmd_" + "e" * 43):
        answer = client.post("/sign-in", data={"key": key}, follow_redirects=False)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert "<script>" not in answer.text
    assert len(entries("refuse_sign_in")) == 1


def test_a_key_that_may_read_nothing_does_not_sign_in(client, browser):
    browser(client.make_key("webhooks:write")["Authorization"])
    assert client.answer.status_code == 403
    assert COOKIE not in client.cookies


def test_signing_in_is_in_the_audit_log_without_the_key_or_the_token(client, browser, entries):
    key, token = client.headers["Authorization"], browser()
    (entry,) = entries("sign_in")
    assert (entry.actor, entry.client) == ("ann", "testclient")
    assert entry.target == f"/v1/api-keys/{entry.key_id}"
    assert token not in str(vars(entry))
    assert key.removeprefix("Bearer ") not in str(vars(entry))


def test_the_use_of_a_session_is_a_use_of_its_key(client, browser):
    browser()
    with client.database.transaction() as session:
        session.execute(update(ApiKey).values(last_used_at=None))
    client.get("/v1/jobs")
    assert count(client, ApiKey, ApiKey.last_used_at.is_not(None)) == 1


def test_a_key_cannot_fill_the_table_of_sessions(client):
    key = client.headers["Authorization"].removeprefix("Bearer ")
    for _ in range(MAX_SESSIONS + 3):
        with client.database.transaction() as session:
            token = open_session(session, authenticate(session, key), lifetime=timedelta(hours=1))
    assert count(client, WebSession) == MAX_SESSIONS
    del client.headers["Authorization"]
    client.cookies.set(COOKIE, token)
    assert client.get("/v1/jobs").status_code == 200


def test_a_session_ends_when_its_key_would(client, browser):
    soon = datetime.now(UTC) + timedelta(minutes=5)
    browser(client.make_key("jobs:read", expires_at=soon)["Authorization"])
    expires_at = datetime.fromisoformat(client.get("/v1/whoami").json()["expires_at"])
    assert expires_at == soon


def test_a_page_carries_what_its_scripts_need_and_nothing_that_runs(client, browser):
    with client.database.transaction() as session:
        session.execute(update(ApiKey).values(name='"><script>alert(1)</script>', owner="a'b\"<i>"))
    token = browser()
    page = client.get("/")
    assert page.status_code == 200
    assert f'name="csrf-token" content="{csrf_token(token)}"' in page.text
    assert "<script>alert" not in page.text
    assert "<i>" not in page.text
    assert token not in page.text


def test_one_call_by_cookie_is_one_look_up(client, browser):
    browser()
    client.get("/v1/whoami")
    seen = []

    def note(_connection, _cursor, statement, *_about):
        seen.append(statement)

    event.listen(client.database.engine, "before_cursor_execute", note)
    client.get("/v1/whoami")
    event.remove(client.database.engine, "before_cursor_execute", note)
    assert len(seen) == 1
    assert "web_session" in seen[0]
