"""The front end as a graph of its own, and in front of a network's: IQ in, position out.

ONNX has no complex numbers, and few runtimes have its Fourier transforms. So IQ comes as two real channels,
and the windowed Fourier transform is a convolution whose kernels are its rows.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import compose
from onnx.utils import Extractor
from torch import Tensor, nn
from torch.nn import functional

from heimdall_core.domain.manifest import FeatureSettings, ManifestReceiver
from heimdall_core.export.errors import ExportError
from heimdall_core.export.metadata import FLOOR_NAME, INPUT_NAME, IQ_NAME, PRESENCE_NAME, ModelFacts
from heimdall_core.export.sessions import open_model, run_session
from heimdall_core.features import SpectrogramFrontEnd, rows
from heimdall_core.features.assembly import assemble, receiver_positions

Array = NDArray[np.float32]
TOLERANCE = 1e-5
"""Largest mean difference of the features beyond their rounding, in the units of their rows."""
_ROUNDINGS = 4.0
"""So many times what float32 costs Python's front end itself counts as none. Decibels magnify it: of a
carrier 80 dB over the noise, the bins beside it are known to 3 digits."""
_PREFIX = "front_end/"
_PRESENT = 0.5
_SHARE_PRESENT, _SHARE_STATED = 0.8, 0.5
_IQ_INPUTS = [IQ_NAME, FLOOR_NAME, PRESENCE_NAME]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEndParity:
    """How far the graph's features and those of Python's front end are apart, in the units of their rows."""

    mean_difference: float
    max_difference: float
    mean_rounding: float
    """How far Python's own are from those in double precision."""
    mean_excess: float
    """What of the graph's difference from double precision, recording by recording, exceeds rounding."""
    num_samples: int
    tolerance: float = TOLERANCE
    """Of ``mean_excess``."""

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return asdict(self)


class IqToFeatures(nn.Module):
    """IQ of all receivers to the network's input, in real arithmetic alone.

    Args:
        settings: of the features.
        positions_R3: as rows 125-127 hold them.
    """

    kernels: Tensor
    positions: Tensor

    def __init__(self, settings: FeatureSettings, positions_R3: Array) -> None:
        super().__init__()
        self.front_end = SpectrogramFrontEnd(settings)
        self.settings = settings
        self.register_buffer("kernels", _fourier_kernels(self.front_end.window))
        self.register_buffer("positions", torch.from_numpy(positions_R3)[..., None])

    def forward(self, iq: Tensor, noise_floor_dbfs: Tensor, presence: Tensor) -> Tensor:
        """(B, R, 2, samples), (B, R) dBFS or NaN, (B, R) 0 or 1 -> (B, R, 128, frames)."""
        num_receivers = len(self.positions)
        power_MTN = self.power(iq.reshape(-1, 2, self.settings.segment_samples))
        rows_M = self.front_end.read(power_MTN, noise_floor_dbfs.reshape(-1))
        planes = rows_M.reshape(-1, num_receivers, rows.NUM_ROWS, self.settings.num_frames)
        upper = planes[:, :, : rows.POSITION_ROWS.start]
        places = self.positions.expand(-1, -1, self.settings.num_frames) + torch.zeros_like(planes[:, :, :3])
        is_there = (presence > _PRESENT)[..., None, None]
        return torch.where(is_there, torch.cat([upper, places], dim=2), 0.0)

    def power(self, parts_M2S: Tensor) -> Tensor:
        """As ``features.spectrogram.power_spectrogram``: (M, frames, n_fft)."""
        n_fft = self.settings.n_fft
        spectrum = functional.conv1d(parts_M2S, self.kernels, stride=self.settings.hop)
        power = spectrum[:, :n_fft].square() + spectrum[:, n_fft:].square()
        return power.transpose(1, 2)


def _fourier_kernels(window: Tensor) -> Tensor:
    """(2 n_fft, 2, n_fft): real, then imaginary parts of the windowed transform of two real channels.

    Scaled so that the squares add up to powers relative to full scale.
    """
    n_fft = len(window)
    turns = torch.outer(torch.arange(n_fft), torch.arange(n_fft)) % n_fft
    angle = turns.double() * (2.0 * math.pi / n_fft)
    taper = window.double() / (n_fft * window.double().square().sum()).sqrt()
    cosine, sine = angle.cos() * taper, angle.sin() * taper
    real, imaginary = torch.stack([cosine, sine], dim=1), torch.stack([-sine, cosine], dim=1)
    return torch.cat([real, imaginary]).float()


def write_front_end(
    path: Path,
    settings: FeatureSettings,
    receivers: Sequence[ManifestReceiver],
    origin: tuple[float, float],
    *,
    opset: int,
) -> None:
    """Writes the graph from IQ to features, for receivers where they stand."""
    module = IqToFeatures(settings, receiver_positions(receivers, origin)).eval()
    shape = (2, len(receivers))
    example = (torch.zeros(*shape, 2, settings.segment_samples), torch.zeros(shape), torch.ones(shape))
    names = [*_IQ_INPUTS, INPUT_NAME]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            example,
            str(path),
            input_names=names[:-1],
            output_names=names[-1:],
            dynamic_axes={name: {0: "batch"} for name in names},
            opset_version=opset,
            dynamo=False,
        )


def join(front_end: onnx.ModelProto, network: onnx.ModelProto) -> onnx.ModelProto:
    """One graph: what the front end gives goes into the network."""
    prefixed = compose.add_prefix(front_end, _PREFIX, rename_inputs=False, rename_outputs=False)
    for model in (prefixed, network):
        model.ir_version = max(front_end.ir_version, network.ir_version)
    for model in (prefixed, network):
        del model.metadata_props[:]
    return compose.merge_models(prefixed, network, io_map=[(INPUT_NAME, INPUT_NAME)])


def features_of(
    feeds: Mapping[str, Array],
    settings: FeatureSettings,
    receivers: Sequence[ManifestReceiver],
    origin: tuple[float, float],
    *,
    dtype: torch.dtype = torch.float32,
) -> Array:
    """What Python's front end makes of a graph's inputs: (B, R, 128, frames)."""
    parts = feeds[IQ_NAME]
    segment_M, receiver_M = np.nonzero(feeds[PRESENCE_NAME] > _PRESENT)
    positions_R3 = receiver_positions(receivers, origin)
    rows_M = np.zeros((0, rows.NUM_ROWS, settings.num_frames), np.float32)
    if len(segment_M):
        parts_M = torch.from_numpy(np.ascontiguousarray(parts[segment_M, receiver_M])).to(dtype)
        floors_M = torch.from_numpy(np.ascontiguousarray(feeds[FLOOR_NAME][segment_M, receiver_M])).to(dtype)
        front_end = SpectrogramFrontEnd(settings).to(dtype).eval()
        with torch.inference_mode():
            rows_M = front_end(torch.complex(parts_M[:, 0], parts_M[:, 1]), floors_M).float().numpy()
    return assemble(rows_M, segment_M, receiver_M, positions_R3, len(parts))


def measure_front_end(
    model: onnx.ModelProto, feeds: Mapping[str, Array], facts: ModelFacts
) -> FrontEndParity:
    """Compares the front end inside a graph with Python's.

    Raises:
        ExportError: the mean difference exceeds rounding and tolerance, or is not a number.
    """
    part = Extractor(model).extract_model(_IQ_INPUTS, [INPUT_NAME])
    (actual,) = run_session(open_model(part), feeds)
    about = (facts.features, facts.receivers, facts.origin)
    expected, exact = features_of(feeds, *about), features_of(feeds, *about, dtype=torch.float64)
    if actual.shape != expected.shape:
        raise ExportError(f"the front end's features are {actual.shape}", code="export_front_end")
    parity = _parity_of(actual, expected, exact)
    if not parity.mean_excess < TOLERANCE:
        raise ExportError(
            f"the front end in the graph and Python's differ by {parity.mean_difference:.2e} on average, "
            f"{parity.max_difference:.2e} at most, {parity.mean_excess:.2e} of it beyond rounding; "
            f"{TOLERANCE:.0e} is allowed",
            code="export_front_end",
            hint="The model was not published. Please report this with the job's manifest.",
        )
    return parity


def _parity_of(actual: Array, expected: Array, exact: Array) -> FrontEndParity:
    difference = np.abs(actual.astype(float) - expected)
    error_BR = np.abs(actual.astype(float) - exact).mean(axis=(2, 3))
    rounding_BR = np.abs(expected.astype(float) - exact).mean(axis=(2, 3))
    return FrontEndParity(
        mean_difference=float(difference.mean()),
        max_difference=float(difference.max()),
        mean_rounding=float(rounding_BR.mean()),
        mean_excess=float(np.maximum(error_BR - _ROUNDINGS * rounding_BR, 0.0).mean()),
        num_samples=len(actual),
    )


def random_iq(like: Mapping[str, Array], num_samples: int, seed: int = 0) -> dict[str, Array]:
    """Noise and tones of many levels; floors stated and not, receivers absent at random."""
    rng = np.random.default_rng(seed)
    _, num_receivers, _, length = like[IQ_NAME].shape
    shape = (num_samples, num_receivers)
    noise_dbfs, tone_dbfs = rng.uniform(-90.0, -40.0, shape), rng.uniform(-90.0, -10.0, shape)
    turns = rng.uniform(-0.4, 0.4, shape)[..., None] * np.arange(length)
    tone = np.exp(2j * np.pi * turns) * 10.0 ** (tone_dbfs / 20.0)[..., None]
    noise = rng.normal(size=(*shape, 2, length)) * 10.0 ** (noise_dbfs / 20.0)[..., None, None]
    parts = noise + np.stack([tone.real, tone.imag], axis=2)
    presence = (rng.random(shape) < _SHARE_PRESENT).astype(np.float32)
    floors = np.where(rng.random(shape) < _SHARE_STATED, noise_dbfs, np.nan)
    return {
        IQ_NAME: (parts * presence[..., None, None]).astype(np.float32),
        FLOOR_NAME: floors.astype(np.float32),
        PRESENCE_NAME: presence,
    }
