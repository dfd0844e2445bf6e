"""The reference of the API as one page, made from the OpenAPI document; it loads nothing from elsewhere."""

import json
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response

from api.templates import render_page

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def show_documentation(request: Request) -> Response:
    """Every operation and every document."""
    document: dict[str, Any] = request.app.openapi()
    operations = list(_operations(document))
    groups = [
        {**tag, "operations": [o for o in operations if o["tag"] == tag["name"]]} for tag in document["tags"]
    ]
    schemas = [
        {"name": name, **_schema(schema)}
        for name, schema in sorted(document["components"]["schemas"].items())
    ]
    return render_page("docs.html", info=document["info"], groups=groups, schemas=schemas)


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            yield {
                "tag": operation["tags"][0],
                "id": operation["operationId"],
                "method": method.upper(),
                "path": path,
                "description": operation.get("description", ""),
                "parameters": [_parameter(p) for p in operation.get("parameters", ())],
                "body": _type_of(body["schema"]) if body else None,
                "examples": _examples(body),
                "answers": list(_answers(operation["responses"])),
            }


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": parameter["name"],
        "where": parameter["in"],
        "required": parameter["required"],
        "type": _type_of(parameter["schema"]),
        "description": parameter.get("description", ""),
    }


def _examples(body: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {"summary": example["summary"], "text": json.dumps(example["value"], indent=2)}
        for example in body.get("examples", {}).values()
    ]


def _answers(responses: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for status, answer in responses.items():
        content: dict[str, Any] = next(iter(answer.get("content", {}).values()), {})
        names = _type_of(content["schema"]) if content.get("schema") else []
        yield {"status": status, "description": answer["description"], "type": names}


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    required = schema.get("required", ())
    return {
        "description": schema.get("description", ""),
        "values": schema.get("enum", ()),
        "fields": [
            {
                "name": name,
                "type": _type_of(field),
                "required": name in required,
                "default": json.dumps(field["default"]) if "default" in field else "",
                "description": field.get("description", ""),
                "bounds": _bounds(field),
            }
            for name, field in schema.get("properties", {}).items()
        ],
    }


def _bounds(field: dict[str, Any]) -> str:
    words = {
        "minimum": "≥",
        "exclusiveMinimum": ">",
        "maximum": "≤",
        "exclusiveMaximum": "<",
        "maxLength": "length ≤",
        "maxItems": "items ≤",
    }
    return ", ".join(f"{word} {field[key]:g}" for key, word in words.items() if key in field)


def _type_of(schema: dict[str, Any]) -> list[dict[str, str]]:
    """The type in pieces: text, and where a piece names a document, its anchor."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return [{"text": name, "anchor": name}]
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return _joined([_type_of(option) for option in schema[union]])
    if "enum" in schema:
        return [{"text": " | ".join(json.dumps(value) for value in schema["enum"]), "anchor": ""}]
    if "const" in schema:
        return [{"text": json.dumps(schema["const"]), "anchor": ""}]
    if schema.get("type") == "array" and "items" in schema:
        return [{"text": "list of ", "anchor": ""}, *_type_of(schema["items"])]
    return [{"text": schema.get("format") or schema.get("type", "any"), "anchor": ""}]


def _joined(options: list[list[dict[str, str]]]) -> list[dict[str, str]]:
    pieces: list[dict[str, str]] = []
    for option in options:
        pieces += [{"text": " | ", "anchor": ""}, *option] if pieces else option
    return pieces
