"""The champion's specification with a caller's overrides merged over it, validated as a whole."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from heimdall_core.domain.errors import FieldProblem, InvalidRequest
from heimdall_core.domain.spec import TrainJobSpec, spec_to_dict
from heimdall_core.jobs.submission import refuse_unfit

REASON_TAG: Final = "retrain.reason"
_TAG_CHARS: Final = 255
_SHOWN_CHARS: Final = 60
_ROOT: Final = "/overrides"
_SPEC: TypeAdapter[TrainJobSpec] = TypeAdapter(TrainJobSpec)
_FIXED: Final[Mapping[tuple[str, ...], str]] = {
    ("kind",): "a retraining is a training: leave it out",
    ("dataset",): "send the request's own member dataset",
    ("init_from",): "send warm_start to begin with the champion's weights",
    ("register",): "send promote; what a retraining exports is registered",
    ("not_before",): "a retraining starts as soon as it can: leave it out",
    ("on_duplicate",): "callers share a retraining by dedupe_key: leave it out",
    ("model", "name"): "it is the name in the path: leave it out",
    ("export", "enabled"): "a retraining exports what it registers: leave it out",
    ("tags", REASON_TAG): "it holds the request's reason: leave it out",
}
"""What a caller cannot override, and what to do instead."""


def refuse_fixed(overrides: Mapping[str, Any]) -> None:
    """Raises InvalidRequest naming every member that cannot be overridden."""
    found = [(path, remedy) for path, remedy in _FIXED.items() if _holds(overrides, path)]
    if found:
        names = ", ".join(".".join(path) for path, _ in found)
        raise InvalidRequest(
            f"a retraining cannot override {names}",
            code="not_overridable",
            problems=tuple(FieldProblem(pointer=_pointer(path), detail=remedy) for path, remedy in found),
        )


def override(spec: TrainJobSpec, overrides: Mapping[str, Any]) -> TrainJobSpec:
    """The specification with the overrides merged over it.

    Args:
        spec: of the champion.
        overrides: a JSON merge patch (RFC 7396) without what ``refuse_fixed`` names.

    Raises:
        InvalidRequest: the whole is not valid; each wrong field is named by a pointer into ``/overrides``.
    """
    if not overrides:
        return spec
    merged = merge_patch(spec_to_dict(spec), overrides)
    if isinstance(merged.setdefault("model", {}), dict):
        merged["model"]["name"] = spec.model.name
    try:
        whole = _SPEC.validate_python(merged)
    except ValidationError as error:
        raise _invalid(error) from error
    try:
        refuse_unfit(whole)
    except InvalidRequest as refusal:
        raise moved(refusal, _ROOT) from refusal
    return whole


def merge_patch(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The target as the patch wants it (RFC 7396): null takes a member away, objects merge."""
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            former = merged.get(name)
            merged[name] = merge_patch(former if isinstance(former, Mapping) else {}, value)
        else:
            merged[name] = value
    return merged


def with_reason(spec: TrainJobSpec, reason: str) -> TrainJobSpec:
    """The specification, tagged with why it is trained."""
    return replace(spec, tags={**spec.tags, REASON_TAG: reason[:_TAG_CHARS]})


def moved(refusal: InvalidRequest, root: str) -> InvalidRequest:
    """The same refusal of what lies at ``root`` in the body."""
    problems = tuple(FieldProblem(pointer=root + one.pointer, detail=one.detail) for one in refusal.problems)
    return type(refusal)(refusal.message, problems=problems, hint=refusal.hint, code=refusal.stable_code)


def _holds(value: object, path: Sequence[str]) -> bool:
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
    return True


def _invalid(error: ValidationError) -> InvalidRequest:
    problems = tuple(_problems(error))
    shown = "; ".join(f"{problem.pointer}: {problem.detail}" for problem in problems)
    return InvalidRequest(f"the champion's specification cannot be overridden so: {shown}", problems=problems)


def _problems(error: ValidationError) -> Iterator[FieldProblem]:
    for one in error.errors(include_url=False, include_context=False):
        path = tuple(str(part) for part in one["loc"] if part != "[key]")
        yield FieldProblem(pointer=_pointer(path), detail=_detail(one["type"], one["msg"], one["input"]))


def _detail(kind: str, message: str, value: object) -> str:
    if kind in {"extra_forbidden", "unexpected_keyword_argument"}:
        return "unknown field; GET /openapi.json lists those that there are"
    if kind == "missing":
        return "this field is required"
    remedy = message.removeprefix("Input ").removeprefix("Value error, ")
    shown = type(value).__name__ if isinstance(value, dict | list | tuple) else repr(value)[:_SHOWN_CHARS]
    return f"{shown} is not a valid value: it {remedy[0].lower()}{remedy[1:]}"


def _pointer(path: Sequence[str]) -> str:
    return _ROOT + "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)
