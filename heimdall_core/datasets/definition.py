"""What a dataset version is made of: which sessions, and how they are split."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import StringConstraints

from heimdall_core.domain.spec import STRICT, Name

DatasetName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
"""Usable in paths of URLs and of the object store."""

Fraction = Annotated[float, Gt(0), Lt(1)]
Groups = Annotated[tuple[Name, ...], MinLen(1), MaxLen(10_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionQuery:
    """Which approved sessions belong to the dataset; a list that is null does not restrict."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    import_job_ids: Annotated[tuple[str, ...], MinLen(1), MaxLen(10_000)] | None = None
    session_ids: Annotated[tuple[UUID, ...], MinLen(1), MaxLen(100_000)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSpec:
    """How sessions become train, val and test: in whole units, never one by one."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    strategy: Literal["spatial_block", "group", "source"] = "spatial_block"
    """The unit: a square of the plane, the group that the import named, or the known source."""
    block_km: Annotated[float, Gt(0), Le(10_000)] = 20.0
    """Side of a square; only for ``spatial_block``."""
    test_fraction: Fraction = 0.2
    val_fraction: Fraction = 0.2
    test_groups: Groups | None = None
    """Units that make up the test split; null: units are drawn until ``test_fraction`` is met."""
    val_groups: Groups | None = None
    """Units that make up the val split; null: units are drawn until ``val_fraction`` is met."""
    seed: Annotated[int, Ge(0), Le(2**63 - 1)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDefinition:
    """A request to freeze a dataset version."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    name: DatasetName
    query: SessionQuery = field(default_factory=SessionQuery)
    split: SplitSpec = field(default_factory=SplitSpec)
