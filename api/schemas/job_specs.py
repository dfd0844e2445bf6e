"""A job's specification on the wire, member by member."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from heimdall_core.domain.job import JobKind
from heimdall_core.jobs.spec_defaults import SPECS, SpecMember


class SpecMemberDocument(BaseModel):
    """A scalar or a list of a specification."""

    model_config = ConfigDict(extra="forbid")

    pointer: str = Field(examples=["/training/epochs"])
    value: Any = Field(description="As accepted, versions filled in.")
    default: Any = Field(description="Null: null, or there is none.")
    is_default: bool
    is_required: bool = Field(description="Every request says it, or the object that it is in.")
    description: str | None = Field(description="What it means; null: nothing is written of it.")


class JobSpecDocument(BaseModel):
    """A job's specification, member by member, beside the defaults of this release."""

    model_config = ConfigDict(extra="forbid")

    kind: JobKind
    members: list[SpecMemberDocument] = Field(description="In the order of the definition.")


def spec_document(kind: JobKind, members: Sequence[SpecMember]) -> JobSpecDocument:
    """The wire form."""
    return JobSpecDocument(
        kind=kind,
        members=[
            SpecMemberDocument(
                pointer=member.pointer,
                value=member.value,
                default=member.default,
                is_default=member.is_default,
                is_required=member.is_required,
                description=describe_member(kind, member.pointer),
            )
            for member in members
        ],
    )


def describe_member(kind: JobKind, pointer: str) -> str | None:
    """What the definition says of a member; None: nothing, or it does not know it."""
    schema = _schema(kind)
    place: Mapping[str, Any] = schema
    for part in pointer.split("/")[1:]:
        place = _object_of(schema, place).get("properties", {}).get(part, {})
    text = place.get("description")
    return None if text is None else " ".join(text.replace("``", "`").split())


@cache
def _schema(kind: JobKind) -> dict[str, Any]:
    return TypeAdapter(SPECS[kind]).json_schema()


def _object_of(schema: Mapping[str, Any], place: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object that a member is, or may be beside null."""
    for choice in (place, *place.get("anyOf", ())):
        if "$ref" in choice:
            found: Mapping[str, Any] = schema["$defs"][choice["$ref"].rpartition("/")[2]]
            return found
    return place
