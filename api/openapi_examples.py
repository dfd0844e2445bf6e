"""Examples for the OpenAPI document, made from its schemas: each operation shows what goes in and out."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

_MAX_DEPTH: Final = 8
_DIGEST: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_BY_FORMAT: Final[Mapping[str, str]] = {
    "date-time": "2026-03-01T12:00:00Z",
    "date": "2026-03-01",
    "uuid": "8e03978e-40d5-43dd-bc93-6894a57f9324",
    "uri": "https://files.example.org/object",
    "binary": "",
}
#: What a text is, by the name of its field; a schema's own example comes first.
_BY_NAME: Final[Mapping[str, str]] = {
    "id": "job_x4r2k7abcdefghijklmnop23",
    "job_id": "job_x4r2k7abcdefghijklmnop23",
    "upload_id": "upl_x4r2k7abcdefghijklmnop23",
    "checkpoint_id": "ckpt_x4r2k7abcdefghijklmnop23",
    "name": "localization",
    "sha256": _DIGEST,
    "digest": _DIGEST,
    "uri": "s3://heimdall-models/jobs/job_x4r2k7abcdefghijklmnop23/a1/model.onnx",
    "download_url": "https://files.example.org/object?X-Amz-Expires=3600",
    "url": "https://files.example.org/object",
    "created_by": "ann",
    "owner": "ann",
    "worker": "worker@host",
    "media_type": "application/octet-stream",
    "cursor": "WyIyMDI2LTAzLTAxVDEyOjAwOjAwKzAwOjAwIiwgImpvYl94NHIyazdhYmNkZWZnaGlqa2xtbm9wMjMiXQ",
    "next_cursor": "WyIyMDI2LTAzLTAxVDEyOjAwOjAwKzAwOjAwIiwgImpvYl94NHIyazdhYmNkZWZnaGlqa2xtbm9wMjMiXQ",
    "after": "evt_42",
    "last-event-id": "evt_42",
    "if-none-match": '"12"',
    "if-match": '"12"',
    "request_id": "req_4bf92f3577b34da6a3ce929d0e0e4736",
}
_METHODS: Final = frozenset({"get", "post", "put", "patch", "delete"})


def add_examples(document: dict[str, Any]) -> None:
    """Gives every parameter, body and answer that has no example one that its schema allows."""
    maker = _Maker(document["components"]["schemas"])
    for path in document["paths"].values():
        for operation in (path[method] for method in path if method in _METHODS):
            for parameter in operation.get("parameters", ()):
                if not _has_example(parameter) and not _has_example(parameter["schema"]):
                    parameter["example"] = maker.make(parameter["schema"], parameter["name"].lower())
            for content in _contents(operation):
                if not _has_example(content) and "schema" in content:
                    content["example"] = maker.make(content["schema"])


def _contents(operation: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """JSON that goes in, and that comes out when all is well or not."""
    holders = [operation.get("requestBody", {}), *operation["responses"].values()]
    return [
        content
        for holder in holders
        for media_type, content in holder.get("content", {}).items()
        if "json" in media_type
    ]


def _has_example(holder: Mapping[str, Any]) -> bool:
    return bool({"example", "examples"} & holder.keys())


class _Maker:
    def __init__(self, schemas: Mapping[str, Any]) -> None:
        self._schemas = schemas

    def make(self, schema: Mapping[str, Any], name: str = "", depth: int = 0) -> Any:
        """A value that the schema allows."""
        if "$ref" in schema:
            return self.make(self._schemas[schema["$ref"].rsplit("/", 1)[-1]], name, depth)
        if stated := _stated(schema):
            return stated[0]
        for union in ("anyOf", "oneOf", "allOf"):
            if union in schema:
                return self._of_union(schema[union], name, depth)
        return self._of_type(schema, name, depth)

    def _of_type(self, schema: Mapping[str, Any], name: str, depth: int) -> Any:
        match schema.get("type"):
            case "array":
                return self._array(schema, name, depth)
            case "string":
                return _text(schema, name)
            case "integer" | "number":
                return _number(schema)
            case "boolean" | "null" as kind:
                return False if kind == "boolean" else None
        return self._object(schema, depth)

    def _of_union(self, options: Sequence[Mapping[str, Any]], name: str, depth: int) -> Any:
        """Of the first that is not null; beyond a depth null, where that is allowed."""
        if depth > _MAX_DEPTH and {"type": "null"} in options:
            return None
        something = [option for option in options if option.get("type") != "null"]
        return self.make((something or options)[0], name, depth + 1)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        properties = {
            key: member
            for key, member in schema.get("properties", {}).items()
            if depth <= _MAX_DEPTH or key in required
        }
        made = {key: self.make(member, key, depth + 1) for key, member in properties.items()}
        rest = schema.get("additionalProperties")
        if not made and isinstance(rest, Mapping) and depth <= _MAX_DEPTH:
            keys = schema.get("propertyNames", {}).get("enum", ["key"])
            made = {keys[0]: self.make(rest, "", depth + 1)}
        return made

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        if "prefixItems" in schema:
            return [self.make(item, name, depth + 1) for item in schema["prefixItems"]]
        least = schema.get("minItems", 1 if depth <= _MAX_DEPTH else 0)
        return [self.make(schema.get("items", {}), name.removesuffix("s"), depth + 1)] * least


def _stated(schema: Mapping[str, Any]) -> Sequence[Any]:
    """Its own examples, else the one value, the default, or the first of its values."""
    for key in ("examples", "enum"):
        if schema.get(key):
            return list(schema[key][:1])
    return [schema[key] for key in ("const", "default") if schema.get(key) is not None]


def _text(schema: Mapping[str, Any], name: str) -> str:
    text = _BY_FORMAT.get(schema.get("format", ""), _BY_NAME.get(name, name or "text"))
    return text[: schema.get("maxLength", len(text))].ljust(schema.get("minLength", 0), "x")


def _number(schema: Mapping[str, Any]) -> float:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is None and "exclusiveMinimum" in schema:
        least = schema["exclusiveMinimum"] + 1
    value = 1 if least is None else max(1, least)
    return value if most is None else min(value, most)
