"""The JSON Schema of a request for a job: what forms, editors and checks are made of."""

import pytest
from jsonschema import Draft202012Validator

from api.routes.job_reviews import read_request_schema
from api.routes.jobs import EXAMPLES


class AnswerWhole:
    def answer(self, document):
        return document.root


@pytest.fixture
def schema():
    return read_request_schema(AnswerWhole())


def fields(schema):
    for name, document in schema["$defs"].items():
        for field, described in document.get("properties", {}).items():
            yield f"{name}.{field}", described


@pytest.mark.parametrize("kind", EXAMPLES)
def test_it_takes_what_the_service_takes(schema, kind):
    request = EXAMPLES[kind]["value"]
    validator = Draft202012Validator(schema)
    assert validator.is_valid(request)
    assert not validator.is_valid(request | {"colour": "red"})


def test_each_field_of_one_value_says_what_it_is(schema):
    plain = {name: field for name, field in fields(schema) if "$ref" not in field and "const" not in field}
    assert [name for name, field in plain.items() if not field.get("description")] == []
    assert [name for name, field in plain.items() if "anyOf" not in field and not field.get("title")] == []


def test_titles_are_words_with_their_unit(schema):
    titles = {name: field.get("title") for name, field in fields(schema)}
    assert titles["TrainingSpec.level_noise_db"] == "Level noise (dB)"
    assert titles["LimitsSpec.max_runtime_seconds"] == "Max runtime (s)"
    assert titles["ResourcesSpec.num_nodes"] == "Number of nodes"


def test_an_export_says_that_it_does_not_register_by_default(schema):
    assert dict(fields(schema))["ExportJobSpec.register"]["default"]["enabled"] is False
