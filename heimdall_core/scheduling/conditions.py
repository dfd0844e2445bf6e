"""What a schedule waits for, and what it asks for then."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final, Literal

from annotated_types import Ge, Le, MaxLen
from pydantic import AllowInfNan, Field, StringConstraints, TypeAdapter

from heimdall_core.domain.spec import STRICT

MAX_JITTER_SECONDS: Final = 3600
MAX_CONSECUTIVE: Final = 100
MAX_SESSIONS: Final = 1_000_000

Line = Annotated[str, StringConstraints(min_length=1, max_length=200)]
SourceName = Annotated[str, MaxLen(100)]


@dataclass(frozen=True, slots=True, kw_only=True)
class CronCondition:
    """The clock."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    type: Literal["cron"]
    expression: Annotated[Line, Field(examples=["0 3 * * mon"])]
    """Minute, hour, day of month, month and day of week, as cron reads them.

    Where both days are restricted either will do.
    """
    time_zone: Annotated[Line, Field(examples=["Europe/Rome"])] = "UTC"
    """IANA name. What falls into the hour that is left out in spring runs at its end; what falls into the one
    that comes twice in autumn runs once, unless the expression names every hour (``*``)."""
    jitter_seconds: Annotated[int, Ge(0), Le(MAX_JITTER_SECONDS)] = 0
    """Each run is late by a part of this: another one each time, and the same for each reader."""
    catch_up: Literal["skip", "once"] = "skip"
    """Runs that nobody was there for: ``skip`` leaves them out, ``once`` makes one run of them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSessionsCondition:
    """Recordings that the champion has not seen."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    type: Literal["new_sessions"]
    sessions: Annotated[int, Ge(1), Le(MAX_SESSIONS)]
    """So many sessions match the champion's query and are in neither its dataset nor the last run's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftCondition:
    """Scores that ``POST /v1/models/{name}/drift-scores`` brings."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    type: Literal["drift"]
    threshold: Annotated[float, AllowInfNan(False)]
    """A score at or above it counts."""
    consecutive: Annotated[int, Ge(1), Le(MAX_CONSECUTIVE)] = 1
    """So many in a row, by the time of observation, since the schedule's last run."""
    source: SourceName | None = None
    """Only scores of this source; null: of all together."""


Condition = Annotated[CronCondition | NewSessionsCondition | DriftCondition, Field(discriminator="type")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainWish:
    """What a run asks for, as ``POST /v1/models/{name}:retrain`` does."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    """For people: it is kept with the job."""
    force: bool = False
    """Train even if the champion has seen all that is approved."""
    warm_start: bool = False
    """Start from the champion's weights instead of as the champion started."""
    promote: Literal["never", "if_better"] | None = None
    """``register.promote`` of the job; null: as the champion's job had it."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Merged over the champion's specification as JSON merge patch; checked as a whole at each run."""
    min_new_sessions: Annotated[int, Ge(0), Le(MAX_SESSIONS)] = 1
    """Sessions that the champion's dataset version does not hold: with fewer there is no job."""


_CONDITION: TypeAdapter[CronCondition | NewSessionsCondition | DriftCondition] = TypeAdapter(Condition)
_WISH: TypeAdapter[RetrainWish] = TypeAdapter(RetrainWish)


def read_condition(stored: dict[str, Any]) -> CronCondition | NewSessionsCondition | DriftCondition:
    """The condition of a row."""
    return _CONDITION.validate_python(stored)


def write_condition(condition: CronCondition | NewSessionsCondition | DriftCondition) -> dict[str, Any]:
    """What a row keeps."""
    written: dict[str, Any] = _CONDITION.dump_python(condition, mode="json")
    return written


def read_wish(stored: dict[str, Any]) -> RetrainWish:
    """The wish of a row."""
    return _WISH.validate_python(stored)


def write_wish(wish: RetrainWish) -> dict[str, Any]:
    """What a row keeps."""
    written: dict[str, Any] = _WISH.dump_python(wish, mode="json")
    return written
