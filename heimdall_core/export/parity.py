"""Whether the exported graph says what the network says, and how fast it says it.

Differences are counted in network units: lengths on the local plane over ``plane_scale_km``, the length
that the network's heads count in, and the correlation as it is. Degrees are float32, whose step is 0.4 m at
45 degrees: a difference of one such step is the output format's own resolution and counts as none.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from heimdall_core.domain.errors import DataError
from heimdall_core.export.metadata import INPUT_NAME

if TYPE_CHECKING:
    from heimdall_core.networks import LocalizationNet

Array = NDArray[np.float32]
BATCH_SIZES = (1, 2, 7, 32)
TOLERANCE = 1e-5
_KM_PER_DEGREE = 111.2
_LATENCY_RUNS = 20


class ExportError(DataError):
    """The exported graph is invalid or disagrees with the network."""

    code = "export_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far ONNX Runtime and PyTorch are apart, over all samples and batch sizes."""

    mean_difference: float
    """Network units; the greatest of the outputs' means."""
    max_difference: float
    """Network units."""
    num_samples: int
    batch_sizes: tuple[int, ...]
    tolerance: float
    latency_ms: float
    """Median time of one session in ONNX Runtime, batch 1, one thread."""

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return asdict(self)


def open_session(path: Path, *, num_threads: int = 1) -> ort.InferenceSession:
    """An ONNX Runtime session on the CPU.

    Raises:
        ExportError: ONNX Runtime cannot load the file.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise ExportError(f"ONNX Runtime cannot load {path.name}: {error}", code="export_invalid") from error


def measure_parity(net: "LocalizationNet", path: Path, samples: Array) -> Parity:
    """Compares both on ``samples`` (N, R, 128, 32) in batches of 1, 2, 7 and 32.

    Raises:
        ExportError: the mean difference of an output exceeds the tolerance, or is not a number.
    """
    session = open_session(path)
    differences = [
        _differences(
            net,
            session,
            samples[:size] if len(samples) >= size else np.resize(samples, (size, *samples.shape[1:])),
        )
        for size in BATCH_SIZES
    ]
    means = [np.mean(np.concatenate(parts)) for parts in zip(*differences, strict=True)]
    parity = Parity(
        mean_difference=float(np.max(means)),
        max_difference=float(max(part.max() for parts in differences for part in parts)),
        num_samples=sum(BATCH_SIZES),
        batch_sizes=BATCH_SIZES,
        tolerance=TOLERANCE,
        latency_ms=_latency_ms(session, samples[:1]),
    )
    _require_agreement(parity)
    return parity


def _require_agreement(parity: Parity) -> None:
    if not parity.mean_difference < TOLERANCE:
        raise ExportError(
            f"ONNX Runtime and PyTorch differ by {parity.mean_difference:.2e} network units on average, "
            f"{parity.max_difference:.2e} at most; {TOLERANCE:.0e} is allowed",
            code="export_parity",
            hint="The model was not published. Please report this with the job's manifest.",
        )


@torch.no_grad()
def _differences(
    net: "LocalizationNet", session: ort.InferenceSession, batch: Array
) -> list[NDArray[np.float64]]:
    expected = [output.numpy() for output in net(torch.from_numpy(batch))]
    actual = session.run(None, {INPUT_NAME: batch})
    if [e.shape for e in expected] != [a.shape for a in actual]:
        raise ExportError(
            "the exported graph's outputs have other shapes than the network's", code="export_parity"
        )
    units = [_position_units, _length_units, _plain][: len(expected)]
    return [
        unit(e, a, net.plane_scale_km).ravel() for unit, e, a in zip(units, expected, actual, strict=True)
    ]


def _position_units(expected: Array, actual: Array, plane_scale_km: float) -> NDArray[np.float64]:
    step = np.spacing(np.abs(expected)).astype(float)
    degrees = np.maximum(np.abs(expected.astype(float) - actual) - step, 0.0)
    degrees[:, 1] *= np.cos(np.radians(expected[:, 0].astype(float)))
    return degrees * _KM_PER_DEGREE / plane_scale_km


def _length_units(expected: Array, actual: Array, plane_scale_km: float) -> NDArray[np.float64]:
    return np.abs(expected.astype(float) - actual) / 1e3 / plane_scale_km


def _plain(expected: Array, actual: Array, plane_scale_km: float) -> NDArray[np.float64]:  # noqa: ARG001
    return np.abs(expected.astype(float) - actual)


def _latency_ms(session: ort.InferenceSession, sample: Array) -> float:
    durations = []
    for _ in range(_LATENCY_RUNS):
        began_at = time.perf_counter()
        session.run(None, {INPUT_NAME: sample})
        durations.append(time.perf_counter() - began_at)
    return round(float(np.median(durations)) * 1e3, 3)


def random_samples(real: Sequence[Array] | Array, num_random: int, seed: int = 0) -> Array:
    """Real features, then random ones of the same shape that fill the range the network can meet."""
    real = np.asarray(real, np.float32)
    noise = np.random.default_rng(seed).uniform(-1.0, 2.0, (num_random, *real.shape[1:]))
    return np.concatenate([real, noise.astype(np.float32)])
