"""An accepted specification member by member, beside what it would be if nobody had said anything."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, fields, is_dataclass
from functools import cache
from typing import Any

from heimdall_core.domain.job import JobKind
from heimdall_core.domain.spec import EvaluateJobSpec, ExportJobSpec, ImportJobSpec, JobSpec, TrainJobSpec
from heimdall_core.jobs.comparison import leaves

SPECS: Mapping[JobKind, type[JobSpec]] = {
    JobKind.TRAIN: TrainJobSpec,
    JobKind.EXPORT: ExportJobSpec,
    JobKind.EVALUATE: EvaluateJobSpec,
    JobKind.IMPORT: ImportJobSpec,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecMember:
    """A scalar or a list of a specification."""

    pointer: str
    """JSON pointer, such as ``/training/epochs``."""
    value: Any
    default: Any
    """None: null, or there is none."""
    is_default: bool
    is_required: bool
    """Whether it, or the object that it is in, has no default: every request says it."""


def spec_members(kind: JobKind, spec: Mapping[str, Any]) -> list[SpecMember]:
    """Every member of an accepted specification, in the order of its definition."""
    defaults, order = dict(leaves(default_spec(kind))), _order(kind)
    found = [
        SpecMember(
            pointer=pointer,
            value=value,
            default=defaults.get(pointer),
            is_default=pointer in defaults and defaults[pointer] == value,
            is_required=pointer.split("/")[1] in _required(kind),
        )
        for pointer, value in leaves(spec)
    ]
    return sorted(found, key=lambda member: _place(member.pointer, order))


@cache
def default_spec(kind: JobKind) -> dict[str, Any]:
    """The members of which a request need not say anything, in their JSON form."""
    values = {field.name: _default(field) for field in fields(SPECS[kind]) if _has_default(field)}
    found: dict[str, Any] = json.loads(json.dumps(values, default=asdict))
    return found


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


@cache
def _required(kind: JobKind) -> frozenset[str]:
    return frozenset(field.name for field in fields(SPECS[kind]) if not _has_default(field))


@cache
def _order(kind: JobKind) -> dict[str, int]:
    """Where each member, and each member of a member, stands."""
    names: list[str] = []
    for field in fields(SPECS[kind]):
        inner = _default(field) if _has_default(field) else None
        names.append(f"/{field.name}")
        if is_dataclass(inner):
            names += [f"/{field.name}/{member.name}" for member in fields(inner)]
    return {name: number for number, name in enumerate(names)}


def _place(pointer: str, order: Mapping[str, int]) -> int:
    """Its own, else that of what it is in; what the definition does not know comes last."""
    parts = pointer.split("/")
    known = (order.get("/".join(parts[:length])) for length in (3, 2))
    return next((place for place in known if place is not None), len(order))
