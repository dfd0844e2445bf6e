"""Pages of collections."""

from collections.abc import Callable
from typing import Generic, TypeVar

from pydantic import BaseModel, Field

from heimdall_core.database.paging import Page

Item = TypeVar("Item")
Row = TypeVar("Row")


class PageDocument(BaseModel, Generic[Item]):
    """Some items of a collection."""

    data: list[Item]
    next_cursor: str | None = Field(
        default=None, description="Pass it back as `cursor` for the next page; null: this was the last."
    )
    has_more: bool = False


def page_document(page: Page[Row], convert: Callable[[Row], Item]) -> PageDocument[Item]:
    """The wire form of a page."""
    return PageDocument(
        data=[convert(row) for row in page.items],
        next_cursor=page.next_cursor,
        has_more=page.next_cursor is not None,
    )
