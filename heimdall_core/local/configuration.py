"""The specification of a local run: defaults, a file, flags; checked as the service checks a job."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from heimdall_core.domain.errors import FieldProblem, InvalidRequest, NotSupportedYet
from heimdall_core.domain.job import Priority
from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.spec import (
    LimitsSpec,
    ModelSpec,
    RegisterSpec,
    ResourcesSpec,
    TrainingSpec,
    TrainJobSpec,
)
from heimdall_core.jobs.support import refuse_unsupported
from heimdall_core.local.arguments import UsageError

_FLAGS = {
    "epochs": "training",
    "batch_size": "training",
    "learning_rate": "training",
    "seed": "training",
    "num_workers": "training",
    "backbone": "model",
    "pretrained": "model",
    "freeze_backbone": "model",
    "accelerator": "resources",
    "devices": "resources",
}
"""Which member of a job a flag sets."""

_UNKNOWN = {"unexpected_keyword_argument", "extra_forbidden"}
_SPEC = TypeAdapter(TrainJobSpec)


def load_training_config(
    arguments: argparse.Namespace, manifest: Manifest, *, network: Mapping[str, Any] | None = None
) -> TrainJobSpec:
    """The job's specification: the file's, overridden by the flags.

    Args:
        arguments: of ``parse_arguments``.
        manifest: the dataset of the run.
        network: members of ``model`` that a checkpoint decides, unless file or flags state them.

    Raises:
        InvalidRequest: the file is no JSON object, has a member that no job has or a value out of bounds,
            or asks for what a run without the service cannot do.
        UsageError: the same of a flag.
    """
    data = {} if arguments.config is None else read_object(arguments.config)
    flags = _given_flags(arguments)
    for part in ("training", "model", "resources"):
        data[part] = _object(data, part) | flags[part]
    data["model"] = {**(network or {}), **data["model"]}
    _refuse_registration(data.get("register"))
    _refuse_other_dataset(data.pop("dataset", None), manifest)
    dataset = {"name": manifest.name, "version": manifest.version}
    try:
        spec = _SPEC.validate_python({"kind": "train", **data, "dataset": dataset})
    except ValidationError as error:
        raise _translated(error, flags) from error
    _refuse_unsupported(spec)
    _refuse_impossible(spec, arguments)
    return spec


def read_object(path: Path) -> dict[str, Any]:
    """A file's JSON object.

    Raises:
        InvalidRequest: there is none.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{path}: {error}", code="bad_json", hint="Give a JSON file.") from error
    if not isinstance(content, dict):
        raise InvalidRequest(
            f"{path} holds no JSON object", code="bad_json", hint="Begin it with { and end it with }."
        )
    return content


def _given_flags(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    given: dict[str, dict[str, Any]] = {part: {} for part in _FLAGS.values()}
    for name, part in _FLAGS.items():
        if (value := getattr(arguments, name)) is not None:
            given[part][name] = value
    return given


def _object(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name, {})
    if not isinstance(value, Mapping):
        raise _invalid(name, "must be an object", "write it as {...}")
    return dict(value)


def _refuse_registration(stated: Any) -> None:
    if isinstance(stated, Mapping) and stated.get("enabled"):
        raise _invalid("register.enabled", "a run without the service registers nothing", "set it to false")


def _refuse_unsupported(spec: TrainJobSpec) -> None:
    """What only the service knows, and what nothing builds yet."""
    for name, default in (("limits", LimitsSpec()), ("priority", Priority.NORMAL)):
        if getattr(spec, name) != default:
            raise _invalid(name, "means nothing without the service", "leave it out, or submit a job")
    if spec.init_from is not None:
        remedy = "give --init-from a best.ckpt, or submit a job"
        raise _invalid("init_from", "names a model of a service", remedy)
    resources = replace(spec.resources, num_nodes=1)
    model = ModelSpec(  # pretrained and freeze_backbone are judged with the weights to start from
        covariance=spec.model.covariance,
        components=spec.model.components,
        point_estimate=spec.model.point_estimate,
    )
    judged = replace(spec, model=model, resources=resources, register=RegisterSpec(enabled=False))
    try:
        refuse_unsupported(judged)
    except NotSupportedYet as error:
        remedies = "; ".join(f"{problem.pointer}: {problem.detail}" for problem in error.problems)
        raise InvalidRequest(
            error.message, problems=error.problems, code=error.stable_code, hint=remedies
        ) from error


def _refuse_other_dataset(stated: Any, manifest: Manifest) -> None:
    if stated is None:
        return
    found = stated if isinstance(stated, Mapping) else {"name": stated}
    if found.get("name") != manifest.name or found.get("version") not in {None, manifest.version}:
        detail = f"the recordings of this run are {manifest.name} version {manifest.version}"
        raise _invalid("dataset", detail, "leave it out, or give the manifest of that dataset")


def _refuse_impossible(spec: TrainJobSpec, arguments: argparse.Namespace) -> None:
    if spec.resources.num_nodes != 1:
        detail = f"{spec.resources.num_nodes}: a run trains on one host"
        raise _invalid("resources.num_nodes", detail, "use 1, and devices for several GPUs of this host")
    if spec.model.pretrained and arguments.init_from is not None:
        detail, remedy = "the weights come from --init-from", "set it to false, or leave out --init-from"
        raise _invalid("model.pretrained", detail, remedy)
    has_weights = spec.model.pretrained or arguments.resume_training or arguments.init_from is not None
    if spec.model.freeze_backbone and not has_weights:
        detail = "a frozen backbone of random weights learns nothing"
        remedy = "add --pretrained or --init-from, or leave it out"
        raise _usage("freeze_backbone", "model", detail, remedy, stated=arguments.freeze_backbone)


def _usage(name: str, part: str, detail: str, remedy: str, *, stated: object) -> InvalidRequest:
    flag = f"--{name.replace('_', '-')}"
    return (
        UsageError(f"{flag}: {detail}", hint=remedy) if stated else _invalid(f"{part}.{name}", detail, remedy)
    )


def _translated(error: ValidationError, flags: Mapping[str, Mapping[str, Any]]) -> InvalidRequest:
    """The first problem as the message; all of them as fields."""
    found = [(detail["loc"], detail) for detail in error.errors(include_url=False, include_context=False)]
    lines = [_line(loc, detail, flags) for loc, detail in found]
    problems = tuple(
        FieldProblem(pointer="/" + "/".join(map(str, loc)), detail=line)
        for (loc, _), line in zip(found, lines, strict=True)
    )
    unknown = any(detail["type"] in _UNKNOWN for _, detail in found)
    from_flag = all(_flag_of(loc, flags) for loc, _ in found)
    kind = UsageError if from_flag else InvalidRequest
    return kind(
        "; ".join(lines),
        problems=problems,
        code="unknown_field" if unknown else "usage" if from_flag else "invalid_config",
        hint=_known_members(found[0][0]) if unknown else "Give a value of that kind within the bounds.",
    )


def _line(
    loc: tuple[int | str, ...], detail: Mapping[str, Any], flags: Mapping[str, Mapping[str, Any]]
) -> str:
    name = ".".join(map(str, loc))
    if detail["type"] in _UNKNOWN:
        return f"a job has no {name}"
    message = str(detail["msg"]).replace("Input should", "should").removeprefix("Value error, ")
    return f"{_flag_of(loc, flags) or name}: {detail['input']!r:.60} {message}"


def _flag_of(loc: tuple[int | str, ...], flags: Mapping[str, Mapping[str, Any]]) -> str | None:
    part, name = (*map(str, loc), "", "")[:2]
    return f"--{name.replace('_', '-')}" if name in flags.get(part, {}) else None


def _known_members(loc: tuple[int | str, ...]) -> str:
    kinds = {"training": TrainingSpec, "model": ModelSpec, "resources": ResourcesSpec}
    kind = kinds.get(str(loc[0]), TrainJobSpec) if len(loc) > 1 else TrainJobSpec
    return f"Known: {', '.join(f.name for f in fields(kind))}."


def _invalid(name: str, detail: str, remedy: str) -> InvalidRequest:
    problem = FieldProblem(pointer="/" + name.replace(".", "/"), detail=f"{detail}; {remedy}")
    return InvalidRequest(f"{name}: {detail}", problems=(problem,), hint=remedy, code="invalid_config")
