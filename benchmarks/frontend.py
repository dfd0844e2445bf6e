"""How fast IQ becomes features, and whether loading them holds up the network.

``python -m benchmarks.frontend`` times, in one run and by turns, our batched front end against a plain loop
over receivers of scipy's STFT and a mel matrix; then, by turns again, loading batches from a memory map
against a training step of the smallest network. The last line is JSON.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from heimdall_core.domain.manifest import FeatureSettings, Split
from heimdall_core.features import FeatureSet, SpectrogramFrontEnd
from heimdall_core.features.feature_set import INPUTS, open_feature_set, write_meta
from heimdall_core.features.filterbank import mirrored_bank
from heimdall_core.networks import GaussianNLLLoss, LocalizationNet
from heimdall_core.training.dataset import Batch, HeimdallDataset

_SETTINGS = FeatureSettings()
_PLANES_AT_ONCE = 16
_RECEIVERS = 7
_BATCH = 64

Complex = NDArray[np.complex64]


def batched(
    front_end: SpectrogramFrontEnd, iq: Complex, floors_dbfs: NDArray[np.float32]
) -> NDArray[np.float32]:
    """As ``build_features`` calls it: (planes, 128, 32)."""
    with torch.inference_mode():
        parts = [
            front_end(
                torch.from_numpy(iq[i : i + _PLANES_AT_ONCE]),
                torch.from_numpy(floors_dbfs[i : i + _PLANES_AT_ONCE]),
            )
            for i in range(0, len(iq), _PLANES_AT_ONCE)
        ]
        return torch.cat(parts).numpy()


def receiver_by_receiver(
    stft: ShortTimeFFT, bank: NDArray[np.float64], iq: Complex, floors_dbfs: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The 120 mel bands over the noise floor alone, without levels: (planes, 120, 32)."""
    first, last = stft.lower_border_end[1], stft.upper_border_begin(iq.shape[1])[1]
    channel_bins = (
        2 * int(_SETTINGS.channel_bandwidth_hz / 2 * _SETTINGS.n_fft / _SETTINGS.sample_rate_hz) + 1
    )
    planes = []
    for samples, floor_dbfs in zip(iq, floors_dbfs, strict=True):
        power = np.abs(stft.stft(samples, p0=first, p1=last)) ** 2
        bands_db = 10 * np.log10(np.maximum(bank @ power, 1e-20))
        over_floor_db = bands_db - (floor_dbfs - 10 * np.log10(channel_bins))
        planes.append(np.clip(over_floor_db / 20, -1, 4).astype(np.float32))
    return np.stack(planes)


def _plain_stft() -> ShortTimeFFT:
    """Scaled so that the bins of a frame add up to its mean power."""
    window = hann(_SETTINGS.n_fft, sym=False)
    scale = 1 / np.sqrt(_SETTINGS.n_fft * np.sum(window**2))
    return ShortTimeFFT(window * scale, _SETTINGS.hop, _SETTINGS.sample_rate_hz, fft_mode="twosided")


def by_turns(rounds: int, **tasks: Callable[[], object]) -> dict[str, NDArray[np.float64]]:
    """Seconds of each task in each round, after one round that is not counted; the order alternates."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(rounds + 1):
        names = list(tasks) if number % 2 else list(tasks)[::-1]
        for name in names:
            start = time.perf_counter()
            tasks[name]()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def compare_front_ends(num_planes: int, rounds: int) -> dict[str, float]:
    """Samples per second of both, and the median over rounds of their ratio."""
    rng = np.random.default_rng(0)
    parts = rng.standard_normal((num_planes, 2 * _SETTINGS.segment_samples), np.float32)
    iq = np.asarray(1e-3 * parts).view(np.complex64)
    floors_dbfs = np.full(num_planes, -58.0, np.float32)
    front_end = SpectrogramFrontEnd(_SETTINGS).eval()
    stft, bank = _plain_stft(), mirrored_bank(120, _SETTINGS.n_fft, _SETTINGS.sample_rate_hz, _SETTINGS.scale)
    expected = receiver_by_receiver(stft, bank, iq[:32], floors_dbfs[:32])
    np.testing.assert_allclose(batched(front_end, iq[:32], floors_dbfs[:32])[:, :120], expected, atol=1e-3)
    seconds = by_turns(
        rounds,
        batched=lambda: batched(front_end, iq, floors_dbfs),
        loop=lambda: receiver_by_receiver(stft, bank, iq, floors_dbfs),
    )
    return {
        "batched_samples_per_s": iq.size / float(np.median(seconds["batched"])),
        "loop_samples_per_s": iq.size / float(np.median(seconds["loop"])),
        "ratio": float(np.median(seconds["loop"] / seconds["batched"])),
    }


def compare_loading_with_the_step(folder: Path, num_sessions: int, rounds: int) -> dict[str, float]:
    """Milliseconds of a batch from the memory map, as the second epoch reads it, and of a step of micro."""
    dataset = HeimdallDataset(_cached(folder, num_sessions), "train", training=True)
    torch.manual_seed(0)
    net = LocalizationNet(_RECEIVERS, "micro", "diagonal", origin=(44.95, 8.1), plane_scale_km=50.0)
    loss, optimizer = GaussianNLLLoss(), torch.optim.AdamW(net.parameters())
    batches = _batches(dataset, num_sessions)
    held = next(batches)

    def step() -> None:
        optimizer.zero_grad()
        mean_km, sigma_km, correlation, _ = net.plane(held.inputs)
        loss(mean_km, sigma_km, held.target_km, correlation).backward()
        optimizer.step()

    seconds = by_turns(rounds, loading=lambda: next(batches), step=step)
    return {f"{name}_ms": 1e3 * float(np.median(values)) for name, values in seconds.items()}


def _batches(dataset: HeimdallDataset, num_sessions: int) -> Iterator[Batch]:
    rng, epoch = np.random.default_rng(0), 0
    while True:
        order = rng.permutation(num_sessions)
        for start in range(0, num_sessions - _BATCH + 1, _BATCH):
            yield dataset.__getitems__([(epoch, int(i)) for i in order[start : start + _BATCH]])
        epoch += 1


def _cached(folder: Path, num_sessions: int) -> FeatureSet:
    shape = (num_sessions, _RECEIVERS, 128, _SETTINGS.num_frames)
    inputs = np.random.default_rng(0).standard_normal(shape, np.float32)
    inputs[:, :, 123] = 1.0
    np.save(folder / INPUTS, inputs)
    train: Split = "train"
    write_meta(
        folder,
        session_ids=tuple(str(i) for i in range(num_sessions)),
        splits=(train,) * num_sessions,
        arrays={
            "first_segment": np.arange(num_sessions + 1),
            "targets_km": np.zeros((num_sessions, 2), np.float32),
            "positions_deg": np.full((num_sessions, 2), [44.95, 8.1]),
            "snr_db": np.zeros((num_sessions, _RECEIVERS), np.float32),
        },
    )
    return open_feature_set(folder, was_cached=True)


def main() -> None:
    """Prints both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--planes", type=int, default=1400, help="recordings of 0.34 s")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    figures = compare_front_ends(arguments.planes, arguments.rounds)
    print(
        f"front end: batched {figures['batched_samples_per_s'] / 1e6:.1f} M samples/s, loop of scipy "
        f"{figures['loop_samples_per_s'] / 1e6:.1f} M samples/s: {figures['ratio']:.1f} times"
    )
    with tempfile.TemporaryDirectory() as folder:
        figures |= compare_loading_with_the_step(Path(folder), 1024, 3 * arguments.rounds)
    print(
        f"second epoch, batches of {_BATCH}: loading {figures['loading_ms']:.1f} ms, "
        f"step of micro {figures['step_ms']:.1f} ms"
    )
    print(json.dumps({"benchmark": "frontend", "threads": arguments.threads, **figures}))


if __name__ == "__main__":
    main()
