"""What each kind of job does inside its trainer, and how its result becomes public outside of it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heimdall_core.domain.errors import DataError, NotFound
from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.ports import Checkpoint, ObjectStore, Reporter, StoredObject
from heimdall_core.domain.spec import TrainJobSpec, train_spec_from_dict
from heimdall_core.domain.spectrograms import StoredSpectrogram
from heimdall_core.jobs.finishing import MICRO_BATCH_SIZE
from heimdall_core.settings import Settings, load_settings
from heimdall_core.storage import S3Store
from heimdall_core.storage.s3 import hash_file

if TYPE_CHECKING:
    from heimdall_core.pipeline import TrainingPipeline

Runner = Callable[[dict[str, Any], Reporter, ObjectStore, Settings], dict[str, Any]]


def run_job(start: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Runs the job of a start message (in the trainer) and returns its JSON result."""
    settings = load_settings()
    return RUNNERS[start["kind"]](start, reporter, S3Store(settings.storage), settings)


def _train(
    start: dict[str, Any], reporter: Reporter, store: ObjectStore, settings: Settings
) -> dict[str, Any]:
    spec = adjusted(train_spec_from_dict(start["spec"]), start["adjustments"])
    init_weights = _stored(start["inputs"].get("init_weights"))
    lineage = {"adjustments": start["adjustments"]}
    return _pipeline(spec, start, reporter, store, settings, init_weights=init_weights, lineage=lineage).run()


def adjusted(spec: TrainJobSpec, adjustments: Mapping[str, Any]) -> TrainJobSpec:
    """The spec with what the engine changed after an attempt that ran out of memory."""
    if MICRO_BATCH_SIZE not in adjustments:
        return spec
    training = replace(
        spec.training,
        batch_size=adjustments[MICRO_BATCH_SIZE],
        accumulate_grad_batches=adjustments["accumulate_grad_batches"],
    )
    return replace(spec, training=training)


def _export(
    start: dict[str, Any], reporter: Reporter, store: ObjectStore, settings: Settings
) -> dict[str, Any]:
    """The training that the weights come from, with this job's outputs, from its weights on."""
    spec = train_spec_from_dict(
        {
            **start["inputs"]["train_spec"],
            "export": {"enabled": True, "outputs": start["spec"]["outputs"]},
            "register": start["spec"]["register"],
        }
    )
    spec = replace(spec, model=replace(spec.model, pretrained=False))
    weights = _fetch_weights(start["inputs"], store, Path(start["workspace"]) / "weights.ckpt")
    stated = {key: start["inputs"]["weights"][key] for key in ("uri", "sha256")}
    lineage = {"train_job_id": start["inputs"]["train_job_id"], "weights_from": stated}
    return _pipeline(spec, start, reporter, store, settings, lineage=lineage).run_export_only(weights)


def _pipeline(
    spec: TrainJobSpec,
    start: dict[str, Any],
    reporter: Reporter,
    store: ObjectStore,
    settings: Settings,
    *,
    lineage: Mapping[str, Any],
    init_weights: StoredObject | None = None,
) -> "TrainingPipeline":
    import torch

    from heimdall_core.pipeline import TrainingPipeline
    from heimdall_core.tracking import target_of

    torch.set_num_threads(start["num_threads"])
    return TrainingPipeline(
        spec=spec,
        manifest=_load_manifest(start["inputs"], start["job_id"], store, settings.cache_dir),
        store=store,
        reporter=reporter,
        output_uri=start["output_uri"],
        workspace=Path(start["workspace"]),
        cache_dir=settings.cache_dir,
        tracking=target_of(settings),
        run_name=start["job_id"],
        tags={"heimdall.job_id": start["job_id"], "heimdall.attempt": str(start["attempt"])},
        resume_from=_checkpoint(start.get("resume_from")),
        init_weights=init_weights,
        pretrained_dir=settings.worker.pretrained_dir,
        checkpoint_seconds=settings.worker.checkpoint_seconds,
        lineage={**lineage, **_origin(start)},
    )


def _origin(start: Mapping[str, Any]) -> dict[str, Any]:
    """The job, and the object that its frozen dataset is."""
    inputs = start["inputs"]
    return {
        "job": {"id": start["job_id"], "attempt": start["attempt"]},
        "manifest": {"uri": inputs["manifest_uri"], "sha256": inputs["manifest_sha256"]},
    }


def _evaluate(
    start: dict[str, Any], reporter: Reporter, store: ObjectStore, settings: Settings
) -> dict[str, Any]:
    from heimdall_core.model_evaluation import ModelEvaluation

    inputs, workspace = start["inputs"], Path(start["workspace"])
    evaluation = ModelEvaluation(
        onnx_path=_fetch_model(inputs["onnx"], store, workspace / "model.onnx"),
        manifest=_load_manifest(inputs, start["job_id"], store, settings.cache_dir),
        split=start["spec"]["split"],
        trained_on=_load_manifest(inputs["trained_on"], start["job_id"], store, settings.cache_dir),
        store=store,
        reporter=reporter,
        output_uri=start["output_uri"],
        workspace=workspace,
        cache_dir=settings.cache_dir,
        num_threads=start["num_threads"],
    )
    return evaluation.run()


def _fetch_weights(inputs: Mapping[str, Any], store: ObjectStore, path: Path) -> Path:
    """The checkpoint that an export begins with, by whichever source it was named."""
    try:
        return _fetch(inputs["weights"], store, path)
    except NotFound as error:
        raise DataError(
            f"the weights {inputs['weights']['uri']} are recorded, but gone from the object store",
            code="weights_gone",
            hint="Export another checkpoint of the training, restore the object, or train again: "
            f"GET /v1/jobs/{inputs['train_job_id']}/checkpoints.",
        ) from error


def _fetch_model(stated: dict[str, Any], store: ObjectStore, path: Path) -> Path:
    """The ONNX file of a registered version."""
    try:
        return _fetch(stated, store, path)
    except NotFound as error:
        raise DataError(
            f"the model {stated['uri']} is registered, but gone from the object store",
            code="model_file_gone",
            hint="Restore the object, or export the version again and register that.",
        ) from error


def _fetch(stated: dict[str, Any], store: ObjectStore, path: Path) -> Path:
    """The object as a file, its checksum verified.

    Raises:
        DataError: it is not what was recorded.
        NotFound: it is gone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    store.get_file(stated["uri"], path)
    if hash_file(path)[0] != stated["sha256"]:
        raise DataError(f"{stated['uri']} has changed since it was recorded", code="object_changed")
    return path


def _load_manifest(dataset: dict[str, Any], job_id: str, store: ObjectStore, cache_dir: Path) -> Manifest:
    """The frozen manifest, from the cache if its checksum is right, else from the object store."""
    cached = cache_dir / "manifests" / f"{dataset['manifest_sha256']}.json"
    data = cached.read_bytes() if cached.is_file() else _read_manifest(dataset["manifest_uri"], store)
    if hashlib.sha256(data).hexdigest() != dataset["manifest_sha256"]:
        cached.unlink(missing_ok=True)
        raise DataError(f"{dataset['manifest_uri']} has changed since it was frozen", code="object_changed")
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        part = cached.with_suffix(f".{job_id}.part")
        part.write_bytes(data)
        part.replace(cached)
    return Manifest.from_dict(json.loads(data))


def _read_manifest(uri: str, store: ObjectStore) -> bytes:
    try:
        return store.get_bytes(uri)
    except NotFound as error:
        raise DataError(
            f"the dataset's manifest {uri} is recorded, but gone from the object store",
            code="dataset_gone",
            hint="Restore the object, or freeze the dataset anew: POST /v1/datasets.",
        ) from error


def _checkpoint(data: dict[str, Any] | None) -> Checkpoint | None:
    if data is None:
        return None
    stored = _stored(data)
    assert stored is not None
    return Checkpoint(
        object=stored,
        epoch=data["epoch"],
        step=data["step"],
        metrics=data["metrics"],
        at_epoch_end=data["at_epoch_end"],
    )


def _stored(data: dict[str, Any] | None) -> StoredObject | None:
    if data is None:
        return None
    return StoredObject(uri=data["uri"], sha256=data["sha256"], num_bytes=data["num_bytes"])


def _import(
    start: dict[str, Any], reporter: Reporter, store: ObjectStore, settings: Settings
) -> dict[str, Any]:
    from heimdall_core.catalogue.import_running import run_import

    return run_import(
        start["inputs"],
        store=store,
        reporter=reporter,
        output_uri=start["output_uri"],
        recordings_uri=f"s3://{settings.storage.raw_bucket}/recordings",
        resume_from=_checkpoint(start.get("resume_from")),
    )


def _spectrogram(
    start: dict[str, Any], _reporter: Reporter, store: ObjectStore, _settings: Settings
) -> dict[str, Any]:
    """No job: somebody looks at a session. See ``worker.spectrograms``."""
    import torch

    from heimdall_core.features.session_spectrogram import describe_spectrogram

    torch.set_num_threads(1)
    inputs = start["inputs"]
    manifest = Manifest.from_dict(inputs["manifest"])
    made = StoredSpectrogram(spectrogram=describe_spectrogram(manifest, inputs["segment"], store))
    stored = store.put_bytes(inputs["uri"], made.to_json(), media_type="application/json")
    return {"num_bytes": stored.num_bytes}


RUNNERS: dict[str, Runner] = {
    "train": _train,
    "export": _export,
    "evaluate": _evaluate,
    "import": _import,
    "spectrogram": _spectrogram,
}
