"""Many values as one parameter of a statement."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, any_, literal
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as UUID_TYPE


def any_texts(values: Sequence[str]) -> ColumnElement[Any]:
    """One parameter however many texts there are."""
    return any_(literal(list(values), ARRAY(Text)))


def any_uuids(values: Sequence[UUID]) -> ColumnElement[Any]:
    """One parameter however many ids there are."""
    return any_(literal(list(values), ARRAY(UUID_TYPE(as_uuid=True))))
