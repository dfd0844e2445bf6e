"""The stable codes of problem documents and of failed jobs, read from the source that raises them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import sqlalchemy.exc

from api.problems import _FRAMEWORK_CODES, STATUS, status_of
from heimdall_core.domain import errors
from heimdall_core.domain.errors import HeimdallError, RequestError

#: What neither answers requests nor runs jobs.
_ELSEWHERE = {"cli", "embedded", "local", "replay", "simulation"}
#: What answers requests, beside the api itself.
_USE_CASES = {
    "accounts",
    "catalogue",
    "database",
    "datasets",
    "domain",
    "jobs",
    "notifications",
    "registry",
    "retraining",
    "storage",
}
_MEANINGS = {
    "unknown_path": "there is no …",
    "method_not_allowed": "… does not take …",
    "body_too_slow": "the body did not come in time",
    "body_too_large": "the body is larger than … bytes",
    "too_many_bodies": "the service holds as many bodies as it can",
    "internal_error": "the service failed to answer; its log knows why, under the request_id",
    "job_not_in_state": "the job is in a state in which this cannot be asked of it",
    "source_unusable": "what the job is to start from, export or evaluate published no weights",
    "bad_start": "pretrained, init_from and freeze_backbone contradict each other",
    "no_approved_sessions": "no approved recording session matches the query",
    "os_error": "the worker's operating system refused something",
    "out_of_memory": "the accelerator's or the host's memory ran out",
}
_SERVER_ERROR = 500
_REMEDIES: dict[int | None, str] = {
    None: "The job's error and log say what happened; `:retry` makes a new job of the same specification.",
    400: "Correct what `detail` and `errors` name, and send the request again.",
    401: "Send 'Authorization: Bearer hmd_...' with a key that is valid.",
    403: "Use a key that has the right; its owner or an admin can make one.",
    404: "Check the name or id; the collection lists what there is.",
    409: "Read the thing again: the request does not fit the state that it is in.",
    422: "Correct the fields that `errors` names, and send the request again.",
    500: "Report it with the `request_id`: the service's log knows the cause under it.",
    503: "Repeat the request after `Retry-After` seconds, with its Idempotency-Key if it has one.",
}
_REMEDIES_BY_CODE = {
    "body_too_slow": "Send the body at once; files are uploaded with `POST /v1/uploads`.",
    "body_too_large": "Send less in one request; files are uploaded with `POST /v1/uploads`.",
    "method_not_allowed": "GET /docs lists the methods of each path.",
    "unknown_path": "GET /docs lists the paths.",
    "unstorable_value": "Leave out NUL characters and numbers beyond 64 bits.",
}
#: Codes whose status is that of the database driver's error.
_OF_THE_DATABASE = {
    "database_unavailable": STATUS[sqlalchemy.exc.OperationalError],
    "unstorable_value": STATUS[sqlalchemy.exc.DataError],
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ProblemCode:
    """One code, and one text that comes with it."""

    status: int | None
    """HTTP status; None: only a job's ``error`` carries the code."""
    code: str
    meaning: str
    """A docstring's first line, or a message in which ``…`` stands for what differs."""
    remedy: str = ""
    """What to do about it: the hint that comes with it, or what helps with its status."""


def problem_codes() -> list[ProblemCode]:
    """Each code once, in the order of status and code; those of jobs alone come last."""
    found: dict[str, ProblemCode] = {}
    for code in (*_of_framework(), *_of_classes(), *_of_calls()):
        known = found.get(code.code)
        if known is None or (known.status is None and code.status is not None):
            found[code.code] = code
        elif code.remedy and not known.remedy and (code.status, known.status) != (None, code.status):
            found[code.code] = replace(known, remedy=code.remedy)
    told = (replace(code, remedy=code.remedy or _remedy(code)) for code in found.values())
    return sorted(told, key=lambda c: (c.status is None, c.status or 0, c.code))


def _remedy(code: ProblemCode) -> str:
    by_status = _REMEDIES.get(code.status, _REMEDIES[500 if (code.status or 0) >= _SERVER_ERROR else 400])
    return _REMEDIES_BY_CODE.get(code.code, by_status)


def _of_framework() -> Iterator[ProblemCode]:
    for status, code in _FRAMEWORK_CODES.items():
        yield ProblemCode(status=status, code=code, meaning=_MEANINGS[code])


def _of_classes() -> Iterator[ProblemCode]:
    for kind in _error_classes().values():
        if "code" in vars(kind) and kind is not HeimdallError:
            meaning = (kind.__doc__ or "").partition("\n")[0].partition(";")[0].rstrip(".")
            yield ProblemCode(status=_status(kind), code=kind.code, meaning=meaning)


def _error_classes() -> dict[str, type[HeimdallError]]:
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, HeimdallError)]
    return {kind.__name__: kind for kind in kinds}


def _status(kind: type[HeimdallError]) -> int | None:
    """Data and training errors end jobs; the others answer requests."""
    is_answer = issubclass(kind, RequestError | errors.InfrastructureError)
    return status_of(kind("")) if is_answer else None


def _of_calls() -> Iterator[ProblemCode]:
    for path, answers in _sources():
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and (code := _text(_keyword(call, "code"))):
                yield from _of_call(call, code, answers=answers)


def _sources() -> Iterator[tuple[Path, bool]]:
    """Each module, and whether it takes part in answering requests."""
    for package in ("api", "heimdall_core", "worker"):
        spec = find_spec(package)
        assert spec is not None
        root = Path(spec.origin or "").parent
        for path in sorted(root.rglob("*.py")):
            room = path.relative_to(root).parts[0]
            if room not in _ELSEWHERE:
                yield path, package == "api" or room in _USE_CASES


def _of_call(call: ast.Call, code: str, *, answers: bool) -> Iterator[ProblemCode]:
    kind = _error_classes().get(call.func.id) if isinstance(call.func, ast.Name) else None
    hint = _text(_keyword(call, "hint"))
    stated = _keyword(call, "status")
    status = stated.value if isinstance(stated, ast.Constant) else _OF_THE_DATABASE.get(code)
    if isinstance(status, int):
        meaning = _text(_keyword(call, "detail")) or _MEANINGS.get(code, "")
        yield ProblemCode(status=status, code=code, meaning=meaning, remedy=hint)
    elif kind and call.args:
        status = _status(kind) if answers else None
        meaning = _text(call.args[0]) or _MEANINGS.get(code, "")
        yield ProblemCode(status=status, code=code, meaning=meaning, remedy=hint)
    elif isinstance(call.func, ast.Name) and call.func.id == "ErrorInfo":
        meaning = _text(_keyword(call, "message")) or _MEANINGS.get(code, "")
        yield ProblemCode(status=None, code=code, meaning=meaning, remedy=hint)


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((k.value for k in call.keywords if k.arg == name), None)


def _text(node: ast.expr | None) -> str:
    """The string of a literal; of an f-string what is fixed in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "…" for part in node.values)
    return ""
