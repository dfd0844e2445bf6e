"""Whether the exported graph says what the network says, and how fast it says it.

Differences are counted in network units: lengths on the local plane over ``plane_scale_km``, the length
that the network's heads count in; correlations and weights as they are. Degrees are float32, whose step is
0.4 m at 45 degrees: a difference of one such step is the output format's own resolution and counts as none.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from heimdall_core.export.errors import ExportError
from heimdall_core.export.metadata import INPUT_NAME, Precision, output_names
from heimdall_core.export.sessions import open_session, run_session

if TYPE_CHECKING:
    from heimdall_core.networks import LocalizationNet

__all__ = ["ExportError", "open_session"]

Array = NDArray[np.float32]
Feeds = Mapping[str, Array]
"""An array for each input of a graph, all of N samples."""
Reference = Callable[[Feeds], list[Array]]
"""What the graph should give."""

BATCH_SIZES = (1, 2, 7, 32)
TOLERANCES: dict[Precision, float] = {"fp32": 1e-5, "fp16": 1e-3, "int8": 1e-2}
"""Largest mean difference, network units. The lower precisions are held to budgets of accuracy besides."""
TOLERANCE = TOLERANCES["fp32"]
_KM_PER_DEGREE = 111.2
HINTS: dict[Precision, str] = {
    "fp32": "The model was not published. Please report this with the job's manifest.",
    "fp16": "The model was not published: an activation may be too large for float16. Use fp32 or int8.",
    "int8": "The model was not published: eight bits are too few for this network. Use fp32 or fp16.",
}
"""What to do about a file that differs."""
_SHARE_PRESENT = 0.8
_FEWEST_RUNS, _LATENCY_RUNS = 3, 20
_LATENCY_SECONDS = 0.5


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


def measure_parity(
    net: "LocalizationNet", path: Path, samples: Array, *, tolerance: float = TOLERANCE
) -> Parity:
    """Compares a graph that takes features with the network on ``samples`` (N, R, 128, 32).

    Raises:
        ExportError: as ``compare``.
    """
    return compare(network_reference(net), path, {INPUT_NAME: samples}, net, tolerance=tolerance)


def compare(
    reference: Reference,
    path: Path,
    feeds: Feeds,
    net: "LocalizationNet",
    *,
    tolerance: float,
    hint: str = HINTS["fp32"],
) -> Parity:
    """Compares a graph with what it should give in batches of 1, 2, 7 and 32, each of other samples.

    ``hint`` is what to do if it gives something else.

    Raises:
        ExportError: the mean difference of an output exceeds the tolerance, an output is missing or of
            another shape, or a number is not finite.
    """
    session, names = open_session(path, as_it_is=True), output_names(net)
    num_samples = len(next(iter(feeds.values())))
    differences: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    for rows in _batches(num_samples):
        batch = {k: v[rows] for k, v in feeds.items()}
        expected, actual = reference(batch), run_session(session, batch)
        _require_numbers(expected, actual, hint)
        for name, e, a in zip(names, expected, actual, strict=True):
            differences[name].append(_UNITS[name](e, a, net.plane_scale_km).ravel())
    means = {name: float(np.mean(np.concatenate(parts))) for name, parts in differences.items()}
    parity = Parity(
        mean_difference=max(means.values()),
        max_difference=float(max(part.max() for parts in differences.values() for part in parts)),
        num_samples=min(num_samples, sum(BATCH_SIZES)),
        batch_sizes=BATCH_SIZES,
        tolerance=tolerance,
        latency_ms=_latency_ms(session, {k: v[:1] for k, v in feeds.items()}),
    )
    _require_agreement(parity, max(means, key=means.__getitem__), hint)
    return parity


def network_reference(net: "LocalizationNet") -> Reference:
    """What the network itself makes of features."""

    @torch.no_grad()
    def run(feeds: Feeds) -> list[Array]:
        return [output.numpy() for output in net(torch.from_numpy(np.ascontiguousarray(feeds[INPUT_NAME])))]

    return run


def random_features(like: Array, num_samples: int, seed: int = 0) -> Array:
    """Random features that fill the range that the network can meet: (num_samples, R, 128, 32).

    Receivers are absent at random, and all of them in the first sample.
    """
    rng = np.random.default_rng(seed)
    noise = rng.uniform(-1.0, 2.0, (num_samples, *like.shape[1:]))
    is_there = rng.random(noise.shape[:2]) < _SHARE_PRESENT
    is_there[0] = False
    return (noise * is_there[..., None, None]).astype(np.float32)


def interleave(real: Feeds, noise: Feeds) -> Feeds:
    """Recorded samples and random ones by turns, so that every batch has both; then the rest."""
    return {name: _by_turns(np.asarray(real[name], np.float32), noise[name]) for name in real}


def _by_turns(real: Array, noise: Array) -> Array:
    turns = min(len(real), len(noise))
    pairs = np.stack([real[:turns], noise[:turns]], axis=1).reshape(2 * turns, *real.shape[1:])
    return np.concatenate([pairs, real[turns:], noise[turns:]])


def _batches(num_samples: int) -> Iterator[NDArray[np.int64]]:
    """Which samples each batch holds: as many different ones as there are."""
    first = 0
    for size in BATCH_SIZES:
        yield np.arange(first, first + size) % num_samples
        first += size


def _require_agreement(parity: Parity, output: str, hint: str) -> None:
    if not parity.mean_difference < parity.tolerance:
        raise ExportError(
            f"ONNX Runtime and PyTorch differ by {parity.mean_difference:.2e} network units on average in "
            f"{output}, {parity.max_difference:.2e} at most; {parity.tolerance:.0e} is allowed",
            code="export_parity",
            hint=hint,
        )


def _require_numbers(expected: list[Array], actual: list[Array], hint: str) -> None:
    if [e.shape for e in expected] != [a.shape for a in actual]:
        raise ExportError(
            "the exported graph's outputs have other shapes than the network's",
            code="export_parity",
            hint=hint,
        )
    if not all(np.isfinite(output).all() for output in expected):
        raise ExportError(
            "the network itself predicts what is no finite number",
            code="export_parity",
            hint="Its weights or the features that it is tried on are not finite: look at the job's metrics.",
        )
    if not all(np.isfinite(output).all() for output in actual):
        raise ExportError(
            "the exported graph predicts what is no finite number", code="export_parity", hint=hint
        )


def _position_units(expected: Array, actual: Array, plane_scale_km: float) -> NDArray[np.float64]:
    """Of latitudes and longitudes (..., 2); longitudes on both sides of the antimeridian are neighbours."""
    step = np.spacing(np.abs(expected)).astype(float)
    turned = (expected.astype(float) - actual + 180.0) % 360.0 - 180.0
    degrees = np.maximum(np.abs(turned) - step, 0.0)
    degrees[..., 1] *= np.cos(np.radians(expected[..., 0].astype(float)))
    return degrees * _KM_PER_DEGREE / plane_scale_km


def _length_units(expected: Array, actual: Array, plane_scale_km: float) -> NDArray[np.float64]:
    return np.abs(expected.astype(float) - actual) / 1e3 / plane_scale_km


# One of ``_UNITS``, whose members take the same arguments.
def _plain(expected: Array, actual: Array, plane_scale_km: float) -> NDArray[np.float64]:  # noqa: ARG001
    return np.abs(expected.astype(float) - actual)


_UNITS: dict[str, Callable[[Array, Array, float], NDArray[np.float64]]] = {
    "positions": _position_units,
    "uncertainties": _length_units,
    "correlation": _plain,
    "component_weights": _plain,
    "component_positions": _position_units,
    "component_uncertainties": _length_units,
    "component_correlations": _plain,
}


def _latency_ms(session: ort.InferenceSession, sample: Feeds) -> float:
    durations: list[float] = []
    while len(durations) < _FEWEST_RUNS or (
        len(durations) < _LATENCY_RUNS and sum(durations) < _LATENCY_SECONDS
    ):
        began_at = time.perf_counter()
        run_session(session, sample)
        durations.append(time.perf_counter() - began_at)
    return round(float(np.median(durations)) * 1e3, 3)
