"""Tokens of an issuer: what is taken, what is refused, and what happens while the issuer is away."""

import base64
import hashlib
import hmac
import json
import time

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from structlog.testing import capture_logs

from heimdall_core.accounts.issuer_keys import MAX_DOCUMENT_BYTES, RETRY_SECONDS, STALE_FACTOR, IssuerKeys
from heimdall_core.accounts.tokens import MAX_TOKEN_CHARS, TokenVerifier, is_token
from heimdall_core.domain.errors import IssuerUnavailable, Unauthenticated
from heimdall_core.settings import OidcSettings

ISSUER = "https://sso.example.org/realms/heimdall"
RSA = RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig", "alg": "RS256"})
EC = ECKey.generate_key("P-256", {"kid": "ec-1", "use": "sig"})
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa-1"})

OUTSIDER = ECKey.generate_key("P-256", {"kid": "ec-1"})


def settings(**changes):
    values = {
        "issuer": ISSUER,
        "audience": ["heimdall", "other"],
        "role_scopes": {"trainer": ["jobs:read", "jobs:write"], "boss": ["admin"]},
    }
    return OidcSettings.model_validate(values | changes)


def claims(**changes):
    now = int(time.time())
    made = {
        "iss": ISSUER,
        "aud": ["heimdall", "account"],
        "sub": "f3b1",
        "preferred_username": "ann",
        "iat": now,
        "exp": now + 300,
        "typ": "Bearer",
        "realm_access": {"roles": ["trainer", "offline_access"]},
    } | changes
    return {name: value for name, value in made.items() if value is not None}


def token(key=RSA, alg="RS256", header=None, **changes):
    return jwt.encode({"alg": alg, "kid": key.kid} | (header or {}), claims(**changes), key, algorithms=[alg])


class Issuer:
    """Hands out keys, or fails to, and counts how often it is asked."""

    def __init__(self, *keys):
        self.keys, self.asked, self.answer = list(keys), [], None

    def __call__(self, request):
        self.asked.append(request.url.path)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer
        if request.url.path.endswith("/openid-configuration"):
            return httpx.Response(200, json={"issuer": ISSUER, "jwks_uri": f"{ISSUER}/certs"})
        return httpx.Response(200, json={"keys": [key.as_dict(private=False) for key in self.keys]})


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def issuer():
    return Issuer(RSA, EC)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def verifier(issuer, clock):
    def make(**changes):
        given = settings(**changes)
        keys = IssuerKeys(given, transport=httpx.MockTransport(issuer), clock=clock)
        return TokenVerifier(given, keys)

    return make


@pytest.fixture(autouse=True)
def _quiet():
    with capture_logs():
        yield


def refused(verifier, given, code="invalid_token", match=None):
    with pytest.raises(Unauthenticated, match=match) as caught:
        verifier.verify(given)
    assert caught.value.stable_code == code
    assert given not in str(caught.value)


def unsigned(alg="none", signature=b""):
    parts = [json.dumps({"alg": alg, "kid": "rsa-1"}), json.dumps(claims())]
    encoded = [base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, base64.urlsafe_b64encode(signature).rstrip(b"=").decode()])


def test_a_token_without_a_signature_is_refused(verifier):
    refused(verifier(), unsigned(), match="algorithm")


def test_a_token_signed_with_the_public_key_as_a_shared_secret_is_refused(verifier):
    head, payload, _ = unsigned("HS256").split(".")
    secret = RSA.as_pem(private=False)
    signature = hmac.new(secret, f"{head}.{payload}".encode(), hashlib.sha256).digest()
    refused(verifier(), unsigned("HS256", signature), match="algorithm")


def test_a_shared_secret_among_the_issuers_keys_is_not_used(verifier, issuer):
    secret = OctKey.generate_key(256, {"kid": "oct-1"})
    issuer.keys.append(secret)
    forged = jwt.encode({"alg": "HS256", "kid": "oct-1"}, claims(), secret, algorithms=["HS256"])
    refused(verifier(), forged, match="algorithm")


@pytest.mark.parametrize("name", ["none", "HS256", "RS1"])
def test_no_setting_allows_an_algorithm_without_a_public_key(name):
    with pytest.raises(ValueError, match="algorithms"):
        settings(algorithms=[name])


def test_a_token_that_a_stranger_signed_is_refused(verifier):
    refused(verifier(), token(STRANGER), match="validly signed")


def test_a_token_of_an_allowed_algorithm_with_a_key_of_another_kind_is_refused(verifier):
    refused(verifier(), token(EC, "ES256", header={"kid": "rsa-1"}), match="validly signed")


@pytest.mark.parametrize(
    "header",
    [
        {"jku": "https://evil.example/certs"},
        {"x5u": "https://evil.example/cert"},
        {"jwk": OUTSIDER.as_dict(private=False)},
    ],
)
def test_a_token_that_brings_its_own_key_is_refused(verifier, issuer, header):
    refused(verifier(), token(OUTSIDER, "ES256", header), match="validly signed")
    assert all("evil" not in path for path in issuer.asked)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_token_that_was_changed_is_refused(verifier, position):
    parts = token().split(".")
    middle = len(parts[position]) // 2
    other = "A" if parts[position][middle] != "A" else "B"
    parts[position] = parts[position][:middle] + other + parts[position][middle + 1 :]
    with pytest.raises(Unauthenticated):
        verifier().verify(".".join(parts))


@pytest.mark.parametrize(
    "text", ["..", "a.b.c", "e30.e30.e30", "\u00e9.\u00e9.\u00e9", "eyJhbGciOiJSUzI1NiJ9..x"]
)
def test_what_is_no_token_is_refused(verifier, issuer, text):
    refused(verifier(), text)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://sso.example.org/realms/other"}, "'iss'"),
        ({"iss": None}, "'iss'"),
        ({"aud": "account"}, "'aud'"),
        ({"aud": None}, "'aud'"),
        ({"aud": []}, "'aud'"),
        ({"exp": None}, "'exp'"),
        ({"exp": "tomorrow"}, "'exp'"),
        ({"exp": 1e300}, "expiry"),
        ({"nbf": int(time.time()) + 3600}, "'nbf'"),
        ({"sub": None}, "'sub'"),
        ({"typ": "ID"}, "access token"),
        ({"typ": "Refresh"}, "access token"),
        ({"preferred_username": "anonymous"}, "owner"),
        ({"preferred_username": "a\nb"}, "owner"),
        ({"preferred_username": {"a": 1}}, "owner"),
    ],
)
def test_a_token_for_others_or_of_others_is_refused(verifier, changes, reason):
    refused(verifier(), token(**changes), match=reason)


def test_an_expired_token_is_refused_and_a_clock_may_differ_a_little(verifier):
    now = int(time.time())
    refused(verifier(), token(exp=now - 60), code="token_expired")
    assert verifier().verify(token(exp=now - 10)).owner == "ann"
    refused(verifier(leeway_seconds=0), token(exp=now - 10), code="token_expired")


def test_a_token_of_an_unknown_key_is_refused_and_does_not_make_the_service_ask_for_ever(verifier, issuer):
    unknown = RSAKey.generate_key(2048, {"kid": "rsa-9"})
    made = verifier()
    for _ in range(5):
        refused(made, token(unknown), match="signing key")
    assert len(issuer.asked) == 2, "where the keys are, and the keys, once"


def test_a_key_that_the_issuer_changed_to_is_fetched(verifier, issuer, clock):
    made = verifier()
    made.verify(token())
    new = RSAKey.generate_key(2048, {"kid": "rsa-2", "use": "sig"})
    issuer.keys = [new]
    refused(made, token(new), match="signing key")
    clock.now += RETRY_SECONDS
    assert made.verify(token(new)).owner == "ann"
    refused(made, token(RSA), match="signing key")


def test_a_key_that_the_issuer_withdrew_is_used_no_longer_than_the_keys_are_kept(verifier, issuer, clock):
    made = verifier()
    made.verify(token())
    issuer.keys = [EC]
    clock.now += settings().jwks_seconds + 1
    refused(made, token(), match="signing key")


FAULTS = [
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("slow"),
    httpx.Response(500),
    httpx.Response(302, headers={"location": "https://elsewhere.example/"}),
    httpx.Response(200, text="<html>"),
    httpx.Response(200, json=[]),
    httpx.Response(200, json={"issuer": "https://evil.example", "jwks_uri": "https://evil.example/certs"}),
    httpx.Response(200, json={"issuer": ISSUER, "jwks_uri": "http://sso.example.org/certs"}),
    httpx.Response(200, json={"issuer": ISSUER}),
    httpx.Response(200, content=b" " * (MAX_DOCUMENT_BYTES + 1)),
]


@pytest.mark.parametrize("fault", FAULTS, ids=range(len(FAULTS)))
def test_an_issuer_that_is_away_or_astray_is_told_as_such_and_asked_again_later(
    verifier, issuer, clock, fault
):
    made, issuer.answer = verifier(), fault
    for _ in range(3):
        with pytest.raises(IssuerUnavailable):
            made.verify(token())
    assert len(issuer.asked) == 1
    issuer.answer, clock.now = None, clock.now + RETRY_SECONDS
    assert made.verify(token()).owner == "ann"


@pytest.mark.parametrize(
    "keys", [{}, {"keys": []}, {"keys": "x"}, {"keys": [{"kty": "RSA", "kid": "rsa-1"}]}, {"keys": [None]}]
)
def test_keys_that_cannot_be_read_are_the_issuers_fault(verifier, issuer, keys):
    issuer.answer = httpx.Response(200, json=keys)
    with pytest.raises(IssuerUnavailable):
        verifier(jwks_uri=f"{ISSUER}/certs").verify(token())


def test_known_keys_outlive_an_issuer_that_is_away_for_a_while_and_not_for_ever(verifier, issuer, clock):
    made = verifier()
    made.verify(token())
    issuer.answer = httpx.ConnectError("refused")
    clock.now += settings().jwks_seconds * 2
    assert made.verify(token()).owner == "ann"
    clock.now += settings().jwks_seconds * STALE_FACTOR
    with pytest.raises(IssuerUnavailable):
        made.verify(token())


def test_a_token_in_order_tells_who_holds_it_until_when_and_what_its_roles_open(verifier, issuer):
    made = verifier()
    caller = made.verify(token(exp=4_000_000_000))
    assert (caller.owner, caller.key_id) == ("ann", None)
    assert caller.scopes == {"jobs:read", "jobs:write"}
    assert caller.expires_at.timestamp() == 4_000_000_000
    assert made.verify(token(EC, "ES256")).owner == "ann"
    assert issuer.asked == ["/realms/heimdall/.well-known/openid-configuration", "/realms/heimdall/certs"]


@pytest.mark.parametrize(
    ("options", "changes", "scopes"),
    [
        ({}, {"realm_access": None}, set()),
        ({}, {"realm_access": {"roles": "boss"}}, {"admin"}),
        ({}, {"realm_access": ["boss"]}, set()),
        ({}, {"realm_access": {"roles": ["admin", "jobs:write", {"boss": 1}]}}, set()),
        ({}, {"resource_access": {"heimdall.api": {"roles": ["boss"]}}}, {"jobs:read", "jobs:write"}),
        (
            {"client_id": "heimdall.api"},
            {"resource_access": {"heimdall.api": {"roles": ["boss"]}}},
            {"admin", "jobs:read", "jobs:write"},
        ),
        ({"roles_claim": "groups"}, {"groups": ["boss"]}, {"admin"}),
        ({"roles_claim": "scope"}, {"scope": "openid boss"}, {"admin"}),
        ({"roles_claim": "a.b.c"}, {"a": {"b": {"c": ["trainer"]}}}, {"jobs:read", "jobs:write"}),
    ],
)
def test_only_roles_that_the_settings_name_open_anything(verifier, options, changes, scopes):
    assert verifier(**options).verify(token(**changes)).scopes == scopes


@pytest.mark.parametrize(
    ("options", "changes", "owner"),
    [
        ({}, {"preferred_username": None}, "f3b1"),
        ({}, {"preferred_username": ""}, "f3b1"),
        ({"owner_claim": "email"}, {"email": "ann@example.org"}, "ann@example.org"),
        ({"owner_prefix": "sso:"}, {"preferred_username": "anonymous"}, "sso:anonymous"),
    ],
)
def test_the_owner_is_the_one_that_the_settings_say(verifier, options, changes, owner):
    assert verifier(**options).verify(token(**changes)).owner == owner


@pytest.mark.parametrize(
    "values",
    [
        {"issuer": ISSUER},
        {"issuer": "http://sso.example.org", "audience": ["a"]},
        {"issuer": ISSUER, "audience": ["a"], "jwks_uri": "http://sso.example.org/certs"},
        {"issuer": ISSUER, "audience": ["a"], "role_scopes": {"r": ["jobs:own"]}},
    ],
)
def test_settings_that_would_take_anybodys_tokens_are_refused(values):
    with pytest.raises(ValueError, match=r"audience|https|role_scopes"):
        OidcSettings.model_validate(values)


@pytest.mark.parametrize("text", ["hmd_" + "a" * 43, "a.b", "a.b.c.d", "a.b." + "c" * MAX_TOKEN_CHARS])
def test_what_has_not_the_form_of_a_token_is_not_taken_for_one(text):
    assert not is_token(text)
