"""The OpenAPI document as a contract, and the pages that problems lead to."""

from warnings import catch_warnings

import pytest
from jsonschema import Draft202012Validator

from api.problem_codes import problem_codes


@pytest.fixture
def document(app):
    with catch_warnings():
        return app.openapi()


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def contents(operation):
    for holder in (operation.get("requestBody", {}), *operation["responses"].values()):
        for media_type, content in holder.get("content", {}).items():
            if "json" in media_type:
                yield content


def test_every_operation_has_a_summary_and_says_what_each_answer_is(document):
    for name, operation in operations(document):
        assert operation["summary"], name
        told = {status: answer["description"] for status, answer in operation["responses"].items()}
        assert all(told.values()), name
        assert "Successful Response" not in told.values(), name


def test_every_body_answer_and_parameter_has_an_example_that_its_schema_allows(document):
    for name, operation in operations(document):
        for content in contents(operation):
            examples = [one["value"] for one in content.get("examples", {}).values()] or [content["example"]]
            validator = Draft202012Validator({**content["schema"], "components": document["components"]})
            assert [error.message for one in examples for error in validator.iter_errors(one)] == [], name
        for parameter in operation.get("parameters", ()):
            stated = parameter["schema"].get("examples", [parameter.get("example")])
            assert stated[0] is not None, (name, parameter["name"])


def test_the_document_names_server_licence_and_scheme(document):
    assert document["openapi"].startswith("3.1")
    assert document["servers"][0]["url"] == "/"
    assert document["info"]["license"]["identifier"] == "Apache-2.0"
    assert document["components"]["securitySchemes"]


def test_validation_takes_what_a_submission_takes(document):
    bodies = [document["paths"][path]["post"]["requestBody"] for path in ("/v1/jobs", "/v1/jobs:validate")]
    assert bodies[0] == bodies[1]


def test_an_unknown_code_has_no_page(client):
    assert client.get("/problems/made_up").json()["code"] == "unknown_problem"


def test_every_code_has_a_page_with_its_cause_and_remedy(client):
    index = client.get("/problems").text
    for code in problem_codes():
        assert code.meaning, code
        assert code.remedy, code
        assert f"/problems/{code.code}" in index
    page = client.get("/problems/idempotency_key_reused")
    assert page.status_code == 200
    assert "422" in page.text
    assert "Use a new key for a new request." in page.text


def test_the_type_of_a_problem_leads_to_its_page(client):
    problem = client.get("/v1/jobs").json()
    assert client.get(problem["type"]).status_code == 200


def test_a_trace_is_taken_handed_on_and_begun(client):
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01", "tracestate": "vendor=1"}
    answer = client.get("/livez", headers=headers)
    assert answer.headers["traceparent"][3:35] == trace_id
    assert answer.headers["traceparent"] != headers["traceparent"]
    assert answer.headers["tracestate"] == "vendor=1"
    assert client.get("/livez").headers["traceparent"][3:35] != trace_id
