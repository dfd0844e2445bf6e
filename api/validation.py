"""What is wrong with a request, told field by field with what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from heimdall_core.domain.job import JobKind

_SPEC_TAGS = {"train", "export", "evaluate", "import"}
"""pydantic puts the ``kind`` of a job before its fields; the body has no such level."""

_PLANNED_KINDS = {kind.value for kind in JobKind} - _SPEC_TAGS | {"sweep"}
_MAX_ENTRIES = 100
_MAX_SHOWN_CHARS = 60


class ProblemEntry(BaseModel):
    """One wrong field."""

    detail: str = Field(examples=["0 is not a valid value: it should be greater than or equal to 1"])
    pointer: str | None = Field(
        default=None, description="JSON pointer into the body.", examples=["#/training/epochs"]
    )
    parameter: str | None = Field(default=None, description="Name of the query parameter.")
    header: str | None = Field(default=None, description="Name of the header.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the caller is told about its request."""

    status: int
    code: str
    detail: str
    entries: Sequence[ProblemEntry] = ()


def judge_validation(errors: Sequence[Mapping[str, Any]], *, is_json: bool) -> Verdict:
    """The verdict over pydantic's errors."""
    if any(error["loc"][0] == "path" for error in errors):
        return Verdict(status=404, code="not_found", detail="nothing has such an id or name")
    if not is_json and any(error["loc"] == ("body",) for error in errors):
        return Verdict(status=415, code="unsupported_media_type", detail="send the body as application/json")
    if errors[0]["type"] == "json_invalid":
        where = f"{errors[0]['ctx']['error']} at character {errors[0]['loc'][-1]}"
        return Verdict(status=400, code="malformed_json", detail=f"the body is not JSON: {where}")
    shown = [error for error in errors if not _is_echo(error, errors)]
    code = "not_supported_yet" if all(_asks_for_planned_kind(e) for e in shown) else "invalid_request"
    entries = [_entry(error) for error in shown[:_MAX_ENTRIES]]
    return Verdict(status=422, code=code, detail=_summary(entries, len(shown)), entries=entries)


def _summary(entries: Sequence[ProblemEntry], num_problems: int) -> str:
    first = entries[0]
    where = first.pointer or first.parameter or first.header or "the body"
    more = f" (and {num_problems - 1} more)" if num_problems > 1 else ""
    return f"{where}: {first.detail}{more}"


def _is_echo(error: Mapping[str, Any], errors: Sequence[Mapping[str, Any]]) -> bool:
    """Whether pydantic calls a list too short only because it dropped its wrong items."""
    if error["type"] != "too_short":
        return False
    loc = error["loc"]
    return any(len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in errors)


def _asks_for_planned_kind(error: Mapping[str, Any]) -> bool:
    return error["type"] == "union_tag_invalid" and error["ctx"]["tag"] in _PLANNED_KINDS


def _entry(error: Mapping[str, Any]) -> ProblemEntry:
    source, *rest = error["loc"]
    detail = _detail(error)
    if source == "query":
        return ProblemEntry(detail=detail, parameter=str(rest[0]))
    if source == "header":
        return ProblemEntry(detail=detail, header="-".join(p.capitalize() for p in str(rest[0]).split("-")))
    if rest and rest[0] in _SPEC_TAGS:
        rest = rest[1:]
    if error["type"].startswith("union_tag"):
        rest = [error["ctx"]["discriminator"].strip("'")]
    return ProblemEntry(detail=detail, pointer="#" + "".join(f"/{_escaped(p)}" for p in rest if p != "[key]"))


def _escaped(part: object) -> str:
    text = str(part).encode(errors="replace").decode()
    return text.replace("~", "~0").replace("/", "~1")


def _detail(error: Mapping[str, Any]) -> str:
    kind, message = str(error["type"]), str(error["msg"])
    if kind in {"extra_forbidden", "unexpected_keyword_argument"}:
        return "unknown field; GET /openapi.json lists those that there are"
    if kind in {"missing", "union_tag_not_found"}:
        return "this field is required"
    if kind == "union_tag_invalid":
        return _kind_detail(error["ctx"])
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    remedy = message.removeprefix("Input ").removeprefix("Value error, ")
    return f"{_shown(error.get('input'))} is not a valid value: it {remedy[0].lower()}{remedy[1:]}"


def _kind_detail(context: Mapping[str, Any]) -> str:
    tag, known = str(context["tag"]), context["expected_tags"]
    if tag in _PLANNED_KINDS:
        return f"jobs of kind {tag!r} are not supported yet; use one of {known}"
    return f"{_shown(tag)} is not a valid kind; use one of {known}"


def _shown(value: object) -> str:
    """A short scalar as it came; never a whole structure."""
    if isinstance(value, dict | list | tuple | bytes):
        return "an object" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "..."
