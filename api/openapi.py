"""The OpenAPI document: what it says about the service and about errors."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.problems import MEDIA_TYPE, Problem

DESCRIPTION = """\
POST recordings and jobs, follow them, and fetch verified ONNX models.

* Every call needs `Authorization: Bearer hmd_...`.
* Errors are RFC 9457 problem documents with a stable `code`; a wrong field is named in `errors[].pointer`.
* A POST that creates something may carry an `Idempotency-Key`: its repetition gets the first answer again.
* Collections are paged: pass `next_cursor` back as `cursor`, with the same filters.
* Times are RFC 3339 in UTC; ids carry their type; URLs to fetch files are presigned and expire.
"""

TAGS = [
    {"name": "jobs", "description": "Training and import jobs."},
    {"name": "uploads", "description": "Files on their way into the catalogue."},
    {"name": "recordings", "description": "Receivers and recording sessions; only approved sessions train."},
    {"name": "datasets", "description": "Immutable dataset versions."},
    {"name": "models", "description": "Registered models and their versions."},
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
                )
            )
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    problem = Problem.model_json_schema(ref_template=_REF)
    schemas |= problem.pop("$defs") | {"Problem": problem}
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    answer = {
        "description": "A problem (RFC 9457).",
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
    }
    for path in document["paths"].values():
        for method, operation in path.items():
            if method in _METHODS:
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = answer
    return document
