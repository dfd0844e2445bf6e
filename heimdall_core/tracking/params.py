"""Values of any shape as MLflow's parameters: one level of names, text, within MLflow's limits."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr

from heimdall_core.tracking.redaction import MASK, is_secret_name, redact

#: MLflow's own limits (3.x): characters of a name, of a parameter and of a tag.
NAME_LENGTH = 250
PARAM_LENGTH = 6000
TAG_LENGTH = 8000
_MAX_DEPTH = 8
_REFUSED = re.compile(r"[^\w.\- :/]")
_HASH_LENGTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatParams:
    """Names and texts, and the names of those whose text was cut."""

    values: dict[str, str]
    cut: tuple[str, ...] = ()


def flatten_params(params: Mapping[str, object]) -> FlatParams:
    """Dotted names for nested values, text for all others; secrets are masked, long texts cut."""
    values: dict[str, str] = {}
    cut: list[str] = []
    for path, value in _leaves(params, "", 0) if params else ():
        text = MASK if is_secret_name(path) else redact(_text(value))
        name = safe_name(path)
        if name in values:
            name = _with_hash(name, path)
        values[name] = shorten(text, PARAM_LENGTH)
        if len(text) > PARAM_LENGTH:
            cut.append(name)
    return FlatParams(values=values, cut=tuple(cut))


def safe_tags(tags: Mapping[str, object]) -> dict[str, str]:
    """Tags that MLflow takes and that give no secret away."""
    return {
        safe_name(name): MASK if is_secret_name(name) else shorten(redact(str(value)), TAG_LENGTH)
        for name, value in tags.items()
    }


def safe_name(name: str) -> str:
    """A name that MLflow takes: its characters, its length, and no path of dots and empty parts."""
    parts = [part if part.strip(".") else "_" for part in _REFUSED.sub("_", name).split("/") if part]
    made = "/".join(parts) or "_"
    return made if len(made) <= NAME_LENGTH else _with_hash(made, name)


def shorten(text: str, limit: int) -> str:
    """At most ``limit`` characters; a cut text says how long it was."""
    if len(text) <= limit:
        return text
    notice = f"... (cut, {len(text)} characters)"
    return text[: limit - len(notice)] + notice


def _with_hash(name: str, original: str) -> str:
    digest = hashlib.sha256(original.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{name[: NAME_LENGTH - _HASH_LENGTH - 1]}-{digest}"


def _leaves(value: object, path: str, depth: int) -> Iterator[tuple[str, object]]:
    members = _members(value) if depth < _MAX_DEPTH else None
    if not members:
        yield path, value
        return
    for key, item in members.items():
        yield from _leaves(item, f"{path}.{key}" if path else str(key), depth + 1)


def _members(value: object) -> Mapping[Any, object] | None:
    """What a value is made of, if that is better told by names than in one text."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, list | tuple) and any(_members(item) is not None for item in value):
        return dict(enumerate(value))
    return None


def _text(value: object) -> str:
    if isinstance(value, SecretStr | SecretBytes):
        return MASK
    if value is None or isinstance(value, str | bool | int | float):
        return str(value)
    if isinstance(value, Mapping | list | tuple | Set):
        return json.dumps(_plain(value), ensure_ascii=False, default=str)
    return str(_plain(value))


def _plain(value: object) -> Any:
    """JSON's own types, as far as there are any."""
    for kind, convert in _CONVERSIONS:
        if isinstance(value, kind):
            return convert(value)
    # NumPy's and torch's
    return _plain(value.tolist()) if hasattr(value, "tolist") else value


_CONVERSIONS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (SecretStr | SecretBytes, lambda _: MASK),
    (Enum, lambda value: value.value),
    (
        Mapping,
        lambda value: {str(k): MASK if is_secret_name(str(k)) else _plain(v) for k, v in value.items()},
    ),
    (Set, lambda value: sorted((_plain(item) for item in value), key=str)),
    (list | tuple, lambda value: [_plain(item) for item in value]),
    (bytes | bytearray, lambda value: f"<{len(value)} bytes>"),
    (PurePath, str),
)
