"""A page for each problem code: where the ``type`` of a problem document leads."""

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.problem_codes import ProblemCode, problem_codes
from api.problems import PROBLEMS_PATH
from api.templates import render_page
from heimdall_core.domain.errors import NotFound

router = APIRouter(include_in_schema=False)


@cache
def codes_by_name() -> Mapping[str, ProblemCode]:
    """Read from the source once: it takes a second."""
    return {code.code: code for code in problem_codes()}


@router.get(PROBLEMS_PATH)
def list_problems() -> Response:
    """Every code."""
    return render_page("problems.html", code=None, phrase="", codes=list(codes_by_name().values()))


@router.get(PROBLEMS_PATH + "/{code}")
def explain_problem(code: Annotated[str, Path(max_length=100)]) -> Response:
    """What a code means and what to do about it."""
    found = codes_by_name().get(code)
    if found is None:
        raise NotFound(
            f"there is no problem code {code!r}",
            code="unknown_problem",
            hint=f"GET {PROBLEMS_PATH} lists them.",
        )
    phrase = HTTPStatus(found.status).phrase if found.status else ""
    return render_page("problems.html", code=found, phrase=phrase, codes=())
