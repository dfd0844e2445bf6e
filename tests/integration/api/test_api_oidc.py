"""Bearer tokens over HTTP: an issuer of our own, keys beside them, and what their holders own."""

import json
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from structlog.testing import capture_logs

from api.app import create_app
from api.services import Services
from heimdall_core.accounts.tokens import token_verifier
from heimdall_core.settings import OidcSettings

KEY = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})


class Issuer:
    """A server that hands out keys."""

    def __init__(self):
        self.keys, self.status = [KEY], 200
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                found = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/certs"}
                if self.path == "/certs":
                    found = {"keys": [key.as_dict(private=False) for key in issuer.keys]}
                body = json.dumps(found).encode()
                self.send_response(issuer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def issuer():
    served = Issuer()
    yield served
    served.close()


@pytest.fixture
def oidc(issuer):
    roles = {"trainer": ["jobs:read", "jobs:write"], "viewer": ["jobs:read:all"], "boss": ["admin"]}
    return OidcSettings(issuer=issuer.url, audience=("heimdall",), role_scopes=roles, timeout_seconds=1)


@pytest.fixture
def app(app, settings, oidc):
    """The application of the other tests, with an issuer."""
    services: Services = app.state.services
    changed = settings.model_copy(update={"oidc": oidc})
    with capture_logs():
        return create_app(replace(services, settings=changed, tokens=token_verifier(oidc)))


@pytest.fixture
def bearer(issuer):
    def make(*roles, owner="bob", key=KEY, **changes):
        now = int(time.time())
        claims = {
            "iss": issuer.url,
            "aud": "heimdall",
            "sub": f"id-of-{owner}",
            "preferred_username": owner,
            "exp": now + 300,
            "realm_access": {"roles": roles},
        } | changes
        token = jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key, algorithms=["RS256"])
        return {"Authorization": f"Bearer {token}"}

    return make


def code_of(answer):
    return answer.status_code, answer.json()["code"]


def test_a_token_that_is_refused_is_a_401_and_noted_without_the_token(client, bearer):
    expired = bearer("boss", exp=int(time.time()) - 600)
    assert code_of(client.get("/v1/jobs", headers=expired)) == (401, "token_expired")
    assert code_of(client.get("/v1/jobs", headers=bearer("boss", aud="other"))) == (401, "invalid_token")
    stranger = RSAKey.generate_key(2048, {"kid": "k1"})
    assert code_of(client.get("/v1/jobs", headers=bearer("boss", key=stranger))) == (401, "invalid_token")
    noted = client.get("/v1/audit", params={"action": "refuse_sign_in", "limit": 1}).text
    assert expired["Authorization"].rpartition(".")[2] not in noted


def test_an_issuer_that_is_away_is_a_503_and_keys_open_as_before(client, issuer, bearer):
    issuer.status = 500
    answer = client.get("/v1/jobs", headers=bearer("trainer"))
    assert code_of(answer) == (503, "issuer_unavailable")
    assert answer.headers["retry-after"]
    assert client.get("/v1/jobs").status_code == 200, "with the key of an admin"


def test_an_issuer_that_has_gone_is_a_503(client, issuer, bearer):
    issuer.close()
    assert code_of(client.get("/v1/jobs", headers=bearer("trainer"))) == (503, "issuer_unavailable")
    issuer.__init__()  # for the fixture to close


def test_a_key_that_the_issuer_changed_to_opens(client, issuer, bearer):
    new = RSAKey.generate_key(2048, {"kid": "k2", "use": "sig"})
    issuer.keys = [new]
    assert client.get("/v1/whoami", headers=bearer("trainer", key=new)).status_code == 200


def test_a_token_without_a_role_that_counts_may_do_nothing(client, bearer):
    known = bearer("offline_access")
    assert client.get("/v1/whoami", headers=known).json()["scopes"] == []
    assert code_of(client.get("/v1/jobs", headers=known)) == (403, "missing_scope")


def test_the_holder_of_a_token_is_an_owner_like_the_holder_of_a_key(client, bearer):
    body = {"files": [{"name": "a.sigmf", "size": 10}]}
    made = client.post("/v1/uploads", json=body, headers=bearer("boss", owner="bob")).json()
    whose = client.get(f"/v1/uploads/{made['id']}", headers=client.make_key("recordings:read", owner="bob"))
    assert whose.status_code == 200
    (entry,) = client.get("/v1/audit", params={"target": f"/v1/uploads/{made['id']}"}).json()["data"]
    assert (entry["actor"], entry["key_id"]) == ("bob", None)


def test_a_key_made_with_a_token_outlives_it_by_the_days_that_the_settings_say(client, bearer, oidc):
    body = {"name": "for a cron job", "scopes": ["jobs:read"]}
    made = client.post("/v1/api-keys", json=body, headers=bearer("trainer")).json()
    ends_in = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert abs(ends_in - timedelta(days=oidc.key_days)) < timedelta(minutes=5)
    late = body | {"expires_at": (datetime.now(UTC) + timedelta(days=31)).isoformat()}
    answer = client.post("/v1/api-keys", json=late, headers=bearer("trainer"))
    assert code_of(answer) == (403, "expiry_beyond_yours")
    wide = body | {"scopes": ["admin"]}
    assert code_of(client.post("/v1/api-keys", json=wide, headers=bearer("trainer"))) == (
        403,
        "scope_not_yours",
    )
