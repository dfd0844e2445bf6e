"""What answers are read into: tolerant of a service that is newer or older than this client."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from heimdall_client.errors import UnreadableAnswer
from heimdall_client.exchanges import Answer, Json


class Document(BaseModel):
    """A part of an answer; members that this client does not know are kept as they came."""

    model_config = ConfigDict(extra="allow", frozen=True, coerce_numbers_to_str=True, defer_build=True)

    def to_json(self) -> Json:
        """The document as JSON values, with everything that came."""
        return self.model_dump(mode="json")


class OpenEnum(StrEnum):
    """Words of the service; a word that is newer than this client is one of them."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_, unknown._value_ = value.upper(), value
        return unknown

    @property
    def is_known(self) -> bool:
        """Whether this client knows the word."""
        return self.name in type(self).__members__


D = TypeVar("D", bound=Document)


def document(kind: type[D]) -> Callable[[Answer], D]:
    """Reads an answer that is one document."""
    return lambda answer: parse(kind, answer.json())


def items(kind: type[D]) -> Callable[[Answer], list[D]]:
    """Reads an answer whose ``data`` are documents."""
    return lambda answer: parse_all(kind, answer.json())


def parse_all(kind: type[D], body: Json) -> list[D]:
    """The documents in ``data``.

    Raises:
        UnreadableAnswer: there are none, or they are something else.
    """
    data = body.get("data")
    if not isinstance(data, list):
        raise UnreadableAnswer("the answer has no list in `data`", code="unreadable_answer")
    return [parse(kind, entry) for entry in data]


def parse(kind: type[D], value: Any) -> D:
    """A document.

    Raises:
        UnreadableAnswer: a member that this client cannot do without is missing or something else.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        faults = "; ".join(f"{_place(fault['loc'])}: {fault['msg']}" for fault in error.errors()[:3])
        raise UnreadableAnswer(
            f"the answer is no {kind.__name__}: {faults}",
            code="unreadable_answer",
            hint="The service may be of another version than this client.",
        ) from error


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "it"
