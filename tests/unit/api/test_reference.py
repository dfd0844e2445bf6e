"""The reference as Markdown says all that the OpenAPI document says, and is up to date."""

import re
from pathlib import Path

import pytest

from api.problem_codes import problem_codes
from api.reference import render, scopes_by_operation, stale_lines
from api.reference_types import anchor

FILE = Path(__file__).parents[3] / "docs/reference/api.md"


@pytest.fixture(scope="module")
def text():
    return render()


def test_the_file_is_what_would_be_generated_now(text):
    difference = stale_lines(FILE, text)
    assert not difference, "run `python -m api.reference docs/reference/api.md`:\n" + "\n".join(
        difference[:40]
    )


def test_every_operation_and_every_field_of_every_document_is_named(app, text):
    document = app.openapi()
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"### `{method.upper()} {path}`" in text
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text, re.M | re.S))
    for name, schema in document["components"]["schemas"].items():
        missing = [field for field in schema.get("properties", {}) if f"| `{field}`" not in sections[name]]
        assert missing == [], name


def test_every_link_leads_to_one_heading(text):
    anchors = [anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, re.M)]
    linked = set(re.findall(r"\]\(#([^)]*)\)", text))
    assert {link: anchors.count(link) for link in linked} == dict.fromkeys(linked, 1)


def test_every_secured_operation_states_its_scope(app):
    scopes = scopes_by_operation(app)
    secured = [
        (method, path)
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
        if operation.get("security")
    ]
    of_any_scope = {"/v1/whoami", "/v1/api-keys", "/v1/api-keys/{key_id}"}
    assert {path for method, path in secured if not scopes[method, path]} == of_any_scope


def test_defaults_and_bounds_are_shown(text):
    section = text.partition("### TrainingSpec\n")[2]
    epochs = re.search(r"^\| `epochs` .*$", section, re.M).group()
    assert "`100`" in epochs
    assert "≥ 1" in epochs


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("missing_key", 401),
        ("unknown_path", 404),
        ("job_not_found", 404),
        ("idempotency_key_reused", 422),
        ("database_unavailable", 503),
        ("worker_lost", None),
    ],
)
def test_codes_have_the_status_that_they_are_answered_with(code, status):
    assert {c.code: c.status for c in problem_codes()}[code] == status
