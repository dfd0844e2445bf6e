"""The reference of the API as Markdown: ``python -m api.reference FILE [--check]``; needs no neighbour."""

import difflib
import json
import sys
from collections.abc import Iterator
from inspect import getclosurevars
from itertools import chain
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from api.app import create_app
from api.problem_codes import problem_codes
from api.reference_types import anchor, bounds_of, one_line, table, type_of
from api.services import Services
from heimdall_core.database import Database
from heimdall_core.jobs.hints import HintPublisher
from heimdall_core.settings import DatabaseSettings, RedisSettings, Settings, StorageSettings
from heimdall_core.storage import S3Store

INTRODUCTION: Final = """\
# HTTP API

This page is generated from the service itself: `python -m api.reference docs/reference/api.md`.
A running service shows the same at `/docs` and, for programs, at `/openapi.json`.
"""
_METHODS: Final = ("get", "post", "put", "patch", "delete")


def main() -> None:
    """Writes the reference, or with ``--check`` compares it and ends with 1 if it is stale."""
    arguments = [a for a in sys.argv[1:] if a != "--check"]
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.exit("usage: python -m api.reference FILE [--check]")
    path, wanted = Path(arguments[0]), render()
    if "--check" not in sys.argv[1:]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted)
    elif difference := stale_lines(path, wanted):
        sys.exit("\n".join(difference) + f"\n{path} is stale: generate it again")


def stale_lines(path: Path, wanted: str) -> list[str]:
    """What differs between the file and the reference as it should be, as a diff."""
    present = path.read_text() if path.exists() else ""
    names = (str(path), "generated")
    return list(difflib.unified_diff(present.splitlines(), wanted.splitlines(), *names, lineterm="", n=1))


def render() -> str:
    """The whole reference."""
    app = describable_app()
    document, scopes = app.openapi(), scopes_by_operation(app)
    operations = list(_operations(document, scopes))
    parts = [
        INTRODUCTION,
        document["info"]["description"],
        _contents(document, operations),
        *chain.from_iterable(_group(tag, operations) for tag in document["tags"]),
        "## Documents\n",
        *(_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())),
        _codes(),
    ]
    return "\n".join(parts)


def describable_app() -> FastAPI:
    """The application with neighbours that do not exist, none of which it asks to describe itself."""
    settings = Settings(
        _env_file=None,
        database=DatabaseSettings.model_validate({"url": "postgresql+psycopg://none:none@127.0.0.1:1/none"}),
        redis=RedisSettings.model_validate({"url": "redis://127.0.0.1:1/0"}),
        storage=StorageSettings.model_validate({"access_key_id": "none", "secret_access_key": "none"}),
    )
    return create_app(
        Services(
            settings=settings,
            database=Database(settings.database),
            store=S3Store(settings.storage),
            hints=HintPublisher(settings.redis),
        )
    )


def scopes_by_operation(app: FastAPI) -> dict[tuple[str, str], list[str]]:
    """The scopes that ``api.dependencies.needs`` asks for, by method and path."""
    found: dict[tuple[str, str], list[str]] = {}
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute):
            for method in context.methods or ():
                found[method.lower(), context.path_format or ""] = sorted(set(_scopes(context.dependant)))
    return found


def _scopes(dependant: Dependant) -> Iterator[str]:
    for inner in dependant.dependencies:
        if getattr(inner.call, "__qualname__", "").startswith("needs.") and inner.call is not None:
            yield getclosurevars(inner.call).nonlocals["scope"]
        yield from _scopes(inner)


def _operations(
    document: dict[str, Any], scopes: dict[tuple[str, str], list[str]]
) -> Iterator[dict[str, Any]]:
    for path, methods in document["paths"].items():
        for method in filter(methods.__contains__, _METHODS):
            title = f"{method.upper()} {path}"
            yield methods[method] | {"title": title, "scopes": scopes[method, path]}


def _contents(document: dict[str, Any], operations: list[dict[str, Any]]) -> str:
    rows = []
    for tag in document["tags"]:
        rows += [
            (tag["name"], f"[`{o['title']}`](#{anchor(o['title'])})", one_line(o["description"]))
            for o in operations
            if tag["name"] in o["tags"]
        ]
    return table(("", "call", "what it does"), rows)


def _group(tag: dict[str, str], operations: list[dict[str, Any]]) -> Iterator[str]:
    yield f"## {tag['name'].capitalize()}\n\n{tag['description']}\n"
    yield from (_operation(o) for o in operations if tag["name"] in o["tags"])


def _operation(operation: dict[str, Any]) -> str:
    parts = [f"### `{operation['title']}`\n", operation["description"].strip() + "\n", _rights(operation)]
    if parameters := operation.get("parameters"):
        parts.append(table(("parameter", "in", "type", "default", "meaning"), map(_parameter, parameters)))
    if body := operation.get("requestBody"):
        parts.append(_body(body))
    rows = [_answer(status, answer) for status, answer in operation["responses"].items()]
    parts.append(table(("answer", "meaning", "document"), rows))
    return "\n".join(parts)


def _body(body: dict[str, Any]) -> str:
    content: dict[str, Any] = next(iter(body["content"].values()))
    need = "" if body.get("required") else ", may be left out"
    parts = [f"Body{need}: {type_of(content['schema'])}\n"]
    parts += [
        f"{example['summary']}:\n\n```json\n{json.dumps(example['value'], indent=2)}\n```\n"
        for example in content.get("examples", {}).values()
    ]
    return "\n".join(parts)


def _rights(operation: dict[str, Any]) -> str:
    if not operation.get("security"):
        return "Needs no key.\n"
    return "Needs a key with " + (", ".join(f"`{s}`" for s in operation["scopes"]) or "any scope") + ".\n"


def _parameter(parameter: dict[str, Any]) -> tuple[str, ...]:
    schema = parameter["schema"]
    name = f"`{parameter['name']}`" + (" (required)" if parameter["required"] else "")
    return name, parameter["in"], *_type_and_default(schema), _meaning(parameter, schema)


def _answer(status: str, answer: dict[str, Any]) -> tuple[str, ...]:
    content: dict[str, Any] = next(iter(answer.get("content", {}).values()), {})
    said = answer["description"].replace("Successful Response", "")
    document = type_of(content.get("schema")) if content else ""
    return "otherwise" if status == "default" else status, one_line(said), document


def _type_and_default(schema: dict[str, Any]) -> tuple[str, str]:
    default = schema.get("default")
    return type_of(schema), "" if default is None else f"`{json.dumps(default)}`"


def _meaning(described: dict[str, Any], schema: dict[str, Any]) -> str:
    said = one_line(described.get("description", ""))
    return "; ".join(filter(None, (said.removesuffix("."), bounds_of(schema))))


def _schema(name: str, schema: dict[str, Any]) -> str:
    parts = [f"### {name}\n"]
    if description := schema.get("description"):
        parts.append(description.strip() + "\n")
    if "enum" in schema:
        parts.append(type_of(schema) + "\n")
    if fields := schema.get("properties"):
        required = schema.get("required", ())
        rows = [
            (
                f"`{field}`" + (" (required)" if field in required else ""),
                *_type_and_default(s),
                _meaning(s, s),
            )
            for field, s in fields.items()
        ]
        parts.append(table(("field", "type", "default", "meaning"), rows))
    return "\n".join(parts)


def _codes() -> str:
    answers = [(str(c.status), f"`{c.code}`", one_line(c.meaning)) for c in problem_codes() if c.status]
    jobs = [(f"`{c.code}`", one_line(c.meaning)) for c in problem_codes() if c.status is None]
    return "\n".join(
        (
            "## Problem codes\n",
            "The `code` of a [Problem](#problem), with its status and what its `detail` says, or what it",
            "stands for. A code is stable; the words are not.\n",
            table(("status", "code", "detail"), answers),
            "A failed job's `error.code` is one of these, or one that no request is answered with:\n",
            table(("code", "message"), jobs),
        )
    )


if __name__ == "__main__":
    main()
