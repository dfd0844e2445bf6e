"""The job specification: one definition for the wire, the table and the trainer.

Plain dataclasses whose ``Annotated`` bounds pydantic enforces at the edges (``extra="forbid"``).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen

from heimdall_core.domain.job import Priority
from heimdall_core.domain.manifest import Split

_MAX_SECONDS = 2_000_000_000
Name = Annotated[str, MinLen(1), MaxLen(100)]
Id = Annotated[str, MinLen(1), MaxLen(64)]
PointEstimate = Literal["mean", "median"]
Backbone = Literal["micro", "atto", "femto", "pico", "nano", "tiny", "small", "base", "large"]
BACKBONES: tuple[Backbone, ...] = (
    "micro",
    "atto",
    "femto",
    "pico",
    "nano",
    "tiny",
    "small",
    "base",
    "large",
)

_UNITS = {"seconds": "s", "m": "m", "db": "dB", "gb": "GB"}


def title_of(name: str, _: object = None) -> str:
    """A field's name for people, its unit in brackets: ``level_noise_db`` is "Level noise (dB)"."""
    *words, last = name.replace("num_", "number_of_").split("_")
    text = " ".join([*words] if words and last in _UNITS else [*words, last])
    unit = f" ({_UNITS[last]})" if words and last in _UNITS else ""
    return text[:1].upper() + text[1:] + unit


STRICT = {"extra": "forbid", "use_attribute_docstrings": True, "field_title_generator": title_of}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRef:
    """A frozen dataset version."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    name: Name
    """Of the dataset."""
    version: Annotated[int, Ge(1)] | None = None
    """Default: the newest version at the time of the request, written into the accepted spec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """A registered model version."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    name: Name
    """Of the registered model."""
    version: Annotated[int, Ge(1)] | None = None
    """Default: the champion at the time of the request, else the newest; written into the accepted spec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The network, and the registered model it becomes a version of."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    name: Name = "localization"
    """Of the registered model that the network becomes the next version of; a new name makes a new model."""
    backbone: Backbone = "tiny"
    """Size of the network, smallest first: larger ones need more recordings, memory and time."""
    pretrained: bool = False
    """Start the backbone from published ImageNet weights; there are none of ``micro``."""
    freeze_backbone: bool = False
    """Keep the backbone as ``pretrained`` or ``init_from`` gave it; its first layer, the heads and the way of
    the levels train."""
    covariance: Literal["diagonal", "full"] = "diagonal"
    """Shape of the predicted uncertainty: an ellipse along east and north, or one turned as the data say."""
    components: Annotated[int, Ge(1), Le(16)] = 1
    """More than 1, with a full covariance: predict a mixture of so many Gaussians, where one cannot say that
    a transmitter stands either here or there. Position and uncertainty stay those of the whole."""
    point_estimate: PointEstimate = "mean"
    """The position that stands for a mixture, or for what is fused with a radio map: its mean, which has the
    smallest mean square error, or its geometric median, which has the smallest mean error. Of one Gaussian
    they are the same."""

    def __post_init__(self) -> None:
        if self.components > 1 and self.covariance != "full":
            raise ValueError('components above 1 need covariance "full": set it, or leave components at 1')


@dataclass(frozen=True, slots=True, kw_only=True)
class RadioMapSpec:
    """Items that move to places nearby, with the levels that a map of the training split has there."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    share: Annotated[float, Gt(0), Le(1)] = 0.75
    """Of the training items."""
    reach_m: Annotated[float, Gt(0), Le(1_000_000)]
    """How far they move, as a standard deviation along each axis: about the size of the gaps between the
    places that were measured."""
    fuse: bool = False
    """Multiply what the map makes of the levels into the network's answers, in the exported graph too, as
    far as the validation split gains by it. Of a single Gaussian alone: with ``components`` 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSpec:
    """Hyper-parameters."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    epochs: Annotated[int, Ge(1), Le(10_000)] = 100
    """Passes over the training split, at most."""
    batch_size: Annotated[int, Ge(1), Le(65_536)] = 32
    """Recording sessions in each step, over all devices."""
    learning_rate: Annotated[float, Gt(0), Le(1)] = 1e-3
    """Largest step of the optimizer; it rises over the warm-up and then falls to the end."""
    weight_decay: Annotated[float, Ge(0), Le(1)] = 1e-5
    """How strongly weights are drawn to zero (AdamW)."""
    warmup_epochs: Annotated[int, Ge(0)] = 1
    """Epochs over which the learning rate rises to its value."""
    early_stopping_patience: Annotated[int, Ge(1)] | None = 10
    """Epochs without a better ``val_loss`` after which training ends; null: never."""
    keep: Literal["best", "last"] = "best"
    """Whose weights become the model: those of the epoch with the least ``val_loss``, or those of the last
    epoch, where the validation split is too small to tell epochs apart."""
    gradient_clip: Annotated[float, Gt(0)] | None = 1.0
    """Largest L2 norm of the gradient; null: no clipping."""
    accumulate_grad_batches: Annotated[int, Ge(1)] = 1
    """Batches whose gradients make one step: a larger batch in the memory of a small one."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the arithmetic; ``auto``: 16 bit where the hardware is fast at it, else fp32."""
    seed: Annotated[int, Ge(0), Le(2**32 - 1)] = 0
    """Of the first weights, the order of the items and augmentation: the same seed trains the same again."""
    augment: bool = True
    """Vary the training items: gain, levels, noise, receivers left out or in another order."""
    level_noise_db: Annotated[float, Ge(0), Le(20)] = 0.5
    """Standard deviation of what augmentation adds to a recording's SNR, dB; more keeps a training on few
    positions from learning them by heart."""
    radio_map: RadioMapSpec | None = None
    """Fills the gaps of a dense measurement campaign; null: every item stays where it was measured."""
    num_workers: Annotated[int, Ge(0), Le(64)] = 0
    """Processes that prepare batches beside the training; 0: the training's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcesSpec:
    """What a host must offer to run the job."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """``auto``: a GPU where the worker has one."""
    devices: Annotated[int, Ge(1)] = 1
    """Accelerators of one host that train together."""
    num_nodes: Annotated[int, Ge(1)] = 1
    """Hosts; only 1 is supported."""
    min_memory_gb: Annotated[float, Gt(0), Le(10_000)] | None = None
    """Memory (10⁹ bytes) that the accelerator must have; the host, where there is none."""


LAST_TRACED_OPSET = 20
"""Beyond it torch writes graphs in another way, whose nodes do not say which part of the network they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOutput:
    """One ONNX file to make; it is published only once it is verified."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """Of the backbone; all else, inputs and outputs too, is fp32. ``int8`` is calibrated on the training
    split."""
    opset: Annotated[int, Ge(17), Le(23)] = 18
    """``int8`` and ``include_frontend``: up to 20."""
    constant_folding: bool = True
    """Compute what does not depend on the input once, when exporting."""
    include_frontend: bool = False
    """The file takes IQ, noise floors and presence in place of features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSpec:
    """Whether and how the trained network becomes ONNX."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    enabled: bool = True
    """Make ONNX files of the trained network."""
    outputs: Annotated[tuple[ExportOutput, ...], MinLen(1), MaxLen(8)] = (ExportOutput(),)
    """The first is the file that is served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterSpec:
    """Whether the exported model becomes a registered version, and its champion."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    enabled: bool = True
    """Make it the next version of its model."""
    promote: Literal["never", "if_better"] = "if_better"
    """``if_better``: it becomes the champion if the gate of ``:promote`` lets it and it is better, not just
    no worse; it waits for an evaluate job if the two were not measured on the same test sessions. A refusal
    does not fail the job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsSpec:
    """Bounds of a job's life."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    max_runtime_seconds: Annotated[int, Ge(1), Le(_MAX_SECONDS)] | None = None
    """Of all attempts together; then the training is checkpointed and the job fails as ``time_limit``."""
    max_pending_seconds: Annotated[int, Ge(1), Le(_MAX_SECONDS)] | None = None
    """Of one wait in the queue; then the job fails as ``expired``. Null: the service's own limit."""
    max_attempts: Annotated[int, Ge(1), Le(20)] = 3
    """Tries that may fail for reasons that pass; giving back at a worker's shutdown costs none."""


TagKey = Annotated[str, MinLen(1), MaxLen(63)]
TagValue = Annotated[str, MaxLen(255)]
Tags = Annotated[dict[TagKey, TagValue], MaxLen(32)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJobSpec:
    """A request to train a network on a dataset version, export and register it."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    kind: Literal["train"]
    dataset: DatasetRef
    model: ModelSpec = field(default_factory=ModelSpec)
    training: TrainingSpec = field(default_factory=TrainingSpec)
    resources: ResourcesSpec = field(default_factory=ResourcesSpec)
    export: ExportSpec = field(default_factory=ExportSpec)
    register: RegisterSpec = field(default_factory=RegisterSpec)
    limits: LimitsSpec = field(default_factory=LimitsSpec)
    init_from: ModelRef | None = None
    """The model version whose weights the training starts from; null: the seed's. Its backbone must be the
    same and its components as many, or one; its receivers, dataset and covariance may differ."""
    priority: Priority = Priority.NORMAL
    tags: Tags = field(default_factory=dict)
    """Words to find the job by."""
    not_before: datetime | None = None
    """When it may start at the earliest; null: at once."""
    on_duplicate: Literal["run", "return", "reject"] = "run"
    """What to do if a job of the same dataset content, specification and code runs, waits or has succeeded.
    ``run``: train again. ``return``: answer 200 with that job. ``reject``: answer 409 ``duplicate_job``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSource:
    """Whose weights to export: exactly one of the three."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    job_id: Id | None = None
    """A succeeded training: its best epoch."""
    checkpoint_id: Id | None = None
    """A durable checkpoint of a training, whatever became of the job."""
    model: ModelRef | None = None
    """A registered model version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJobSpec:
    """A request to evaluate, export and verify trained weights again, e.g. with another opset.

    Calibration and metrics are those of the dataset version that the weights were trained on.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    kind: Literal["export"]
    source: ExportSource
    outputs: Annotated[tuple[ExportOutput, ...], MinLen(1), MaxLen(8)] = (ExportOutput(),)
    """The first is the file that is served."""
    register: RegisterSpec = RegisterSpec(enabled=False)
    """Registering makes the next version of the model that the weights belong to; default: it does not."""
    limits: LimitsSpec = field(default_factory=LimitsSpec)
    priority: Priority = Priority.NORMAL
    tags: Tags = field(default_factory=dict)
    """Words to find the job by."""
    not_before: datetime | None = None
    """When it may start at the earliest; null: at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateJobSpec:
    """A request to evaluate a registered model version, as it is served, on a split of a dataset version."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    kind: Literal["evaluate"]
    model: ModelRef
    dataset: DatasetRef
    split: Split = "test"
    """Which part of the dataset version the figures are of."""
    limits: LimitsSpec = field(default_factory=LimitsSpec)
    priority: Priority = Priority.NORMAL
    tags: Tags = field(default_factory=dict)
    """Words to find the job by."""
    not_before: datetime | None = None
    """When it may start at the earliest; null: at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportJobSpec:
    """A request to read, validate and catalogue the files of a completed upload."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    kind: Literal["import"]
    upload_id: Id
    """A completed upload."""
    limits: LimitsSpec = field(default_factory=LimitsSpec)
    priority: Priority = Priority.NORMAL
    tags: Tags = field(default_factory=dict)
    """Words to find the job by."""
    not_before: datetime | None = None
    """When it may start at the earliest; null: at once."""


JobSpec = TrainJobSpec | ExportJobSpec | EvaluateJobSpec | ImportJobSpec


def spec_to_dict(spec: JobSpec) -> dict[str, object]:
    """The JSON form of an accepted spec, defaults filled in."""
    not_before = spec.not_before and spec.not_before.isoformat().replace("+00:00", "Z")
    return asdict(spec) | {"not_before": not_before}


def _sub(data: Mapping[str, object], key: str) -> dict[str, Any]:
    value = data.get(key) or {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{key} must be an object")
    return dict(value)


def _training(data: Mapping[str, Any]) -> TrainingSpec:
    radio_map = _sub(data, "radio_map")
    rest = {key: value for key, value in data.items() if key != "radio_map"}
    return TrainingSpec(radio_map=RadioMapSpec(**radio_map) if radio_map else None, **rest)


def _model_ref(value: object) -> ModelRef | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TypeError("init_from must be an object")
    return ModelRef(**value)


def train_spec_from_dict(data: Mapping[str, object]) -> TrainJobSpec:
    """Reads back what ``spec_to_dict`` wrote (already validated: no bounds are checked here)."""
    export = _sub(data, "export")
    outputs = export.pop("outputs", [{}])
    assert isinstance(outputs, list | tuple)
    return TrainJobSpec(
        kind="train",
        dataset=DatasetRef(**_sub(data, "dataset")),
        model=ModelSpec(**_sub(data, "model")),
        training=_training(_sub(data, "training")),
        resources=ResourcesSpec(**_sub(data, "resources")),
        export=ExportSpec(outputs=tuple(ExportOutput(**o) for o in outputs), **export),
        register=RegisterSpec(**_sub(data, "register")),
        limits=LimitsSpec(**_sub(data, "limits")),
        init_from=_model_ref(data.get("init_from")),
        priority=Priority(str(data.get("priority", "normal"))),
        tags=_sub(data, "tags"),
    )
