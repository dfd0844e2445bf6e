"""The OpenAPI document: what it says about the service and about errors."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.openapi_examples import add_examples
from api.problems import MEDIA_TYPE, Problem

DESCRIPTION = """\
POST recordings and jobs, follow them, and fetch verified ONNX models.

* Every call needs `Authorization: Bearer hmd_...`.
* Errors are RFC 9457 problem documents with a stable `code`, whose `type` is a page that explains it; a wrong
  field is named in `errors[].pointer`.
* A POST that creates something may carry an `Idempotency-Key`: its repetition gets the first answer again.
* Single resources have an `ETag`: `If-None-Match` costs a 304, `If-Match` guards a PATCH with a 412.
* `RateLimit` says what is left of a key's quota; a 304 costs nothing. `traceparent` is taken and handed on.
* Collections are paged: pass `next_cursor` back as `cursor`, with the same filters.
* Times are RFC 3339 in UTC; ids carry their type; URLs to fetch files are presigned and expire.
"""

TAGS = [
    {"name": "jobs", "description": "Training and import jobs."},
    {"name": "events", "description": "What happened, as pages and as server-sent events."},
    {"name": "uploads", "description": "Files on their way into the catalogue."},
    {"name": "recordings", "description": "Receivers and recording sessions; only approved sessions train."},
    {"name": "datasets", "description": "Immutable dataset versions."},
    {"name": "models", "description": "Registered models and their versions."},
    {"name": "schedules", "description": "Retraining by the clock, on new recordings, or on drift."},
    {"name": "access", "description": "API keys, who calls, and who did what."},
    {"name": "webhooks", "description": "Who is told of events, and what was sent."},
    {"name": "fleet", "description": "The queue and the workers."},
    {"name": "health", "description": "For load balancers and people."},
]

_REF = "#/components/schemas/{model}"
_METHODS = {"get", "post", "put", "patch", "delete"}


def describe_problems(app: FastAPI) -> None:
    """Documents problem documents as the answer to every failed call."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_problems(
                get_openapi(
                    title=app.title,
                    version=app.version,
                    summary=app.summary,
                    description=app.description,
                    tags=app.openapi_tags,
                    routes=app.routes,
                    webhooks=app.webhooks.routes,
                    servers=[{"url": "/", "description": "The service that answers this."}],
                    license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
                )
            )
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    problem = Problem.model_json_schema(ref_template=_REF, mode="serialization")
    schemas |= problem.pop("$defs") | {"Problem": problem}
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    for path in document["paths"].values():
        for method, operation in path.items():
            if method in _METHODS:
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = _PROBLEM_ANSWER
                _describe_answers(operation["responses"], schemas)
    _share_body(document["paths"])
    add_examples(document)
    return document


def _describe_answers(responses: dict[str, Any], schemas: dict[str, Any]) -> None:
    """An answer without a description of its own is described by what it carries."""
    for answer in responses.values():
        if answer["description"] == "Successful Response":
            content: dict[str, Any] = next(iter(answer.get("content", {}).values()), {})
            name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
            told = schemas.get(name, {}).get("description", "").partition("\n")[0]
            answer["description"] = told or "Done."


def _share_body(paths: dict[str, Any]) -> None:
    """``:validate`` takes what a submission takes, and more: it says what is wrong with the rest."""
    if {"/v1/jobs", "/v1/jobs:validate"} <= paths.keys():
        paths["/v1/jobs:validate"]["post"]["requestBody"] = paths["/v1/jobs"]["post"]["requestBody"]


_PROBLEM_ANSWER = {
    "description": "A problem (RFC 9457).",
    "headers": {
        "Retry-After": {
            "description": "Seconds after which the request may be repeated: with 429 and 503.",
            "schema": {"type": "integer"},
        },
        "RateLimit": {
            "description": "What is left of the key's quota, and the seconds until it is whole again.",
            "schema": {"type": "string", "examples": ['"default";r=5999;t=1']},
        },
    },
    "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
}
