"""One hyper-parameter at a time on world A: ``python -m benchmarks.hyperparameters [--sessions 4000]``."""

import argparse
import json
import sys
from dataclasses import replace

import numpy as np

from benchmarks.runs import RunPlan, train
from benchmarks.scores import from_moments, score
from benchmarks.worlds import Sizes, world_features
from heimdall_core.domain.spec import ModelSpec, TrainingSpec
from heimdall_core.simulation.bound import bayes_posterior
from heimdall_core.simulation.sites import ORIGIN

_MODEL = ModelSpec(backbone="micro", covariance="full")
_TRAINING = TrainingSpec(epochs=12, batch_size=32, early_stopping_patience=None)
VARIANTS: dict[str, tuple[ModelSpec, TrainingSpec]] = {
    "as it is": (_MODEL, _TRAINING),
    "covariance diagonal": (replace(_MODEL, covariance="diagonal"), _TRAINING),
    "components 4": (replace(_MODEL, components=4), _TRAINING),
    "learning_rate 1e-4": (_MODEL, replace(_TRAINING, learning_rate=1e-4)),
    "learning_rate 3e-4": (_MODEL, replace(_TRAINING, learning_rate=3e-4)),
    "learning_rate 3e-3": (_MODEL, replace(_TRAINING, learning_rate=3e-3)),
    "learning_rate 1e-2": (_MODEL, replace(_TRAINING, learning_rate=1e-2)),
    "batch_size 8": (_MODEL, replace(_TRAINING, batch_size=8)),
    "batch_size 128": (_MODEL, replace(_TRAINING, batch_size=128)),
    "weight_decay 1e-2": (_MODEL, replace(_TRAINING, weight_decay=1e-2)),
    "weight_decay 1e-1": (_MODEL, replace(_TRAINING, weight_decay=1e-1)),
    "augment false": (_MODEL, replace(_TRAINING, augment=False)),
    "level_noise_db 0": (_MODEL, replace(_TRAINING, level_noise_db=0.0)),
    "level_noise_db 2": (_MODEL, replace(_TRAINING, level_noise_db=2.0)),
    "level_noise_db 4": (_MODEL, replace(_TRAINING, level_noise_db=4.0)),
    "epochs 4": (_MODEL, replace(_TRAINING, epochs=4)),
    "epochs 40": (_MODEL, replace(_TRAINING, epochs=40)),
    "gradient_clip none": (_MODEL, replace(_TRAINING, gradient_clip=None)),
}


def main() -> int:
    """Prints a table and a line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hyperparameters", description=__doc__)
    parser.add_argument("--sessions", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    options = parser.parse_args()
    sizes = Sizes(train=options.sessions, val=500, test=2000)
    features = world_features(sizes)
    target_km = features.targets_km[features.indices("test")].astype(np.float64)
    posterior = bayes_posterior(sizes.draw("test"))
    bound = score(from_moments(posterior.mean_km, posterior.covariance_km2), target_km)
    print("| | RMSE / bound | NLL over the bound | 68 % coverage | best epoch | seconds |")
    print("|---|---|---|---|---|---|")
    rows = {}
    for name in options.only:
        model, training = VARIANTS[name]
        runs = [
            train(
                RunPlan(
                    name=f"hyper-{name.replace(' ', '-')}-{seed}",
                    data={"world": "a", "train": options.sessions, "val": sizes.val, "test": sizes.test},
                    model=model,
                    training=replace(training, seed=seed),
                ),
                features,
                ORIGIN,
            )
            for seed in range(options.seeds)
        ]
        scores = [score(run.prediction, target_km) for run in runs]
        ratio, excess, coverage, best, seconds = (
            float(np.mean(values))
            for values in (
                [s.rmse / bound.rmse for s in scores],
                [s.nll - bound.nll for s in scores],
                [s.coverage_68 for s in scores],
                [run.best_epoch for run in runs],
                [run.curve[-1].seconds for run in runs],
            )
        )
        rows[name] = {"ratio": ratio, "nll_excess": excess, "coverage_68": coverage}
        print(
            f"| {name} | {ratio:.3f} | {excess:+.3f} | {coverage:.3f} | {best:.0f} | {seconds:.0f} |",
            flush=True,
        )
    print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
