"""Schedules and drift scores on the wire."""

from datetime import datetime
from typing import Annotated

from pydantic import AllowInfNan, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from heimdall_core.database.schedule_tables import DriftScore, Schedule
from heimdall_core.scheduling.conditions import (
    Condition,
    RetrainWish,
    SourceName,
    read_condition,
    read_wish,
)
from heimdall_core.scheduling.running import ScheduleOutcome
from heimdall_core.scheduling.schedules import ScheduleWish

_MAX_INTERVAL_SECONDS = 366 * 24 * 3600
ScheduleName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Interval = Annotated[int, Field(ge=0, le=_MAX_INTERVAL_SECONDS)]
Score = Annotated[float, AllowInfNan(False)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScheduleBody(_Body):
    """When a model shall be trained again, and how."""

    name: ScheduleName = Field(description="For people.", examples=["every Monday"])
    model: ModelName = Field(description="Its champion is trained again.", examples=["localization"])
    when: Condition
    retrain: RetrainWish
    enabled: bool = True
    min_interval_seconds: Interval = Field(
        default=0, description="After a job of this schedule no other is queued for so long."
    )


class SchedulePatch(_Body):
    """What is to change; what is left out stays. `when` and `retrain` are replaced as a whole."""

    name: ScheduleName | None = None
    when: Condition | None = None
    retrain: RetrainWish | None = None
    enabled: bool | None = Field(
        default=None, description="True: it counts from then on; nothing is caught up."
    )
    min_interval_seconds: Interval | None = None

    def wish(self) -> ScheduleWish:
        """What it asks for."""
        return ScheduleWish(
            name=self.name,
            when=self.when,
            retrain=self.retrain,
            enabled=self.enabled,
            min_interval_seconds=self.min_interval_seconds,
        )


class ScheduleOutcomeDocument(BaseModel):
    """What came of an occasion."""

    at: datetime
    outcome: ScheduleOutcome = Field(
        description="`queued`, `joined`: there is a job. `skipped`: there was nothing to do, or it was not "
        "the time; `refused`: it could not be done. `code` says why."
    )
    job_id: str | None
    code: str | None = Field(
        description="`missed`, `still_running`, `cooling_down`, or the code of the problem that the call "
        "would have been answered with."
    )
    detail: str | None


class ScheduleDocument(BaseModel):
    """When a model is trained again, and how that went."""

    id: str = Field(examples=["sch_x4r2k7abcdefghijklmnop23"])
    name: str = Field(examples=["every Monday"])
    model: str = Field(examples=["localization"])
    when: Condition
    retrain: RetrainWish
    enabled: bool
    min_interval_seconds: int
    owner: str = Field(description="Whose jobs it queues.")
    next_run_at: datetime | None = Field(
        description="Of a `cron`: with its jitter. Of `new_sessions`: when the catalogue is looked at next. "
        "Of `drift`: null until enough scores came. While it is not enabled null."
    )
    last_run_at: datetime | None = Field(description="When it last got a job.")
    last_outcome: ScheduleOutcomeDocument | None
    job_id: str | None = Field(description="The job that it got last.")
    created_at: datetime
    updated_at: datetime


class DriftScoreBody(_Body):
    """How far what a model is given lies from what it was trained on."""

    score: Score = Field(
        description="Any number that rises with drift; schedules compare it with their threshold.",
        examples=[0.31],
    )
    observed_at: AwareDatetime | None = Field(
        default=None, description="Names the observation: the same time and source count once. Null: now."
    )
    source: SourceName = Field(default="", description="Who measured it.", examples=["inference-1"])


class DriftScoreDocument(BaseModel):
    """A score as it is kept."""

    id: str = Field(examples=["drs_x4r2k7abcdefghijklmnop23"])
    model: str = Field(examples=["localization"])
    score: float
    observed_at: datetime
    source: str
    created_by: str
    created_at: datetime


class CountedDriftScoreDocument(DriftScoreDocument):
    """A score, and what it brought about."""

    num_due: int = Field(description="Schedules whose condition is met now; they run within seconds.")


def schedule_document(row: Schedule) -> ScheduleDocument:
    """The wire form of a schedule."""
    outcome = row.last_outcome
    return ScheduleDocument(
        id=row.id,
        name=row.name,
        model=row.model,
        when=read_condition(row.condition),
        retrain=read_wish(row.retrain),
        enabled=row.enabled,
        min_interval_seconds=row.min_interval_seconds,
        owner=row.owner,
        next_run_at=row.next_run_at if row.enabled else None,
        last_run_at=row.last_run_at,
        last_outcome=None if outcome is None else ScheduleOutcomeDocument.model_validate(outcome),
        job_id=row.job_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def drift_score_document(row: DriftScore) -> DriftScoreDocument:
    """The wire form of a score."""
    return DriftScoreDocument(**{name: getattr(row, name) for name in DriftScoreDocument.model_fields})
