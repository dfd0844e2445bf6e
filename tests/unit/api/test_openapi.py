"""The OpenAPI document and the pages made from it."""

import re

import pytest


@pytest.fixture
def document(client):
    return client.get("/openapi.json").json()


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_every_operation_has_an_id_of_its_own_and_a_description(document):
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    undescribed = [name for name, operation in operations(document) if not operation.get("description")]
    assert undescribed == []


def test_every_operation_answers_failures_with_a_problem(document):
    for name, operation in operations(document):
        content = operation["responses"]["default"]["content"]
        assert list(content) == ["application/problem+json"], name
        assert "422" not in operation["responses"], name


def test_every_operation_under_v1_is_secured(document):
    for name, operation in operations(document):
        assert bool(operation.get("security")) == ("/v1/" in name), name


def test_every_operation_has_a_known_tag(document):
    tags = {tag["name"] for tag in document["tags"]}
    assert all(set(operation["tags"]) <= tags for _, operation in operations(document))


def test_job_bodies_forbid_unknown_fields_and_show_defaults(document):
    spec = document["components"]["schemas"]["TrainJobSpec"]
    assert spec["additionalProperties"] is False
    assert document["components"]["schemas"]["TrainingSpec"]["properties"]["epochs"]["default"] == 100


def test_submitting_has_examples(document):
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    assert set(body["examples"]) == {"train", "export", "evaluate", "import"}


def test_every_reference_resolves(document):
    schemas = document["components"]["schemas"]

    def references(value):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for child in value.values():
                yield from references(child)
        elif isinstance(value, list):
            for child in value:
                yield from references(child)

    missing = {r for r in references(document) if r.rsplit("/", 1)[-1] not in schemas}
    assert missing == set()


def test_the_reference_shows_every_operation_and_loads_nothing_from_elsewhere(client, document):
    page = client.get("/docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path in document["paths"]:
        assert path in page.text
    assert "https://" not in page.text
    scripts = re.findall(r"<script[^>]*>", page.text)
    assert all(' src="/static/' in script for script in scripts), scripts


def test_the_style_sheet_is_served(client):
    assert client.get("/static/heimdall.css").headers["content-type"].startswith("text/css")
