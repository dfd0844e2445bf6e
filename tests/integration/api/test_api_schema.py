"""Requests made from the OpenAPI document itself, with real engines: no 5xx, and no answer but the documented."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.stateful import run_state_machine_as_test
from schemathesis.checks import not_a_server_error
from schemathesis.openapi import from_dict
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import delete

from heimdall_core.database.catalogue_tables import DatasetVersion
from tests.integration.api.conftest import ADMIN_KEY
from tests.integration.api.test_api_contract import TRAIN, dataset_version, end, north

__all__ = ["north"]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
HEADERS = {"Authorization": f"Bearer {ADMIN_KEY}"}
QUIET = settings(
    max_examples=6,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def schema(client, north):
    """The document of an application that has datasets, jobs, a model and its version; no endless streams."""
    with client.database.transaction() as session:
        session.execute(delete(DatasetVersion))
        session.add_all(dataset_version(name, "d" * 64, ["turin"]) for name in ("north", "localization"))
    job_id = client.post("/v1/jobs", json=TRAIN).json()["id"]
    end(client, job_id, version=1)
    client.post("/v1/jobs", json=TRAIN)
    document = client.app.openapi()
    finite = {path: methods for path, methods in document["paths"].items() if not is_stream(methods)}
    schema = from_dict({**document, "paths": finite})
    schema.app = client.app
    return schema


def is_stream(methods):
    answers = [answer for operation in methods.values() for answer in operation["responses"].values()]
    return any("text/event-stream" in answer.get("content", {}) for answer in answers)


def test_whatever_fits_the_schema_or_does_not_is_answered_as_documented(schema):
    statuses = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()

        @QUIET
        @given(case=operation.as_strategy())
        def ask(case):
            statuses[case.call_and_validate(headers=HEADERS, checks=CHECKS).status_code] += 1

        try:
            ask()
        except BaseException as error:
            error.add_note(operation.label)
            raise
    assert {200, 202, 404, 422} <= statuses.keys()


def test_what_one_answer_names_can_be_asked_for_next(schema):
    class Walk(schema.as_state_machine()):
        def get_call_kwargs(self, case):
            return {"headers": HEADERS}

        def validate_response(self, response, case, additional_checks=(), **kwargs):
            case.validate_response(response, checks=CHECKS)

    run_state_machine_as_test(Walk, settings=settings(QUIET, max_examples=10, stateful_step_count=6))
