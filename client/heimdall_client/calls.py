"""The shapes that calls have: read one thing, change one thing, go through pages."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from heimdall_client.documents.document import D, parse_all
from heimdall_client.exchanges import Answer, Parameter, Request, keyed, parameters_of
from heimdall_client.steps import Emit, Feed, Flow, send

T = TypeVar("T")
Parameters = Mapping[str, Parameter | Iterable[Parameter]]
PAGE_SIZE: Final = 100
EVENTS_PAGE_SIZE: Final = 500


def get(path: str, read: Callable[[Answer], T], parameters: Parameters | None = None) -> Flow[T]:
    """Reads one thing."""
    request = Request(method="GET", path=path, parameters=parameters_of(parameters or {}))
    return read((yield from send(request)))


def post(
    path: str,
    read: Callable[[Answer], T],
    body: Mapping[str, object] | None = None,
    *,
    key: str | None = None,
) -> Flow[T]:
    """Creates or changes something, once however often it is sent: by ``key``, or one made here."""
    given = None if body is None else dict(body)
    return read((yield from send(Request(method="POST", path=path, body=given, headers=keyed(key)))))


def patch(
    path: str,
    read: Callable[[Answer], T],
    body: Mapping[str, object],
    *,
    if_match: str | None = None,
) -> Flow[T]:
    """Sets members of something; with ``if_match`` only while it is as it was read."""
    headers = {} if if_match is None else {"If-Match": if_match}
    request = Request(
        method="PATCH", path=path, body=dict(body), headers=headers, is_repeatable=if_match is None
    )
    return read((yield from send(request)))


def delete(path: str, read: Callable[[Answer], T]) -> Flow[T]:
    """Ends something."""
    return read((yield from send(Request(method="DELETE", path=path))))


def pages(
    path: str, kind: type[D], parameters: Parameters | None = None, *, limit: int | None = None
) -> Feed[D]:
    """Every item of a collection, page by page, or the first ``limit``."""
    left, cursor = limit, None
    while left is None or left > 0:
        size = PAGE_SIZE if left is None else min(left, PAGE_SIZE)
        wanted = parameters_of({**(parameters or {}), "limit": size, "cursor": cursor})
        body = (yield from send(Request(method="GET", path=path, parameters=wanted))).json()
        found = parse_all(kind, body)
        for item in found[:left]:
            yield Emit(item)
        left = None if left is None else left - len(found)
        former, cursor = cursor, body.get("next_cursor")
        if not cursor or cursor == former:
            return


def history(
    path: str, kind: type[D], parameters: Parameters | None = None, *, after: str | int | None = None
) -> Feed[D]:
    """Every item of a history after an id, oldest first, as far as it goes now."""
    has_more = True
    while has_more:
        found, after, has_more = yield from history_page(path, kind, parameters, after=after)
        for item in found:
            yield Emit(item)


def history_page(
    path: str, kind: type[D], parameters: Parameters | None = None, *, after: str | int | None = None
) -> Flow[tuple[list[D], str | int | None, bool]]:
    """Some items after an id, where to go on, and whether there may be more."""
    wanted = parameters_of({"limit": EVENTS_PAGE_SIZE, **(parameters or {}), "after": after})
    body = (yield from send(Request(method="GET", path=path, parameters=wanted))).json()
    found, later = parse_all(kind, body), body.get("next_after")
    if later is None or later == after:
        return found, after, False
    return found, later, bool(found)
