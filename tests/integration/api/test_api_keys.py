"""Keys against a real table."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, update

from heimdall_core.accounts.keys import authenticate, ensure_key, make_key
from heimdall_core.database.catalogue_tables import ApiKey
from heimdall_core.domain.errors import Unauthenticated


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
