"""Requests that nobody should send: an answer of the contract to each, never a failure of the service."""

import asyncio
import copy
import json
import os
import re
from typing import Any, NoReturn
from warnings import catch_warnings

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.responses import Response
from structlog.testing import capture_logs

from api.callers import get_caller
from api.dependencies import open_transaction
from api.problem_codes import problem_codes
from heimdall_core.accounts.principal import SCOPES, Principal

EXAMPLES = os.environ.get("FUZZ_EXAMPLES")
"""How many to try by hand, each time others."""
FUZZ = settings(
    max_examples=int(EXAMPLES or 60),
    deadline=None,
    derandomize=not EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TOUCHED = 299
"""The request was sound enough to reach the database, which is not there."""

TEXTS = st.sampled_from(["", " ", "\0", "\ud800", "a/b", "..", "x" * 300, "NaN", "\u202e", "job_" + "a" * 24])
NUMBERS = st.sampled_from(
    [float("nan"), float("inf"), -float("inf"), 10**30, -(10**30), 10**4_000, -1, 0, 0.5, 2**63, 1e308, True]
)
SCALARS = st.none() | st.booleans() | TEXTS | NUMBERS | st.floats() | st.integers() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
HEADER_TEXT = st.binary(max_size=40).map(lambda text: re.sub(rb"[\r\n\0]", b"?", text)) | st.sampled_from(
    [
        b"",
        b'"' + b"a" * 300 + b'"',
        b'"\\',
        b"*",
        b'W/"1"',
        b'"' + b"9" * 3_990 + b'-"',
        b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01",
        b"ff-" + b"a" * 32 + b"-" + b"b" * 16 + b"-zz-x",
        b"evt_" + b"9" * 30,
        b"evt_-1",
        b"9" * 5_000,
        b"\xff\xfe",
        b"\xb2",
        b"application/json; charset=utf-16",
        b"multipart/form-data",
        b"text/event-stream;q=nan",
    ]
)
HEADERS = st.sampled_from(
    [
        "Idempotency-Key",
        "If-Match",
        "If-None-Match",
        "traceparent",
        "tracestate",
        "Last-Event-ID",
        "Content-Type",
        "Content-Encoding",
        "Content-Length",
        "Accept",
        "Range",
        "If-Range",
        "X-Request-Id",
        "Prefer",
        "Cookie",
        "Origin",
    ]
)
VALUE_OF = {
    "job_id": "job_" + "a" * 24,
    "upload_id": "upl_" + "a" * 24,
    "key_id": "key_" + "a" * 24,
    "endpoint_id": "whe_" + "a" * 24,
    "delivery_id": "whd_" + "a" * 24,
    "session_id": "00000000-0000-0000-0000-000000000000",
    "version": "1",
}


class TouchedError(Exception):
    """A statement would have been sent to the database."""


class NoDatabase:
    """A session that nobody gets anything from."""

    def __init__(self) -> None:
        self.info: dict[str, object] = {}

    def __getattr__(self, name: str) -> NoReturn:
        raise TouchedError(name)


@pytest.fixture
def ask(app):
    """Sends a request as an administrator; the answer, checked against the contract."""

    @app.exception_handler(TouchedError)
    async def touched(_request, _error):
        return Response(status_code=TOUCHED)

    app.dependency_overrides[get_caller] = lambda: Principal(
        owner="bob", key_id="k", scopes=frozenset(SCOPES)
    )
    app.dependency_overrides[open_transaction] = NoDatabase
    codes = {code.code for code in problem_codes()}

    async def send(method, url, **options):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
            return await client.request(method, url, **options)

    def asked(method: str, url: str, **options: Any) -> httpx.Response:
        with capture_logs() as lines:
            answer = asyncio.run(send(method, url, **options))
        assert answer.status_code < 500, (method, url, lines)
        if answer.status_code >= 400:
            problem = json.loads(answer.content)
            assert answer.headers["content-type"] == "application/problem+json"
            assert problem["status"] == answer.status_code
            assert problem["code"] in codes
            assert problem["detail"]
        return answer

    return asked


@pytest.fixture(scope="module")
def documented() -> dict[str, Any]:
    """What is read of the document once: nothing, until the first test asks."""
    return {}


@pytest.fixture
def operations(app, documented):
    """Every operation of the document: method, path, examples of its body, names of its parameters."""
    if not documented:
        with catch_warnings():
            document = app.openapi()
        documented["operations"] = [
            (method.upper(), path, examples_of(operation), names_of(operation))
            for path, methods in document["paths"].items()
            if path.startswith("/v1/") and "stream" not in path
            for method, operation in methods.items()
        ]
    return documented["operations"]


def examples_of(operation: dict[str, Any]) -> list[Any]:
    contents = operation.get("requestBody", {}).get("content", {})
    content = contents.get("application/json") or next(iter(contents.values()), None)
    if content is None:
        return []
    return [one["value"] for one in content.get("examples", {}).values()] or [content["example"]]


def names_of(operation: dict[str, Any]) -> list[str]:
    return [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]


def filled(path: str) -> str:
    return re.sub(r"{(\w+)}", lambda match: VALUE_OF.get(match[1], "name"), path)


def with_bodies(operations: list[Any]) -> list[Any]:
    return [one for one in operations if one[2]]


def containers(value: Any) -> list[Any]:
    found, rest = [], [value]
    while rest:
        if isinstance(one := rest.pop(), dict | list):
            found.append(one)
            rest += one.values() if isinstance(one, dict) else one
    return found


@st.composite
def spoiled(draw: st.DrawFn, body: Any) -> bytes:
    """The body with some members changed, dropped, added or doubled, and perhaps its text damaged."""
    changed = {"body": copy.deepcopy(body)}
    for _ in range(draw(st.integers(1, 3))):
        container = draw(st.sampled_from(containers(changed)))
        keys = list(range(len(container))) if isinstance(container, list) else list(container)
        if not keys or (container is not changed and isinstance(container, dict) and draw(st.booleans())):
            if isinstance(container, dict):
                container[draw(TEXTS | st.text(max_size=6))] = draw(VALUES)
        elif draw(st.integers(0, 3)) or container is changed:
            container[draw(st.sampled_from(keys))] = draw(VALUES)
        else:
            del container[draw(st.sampled_from(keys))]
    text = json.dumps(changed["body"], ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    match draw(st.integers(0, 9)):
        case 0:
            at = draw(st.integers(0, len(text)))
            text = text[:at] + draw(st.binary(max_size=4)) + text[at + draw(st.integers(0, 2)) :]
        case 1:
            text = text.replace(b"null", b"[" * 20_000 + b"]" * 20_000, 1)
        case 2:
            text = text.replace(b'{"', b'{"kind": 1, "kind": 2, "', 1)
    return text


@given(data=st.data())
@FUZZ
def test_no_change_of_a_body_is_a_failure(ask, operations, data):
    method, path, examples, _ = data.draw(st.sampled_from(with_bodies(operations)))
    body = data.draw(spoiled(data.draw(st.sampled_from(examples))))
    answer = ask(method, filled(path), content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {TOUCHED, 200, 201, 202, 400, 404, 409, 412, 413, 422}


@given(
    data=st.data(),
    junk=st.binary(max_size=60) | VALUES.map(lambda value: repr(value).encode("utf-8", "replace")),
)
@FUZZ
def test_no_bytes_of_any_type_are_a_failure(ask, operations, data, junk):
    method, path, _, _ = data.draw(st.sampled_from(with_bodies(operations)))
    kind = data.draw(
        st.sampled_from(["application/json", "text/plain", "application/x-www-form-urlencoded", "a"])
    )
    answer = ask(method, filled(path), content=junk, headers={"Content-Type": kind})
    assert answer.status_code in {TOUCHED, 200, 202, 400, 404, 412, 415, 422}


@given(data=st.data())
@FUZZ
def test_no_header_is_a_failure(ask, operations, data):
    method, path, examples, _ = data.draw(st.sampled_from(operations))
    headers = data.draw(st.dictionaries(HEADERS, HEADER_TEXT, min_size=1, max_size=3))
    body = json.dumps(data.draw(st.sampled_from(examples))).encode() if examples else None
    given = [(b"content-type", b"application/json")] if body else []
    given += [(name.encode(), value) for name, value in headers.items()]
    ask(method, filled(path), content=body, headers=given)


@given(data=st.data())
@FUZZ
def test_no_parameter_is_a_failure(ask, operations, data):
    method, path, examples, names = data.draw(st.sampled_from([one for one in operations if one[3]]))
    texts = TEXTS.filter(lambda text: text != "\ud800") | st.text(st.characters(codec="utf-8"), max_size=20)
    numbers = st.sampled_from(["9" * 400, "-1", "nan", "1e400", "eyJhIjogMX0", "W10", "bnVsbA=="])
    query = data.draw(
        st.lists(st.tuples(st.sampled_from([*names, "unknown"]), texts | numbers), min_size=1, max_size=3)
    )
    body = json.dumps(examples[0]).encode() if examples else None
    ask(method, filled(path), params=query, content=body)


@given(
    data=st.data(),
    part=st.sampled_from(["%00", "%ff", "%2e%2e", "a" * 300, "%2F", "-1", "9" * 40, "a:b", "é", "%F0%9F"]),
)
@FUZZ
def test_no_path_is_a_failure(ask, operations, data, part):
    method, path, examples, _ = data.draw(st.sampled_from([one for one in operations if "{" in one[1]]))
    names = re.findall(r"{(\w+)}", path)
    chosen = data.draw(st.sampled_from(names))
    url = filled(path.replace("{" + chosen + "}", part, 1))
    ask(method, url, content=json.dumps(examples[0]).encode() if examples else None)


def test_numbers_and_depths_that_no_reader_takes_are_no_failure(ask):
    for body in (b'{"kind": "train", "training": {"epochs": 1e400}}', b"[" * 200_000, b"9" * 5_000):
        answer = ask("POST", "/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in {400, 422}
