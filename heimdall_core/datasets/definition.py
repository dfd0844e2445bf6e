"""What a dataset version is made of: which sessions, and how they are split."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import AllowInfNan, AwareDatetime, StringConstraints

from heimdall_core.domain.spec import STRICT, Name

DatasetName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"),
]
"""Usable in paths of URLs and of the object store."""

ApprovalStatus = Literal["pending", "approved", "rejected"]
CatalogueName = Annotated[str, MinLen(1), MaxLen(255)]
Names = Annotated[tuple[CatalogueName, ...], MinLen(1), MaxLen(10_000)]
Latitude = Annotated[float, Ge(-90), Le(90), AllowInfNan(False)]
Longitude = Annotated[float, Ge(-180), Le(180), AllowInfNan(False)]
Hertz = Annotated[float, Ge(0), Le(1e12), AllowInfNan(False)]
Fraction = Annotated[float, Gt(0), Lt(1)]
Groups = Annotated[tuple[Name, ...], MinLen(1), MaxLen(10_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle of latitudes and longitudes, degrees, its edges included."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    min_latitude: Latitude
    min_longitude: Longitude
    """Western edge; greater than ``max_longitude``: the box crosses the antimeridian."""
    max_latitude: Latitude
    max_longitude: Longitude


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """All points within a geodesic distance (WGS-84) of a point."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    latitude: Latitude
    longitude: Longitude
    radius_km: Annotated[float, Gt(0), Le(20_004), AllowInfNan(False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Where the known source lies: exactly one of ``box`` and ``circle``."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    box: Box | None = None
    circle: Circle | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionQuery:
    """Which sessions belong to the dataset: those that meet all that is given; null does not restrict.

    A session that belongs brings all its recordings by the selected receivers, those below ``min_snr_db``
    included: that a receiver hears a transmission weakly, or not at all, tells where it came from.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    import_job_ids: (
        Annotated[tuple[Annotated[str, MinLen(1), MaxLen(100)], ...], MinLen(1), MaxLen(10_000)] | None
    ) = None
    """Sessions that these imports brought, those that the catalogue knew before included."""
    session_ids: Annotated[tuple[UUID, ...], MinLen(1), MaxLen(100_000)] | None = None
    """These sessions, each of which must exist."""
    started_after: AwareDatetime | None = None
    """Sessions that started at this time or later; with its zone."""
    started_before: AwareDatetime | None = None
    """Sessions that started before this time; with its zone."""
    min_frequency_hz: Hertz | None = None
    """Lower end of the band in which the known source transmits, included."""
    max_frequency_hz: Hertz | None = None
    """Upper end of the band in which the known source transmits, included."""
    region: Region | None = None
    """Where the known source lies."""
    sources: Names | None = None
    """Names of known sources."""
    receivers: Names | None = None
    """Names of receivers: only their recordings are taken, and only they become the network's inputs."""
    min_receivers: Annotated[int, Ge(1), Le(1000)] = 1
    """A session counts if at least this many of the selected receivers recorded it, with ``min_snr_db``."""
    min_snr_db: Annotated[float, Ge(-200), Le(200), AllowInfNan(False)] | None = None
    """What a recording must reach to count for ``min_receivers``; one of unknown SNR does not.

    Null: every recording counts.
    """
    approval_status: Annotated[tuple[ApprovalStatus, ...], MinLen(1), MaxLen(3)] = ("approved",)
    """A preview may look at pending and rejected sessions too; only approved ones are frozen."""


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
    """A request to freeze a dataset version, or to see what it would hold."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    name: DatasetName
    query: SessionQuery = field(default_factory=SessionQuery)
    split: SplitSpec = field(default_factory=SplitSpec)
