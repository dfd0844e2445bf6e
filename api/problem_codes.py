"""The stable codes of problem documents and of failed jobs, read from the source that raises them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import sqlalchemy.exc

from api.problems import _FRAMEWORK_CODES, STATUS, status_of
from heimdall_core.domain import errors
from heimdall_core.domain.errors import HeimdallError, RequestError

#: What neither answers requests nor runs jobs.
_ELSEWHERE = {"cli", "embedded", "local", "replay", "simulation"}
#: What answers requests, beside the api itself.
_USE_CASES = {"accounts", "catalogue", "database", "datasets", "domain", "jobs", "registry", "storage"}
_MEANINGS = {
    "unknown_path": "there is no …",
    "method_not_allowed": "… does not take …",
    "body_too_large": "the body is larger than … bytes",
    "internal_error": "the service failed to answer; its log knows why, under the request_id",
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


def problem_codes() -> list[ProblemCode]:
    """Each code once, in the order of status and code; those of jobs alone come last."""
    found: dict[str, ProblemCode] = {}
    for code in (*_of_framework(), *_of_classes(), *_of_calls()):
        known = found.get(code.code)
        if known is None or (known.status is None and code.status is not None):
            found[code.code] = code
    return sorted(found.values(), key=lambda c: (c.status is None, c.status or 0, c.code))


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
    stated = _keyword(call, "status")
    status = stated.value if isinstance(stated, ast.Constant) else _OF_THE_DATABASE.get(code)
    if isinstance(status, int):
        meaning = _text(_keyword(call, "detail")) or _MEANINGS.get(code, "")
        yield ProblemCode(status=status, code=code, meaning=meaning)
    elif kind and call.args:
        yield ProblemCode(status=_status(kind) if answers else None, code=code, meaning=_text(call.args[0]))
    elif isinstance(call.func, ast.Name) and call.func.id == "ErrorInfo":
        yield ProblemCode(status=None, code=code, meaning=_text(_keyword(call, "message")))


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((k.value for k in call.keywords if k.arg == name), None)


def _text(node: ast.expr | None) -> str:
    """The string of a literal; of an f-string what is fixed in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "…" for part in node.values)
    return ""
