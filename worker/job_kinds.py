"""What each kind of job does inside its trainer, and how its result becomes public outside of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.manifest import FeatureSettings, Manifest
from heimdall_core.domain.ports import Checkpoint, ObjectStore, Reporter, StoredObject
from heimdall_core.domain.spec import train_spec_from_dict
from heimdall_core.settings import Settings, load_settings
from heimdall_core.storage import S3Store, join_uri

Runner = Callable[[dict[str, Any], Reporter, ObjectStore, Settings], dict[str, Any]]


def run_job(start: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Runs the job of a start message (in the trainer) and returns its JSON result."""
    settings = load_settings()
    return RUNNERS[start["kind"]](start, reporter, S3Store(settings.storage), settings)


def _train(
    start: dict[str, Any], reporter: Reporter, store: ObjectStore, settings: Settings
) -> dict[str, Any]:
    import torch

    from heimdall_core.pipeline import TrainingPipeline
    from heimdall_core.tracking import TrackingTarget

    torch.set_num_threads(start["num_threads"])
    spec = train_spec_from_dict(start["spec"])
    target = None
    if settings.tracking.uri:
        target = TrackingTarget(uri=settings.tracking.uri, experiment=settings.tracking.experiment)
    pipeline = TrainingPipeline(
        spec=spec,
        manifest=_load_manifest(start, store, settings.cache_dir),
        store=store,
        reporter=reporter,
        output_uri=start["output_uri"],
        workspace=Path(start["workspace"]),
        cache_dir=settings.cache_dir,
        tracking=target,
        run_name=start["job_id"],
        tags={"heimdall.job_id": start["job_id"], "heimdall.attempt": str(start["attempt"])},
        resume_from=_checkpoint(start.get("resume_from")),
        checkpoint_seconds=settings.worker.checkpoint_seconds,
    )
    return pipeline.run()


def _load_manifest(start: dict[str, Any], store: ObjectStore, cache_dir: Path) -> Manifest:
    """The frozen manifest, from the cache if its checksum is right, else from the object store."""
    import hashlib

    inputs = start["inputs"]
    cached = cache_dir / "manifests" / f"{inputs['manifest_sha256']}.json"
    data = cached.read_bytes() if cached.is_file() else store.get_bytes(inputs["manifest_uri"])
    if hashlib.sha256(data).hexdigest() != inputs["manifest_sha256"]:
        cached.unlink(missing_ok=True)
        raise DataError(f"{inputs['manifest_uri']} has changed since it was frozen", code="object_changed")
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        part = cached.with_suffix(f".{start['job_id']}.part")
        part.write_bytes(data)
        part.replace(cached)
    return Manifest.from_dict(json.loads(data))


def _checkpoint(data: dict[str, Any] | None) -> Checkpoint | None:
    if data is None:
        return None
    stored = StoredObject(uri=data["uri"], sha256=data["sha256"], num_bytes=data["num_bytes"])
    return Checkpoint(object=stored, epoch=data["epoch"], step=data["step"], metrics=data["metrics"])


def _import(
    start: dict[str, Any], reporter: Reporter, store: ObjectStore, settings: Settings
) -> dict[str, Any]:
    from heimdall_core.catalogue.importing import UploadedFile, import_files

    inputs = start["inputs"]
    files = [UploadedFile(name=f["name"], uri=f["uri"], num_bytes=f["num_bytes"]) for f in inputs["files"]]
    report = import_files(
        files,
        store=store,
        recordings_uri=f"s3://{settings.storage.raw_bucket}/recordings",
        reporter=reporter,
        settings=FeatureSettings(),
        receivers=inputs["options"].get("receivers"),
    )
    stored = store.put_bytes(
        join_uri(start["output_uri"], "import-report.json"),
        json.dumps(report.to_dict()).encode(),
        media_type="application/json",
    )
    return {"report_uri": stored.uri, "report_sha256": stored.sha256}


RUNNERS: dict[str, Runner] = {"train": _train, "import": _import}
