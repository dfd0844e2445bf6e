"""What an ONNX file says about itself: enough to use it without this program."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.manifest import FeatureSettings, ManifestReceiver
from heimdall_core.domain.spec import PointEstimate
from heimdall_core.features.rows import NUM_ROWS

if TYPE_CHECKING:
    import onnx

    from heimdall_core.networks import LocalizationNet

Precision = Literal["fp32", "fp16", "int8"]
NUM_FRAMES = 32

METADATA_SCHEMA = 1
_PREFIX = "heimdall."
INPUT_NAME = "features"
INPUT_DESCRIPTION = (
    "(batch, receivers, 128, 32) float32: receivers in the order of heimdall.receivers, "
    "rows made with heimdall.features"
)
IQ_NAME, FLOOR_NAME, PRESENCE_NAME = "iq", "noise_floor_dbfs", "presence"
IQ_INPUTS: dict[str, str] = {
    IQ_NAME: "(batch, receivers, 2, samples) float32: real and imaginary parts relative to full "
    "scale, receivers in the order of heimdall.receivers, (num_frames - 1) * hop + n_fft samples at "
    "heimdall.features' sample_rate_hz; not normalised, no gain taken out; zeros for an absent receiver",
    FLOOR_NAME: "(batch, receivers) float32: mean noise power within channel_bandwidth_hz, dBFS; NaN where "
    "it is not known: it is then estimated beside the channel",
    PRESENCE_NAME: "(batch, receivers) float32: 1, or 0 for a receiver that has no recording",
}
"""What a graph with the front end inside takes; receivers stand where heimdall.receivers says."""
ROWS: dict[str, str] = {
    "0-119": "band power over the noise of a bin, from the most negative frequency up: dB / 20, in [-1, 4]",
    "120": "power in the channel over its noise floor: dB / 20",
    "121": "power in the channel: dBFS / 50",
    "122": "noise floor in the channel: dBFS / 50",
    "123": "presence: 1, or a plane of zeros for an absent receiver",
    "124": "carrier offset: kHz / 5",
    "125": "receiver east of the origin: 100 km",
    "126": "receiver north of the origin: 100 km",
    "127": "altitude of the receiver: km",
}
"""What each row of a receiver's plane holds, and its scale; rows 120-127 are constant over the frames."""
OUTPUT_UNITS: dict[str, str] = {
    "positions": "(batch, 2) latitude, longitude in degrees, WGS-84",
    "uncertainties": "(batch, 2) standard deviation east, north in metres",
    "correlation": "(batch, 1) correlation of the east and north errors, in (-1, 1)",
    "component_weights": "(batch, components) share of each component, a row sums to 1",
    "component_positions": "(batch, components, 2) latitude, longitude in degrees, WGS-84",
    "component_uncertainties": "(batch, components, 2) standard deviation east, north in metres",
    "component_correlations": "(batch, components) correlation of the east and north errors, in (-1, 1)",
}
"""Of a mixture of Gaussians the first three are its ``point_estimate`` and the covariance about it; the rest
are its components."""
_GAUSSIAN, _MIXTURE = tuple(OUTPUT_UNITS)[:3], tuple(OUTPUT_UNITS)


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph: float32, a free batch before ``shape``."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a graph promises to take and to give."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def takes_iq(self) -> bool:
        """Whether the front end is inside."""
        return self.inputs[0].name == IQ_NAME


def contract_of(net: "LocalizationNet", front_end: FeatureSettings | None = None) -> Contract:
    """That of the network's graph; with ``front_end`` of the one that begins with IQ."""
    inputs: tuple[Port, ...] = (Port(INPUT_NAME, (net.num_receivers, NUM_ROWS, NUM_FRAMES)),)
    if front_end is not None:
        inputs = (
            Port(IQ_NAME, (net.num_receivers, 2, front_end.segment_samples)),
            Port(FLOOR_NAME, (net.num_receivers,)),
            Port(PRESENCE_NAME, (net.num_receivers,)),
        )
    return Contract(inputs=inputs, outputs=_output_ports(net))


def _output_ports(net: "LocalizationNet") -> tuple[Port, ...]:
    shapes: dict[str, tuple[int, ...]] = {
        "positions": (2,),
        "uncertainties": (2,),
        "correlation": (1,),
        "component_weights": (net.components,),
        "component_positions": (net.components, 2),
        "component_uncertainties": (net.components, 2),
        "component_correlations": (net.components,),
    }
    return tuple(Port(name, shapes[name]) for name in output_names(net))


def output_names(net: "LocalizationNet") -> tuple[str, ...]:
    """The names of the graph's outputs, in order."""
    if net.components > 1:
        return _MIXTURE
    return _GAUSSIAN if net.covariance == "full" else _GAUSSIAN[:2]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the network was trained on and as."""

    name: str
    run_name: str
    receivers: tuple[ManifestReceiver, ...]
    origin: tuple[float, float]
    """Latitude, longitude of the local plane's origin, degrees."""
    plane_scale_km: float
    features: FeatureSettings
    dataset: str
    dataset_digest: str
    backbone: str
    covariance: str
    calibration_scale: float
    components: int = 1
    """Of the mixture that it predicts; 1: a Gaussian, and the file does not say so."""
    point_estimate: PointEstimate = "mean"
    """The position that the file gives; of the mean, it does not say so."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def to_properties(
        self, outputs: tuple[str, ...], *, precision: Precision = "fp32", takes_iq: bool = False
    ) -> dict[str, str]:
        """The file's properties: every value is JSON."""
        inputs = IQ_INPUTS if takes_iq else {INPUT_NAME: INPUT_DESCRIPTION}
        content = {
            "schema": METADATA_SCHEMA,
            **asdict(self),
            "precision": precision,
            "include_frontend": takes_iq,
            "inputs": inputs,
            "input": _in_a_line(inputs),
            "rows": ROWS,
            "outputs": {name: OUTPUT_UNITS[name] for name in outputs},
            "code_version": version("heimdall-training"),
        }
        if self.components == 1:
            del content["components"]
        if self.point_estimate == "mean":
            del content["point_estimate"]
        return {f"{_PREFIX}{key}": json.dumps(value, sort_keys=True) for key, value in content.items()}


def _in_a_line(inputs: Mapping[str, str]) -> str:
    if len(inputs) == 1:
        return next(iter(inputs.values()))
    return "; ".join(f"{name} {text}" for name, text in inputs.items())


def read_facts(properties: Mapping[str, str]) -> ModelFacts:
    """Reads what ``to_properties`` wrote, from onnx or from onnxruntime's ``custom_metadata_map``.

    Raises:
        DataError: the model was not written by this program, or by a version that this one cannot read.
    """
    found = metadata_of(properties)
    if found.get("schema") != METADATA_SCHEMA:
        raise DataError(
            f"the model's metadata has schema {found.get('schema')!r}, not {METADATA_SCHEMA}",
            code="model_metadata",
            hint="Use a model that Heimdall exported.",
        )
    return ModelFacts(
        name=found["name"],
        run_name=found["run_name"],
        receivers=tuple(ManifestReceiver(**r) for r in found["receivers"]),
        origin=(found["origin"][0], found["origin"][1]),
        plane_scale_km=found["plane_scale_km"],
        features=FeatureSettings(**found["features"]),
        dataset=found["dataset"],
        dataset_digest=found["dataset_digest"],
        backbone=found["backbone"],
        covariance=found["covariance"],
        calibration_scale=found["calibration_scale"],
        components=found.get("components", 1),
        point_estimate=found.get("point_estimate", "mean"),
        metrics=found["metrics"],
        tags=found["tags"],
    )


def metadata_of(properties: Mapping[str, str]) -> dict[str, Any]:
    """Our properties among others, decoded."""
    return {
        key.removeprefix(_PREFIX): json.loads(value)
        for key, value in properties.items()
        if key.startswith(_PREFIX)
    }


def put_properties(model: "onnx.ModelProto", properties: Mapping[str, str]) -> None:
    """Puts properties into a model; those of the same name are replaced."""
    import onnx

    kept = {p.key: p.value for p in model.metadata_props} | dict(properties)
    onnx.helper.set_model_props(model, dict(sorted(kept.items())))
    model.producer_name = "heimdall-training"
    model.producer_version = version("heimdall-training")
