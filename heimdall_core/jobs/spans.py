"""A figure as like jobs have it: the middle, and what nine in ten stay below."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, ClassVar

from heimdall_core.domain.spec import STRICT
from heimdall_core.jobs.capacity import devices_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Half of like jobs are below the one, nine in ten below the other."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    p50: float
    p90: float


def span_of(values: Sequence[float]) -> Span | None:
    """Median and 90th percentile; None: there is no value."""
    if not values:
        return None
    p90 = quantiles(values, n=10, method="inclusive")[-1] if len(values) > 1 else values[0]
    return Span(p50=round(median(values), 1), p90=round(p90, 1))


def backbone_of(spec: Mapping[str, Any]) -> str | None:
    """Of a training; None: the job has no network of its own."""
    backbone: str | None = (spec.get("model") or {}).get("backbone")
    return backbone


def is_like(spec: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two specifications of one kind ask for about the same work per session."""
    return backbone_of(spec) == backbone_of(other) and devices_of(spec) == devices_of(other)
