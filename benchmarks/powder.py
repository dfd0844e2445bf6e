"""Real measurements, five spatial folds: ``python -m benchmarks.powder [--receivers 7]``.

The data is in the folder ``HEIMDALL_POWDER_FRS``. Each transmission is rendered to IQ at its measured
powers and goes through the front end. A fold is predicted by networks that saw the other four; a tenth
of their blocks of 200 m picks the epoch and calibrates.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

from benchmarks.powder_rivals import RIVALS
from benchmarks.rendering import SessionSource, manifest_receivers, with_splits
from benchmarks.runs import RunPlan, train
from benchmarks.scores import Scores, score
from heimdall_core.domain.manifest import Split
from heimdall_core.domain.spec import ModelSpec, RadioMapSpec, TrainingSpec
from heimdall_core.features import FeatureSet
from heimdall_core.recordings.geodesy import to_plane_km
from heimdall_core.recordings.power_table import PowerTable, read_power_table
from heimdall_core.recordings.session import RecordedSession
from heimdall_core.simulation.power_rows import render_power_row
from heimdall_core.training.inference import PlaneGaussians

SEVEN = (
    "cbrssdr1-honors-comp",
    "cbrssdr1-bes-comp",
    "cbrssdr1-hospital-comp",
    "cbrssdr1-ustar-comp",
    "cbrssdr1-fm-comp",
    "guesthouse-nuc2-b210",
    "ebc-nuc1-b210",
)
NUM_FOLDS = 5
_BLOCK_KM = 0.2
_VAL_SHARE = 0.1
_ORIGIN = (40.766, -111.839)


@cache
def power_table(folder: Path, num_receivers: int) -> PowerTable:
    """All 25 receivers, or the seven that stand for a network of Heimdall's size."""
    table = read_power_table(
        (folder / "receivers.csv").read_bytes(), (folder / "transmissions.csv").read_bytes()
    )
    return table.with_receivers(SEVEN) if num_receivers == len(SEVEN) else table


def _render(folder: Path, num_receivers: int, start: int, stop: int) -> Iterator[RecordedSession]:
    table = power_table(folder, num_receivers)
    for row in table.rows[start:stop]:
        yield render_power_row(table, row)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PowderData:
    """The features of all transmissions, and the fold of each."""

    num_receivers: int
    features: FeatureSet
    fold: NDArray[np.int64]
    block: NDArray[np.int64]
    """(N,): number of its square of 200 m."""
    receivers_km: NDArray[np.float64]

    def splits(self, test_fold: int, seed: int) -> list[Split]:
        """Test: the fold; val: a tenth of the other folds' blocks; train: the rest."""
        others = np.unique(self.block[self.fold != test_fold])
        rng = np.random.default_rng((seed, test_fold))
        val_blocks = rng.choice(others, max(1, round(_VAL_SHARE * len(others))), replace=False)
        is_val = np.isin(self.block, val_blocks)
        return [
            "test" if fold == test_fold else ("val" if val else "train")
            for fold, val in zip(self.fold, is_val, strict=True)
        ]


def powder_data(folder: Path, num_receivers: int) -> PowderData:
    """Rendered once, then kept."""
    table = power_table(folder, num_receivers)
    receivers = manifest_receivers(table.receivers)
    source = SessionSource(
        name=f"powder-{num_receivers}",
        facts={"receivers": [r.name for r in receivers]},
        num_sessions=len(table.rows),
        render=partial(_render, folder, num_receivers),
        receivers=receivers,
        origin=_ORIGIN,
    )
    features = source.features()
    cell = np.floor(features.targets_km / _BLOCK_KM).astype(np.int64)
    _, block = np.unique(cell, axis=0, return_inverse=True)
    return PowderData(
        num_receivers=num_receivers,
        features=features,
        fold=np.array([int(row.split_group or 0) for row in table.rows]),
        block=block.ravel(),
        receivers_km=np.stack(
            to_plane_km([r.latitude for r in receivers], [r.longitude for r in receivers], origin=_ORIGIN),
            axis=1,
        ),
    )


def main() -> int:
    """Prints a table and a line of JSON."""
    options = _parse()
    data = powder_data(options.folder, options.receivers)
    rows: dict[str, list[Scores]] = {"LocalizationNet": []}
    mixture_nll: list[float] = []
    for seed in range(options.seeds):
        predicted = _predict_folds(data, partial(_network, data, options, seed), seed, options)
        rows["LocalizationNet"].append(score(*predicted, unit_m=1.0))
        if found := predicted[0].mixture_nll_per_m2(predicted[1]):
            mixture_nll.append(found)
    for name in options.rivals:
        rows[name] = [score(*_predict_folds(data, _rival(data, name), 0, options), unit_m=1.0)]
    print(f"\nPOWDER-{options.receivers}, folds {options.folds}, {options.seeds} seeds, {options.backbone}")
    print("| estimator | mean / median / RMSE | NLL per m² | 68 % coverage |\n|---|---|---|---|")
    for name, scores in rows.items():
        print(f"| {name} | {_mean(scores).row('m')} |")
    if options.seeds > 1:
        spread = {
            k: stdev([getattr(s, k) for s in rows["LocalizationNet"]]) for k in ("mean", "median", "nll")
        }
        print("standard deviation over seeds:", {k: round(v, 3) for k, v in spread.items()})
    if mixture_nll:
        print(f"NLL per m² of the mixture itself: {fmean(mixture_nll):.3f}")
    print(json.dumps({name: [asdict(s) for s in scores] for name, scores in rows.items()}))
    return 0


def _predict_folds(
    data: PowderData,
    predict: Callable[[FeatureSet, int], PlaneGaussians],
    seed: int,
    options: argparse.Namespace,
) -> tuple[PlaneGaussians, NDArray[np.float64]]:
    """Predictions of all test sessions of the folds together, and their targets (N, 2) in km."""
    parts, targets = [], []
    for fold in options.folds:
        features = with_splits(data.features, data.splits(fold, seed))
        parts.append(predict(features, fold))
        targets.append(features.targets_km[features.indices("test")].astype(np.float64))
    return PlaneGaussians.concatenate(parts), np.concatenate(targets)


def _network(
    data: PowderData, options: argparse.Namespace, seed: int, features: FeatureSet, fold: int
) -> PlaneGaussians:
    plan = RunPlan(
        name=f"powder-{data.num_receivers}-fold{fold}-seed{seed}-{options.backbone}",
        data={"powder": data.num_receivers, "fold": fold, "seed": seed},
        model=ModelSpec(
            backbone=options.backbone,
            covariance="full",
            components=options.components,
            point_estimate=options.point_estimate,
        ),
        training=TrainingSpec(
            epochs=options.epochs,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            weight_decay=options.weight_decay,
            early_stopping_patience=options.patience,
            keep=options.keep,
            level_noise_db=options.level_noise_db,
            radio_map=RadioMapSpec(reach_m=options.reach_m, fuse=options.fuse) if options.reach_m else None,
            seed=seed,
        ),
    )
    return train(plan, features, _ORIGIN).prediction


def _rival(data: PowderData, name: str) -> Callable[[FeatureSet, int], PlaneGaussians]:
    return lambda features, _fold: RIVALS[name](features, data.receivers_km)


def _mean(scores: list[Scores]) -> Scores:
    return Scores(**{k: fmean(getattr(s, k) for s in scores) for k in asdict(scores[0])})


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.powder", description=__doc__)
    parser.add_argument("--folder", type=Path, default=os.environ.get("HEIMDALL_POWDER_FRS"))
    parser.add_argument("--receivers", type=int, choices=(7, 25), default=7)
    parser.add_argument("--folds", type=int, nargs="*", default=list(range(NUM_FOLDS)))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--backbone", default="micro")
    parser.add_argument("--components", type=int, default=1, help="more than 1: a mixture")
    parser.add_argument("--point-estimate", choices=("mean", "median"), default="mean", help="of a mixture")
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--patience", type=int, default=None)
    parser.add_argument("--keep", choices=("best", "last"), default="last")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=1e-2)
    parser.add_argument("--level-noise-db", type=float, default=1.0)
    parser.add_argument("--reach-m", type=float, default=200.0, help="of the radio map; 0: none")
    parser.add_argument("--fuse", action="store_true", help="with the radio map, in the answers too")
    parser.add_argument("--rivals", nargs="*", choices=sorted(RIVALS), default=sorted(RIVALS))
    options = parser.parse_args()
    if options.folder is None:
        parser.error("set HEIMDALL_POWDER_FRS or give --folder")
    if options.fuse and (options.components > 1 or not options.reach_m):
        parser.error("--fuse: with --components 1 and a --reach-m")
    return options


if __name__ == "__main__":
    sys.exit(main())
