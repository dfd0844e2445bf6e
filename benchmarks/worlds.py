"""A simulated world against its exact bound: ``python -m benchmarks.worlds [--world a --sessions 20000]``."""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.rendering import SessionSource, manifest_receivers, with_splits
from benchmarks.runs import FinishedRun, RunPlan, train
from benchmarks.scores import Scores, from_moments, rmse_ratio, score, with_residual_covariance
from heimdall_core.domain.manifest import Split
from heimdall_core.domain.spec import ModelSpec, TrainingSpec
from heimdall_core.evaluation.baselines import POINT_ESTIMATORS, LevelData
from heimdall_core.evaluation.grid import predict_log_distance_grid
from heimdall_core.features import FeatureSet
from heimdall_core.recordings.geodesy import to_plane_km
from heimdall_core.recordings.session import RecordedSession
from heimdall_core.simulation.bound import bayes_posterior
from heimdall_core.simulation.cramer_rao import cramer_rao_bound
from heimdall_core.simulation.sites import EAST_R, NORTH_R, ORIGIN, SITES
from heimdall_core.simulation.world import WorldDraw, render
from heimdall_core.simulation.world_a import draw_world_a
from heimdall_core.simulation.world_b import draw_world_b
from heimdall_core.training.inference import PlaneGaussians

DRAWS = {"a": draw_world_a, "b": draw_world_b}
TRAIN_SEED, VAL_SEED, TEST_SEED = 1, 2, 3
GOAL_OF_TIME = 1.10
_NUM_VAL_BOUND = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sessions of each split."""

    train: int
    val: int
    test: int
    world: str = "a"

    def draw(self, split: Split) -> WorldDraw:
        """The truth behind a split."""
        count, seed = next((count, seed) for name, count, seed in self.seeds if name == split)
        return DRAWS[self.world](count, seed)

    @property
    def seeds(self) -> tuple[tuple[Split, int, int], ...]:
        """(split, number of sessions, seed)."""
        return (
            ("train", self.train, TRAIN_SEED),
            ("val", self.val, VAL_SEED),
            ("test", self.test, TEST_SEED),
        )


def _render(
    world: str, draws: tuple[tuple[int, int], ...], start: int, stop: int
) -> Iterator[RecordedSession]:
    """Sessions of several seeds, one after another."""
    first = 0
    for seed, count in draws:
        wanted = range(max(start, first) - first, min(stop, first + count) - first)
        if wanted:
            draw = DRAWS[world](wanted.stop, seed)
            for index in wanted:
                yield render(draw, index, seed=seed)
        first += count


def world_features(sizes: Sizes) -> FeatureSet:
    """Rendered to IQ and through the front end."""
    draws = tuple((seed, count) for _, count, seed in sizes.seeds)
    source = SessionSource(
        name=f"world-{sizes.world}-{sizes.train}",
        facts={"draws": draws},
        num_sessions=sum(count for _, count in draws),
        render=partial(_render, sizes.world, draws),
        receivers=manifest_receivers([s.receiver for s in SITES]),
        origin=ORIGIN,
    )
    splits: list[Split] = []
    for split, count, _ in sizes.seeds:
        splits += [split] * count
    return with_splits(source.features(), splits)


def main() -> int:
    """Prints a table and a line of JSON."""
    options = _parse()
    sizes = Sizes(train=options.sessions, val=options.val, test=options.test, world=options.world)
    features = world_features(sizes)
    plan = RunPlan(
        name=f"world-{options.world}-{options.backbone}",
        data=asdict(sizes),
        model=ModelSpec(backbone=options.backbone, covariance="full", components=options.components),
        training=TrainingSpec(
            epochs=options.epochs,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            weight_decay=options.weight_decay,
            early_stopping_patience=None,
            seed=options.seed,
        ),
    )
    run = train(plan, features, ORIGIN)
    _report(sizes, features, run, plan)
    return 0


def _report(sizes: Sizes, features: FeatureSet, run: FinishedRun, plan: RunPlan) -> None:
    test = features.indices("test")
    target_km = features.targets_km[test].astype(np.float64)
    posterior = bayes_posterior(sizes.draw("test"))
    bound = from_moments(posterior.mean_km, posterior.covariance_km2)
    rows: dict[str, Scores] = {
        "Bayes-optimal grid": score(bound, target_km),
        "LocalizationNet": score(run.prediction, target_km),
        **_baselines(features),
    }
    ratio, low, high = rmse_ratio(run.prediction.mean_km, posterior.mean_km, target_km)
    excess = rows["LocalizationNet"].nll - rows["Bayes-optimal grid"].nll
    print(f"\n{plan.model.backbone}, {run.num_parameters:,} parameters, best epoch {run.best_epoch}")
    print("| estimator | mean / median / RMSE | NLL per km² | 68 % coverage |\n|---|---|---|---|")
    for name, scores in rows.items():
        print(f"| {name} | {scores.row('km')} |")
    density_nll = float(run.prediction.density_nll(target_km).mean())
    posterior_nll = -float(posterior.log_density_at_truth.mean())
    print(f"NLL of the density itself: network {density_nll:.3f}, posterior {posterior_nll:.3f}")
    bound_facts = {k: round(v, 4) for k, v in posterior.summary().items()}
    print(f"bound: {bound_facts}")
    if sizes.world == "a":
        cramer_rao_km = cramer_rao_bound(sizes.draw("test")).rms_error_km
        print(f"Cramér-Rao bound: RMS {np.sqrt((cramer_rao_km**2).mean()):.2f} km")
    print(f"RMSE / bound {ratio:.4f} [{low:.4f}, {high:.4f}]; NLL over the bound's Gaussian {excess:+.4f}")
    reached = _seconds_to(run, _val_bound_rmse(sizes), GOAL_OF_TIME)
    print(f"seconds of training to {GOAL_OF_TIME} x the bound on the validation split: {reached}")
    facts = {"ratio": [ratio, low, high], "nll_excess": excess, "density_nll": density_nll}
    print(json.dumps({**facts, **_plain(rows)}))


def _plain(rows: dict[str, Scores]) -> dict[str, Any]:
    return {name: asdict(scores) for name, scores in rows.items()}


def _val_bound_rmse(sizes: Sizes) -> float:
    error_km = bayes_posterior(sizes.draw("val").take(slice(_NUM_VAL_BOUND))).error_km
    return float(np.sqrt((error_km**2).mean()))


def _seconds_to(run: FinishedRun, bound_km: float, factor: float) -> float | None:
    return next((p.seconds for p in run.curve if p.val_rmse_km <= factor * bound_km), None)


def _baselines(features: FeatureSet) -> dict[str, Scores]:
    data = LevelData.of(features, np.stack([EAST_R, NORTH_R], axis=1), ORIGIN)
    train_i, val_i, test_i = (features.indices(s) for s in ("train", "val", "test"))
    target = data.targets_km[test_i]
    found = {}
    for name in ("knn", "weighted_centroid"):
        estimate = POINT_ESTIMATORS[name]
        residual = data.targets_km[val_i] - estimate(data, train_i, val_i)
        found[name] = score(with_residual_covariance(estimate(data, train_i, test_i), residual), target)
    grid = predict_log_distance_grid(
        data.snr_db, data.targets_km, data.receivers_km, ORIGIN, train=train_i, test=test_i
    )
    east, north = to_plane_km(grid.latitude, grid.longitude, origin=ORIGIN)
    found["log_distance_grid"] = score(
        PlaneGaussians(
            mean_km=np.stack([east, north], axis=1),
            sigma_km=np.stack([grid.sigma_east_m, grid.sigma_north_m], axis=1) / 1e3,
            correlation=grid.correlation,
        ),
        target,
    )
    return found


def add_options(parser: argparse.ArgumentParser) -> None:
    """What a training on a world can be told."""
    parser.add_argument("--world", choices=sorted(DRAWS), default="a")
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--val", type=int, default=2_000)
    parser.add_argument("--test", type=int, default=5_000)
    parser.add_argument("--backbone", default="micro")
    parser.add_argument("--components", type=int, default=1, help="more than 1: a mixture")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=0)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worlds", description=__doc__)
    add_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
