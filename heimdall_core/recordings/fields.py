"""Typed, checked access to untrusted JSON."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn

from heimdall_core.recordings.refusal import Refusal
from heimdall_core.recordings.session import parse_recording_time

Json = Mapping[str, Any]
MAX_TEXT = 100
MAX_DESCRIPTION_BYTES = 16 * 2**20
"""Of a ``.sigmf-meta``, a ``.sigmf-collection`` or a CSV file."""
FREQUENCY_RANGE_HZ = (0.0, 1e12)
SAMPLE_RATE_RANGE_HZ = (1.0, 1e9)
ALTITUDE_RANGE_M = (-500.0, 9_000.0)
LEVEL_RANGE_DB = (-300.0, 300.0)

_JSON_HINT = (
    "Write it again with the software that made it: one JSON object in UTF-8, without NaN, each member once."
)
_NUMBER_HINT = "Write a plain JSON number, without quotes and unit."


def parse_object(data: bytes | memoryview) -> Json:
    """A JSON object in UTF-8; NaN and Infinity are no JSON, and no member is there twice.

    Raises:
        Refusal: ``bad_json`` or ``too_large``.
    """
    check_description_size(len(data))
    try:
        value = json.loads(str(data, "utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_object_of)
    except (ValueError, RecursionError) as error:
        raise Refusal("bad_json", f"is not JSON: {error}", hint=_JSON_HINT) from error
    if not isinstance(value, dict):
        raise Refusal("bad_json", f"holds a {type(value).__name__}, not a JSON object", hint=_JSON_HINT)
    return value


def check_description_size(num_bytes: int) -> None:
    """Refuses what is too large to describe recordings, ``too_large``."""
    if num_bytes > MAX_DESCRIPTION_BYTES:
        raise Refusal(
            "too_large",
            f"is larger than {MAX_DESCRIPTION_BYTES} bytes",
            hint="Metadata and sheets hold no samples: take out annotations, or split the sheet.",
        )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise ValueError(f"an object states {twice[:MAX_TEXT]!r} twice")
    return members


def told(value: object) -> str:
    """The value in an error's words; what holds others may be nested too deeply for ``repr``."""
    if value is None or isinstance(value, str | int | float):
        return repr(value)
    return f"a {type(value).__name__}"


def object_at(parent: Json, key: str, *, code: str = "bad_metadata", hint: str | None = None) -> Json:
    """The object under ``key``; a ``Refusal`` with ``code`` where there is none."""
    value = parent.get(key)
    if not isinstance(value, dict):
        raise Refusal(
            code, f"has no object {key!r}", hint=hint or f"State {key} as the SigMF specification says."
        )
    return value


def text_at(parent: Json, key: str, *, code: str = "bad_metadata") -> str:
    """The text under ``key``, 1 to 100 characters without control characters."""
    value = parent.get(key)
    if not isinstance(value, str) or not is_label(value):
        problem = f"{key!r} must be a text of 1 to {MAX_TEXT} printable characters"
        raise Refusal(code, problem, hint="Write a short name or text there, in double quotes.")
    return value


def optional_text_at(parent: Json, key: str, *, code: str = "bad_metadata") -> str | None:
    """The text under ``key``, or None where it is absent or null."""
    return None if parent.get(key) is None else text_at(parent, key, code=code)


def is_label(text: str, *, max_chars: int = MAX_TEXT) -> bool:
    """Whether the text can name a thing: printable characters, not all blank."""
    return bool(text.strip()) and len(text) <= max_chars and text.isprintable()


def number_at(
    parent: Json, key: str, *, code: str = "bad_metadata", within: tuple[float, float] | None = None
) -> float:
    """The finite number under ``key``, between the bounds."""
    number = finite(parent.get(key), f"{key!r}", code=code)
    if within and not within[0] <= number <= within[1]:
        problem = f"{key!r} is {number:g}, outside {within[0]:g} to {within[1]:g}"
        raise Refusal(code, problem, hint="Mind the unit: hertz, metres, dB.")
    return number


def optional_number_at(parent: Json, key: str, *, within: tuple[float, float] | None = None) -> float | None:
    """The finite number under ``key``, or None where it is absent or null."""
    return None if parent.get(key) is None else number_at(parent, key, within=within)


def time_at(parent: Json, key: str) -> datetime:
    """The RFC 3339 time under ``key``, in UTC."""
    text = text_at(parent, key, code="bad_time")
    try:
        return parse_recording_time(text)
    except ValueError as error:
        raise Refusal(
            "bad_time", f"{key!r}: {error}", hint="Write it like 2025-01-31T12:00:00.000Z."
        ) from error


def optional_time_at(parent: Json, key: str) -> datetime | None:
    """The time under ``key``, or None where it is absent or null."""
    return None if parent.get(key) is None else time_at(parent, key)


def finite(value: object, what: str, *, code: str = "bad_metadata") -> float:
    """``value`` as a float, where it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal(code, f"{what} must be a number, is {told(value)}", hint=_NUMBER_HINT)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Refusal(code, f"{what} is not finite", hint=_NUMBER_HINT)
    return number


def check_position(latitude: float, longitude: float) -> None:
    """Refuses what is no place on Earth, ``bad_position``."""
    if not -90 <= latitude <= 90:
        raise Refusal(
            "bad_position",
            f"latitude {latitude} is outside -90 to 90 degrees",
            hint="Write WGS-84 degrees; GeoJSON has longitude first, then latitude.",
        )
    if not -180 <= longitude <= 180:
        raise Refusal(
            "bad_position",
            f"longitude {longitude} is outside -180 to 180 degrees",
            hint="GeoJSON has longitude first, then latitude.",
        )
