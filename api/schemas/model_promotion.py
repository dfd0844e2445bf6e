"""Promotions, events and comparisons of models on the wire."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.schemas.models import DatasetReference, ModelDocument, model_document
from heimdall_core.database.catalogue_tables import Model, ModelEvent, ModelVersion
from heimdall_core.registry.aliases import aliases_of
from heimdall_core.registry.bootstrap import CONFIDENCE, LEAST_SESSIONS, RESAMPLES, SEED, Difference
from heimdall_core.registry.comparing import Comparison
from heimdall_core.registry.contests import Paired
from heimdall_core.registry.events import ModelEventKind
from heimdall_core.registry.gate import CheckName, is_verified
from heimdall_core.registry.promotion import Promotion

Reason = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
_REASON = "For people: it is kept with the event."


class PromoteBody(BaseModel):
    """How a version is promoted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    force: bool = Field(
        default=False,
        description="Promote whatever the gate says, unless the version was not verified; needs a `reason`.",
    )
    reason: Reason | None = Field(
        default=None, description=_REASON, examples=["new receivers, checked by hand"]
    )


class RollbackBody(BaseModel):
    """How a model goes back to its previous version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Reason | None = Field(default=None, description=_REASON, examples=["position errors at Aosta"])
    champion_version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None, description="Roll back only if this is the champion still; null: whatever it is."
    )


class CheckDocument(BaseModel):
    """One condition of the gate."""

    name: CheckName
    passed: bool
    detail: str = Field(examples=["1,180 m against 1,204 m of version 3; at most 1,204 m"])
    challenger: float | None
    champion: float | None
    limit: float | None = Field(description="What the challenger's value may be at most.")


class VerdictDocument(BaseModel):
    """What the gate says of a version, check by check."""

    passed: bool
    champion_version: int | None = Field(
        description="The champion that it was measured against; null: there was none."
    )
    dataset: DatasetReference | None = Field(
        description="On whose test split; null: there was no champion, or no common measurement."
    )
    num_sessions: int | None = Field(
        description="That both were measured on and neither was fitted to; null: not known."
    )
    checks: list[CheckDocument]
    evaluate: list[dict[str, Any]] = Field(
        description="Bodies for `POST /v1/jobs` after which the two can be compared; empty: they could be."
    )


class ModelEventDocument(BaseModel):
    """A line of a model's history."""

    id: int
    event: ModelEventKind
    model: str
    version: int = Field(description="What the event is about; of a rollback the champion from then on.")
    former_version: int | None = Field(description="The champion until then.")
    actor: str = Field(description="The owner of the key or of the job.")
    job_id: str | None = Field(description="The job by which it happened; null: a request.")
    reason: str | None
    forced: bool = Field(description="Whether it happened against the verdict.")
    verdict: VerdictDocument | None
    at: datetime


class ModelEventPage(BaseModel):
    """Events after an id, oldest first."""

    data: list[ModelEventDocument]
    next_after: int = Field(description="Pass it back as `after` to go on.")


class PromotionDocument(BaseModel):
    """What a promotion or a rollback came to."""

    model: ModelDocument
    changed: bool = Field(description="False: the version was the champion already.")
    event: ModelEventDocument | None = Field(description="Null: nothing changed.")


class ComparedVersion(BaseModel):
    """One side of a comparison."""

    version: int
    aliases: list[str]
    metrics: dict[str, Any] = Field(description="On the test split of its own dataset version.")
    dataset: DatasetReference
    verified: bool
    created_at: datetime


class MetricDifference(BaseModel):
    """A metric of both versions on the same sessions; smaller is better."""

    metric: str = Field(examples=["median_error_m"])
    values: list[float] = Field(description="Of the versions, in the order asked for.")
    difference: float = Field(description="The second value less the first.")
    interval: list[float] = Field(description="95 % bootstrap interval of the difference: low, high.")
    better: int | None = Field(
        description="The version whose value is smaller beyond doubt: the interval leaves out 0; null: none, "
        f"or there are fewer than {LEAST_SESSIONS} sessions: the interval is not to be trusted then."
    )


class SharedTest(BaseModel):
    """What two versions make of the same test sessions."""

    dataset: DatasetReference
    split: str = "test"
    num_sessions: int = Field(description="That both were measured on and neither was fitted to.")
    num_measured: list[int] = Field(description="Test sessions that each was measured on.")
    job_ids: list[str] = Field(description="The jobs that measured them.")
    differences: list[MetricDifference]
    confidence: float = CONFIDENCE
    num_resamples: int = RESAMPLES
    seed: int = SEED


class ComparisonDocument(BaseModel):
    """Two versions of a model side by side."""

    name: str
    versions: list[ComparedVersion]
    same_sessions: SharedTest | None = Field(
        description="Null: they were not measured on the same sessions; `evaluate` says what is missing."
    )
    evaluate: list[dict[str, Any]] = Field(
        description="Bodies for `POST /v1/jobs` after which the two can be compared.",
        examples=[
            [
                {
                    "kind": "evaluate",
                    "model": {"name": "localization", "version": 3},
                    "dataset": {"name": "northwest", "version": 4},
                    "split": "test",
                }
            ]
        ],
    )


def model_event_document(event: ModelEvent) -> ModelEventDocument:
    """The wire form of an event."""
    return ModelEventDocument(
        id=event.id,
        event=ModelEventKind(event.kind),
        model=event.model,
        version=event.version,
        former_version=event.former_version,
        actor=event.actor,
        job_id=event.job_id,
        reason=event.reason,
        forced=event.forced,
        verdict=None if event.verdict is None else VerdictDocument.model_validate(event.verdict),
        at=event.at,
    )


def promotion_document(promotion: Promotion) -> PromotionDocument:
    """The wire form of what a call came to."""
    event = promotion.event
    return PromotionDocument(
        model=model_document(promotion.model),
        changed=event is not None,
        event=None if event is None else model_event_document(event),
    )


def comparison_document(found: Comparison) -> ComparisonDocument:
    """The wire form of a comparison."""
    return ComparisonDocument(
        name=found.model.name,
        versions=[_compared(row, found.model) for row in found.versions],
        same_sessions=None if found.paired is None else _shared(found, found.paired),
        evaluate=list(found.evaluate),
    )


def _compared(row: ModelVersion, model: Model) -> ComparedVersion:
    return ComparedVersion(
        version=row.version,
        aliases=aliases_of(model, row.version),
        metrics=row.metrics,
        dataset=DatasetReference(
            name=row.dataset_name, version=row.dataset_version, digest=row.dataset_digest
        ),
        verified=is_verified(row.verification, row.exports),
        created_at=row.created_at,
    )


def _shared(found: Comparison, paired: Paired) -> SharedTest:
    measured, num_sessions = paired.measured[0], paired.num_sessions
    return SharedTest(
        dataset=DatasetReference(
            name=measured.dataset_name, version=measured.dataset_version, digest=measured.dataset_digest
        ),
        num_sessions=num_sessions,
        num_measured=list(paired.num_measured),
        job_ids=[one.job_id for one in paired.measured],
        differences=[
            MetricDifference(
                metric=one.metric,
                values=[one.first, one.second],
                difference=one.difference,
                interval=[one.low, one.high],
                better=_better(one, found.versions) if num_sessions >= LEAST_SESSIONS else None,
            )
            for one in found.differences
        ],
    )


def _better(found: Difference, versions: tuple[ModelVersion, ModelVersion]) -> int | None:
    if found.low > 0.0:
        return versions[0].version
    return versions[1].version if found.high < 0.0 else None
