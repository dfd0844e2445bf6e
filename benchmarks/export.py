"""How fast an exported model is against PyTorch, and how long its export and verification take.

``python -m benchmarks.export`` runs eager PyTorch (fp32 and bf16) and ONNX Runtime (fp32 and int8) by turns
on the same threads and the same input, and gives the median of the ratios of each turn. Weights are random:
speed does not depend on them. The last line is JSON.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from benchmarks.rendering import manifest_receivers
from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.domain.spec import BACKBONES, Backbone
from heimdall_core.export.exporter import ONNXExporter
from heimdall_core.export.metadata import INPUT_NAME, ModelFacts
from heimdall_core.export.precision import quantise_backbone
from heimdall_core.export.sessions import open_session, run_session
from heimdall_core.networks import LocalizationNet
from heimdall_core.simulation.sites import ORIGIN, SITES

Array = NDArray[np.float32]
GOALS = {1: 1.5, 32: 1.1}
"""Eager fp32 over ONNX Runtime fp32, by batch."""
EXPORT_GOAL_SECONDS = 2.0
"""Of processor time, from a template: other work on the machine does not count."""
_FEWEST_TURNS = 3
_CALIBRATION_SAMPLES = 16


def main() -> int:
    """Prints a table and a line of JSON; fails if a goal is missed."""
    options = _parse()
    torch.set_num_threads(options.threads)
    machine = describe_cpu() | {"threads": options.threads}
    print(f"{machine['cpu']}, AMX: {machine['amx']}, {options.threads} thread(s), torch {torch.__version__}")
    found = {size: measure(size, options) for size in options.sizes}
    for size, result in found.items():
        _print(size, result)
    print(json.dumps({"machine": machine, "sizes": found}))
    is_fast = all(r["speed"][str(b)]["ort"] >= goal for r in found.values() for b, goal in GOALS.items())
    is_quick = "tiny" not in found or found["tiny"]["export_again_cpu_seconds"] <= EXPORT_GOAL_SECONDS
    return 0 if is_fast and is_quick else 1


def measure(size: Backbone, options: argparse.Namespace) -> dict[str, Any]:
    """Export times and speeds of one size."""
    net, facts = _network(size), _facts(size)
    features = np.random.default_rng(0).normal(0.5, 0.5, (32, net.num_receivers, 128, 32)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        exporter = ONNXExporter(templates_dir=Path(folder) / "graphs")
        seconds, cpu_seconds = [], []
        for seed in (1, 2):
            began_at, cpu_began_at = time.perf_counter(), time.process_time()
            exporter.export_verified(_perturbed(net, seed), path, facts=facts, features=features[:24])
            seconds.append(time.perf_counter() - began_at)
            cpu_seconds.append(time.process_time() - cpu_began_at)
        speed = _speed(net, path, features, options, with_int8=size in options.int8)
        return {
            "num_parameters": sum(p.numel() for p in net.parameters()),
            "export_first_seconds": seconds[0],
            "export_again_seconds": seconds[1],
            "export_first_cpu_seconds": cpu_seconds[0],
            "export_again_cpu_seconds": cpu_seconds[1],
            "num_bytes": path.stat().st_size,
            "speed": speed,
        }


def _speed(
    net: LocalizationNet, path: Path, features: Array, options: argparse.Namespace, *, with_int8: bool
) -> dict[str, dict[str, float]]:
    runners = {"eager": _eager(net), "eager_bf16": _eager(net, bf16=True), "ort": _ort(path, options.threads)}
    if with_int8:
        small = path.with_name("int8.onnx")
        onnx.save(quantise_backbone(onnx.load(path), features[:_CALIBRATION_SAMPLES]), small)
        runners["ort_int8"] = _ort(small, options.threads)
    return {str(batch): _by_turns(runners, features[:batch], options.seconds) for batch in GOALS}


def _by_turns(
    runners: dict[str, Callable[[Array], object]], batch: Array, seconds: float
) -> dict[str, float]:
    """Milliseconds of each runner, and how many times as fast as eager fp32 it is."""
    for run in runners.values():
        run(batch)
    turns: list[list[float]] = []
    until = time.perf_counter() + seconds
    while len(turns) < _FEWEST_TURNS or time.perf_counter() < until:
        turns.append([_time(run, batch) for run in runners.values()])
    table = np.array(turns)
    result = {f"{name}_ms": float(np.median(table[:, i])) * 1e3 for i, name in enumerate(runners)}
    ratios = {name: float(np.median(table[:, 0] / table[:, i])) for i, name in enumerate(runners) if i}
    if "ort_int8" in runners:
        bf16, int8 = list(runners).index("eager_bf16"), list(runners).index("ort_int8")
        ratios["int8_over_bf16"] = float(np.median(table[:, bf16] / table[:, int8]))
    return result | ratios | {"num_turns": float(len(turns))}


def _time(run: Callable[[Array], object], batch: Array) -> float:
    began_at = time.perf_counter()
    run(batch)
    return time.perf_counter() - began_at


def _eager(net: LocalizationNet, *, bf16: bool = False) -> Callable[[Array], object]:
    def run(batch: Array) -> object:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return net(torch.from_numpy(batch))

    return run


def _ort(path: Path, threads: int) -> Callable[[Array], object]:
    session = open_session(path, num_threads=threads)
    return lambda batch: run_session(session, {INPUT_NAME: batch})


def _network(size: Backbone) -> LocalizationNet:
    torch.manual_seed(0)
    return LocalizationNet(len(SITES), size, "full", origin=ORIGIN).eval()


def _perturbed(net: LocalizationNet, seed: int) -> LocalizationNet:
    """Other weights, no two of them equal, as training leaves them."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.002 * torch.randn_like(parameter))
    return net


def _facts(size: Backbone) -> ModelFacts:
    return ModelFacts(
        name="benchmark",
        run_name="benchmark",
        receivers=manifest_receivers([site.receiver for site in SITES]),
        origin=ORIGIN,
        plane_scale_km=50.0,
        features=FeatureSettings(),
        dataset="none:1",
        dataset_digest="0" * 64,
        backbone=size,
        covariance="full",
        calibration_scale=1.0,
    )


def describe_cpu() -> dict[str, Any]:
    """The processor's name, and whether it multiplies matrices in hardware."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    lines = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    flags = next((value for name, value in lines.items() if name.strip() == "flags"), "").split()
    name = next((value.strip() for key, value in lines.items() if key.strip() == "model name"), "unknown")
    return {
        "cpu": name,
        "amx": "amx_int8" in flags,
        "vnni": "avx512_vnni" in flags,
        "bf16": "avx512_bf16" in flags,
    }


def _print(size: Backbone, result: dict[str, Any]) -> None:
    size_mb, parameters = result["num_bytes"] / 1e6, result["num_parameters"]
    first, again = result["export_first_seconds"], result["export_again_seconds"]
    cpu = [result[f"export_{which}_cpu_seconds"] for which in ("first", "again")]
    print(f"\n{size}, {parameters:,} parameters, {size_mb:.1f} MB")
    print(f"exported and verified in {first:.2f} s, from a template in {again:.2f} s")
    print(f"of processor time: {cpu[0]:.2f} s and {cpu[1]:.2f} s")
    print("| batch | eager fp32 | eager bf16 | ONNX Runtime fp32 | int8 | eager / fp32 | bf16 / int8 |")
    print("|---|---|---|---|---|---|---|")
    for batch, row in result["speed"].items():
        cells = [f"{row[k]:.2f} ms" if k in row else "-" for k in _MILLISECONDS]
        ratios = [f"{row[k]:.2f} x" if k in row else "-" for k in ("ort", "int8_over_bf16")]
        print(f"| {batch} | {' | '.join([*cells, *ratios])} |")


_MILLISECONDS = ("eager_ms", "eager_bf16_ms", "ort_ms", "ort_int8_ms")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__)
    parser.add_argument("--sizes", nargs="+", choices=BACKBONES, default=["tiny", "large"])
    parser.add_argument("--int8", nargs="*", default=["tiny"], help="sizes that are measured in int8 too")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each comparison")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
