"""Which version of a model is to be used: promotion through the gate, and the way back.

Every change happens under a lock of the model's row, leaves an event, and goes to MLflow by the outbox.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import Model, ModelEvent, ModelVersion
from heimdall_core.database.job_tables import Job, Outbox
from heimdall_core.domain.errors import (
    Conflict,
    FieldProblem,
    InvalidRequest,
    PromotionRefused,
    StorageRefused,
)
from heimdall_core.registry.contests import find_contest, is_elsewhere, missing_evaluations
from heimdall_core.registry.events import ModelEventKind, record_model_event
from heimdall_core.registry.gate import COVERAGE, Contest, Verdict, is_verified, judge
from heimdall_core.registry.measurements import Measurement, num_test_sessions
from heimdall_core.registry.queries import find_model, find_model_version
from heimdall_core.registry.reading import ByteSource
from heimdall_core.settings import PromotionSettings

ALIAS_TOPIC = "mlflow.alias"
#: Queues an evaluate job of the body on behalf of a job; returns its id.
Measure = Callable[[Session, Mapping[str, Any], Job], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What the verdict is found with."""

    policy: PromotionSettings
    store: ByteSource
    """Where jobs put their files of residuals; in a transaction that must not wait, a ``ReadBefore``."""
    measure: Measure | None = None
    """How a job that wants to promote has the champion measured; None: it is refused."""
    fresh: tuple[Measurement, ...] = ()
    """Of an evaluate job that succeeds in this transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionCall:
    """A caller's wish to have a version promoted."""

    model: str
    version: int
    caller: str
    #: Promote whatever the gate says of its errors; needs a ``reason``.
    force: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackCall:
    """A caller's wish to have the previous version back."""

    model: str
    caller: str
    reason: str | None = None
    #: Only if this is still the champion; None: whatever it is.
    champion_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """What a call came to."""

    model: Model
    event: ModelEvent | None
    """None: nothing changed."""


def promote_version(session: Session, call: PromotionCall, gate: Gate) -> Promotion:
    """Makes the version the champion; the former becomes the previous one.

    The champion itself stays as it is, whatever the gate would say.

    Raises:
        NotFound: there is no such model or version.
        InvalidRequest: it is to be forced without a reason.
        Conflict: the version was not verified (``not_verified``).
        PromotionRefused: the gate says no, and it is not forced.
        StorageUnavailable: the measurements of the versions cannot be read, and it is not forced or the
            store does not answer.
    """
    _require_reason(call)
    model = lock_model(session, call.model)
    row = find_model_version(session, call.model, call.version)
    if model.champion_version == row.version:
        return Promotion(model=model, event=None)
    _require_verified(row)
    verdict = _verdict_for(session, model, row, gate, call)
    if not verdict.passed and not call.force:
        raise _refused(row, verdict)
    if is_waiting(row):
        row.promotion = {"outcome": "promoted", "verdict": verdict.to_dict()}
    event = crown(
        session,
        model,
        row,
        actor=call.caller,
        reason=call.reason,
        verdict=verdict.to_dict(),
        forced=not verdict.passed,
    )
    return Promotion(model=model, event=event)


def roll_back(session: Session, call: RollbackCall) -> Promotion:
    """Swaps the champion and the previous version.

    Raises:
        NotFound: no model has the name.
        Conflict: there is no previous version, or the champion is another than the caller thinks.
    """
    model = lock_model(session, call.model)
    former, back = model.champion_version, model.previous_version
    if call.champion_version is not None and call.champion_version != former:
        raise Conflict(
            f"the champion of model {model.name!r} is version {former}, not {call.champion_version}",
            code="champion_changed",
            hint=f"Look at GET /v1/models/{model.name}/events and decide again.",
        )
    if former is None or back is None:
        raise Conflict(
            f"model {model.name!r} has no previous version to go back to",
            code="no_previous_version",
            hint=f"Promote a version: POST /v1/models/{model.name}/versions/{{version}}:promote.",
        )
    _set_champion(model, back)
    event = record_model_event(
        session,
        ModelEventKind.ROLLED_BACK,
        model=model.name,
        version=back,
        former_version=former,
        actor=call.caller,
        reason=call.reason,
    )
    session.add(_alias_change(model, event))
    session.flush()
    return Promotion(model=model, event=event)


def find_verdict(
    session: Session,
    model: Model,
    row: ModelVersion,
    gate: Gate,
    *,
    compared: bool = True,
    must_be_better: bool = False,
) -> Verdict:
    """What the gate says of a version, against the present champion; without ``compared`` nothing is read.

    Raises:
        StorageUnavailable: the measurements of the versions cannot be read.
    """
    champion = champion_of(session, model)
    contest: Contest | None = None
    evaluate: tuple[dict[str, Any], ...] = ()
    if champion is not None and compared:
        contest = find_contest(
            session, gate.store, row, champion, gate.fresh, min_sessions=gate.policy.min_sessions
        )
        evaluate = () if contest else missing_evaluations(session, row, champion, gate.fresh)
    return judge(
        verified=is_verified(row.verification, row.exports),
        coverage=row.metrics.get(COVERAGE),
        num_sessions=num_test_sessions(row),
        champion_version=model.champion_version,
        contest=contest,
        evaluate=evaluate,
        is_elsewhere=champion is not None and is_elsewhere(row, champion),
        must_be_better=must_be_better,
        policy=gate.policy,
    )


def preview_verdict(session: Session, name: str, version: int, gate: Gate) -> Verdict:
    """What the gate would say of a promotion by request now; changes nothing.

    Raises:
        NotFound: there is no such model or version.
        StorageUnavailable: the measurements of the versions cannot be read.
    """
    model = find_model(session, name)
    return find_verdict(session, model, find_model_version(session, name, version), gate)


def is_waiting(row: ModelVersion) -> bool:
    """Whether the end of an evaluate job is to decide about the version."""
    return row.promotion is not None and row.promotion["outcome"] == "waits"


def champion_of(session: Session, model: Model) -> ModelVersion | None:
    """The version that is to be used; None: there is none yet."""
    if model.champion_version is None:
        return None
    return session.get(ModelVersion, (model.name, model.champion_version))


def lock_model(session: Session, name: str) -> Model:
    """The model, locked until the transaction ends.

    Raises:
        NotFound: no model has the name.
    """
    find_model(session, name)
    statement = select(Model).where(Model.name == name).with_for_update()
    return session.scalars(statement.execution_options(populate_existing=True)).one()


def crown(
    session: Session,
    model: Model,
    row: ModelVersion,
    *,
    actor: str,
    verdict: dict[str, Any],
    reason: str | None = None,
    forced: bool = False,
    job_id: str | None = None,
) -> ModelEvent:
    """Makes the version the champion of the locked model and tells everybody."""
    former = model.champion_version
    _set_champion(model, row.version)
    event = record_model_event(
        session,
        ModelEventKind.PROMOTED,
        model=model.name,
        version=row.version,
        former_version=former,
        actor=actor,
        job_id=job_id,
        reason=reason,
        forced=forced,
        verdict=verdict,
    )
    session.add(_alias_change(model, event))
    session.flush()
    return event


def _set_champion(model: Model, version: int) -> None:
    model.previous_version, model.champion_version = model.champion_version, version
    model.updated_at = func.now()


def _alias_change(model: Model, event: ModelEvent) -> Outbox:
    payload = {
        "name": model.name,
        "champion_version": model.champion_version,
        "previous_version": model.previous_version,
        "event_id": event.id,
    }
    return Outbox(topic=ALIAS_TOPIC, key=str(event.id), payload=payload)


def _verdict_for(
    session: Session, model: Model, row: ModelVersion, gate: Gate, call: PromotionCall
) -> Verdict:
    """Of a forced call also where a measurement is lost for good: then there was no comparison."""
    try:
        return find_verdict(session, model, row, gate)
    except StorageRefused:
        if not call.force:
            raise
        return find_verdict(session, model, row, gate, compared=False)


def _require_reason(call: PromotionCall) -> None:
    if call.force and not (call.reason or "").strip():
        detail = "say why; it is kept with the promotion"
        raise InvalidRequest(
            "a forced promotion needs a reason", problems=(FieldProblem(pointer="/reason", detail=detail),)
        )


def _require_verified(row: ModelVersion) -> None:
    if not is_verified(row.verification, row.exports):
        raise Conflict(
            f"version {row.version} of model {row.name!r} has no file that was verified against its network",
            code="not_verified",
            hint="Export it again: POST /v1/jobs with kind 'export', this version as its source and "
            "'register': {'enabled': true}.",
        )


def _refused(row: ModelVersion, verdict: Verdict) -> PromotionRefused:
    reasons = "; ".join(f"{check.name}: {check.detail}" for check in verdict.failures)
    hint = "With 'force': true and a 'reason' it is promoted all the same, and the event says so."
    if verdict.evaluate:
        hint = "POST the bodies in verdict.evaluate to /v1/jobs, wait, and promote again. " + hint
    return PromotionRefused(
        f"version {row.version} of model {row.name!r} is kept out: {reasons}",
        verdict=verdict.to_dict(),
        hint=hint,
    )
