"""Models: which version is in use, how it got there, and its files."""

from pathlib import Path

from heimdall_client.calls import get, history, pages, post
from heimdall_client.documents.document import document, items, parse
from heimdall_client.documents.jobs import Job, Lineage
from heimdall_client.documents.models import (
    Model,
    ModelComparison,
    ModelEvent,
    ModelVersion,
    Promotion,
    Retraining,
    RetrainOutcome,
    Verdict,
)
from heimdall_client.downloading import RemoteFile, download
from heimdall_client.errors import NotFound
from heimdall_client.exchanges import Answer, Json, path_of
from heimdall_client.operations.binding import Answering, Blocking, Iterating, NonBlocking
from heimdall_client.operations.jobs import remote_file
from heimdall_client.operations.references import given
from heimdall_client.steps import Feed, Flow

OUTCOME_HEADER = "retrain-outcome"


def list_models(*, limit: int | None = None) -> Feed[Model]:
    """All models, newest first."""
    return pages("/v1/models", Model, limit=limit)


def get_model(name: str) -> Flow[Model]:
    """One model."""
    return get(path_of("models", name), document(Model))


def list_versions(name: str) -> Flow[list[ModelVersion]]:
    """Every version of a model, newest first."""
    return get(path_of("models", name, "versions"), items(ModelVersion))


def get_version(name: str, version: int | None = None) -> Flow[ModelVersion]:
    """One version of a model with its files; default: its champion.

    Raises:
        NotFound: no such model or version, or the model has no champion.
    """
    if version is None:
        model = yield from get_model(name)
        version = model.champion_version
    if version is None:
        raise NotFound(f"model {name!r} has no champion", code="no_champion", hint="Promote a version.")
    path = path_of("models", name, "versions", version)
    return (yield from get(path, document(ModelVersion)))


def promote(
    name: str,
    version: int,
    *,
    force: bool = False,
    reason: str | None = None,
    idempotency_key: str | None = None,
) -> Flow[Promotion]:
    """Makes a version the champion if the gate lets it.

    Raises:
        PromotionRefused: it does not; ``verdict`` lists every check.
    """
    path = path_of("models", name, "versions", version) + ":promote"
    return post(path, document(Promotion), given(force=force, reason=reason), key=idempotency_key)


def preview_verdict(name: str, version: int) -> Flow[Verdict]:
    """What the gate would say of a promotion now, check by check; nothing is changed."""
    return get(path_of("models", name, "versions", version, "verdict"), document(Verdict))


def rollback(
    name: str,
    *,
    champion_version: int | None = None,
    reason: str | None = None,
    idempotency_key: str | None = None,
) -> Flow[Promotion]:
    """Swaps the champion and the previous version, with ``champion_version`` only if that is the champion."""
    body = given(champion_version=champion_version, reason=reason)
    return post(path_of("models", name) + ":rollback", document(Promotion), body, key=idempotency_key)


def compare_versions(name: str, first: int, second: int) -> Flow[ModelComparison]:
    """Two versions side by side."""
    path = path_of("models", name) + ":compare"
    return get(path, document(ModelComparison), {"versions": f"{first},{second}"})


def retrain(
    name: str,
    *,
    reason: str,
    dedupe_key: str,
    dataset: Json | None = None,
    overrides: Json | None = None,
    promote: str | None = None,
    min_new_sessions: int | None = None,
    force: bool = False,
    warm_start: bool = False,
    idempotency_key: str | None = None,
) -> Flow[Retraining]:
    """Trains the champion again on what is approved now; for services that call unattended.

    Args:
        name: Of the model.
        reason: For people.
        dedupe_key: Names the occasion: the same key gets the same job for ever.
        dataset: A definition as ``datasets.create`` takes it; default: the champion's, frozen anew.
        overrides: Merged over the champion's specification, as JSON merge patch.
        promote: ``never`` or ``if_better``; default: as the champion's job had it.
        min_new_sessions: Refuse below so many sessions approved since.
        force: Train even if the champion has seen all that is approved now.
        warm_start: Start from the champion's weights.
        idempotency_key: Default: one made for this call.
    """
    body = given(
        reason=reason,
        dedupe_key=dedupe_key,
        dataset=dataset,
        overrides=overrides,
        promote=promote,
        min_new_sessions=min_new_sessions,
        force=force,
        warm_start=warm_start,
    )
    return post(path_of("models", name) + ":retrain", _retraining, body, key=idempotency_key)


def list_model_events(name: str, *, after: str | None = None) -> Feed[ModelEvent]:
    """Registrations, promotions, refusals and rollbacks of a model, oldest first."""
    return history(path_of("models", name, "events"), ModelEvent, after=after)


def model_lineage(name: str, version: int) -> Flow[Lineage]:
    """Where a version comes from, and what came of it."""
    return get(path_of("models", name, "versions", version, "lineage"), document(Lineage))


def download_model(
    name: str, version: int | None = None, *, file: str | None = None, to: Path | str = "."
) -> Flow[Path]:
    """A version's file in the folder ``to``, whole and as its SHA-256 says.

    Args:
        name: Of the model.
        version: Default: its champion.
        file: Name of one of its exports or of its job's files; default: the ONNX file that is served.
        to: Folder; it is made if it is not there.

    Raises:
        NotFound: no such model, version or file.
        DamagedDownload: the bytes are not those that the service registered.
    """
    found = yield from get_version(name, version)
    return (yield from download(_file_of(found, file), Path(to)))


def _file_of(found: ModelVersion, name: str | None) -> RemoteFile:
    """The file, by preference at the service itself, which takes ``Range`` without end."""
    for artifact in found.artifacts:
        if artifact.name == name or (name is None and artifact.sha256 == found.onnx.sha256):
            return remote_file(artifact)
    for export in found.exports:
        if export.name == name or (name is None and export.sha256 == found.onnx.sha256):
            return _presigned(export.name, export.download_url, export.sha256, export.bytes)
    if name is None:
        return _presigned("model.onnx", found.onnx.download_url, found.onnx.sha256, found.onnx.bytes)
    names = ", ".join(sorted({a.name for a in found.artifacts} | {e.name for e in found.exports}))
    raise NotFound(
        f"{found.name}/{found.version} has no file {name!r}",
        code="artifact_not_found",
        hint=f"Its files: {names}",
    )


def _presigned(name: str, url: str, sha256: str, num_bytes: int) -> RemoteFile:
    return RemoteFile(name=name, url=url, sha256=sha256, num_bytes=num_bytes)


def _retraining(answer: Answer) -> Retraining:
    outcome = answer.headers.get(OUTCOME_HEADER, RetrainOutcome.QUEUED.value)
    body = answer.json()
    return Retraining(
        job=parse(Job, body),
        outcome=RetrainOutcome(outcome),
        new_sessions=body.get("new_sessions"),
        withdrawn_sessions=body.get("withdrawn_sessions"),
        left_as_it_is=body.get("left_as_it_is") or [],
    )


class ModelOperations:
    """Every call about models."""

    list = Iterating(list_models)
    get = Answering(get_model)
    versions = Answering(list_versions)
    version = Answering(get_version)
    promote = Answering(promote)
    verdict = Answering(preview_verdict)
    rollback = Answering(rollback)
    compare = Answering(compare_versions)
    retrain = Answering(retrain)
    events = Iterating(list_model_events)
    lineage = Answering(model_lineage)
    download = Answering(download_model)


class Models(ModelOperations, Blocking):
    """Models, blocking."""


class AsyncModels(ModelOperations, NonBlocking):
    """Models, to be awaited."""
