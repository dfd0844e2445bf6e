"""What a run's ``manifest.json`` says, read and judged before anything is trained."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from heimdall_core.domain.errors import DataError, InvalidRequest
from heimdall_core.domain.ports import StoredObject
from heimdall_core.domain.spec import TrainJobSpec, train_spec_from_dict

SCHEMAS = (1, 2)
BEST_WEIGHTS = "best.ckpt"
_PRECISIONS = ("fp32", "bf16", "fp16")
_SPEC: TypeAdapter[TrainJobSpec] = TypeAdapter(TrainJobSpec)
_HINT = "Take it anew from the store, or from the job: heimdall jobs download JOB manifest.json."


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A training as its manifest describes it."""

    run_name: str
    spec: TrainJobSpec
    dataset: Mapping[str, Any]
    """``name``, ``version``, ``digest``, and ``manifest``: where the frozen dataset manifest lies."""
    init_weights: StoredObject | None
    device: Mapping[str, Any] | None
    """What it was trained on; None: schema 1 may not say."""
    num_threads: int | None
    num_steps: int | None
    """Optimizer steps when it ended, by whatever cause; None: the manifest does not say."""
    weights_sha256: str | None
    """Of ``digest_weights``; None: of schema 1, whose ``best.ckpt`` must be there to compare with."""
    weights_file: StoredObject | None
    metrics: Mapping[str, Any]
    content: Mapping[str, Any]
    """All that the manifest says."""

    @property
    def dataset_object(self) -> StoredObject | None:
        """The frozen dataset manifest; None: this manifest does not name it."""
        return _stored(self.dataset.get("manifest"))


def read_record(data: bytes, name: str) -> RunRecord:
    """The training that a ``manifest.json`` describes.

    Raises:
        DataError: the text is damaged, or of a schema that this version cannot read.
        InvalidRequest: it is of an export, which trained nothing, or no run's manifest at all.
    """
    content = _parse(data, name)
    if "sessions" in content:
        raise InvalidRequest(
            f"{name} is the manifest of a dataset, not of a run",
            code="not_a_run_manifest",
            hint="Give the manifest.json of a job, and the dataset's with --dataset.",
        )
    if content.get("schema") not in SCHEMAS:
        raise DataError(
            f"{name} has the schema {content.get('schema')!r}, and this version reads {SCHEMAS}",
            code="run_manifest_schema",
            hint="Replay it with the version of heimdall-training that wrote it, or a newer one.",
        )
    _require_training(content, name)
    try:
        return _record(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(name, _told(error)) from error


def _parse(data: bytes, name: str) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except ValueError as error:
        raise _damaged(name, str(error)) from error
    if not isinstance(content, dict):
        raise _damaged(name, "no JSON object")
    return content


def _require_training(content: Mapping[str, Any], name: str) -> None:
    if content.get("kind", "train") == "train":
        return
    source = content.get("train_job_id")
    raise InvalidRequest(
        f"{name} is of an {content['kind']} job, which trained nothing",
        code="not_a_training",
        hint=f"Replay the training whose weights it exported: heimdall replay {source or 'JOB'}.",
    )


def _record(content: dict[str, Any]) -> RunRecord:
    dataset, host = content["dataset"], content["host"]
    if not isinstance(dataset["digest"], str):
        raise TypeError("dataset.digest is no text")
    return RunRecord(
        run_name=str(content["run_name"]),
        spec=_spec(content["spec"]),
        dataset=dataset,
        init_weights=_stored(content["init_from"]),
        device=_device(content.get("device")),
        num_threads=_count(host, "torch_threads"),
        num_steps=_count(content.get("trained") or {}, "steps"),
        weights_sha256=(content.get("weights") or {}).get("sha256"),
        weights_file=_stored(content["artifacts"].get(BEST_WEIGHTS)),
        metrics=content.get("metrics") or {},
        content=content,
    )


def _spec(data: Mapping[str, Any]) -> TrainJobSpec:
    """Validated: a manifest is a file that anybody may have edited."""
    _SPEC.validate_python({k: v for k, v in data.items() if k != "not_before"})
    return train_spec_from_dict(data)


def _device(data: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if data is None:
        return None
    if not isinstance(data["accelerator"], str):
        raise TypeError("device.accelerator is no text")
    if data["precision"] not in _PRECISIONS:
        raise ValueError(f"device.precision is {data['precision']!r}, none of {', '.join(_PRECISIONS)}")
    _count(data, "devices")
    return data


def _count(data: Mapping[str, Any], name: str) -> int | None:
    value = data.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}")
    return value


def _stored(data: Mapping[str, Any] | None) -> StoredObject | None:
    if data is None:
        return None
    uri, sha256 = data["uri"], data["sha256"]
    if not (isinstance(uri, str) and isinstance(sha256, str)):
        raise TypeError("uri and sha256 of an object must be text")
    return StoredObject(uri=uri, sha256=sha256, num_bytes=int(data.get("bytes") or 0))


def _told(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False)[0]
        return f"spec.{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"no member {error}" if isinstance(error, KeyError) else str(error)


def _damaged(name: str, reason: str) -> DataError:
    return DataError(f"{name} is no manifest of a run: {reason}", code="bad_run_manifest", hint=_HINT)
