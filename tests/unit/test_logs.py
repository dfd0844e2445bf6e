"""No secret reaches a log line."""

import json
import logging

import pytest
import structlog

from heimdall_core import logs

KEY = "hmd_0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def configured():
    """Puts back what the set-up changes for the whole process."""
    root, access = logging.getLogger(), logging.getLogger("uvicorn.access")
    handlers, level = root.handlers[:], root.level
    yield logs.configure
    root.handlers[:], root.level = handlers, level
    access.disabled = False
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authorization", "Bearer x"),
        ("api_key", "x"),
        ("database_password", "x"),
        ("note", f"key {KEY} was used"),
        ("url", "postgresql://heimdall:hunter2@db/x"),
        ("url", "https://s3/x?X-Amz-Signature=0123abcd"),
        ("nested", {"secret_access_key": "x", "list": [KEY]}),
        ("url", "redis://:hunter2@redis:6379/0"),
        ("url", "postgresql://heimdall:hunter2/with@sign@db/x"),
        ("url", "https://s3/x?AWSAccessKeyId=a&Signature=hunter2%2Babc%3D&Expires=1"),
        ("url", "https://s3/x?X-Amz-Security-Token=hunter2%2Fabc&X-Amz-Signature=0123abcd"),
        ("note", "the endpoint signs with whsec_hunter2AAAAAAAAAAAAAAAAAAAA=="),
        ("note", "GET / Authorization: Bearer hunter2.of.another.kind"),
        ("note", "token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.hunter2-signature came"),
    ],
)
def test_secrets_are_hidden(name, value):
    shown = json.dumps(logs.redact(None, "info", {"event": "tried", name: value}))
    assert "***" in shown
    assert all(secret not in shown for secret in (KEY, "hunter2", "0123abcd", '"x"'))
    assert "eyJ" not in shown


def test_what_is_not_secret_is_kept():
    event = {
        "event": "request",
        "path": "/v1/jobs",
        "url": "postgresql://db/x",
        "status": 200,
        "note": "the bearer of bad news signs at 12:00 and mails ann@example.org",
    }
    assert logs.redact(None, "info", dict(event)) == event


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_errors_are_logged_with_their_secrets_hidden(configured, capsys, log_format):
    configured(log_format)
    error = ValueError(f"no such key {KEY}")
    structlog.get_logger("tests").error("lookup_failed", job_id="job_1", exc_info=error)
    shown = capsys.readouterr().err
    assert "lookup_failed" in shown
    assert "job_1" in shown
    assert "ValueError" in shown
    assert KEY not in shown


def test_json_lines_parse_and_carry_the_standard_library_too(configured, capsys):
    configured("json")
    logging.getLogger("uvicorn").warning("shutting down %s", "now")
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == "shutting down now"
    assert line["level"] == "warning"


def test_the_servers_own_lines_are_redacted_and_those_about_requests_left_out(configured, capsys):
    server, access = logging.getLogger("uvicorn.error"), logging.getLogger("uvicorn.access")
    server.addHandler(logging.StreamHandler())
    server.propagate = False
    configured("json")
    server.error("failed with %s", KEY)
    access.error("GET /v1/jobs?key=%s", KEY)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "failed with ***"
