"""What a spec may not ask for: names that no path can hold, contradictions, and what is not built yet."""

import re
from collections.abc import Iterator, Sequence

from heimdall_core.domain.errors import FieldProblem, InvalidRequest, NotSupportedYet
from heimdall_core.domain.spec import LAST_TRACED_OPSET, ExportJobSpec, ExportOutput, JobSpec, TrainJobSpec

BACKBONES_WITHOUT_WEIGHTS = frozenset({"micro"})
"""Nobody has published weights of these."""

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def refuse_unsupported(spec: JobSpec) -> None:
    """Refuses what cannot be, then what is not built.

    Raises:
        InvalidRequest: fields contradict one another; every one is named.
        NotSupportedYet: fields ask for what is not built; every one is named.
    """
    _refuse_contradictions(spec)
    problems = tuple(FieldProblem(pointer=p, detail=d) for p, d in _unsupported(spec))
    if problems:
        raise NotSupportedYet(
            "this version does not support " + ", ".join(p.pointer for p in problems), problems=problems
        )


def _refuse_contradictions(spec: JobSpec) -> None:
    problems = tuple(FieldProblem(pointer=p, detail=d) for p, d in _contradictions(spec))
    if problems:
        raise InvalidRequest(
            "the request contradicts itself: " + "; ".join(f"{p.pointer}: {p.detail}" for p in problems),
            hint="Change one of the fields that do not go together.",
            problems=problems,
        )


def refuse_bad_name(spec: JobSpec) -> None:
    """Raises InvalidRequest unless the model's name can stand in a path of the API."""
    if isinstance(spec, TrainJobSpec) and not NAME_PATTERN.fullmatch(spec.model.name):
        detail = "use letters, digits, '.', '_' and '-', beginning with a letter or digit"
        problem = FieldProblem(pointer="/model/name", detail=detail)
        raise InvalidRequest(f"{spec.model.name!r} is no name for a model", problems=(problem,))


def refuse_naive_time(spec: JobSpec) -> None:
    """Raises InvalidRequest unless ``not_before`` says its offset from UTC."""
    if spec.not_before is not None and spec.not_before.utcoffset() is None:
        detail = "state the offset from UTC, as in 2026-01-31T12:00:00Z"
        problem = FieldProblem(pointer="/not_before", detail=detail)
        raise InvalidRequest("not_before has no time zone", problems=(problem,))


def refuse_bad_start(spec: JobSpec) -> None:
    """Raises InvalidRequest naming every field that contradicts where the weights are to come from."""
    problems = tuple(FieldProblem(pointer=p, detail=d) for p, d in _bad_start(spec))
    if problems:
        raise InvalidRequest(
            "the weights cannot start so: " + "; ".join(f"{p.pointer}: {p.detail}" for p in problems),
            problems=problems,
            code="bad_start",
        )


def _bad_start(spec: JobSpec) -> Iterator[tuple[str, str]]:
    if not isinstance(spec, TrainJobSpec):
        return
    model, starts_from_model = spec.model, spec.init_from is not None
    if model.pretrained and starts_from_model:
        yield "/model/pretrained", "the weights come from init_from: use false, or leave init_from null"
    elif model.pretrained and model.backbone in BACKBONES_WITHOUT_WEIGHTS:
        yield "/model/pretrained", f"no weights are published for {model.backbone}: use false"
    if model.freeze_backbone and not (model.pretrained or starts_from_model):
        detail = "random weights are not worth keeping: set pretrained or init_from too, or use false"
        yield "/model/freeze_backbone", detail


def _contradictions(spec: JobSpec) -> Iterator[tuple[str, str]]:
    if isinstance(spec, TrainJobSpec):
        if spec.training.precision == "fp16" and spec.resources.accelerator == "cpu":
            yield "/training/precision", "fp16 needs a GPU: use auto, bf16 or fp32"
        if spec.training.radio_map is not None and not spec.training.augment:
            yield "/training/radio_map", "the map is augmentation: set training.augment true, or use null"
        is_fused = spec.training.radio_map is not None and spec.training.radio_map.fuse
        if is_fused and spec.model.components > 1:
            yield "/training/radio_map/fuse", "a mixture is not fused: use false, or model.components 1"
        if spec.model.point_estimate == "median" and spec.model.components == 1 and not is_fused:
            detail = "that of one Gaussian is its mean: use mean, components above 1, or radio_map.fuse"
            yield "/model/point_estimate", detail
        if spec.register.enabled and not spec.export.enabled:
            yield "/register/enabled", "only an exported model can be registered: set false, or export"
    for pointer, outputs in _outputs_of(spec):
        for index, output in enumerate(outputs):
            if output in outputs[:index]:
                yield f"{pointer}/{index}", "the same output is asked for before: leave it out"


def _unsupported(spec: JobSpec) -> Iterator[tuple[str, str]]:
    if isinstance(spec, TrainJobSpec) and spec.resources.num_nodes != 1:
        yield "/resources/num_nodes", "use 1"
    for pointer, outputs in _outputs_of(spec):
        for index, output in enumerate(outputs):
            if output.opset > LAST_TRACED_OPSET and (output.precision == "int8" or output.include_frontend):
                what = "int8" if output.precision == "int8" else "include_frontend"
                yield f"{pointer}/{index}/opset", f"{what} goes up to opset {LAST_TRACED_OPSET}: use 18"


def _outputs_of(spec: JobSpec) -> Iterator[tuple[str, Sequence[ExportOutput]]]:
    if isinstance(spec, TrainJobSpec):
        yield "/export/outputs", spec.export.outputs
    if isinstance(spec, ExportJobSpec):
        yield "/outputs", spec.outputs
