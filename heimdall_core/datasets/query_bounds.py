"""What no single field of a query can tell: bounds that exclude each other. Pure: no database."""

from collections.abc import Iterator

from heimdall_core.datasets.definition import Box, Region, SessionQuery
from heimdall_core.domain.errors import FieldProblem, InvalidRequest


def check_bounds(query: SessionQuery) -> None:
    """Raises InvalidRequest naming every field of the query that contradicts another."""
    problems = tuple(FieldProblem(pointer=f"/query/{p}", detail=d) for p, d in _contradictions(query))
    if problems:
        raise InvalidRequest(f"the query contradicts itself: {problems[0].detail}", problems=problems)


def check_approved_only(query: SessionQuery) -> None:
    """Raises InvalidRequest if the query asks for sessions that nobody approved."""
    if set(query.approval_status) == {"approved"}:
        return
    remedy = 'only approved sessions train: leave approval_status out, or use ["approved"]'
    raise InvalidRequest(
        "a dataset version cannot hold sessions that are not approved",
        problems=(FieldProblem(pointer="/query/approval_status", detail=remedy),),
        hint="POST /v1/datasets:preview counts pending and rejected sessions.",
        code="not_approved",
    )


def _contradictions(query: SessionQuery) -> Iterator[tuple[str, str]]:
    after, before = query.started_after, query.started_before
    if after is not None and before is not None and after >= before:
        yield "started_before", "use a time later than started_after"
    low, high = query.min_frequency_hz, query.max_frequency_hz
    if low is not None and high is not None and low > high:
        yield "max_frequency_hz", "use a frequency not below min_frequency_hz"
    if query.receivers is not None and query.min_receivers > len(set(query.receivers)):
        yield "min_receivers", f"use at most {len(set(query.receivers))}, the number of selected receivers"
    if query.region is not None:
        yield from _region(query.region)


def _region(region: Region) -> Iterator[tuple[str, str]]:
    if (region.box is None) == (region.circle is None):
        yield "region", "give exactly one of box and circle"
    if region.box is not None:
        yield from _box(region.box)


def _box(box: Box) -> Iterator[tuple[str, str]]:
    if box.min_latitude > box.max_latitude:
        yield "region/box/max_latitude", "use a latitude not below min_latitude"
