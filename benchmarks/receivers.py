"""A receiver gone or new, without training again: ``python -m benchmarks.receivers [--world a]``.

For every receiver k two networks: one trained with all receivers, one trained without k. Each answers the
other's sessions as it is, without a training step: the first one those in which k is gone (it is told so),
the second one those in which k appears (told nothing but k's position, in the side rows).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.runs import FinishedRun, RunPlan, train
from benchmarks.scores import Scores, score
from benchmarks.worlds import Sizes, add_options, world_features
from heimdall_core.domain.manifest import Split
from heimdall_core.domain.spec import ModelSpec, TrainingSpec
from heimdall_core.features import FeatureSet
from heimdall_core.networks.levels import NOWHERE
from heimdall_core.simulation.sites import ORIGIN, SITES
from heimdall_core.training.dataset import HeimdallDataset
from heimdall_core.training.inference import PlaneGaussians, predict
from heimdall_core.training.network import load_network

GOAL_OF_EXCESS = 0.15


class PlanesWithout:
    """The inputs of a feature set, with one receiver's plane zeroed as they are read."""

    def __init__(self, inputs: NDArray[np.float32], receiver: int) -> None:
        self._inputs, self._receiver = inputs, receiver
        self.shape = inputs.shape

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        """Segments by number."""
        planes = np.array(self._inputs[index])
        planes[:, self._receiver] = 0.0
        return planes


def without(features: FeatureSet, receiver: int) -> FeatureSet:
    """The same sessions as if the receiver did not exist; those that it alone heard are in no split."""
    snr_db = features.snr_db.copy()
    snr_db[:, receiver] = np.nan
    is_heard: NDArray[np.bool_] = np.asarray(np.isfinite(snr_db).any(axis=1))
    splits = [s if heard else "unheard" for s, heard in zip(features.splits, is_heard, strict=True)]
    return replace(
        features,
        inputs=cast("NDArray[np.float32]", PlanesWithout(features.inputs, receiver)),
        snr_db=snr_db,
        splits=cast("tuple[Split, ...]", tuple(splits)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A receiver that goes or appears: what a network makes of it as it is, and one trained for it."""

    receiver: str
    change: str
    as_it_is: Scores
    trained: Scores

    @property
    def excess(self) -> float:
        """RMSE over that of the network trained for it, less 1."""
        return self.as_it_is.rmse / self.trained.rmse - 1.0

    def row(self) -> str:
        """For a table in Markdown."""
        cells = (f"{s.rmse:.4g} | {s.nll:.3f} | {s.coverage_68:.3f}" for s in (self.trained, self.as_it_is))
        return f"| {self.receiver} | {self.change} | {' | '.join(cells)} | {self.excess:+.1%} |"


def compare(features: FeatureSet, whole: FinishedRun, part: FinishedRun, receiver: int) -> list[Change]:
    """The receiver gone, gone without the network's being told, new, and new but switched off."""
    less, name = without(features, receiver), SITES[receiver].receiver.name
    test = less.indices("test")
    common = np.isin(features.indices("test"), test)
    target_km = features.targets_km[test].astype(np.float64)
    found, lost = score(_of(whole.prediction, common), target_km), score(part.prediction, target_km)
    answers = {
        "gone": (_answers(whole, less, forget=receiver), lost),
        "gone, untold": (_answers(whole, less), lost),
        "new": (_of(_answers(part, features), common), found),
        "new, ignored": (part.prediction, found),
    }
    return [
        Change(receiver=name, change=change, as_it_is=score(answer, target_km), trained=trained)
        for change, (answer, trained) in answers.items()
    ]


def _answers(run: FinishedRun, features: FeatureSet, *, forget: int | None = None) -> PlaneGaussians:
    net = load_network(run.weights)
    if forget is not None:
        net.levels.sites[forget] = NOWHERE
    return predict(net, HeimdallDataset(features, "test", training=False))


def _of(prediction: PlaneGaussians, which: NDArray[np.bool_]) -> PlaneGaussians:
    return PlaneGaussians(
        mean_km=prediction.mean_km[which],
        sigma_km=prediction.sigma_km[which],
        correlation=prediction.correlation[which],
    )


def main() -> int:
    """Prints a table and a line of JSON."""
    options = _parse()
    sizes = Sizes(train=options.sessions, val=options.val, test=options.test, world=options.world)
    features = world_features(sizes)
    whole = _run(options, sizes, features, None)
    changes: list[Change] = []
    for receiver in options.receivers:
        part = _run(options, sizes, without(features, receiver), receiver)
        changes += compare(features, whole, part, receiver)
    _report(changes, options)
    return 0


def _run(options: argparse.Namespace, sizes: Sizes, features: FeatureSet, missing: int | None) -> FinishedRun:
    plan = RunPlan(
        name=f"receivers-{options.world}-{options.backbone}-without-{missing}",
        data={**asdict(sizes), "without": missing},
        model=ModelSpec(backbone=options.backbone, covariance="full"),
        training=TrainingSpec(
            epochs=options.epochs,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            weight_decay=options.weight_decay,
            early_stopping_patience=None,
            seed=options.seed,
        ),
    )
    return train(plan, features, ORIGIN)


def _report(changes: Sequence[Change], options: argparse.Namespace) -> None:
    print(f"\nworld {options.world}, {options.sessions:,} training sessions, {options.backbone}")
    print("| receiver | | trained for it: RMSE km | NLL | 68 % | as it is: RMSE km | NLL | 68 % | RMSE |")
    print("|---|---|---|---|---|---|---|---|---|")
    for change in changes:
        print(change.row())
    worst = {c.change: max(x.excess for x in changes if x.change == c.change) for c in changes}
    for name, excess in worst.items():
        print(f"{name}: {excess:+.1%} at worst (goal: within {GOAL_OF_EXCESS:.0%})")
    print(json.dumps({"worst": worst, "changes": [asdict(c) | {"excess": c.excess} for c in changes]}))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.receivers", description=__doc__)
    parser.add_argument("--receivers", type=int, nargs="*", default=list(range(len(SITES))))
    add_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
