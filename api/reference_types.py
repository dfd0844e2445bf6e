"""The words of a JSON schema as Markdown."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Schema = Mapping[str, Any]

_BOUNDS: Final = {
    "minimum": "≥",
    "exclusiveMinimum": ">",
    "maximum": "≤",
    "exclusiveMaximum": "<",
    "minLength": "length ≥",
    "maxLength": "length ≤",
    "minItems": "items ≥",
    "maxItems": "items ≤",
    "maxProperties": "entries ≤",
}
_FORMATS: Final = {"date-time": "time", "uri": "URL"}


def type_of(schema: Schema | None) -> str:
    """The type in words; where it is a document, a link to its section."""
    if not schema:
        return "any"
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{anchor(name)})"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(map(type_of, options)))
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{json.dumps(v)}`" for v in schema.get("enum", [schema.get("const")]))
    return _plain_type(schema)


def _plain_type(schema: Schema) -> str:
    kind = schema.get("type", "any")
    if kind == "array":
        items = schema.get("prefixItems")
        inner = ", ".join(map(type_of, items)) if items else type_of(schema.get("items"))
        return f"[{inner}]" if items else f"list of {inner}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {type_of(schema['additionalProperties'])}"
    return _FORMATS.get(schema.get("format", ""), str(kind))


def bounds_of(schema: Schema) -> str:
    """The bounds of a value, its options and its items, in words."""
    said = [f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema]
    if "pattern" in schema:
        said.append(f"matches `{schema['pattern']}`")
    said += [said_of for option in schema.get("anyOf", ()) if (said_of := bounds_of(option))]
    if isinstance(items := schema.get("items"), Mapping) and (of_items := bounds_of(items)):
        said.append(f"each {of_items}")
    return ", ".join(said)


def anchor(title: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def one_line(text: str) -> str:
    """The first paragraph, on one line."""
    return " ".join(text.strip().partition("\n\n")[0].split())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar within a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
