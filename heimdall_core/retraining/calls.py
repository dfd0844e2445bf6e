"""What a caller asks for, what it is told, and what of its wish a job that waits already leaves undone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from heimdall_core.database.job_tables import Job, JobEvent
from heimdall_core.datasets.definition import DatasetDefinition
from heimdall_core.domain.manifest import digest_of

LATEST: Final = "latest"
REQUESTED: Final = "retrain.requested"
_DEFINITION: TypeAdapter[DatasetDefinition] = TypeAdapter(DatasetDefinition)


class RetrainOutcome(StrEnum):
    """What a call came to."""

    #: It queued a job.
    QUEUED = "queued"
    #: A job was queued already, which serves this call too.
    JOINED = "joined"
    #: A call with this ``dedupe_key`` has had its job before.
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainCall:
    """A caller's wish to have a model trained again."""

    model: str
    reason: str
    dedupe_key: str
    caller: str
    #: Train whatever was approved or withdrawn since the champion was trained.
    force: bool = False
    #: Start from the champion's weights instead of as the champion started.
    warm_start: bool = False
    #: What to freeze and train on; "latest": the champion's definition, on what is approved now.
    dataset: DatasetDefinition | Literal["latest"] = LATEST
    #: Merged over the champion's specification, as JSON merge patch (RFC 7396).
    overrides: Mapping[str, Any] = field(default_factory=dict)
    #: Whether it may become the champion; None: as the champion's job had it.
    promote: Literal["never", "if_better"] | None = None
    #: Sessions that the champion's dataset version does not hold; with fewer there is no job.
    min_new_sessions: int = 1

    def wish(self) -> dict[str, Any]:
        """What makes two calls differ, as the event of the job that the first of them queued keeps it."""
        return {
            "dataset": _dataset_of(self.dataset),
            "overrides": dict(self.overrides),
            "promote": self.promote,
            "warm_start": self.warm_start,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """The job that serves a call."""

    job: Job
    outcome: RetrainOutcome
    new_sessions: int | None
    """Of the job's dataset, unknown to that of the champion when the job was queued; None: not counted."""
    withdrawn_sessions: int | None
    """Of the champion's dataset, gone from the job's; None: not counted."""
    left_as_it_is: tuple[str, ...] = ()
    """Fields of the call in which the job is another than this call asked for."""


def served_by(session: Session, job: Job, call: RetrainCall, outcome: RetrainOutcome) -> Retraining:
    """The answer to a call that a job of an earlier call serves."""
    told = requested_event(session, job)
    return Retraining(
        job=job,
        outcome=outcome,
        new_sessions=told.get("new_sessions"),
        withdrawn_sessions=told.get("withdrawn_sessions"),
        left_as_it_is=_differences(call, told, job),
    )


def requested_event(session: Session, job: Job) -> Mapping[str, Any]:
    """What the job's first call was, as its event tells; empty: the event is gone."""
    found = select(JobEvent.data).where(JobEvent.job_id == job.id, JobEvent.name == REQUESTED)
    return session.scalars(found.order_by(JobEvent.id).limit(1)).first() or {}


def _differences(call: RetrainCall, told: Mapping[str, Any], job: Job) -> tuple[str, ...]:
    wish = call.wish()
    # An older service's event says none of it: those calls could only ask for what is the default.
    former = RetrainCall(model="", reason="", dedupe_key="", caller="").wish() | dict(told)
    if call.promote == (job.spec.get("register") or {}).get("promote"):
        former["promote"] = call.promote
    return tuple(name for name, value in wish.items() if value != former[name])


def _dataset_of(dataset: DatasetDefinition | Literal["latest"]) -> Any:
    """Short, for it goes into an event: a definition may name a hundred thousand sessions."""
    if isinstance(dataset, str):
        return LATEST
    return {"name": dataset.name, "sha256": digest_of(_DEFINITION.dump_python(dataset, mode="json"))}
