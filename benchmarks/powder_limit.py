"""What the levels can tell at most: ``python -m benchmarks.powder_limit [--receivers 7]``.

If the radio map of the other four folds were the truth, levels drawn from it at the test places would be
what a receiver hears, and the map's own posterior the best estimator of the place. Its errors on such draws,
beside those on the measurements. No network is trained.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.powder import NUM_FOLDS, PowderData, powder_data
from benchmarks.powder_rivals import cells_of, invert, receiver_map
from benchmarks.scores import score
from heimdall_core.training.inference import PlaneGaussians

Float = NDArray[np.float64]


def main() -> int:
    """Prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.powder_limit", description=__doc__)
    parser.add_argument("--folder", type=Path, default=os.environ.get("HEIMDALL_POWDER_FRS"))
    parser.add_argument("--receivers", type=int, choices=(7, 25), default=7)
    options = parser.parse_args()
    if options.folder is None:
        parser.error("set HEIMDALL_POWDER_FRS or give --folder")
    data = powder_data(options.folder, options.receivers)
    folds = [_invert_fold(data, fold) for fold in range(NUM_FOLDS)]
    print("| levels | mean / median / RMSE | NLL per m² | 68 % coverage |\n|---|---|---|---|")
    for name, parts in zip(("measured", "drawn from the map"), zip(*folds, strict=True), strict=True):
        found, target = zip(*parts, strict=True)
        scores = score(PlaneGaussians.concatenate(found), np.concatenate(target), unit_m=1.0)
        print(f"| {name} | {scores.row('m')} |")
    return 0


def _invert_fold(data: PowderData, fold: int) -> list[tuple[PlaneGaussians, Float]]:
    """The posteriors of the measured and of the drawn levels of a fold's sessions, each with the targets."""
    is_test = data.fold == fold
    places, snr_db = data.features.targets_km.astype(np.float64), data.features.snr_db.astype(np.float64)
    cells, log_prior = cells_of(places[~is_test])
    maps: list[tuple[Float, Float] | None] = []
    drawn = np.full_like(snr_db[is_test], np.nan)
    rng = np.random.default_rng(fold)
    for receiver, at_km in enumerate(data.receivers_km):
        read_at = np.concatenate([cells, places[is_test]])
        radio = receiver_map(places[~is_test], snr_db[~is_test, receiver], read_at, at_km)
        if radio is None:
            maps.append(None)
            continue
        level, variance = radio
        maps.append((level[: len(cells)], variance[: len(cells)]))
        normal = rng.standard_normal(len(drawn))
        drawn[:, receiver] = level[len(cells) :] + np.sqrt(variance[len(cells) :]) * normal
    drawn[np.isnan(snr_db[is_test])] = np.nan
    target = places[is_test]
    return [(invert(levels, cells, log_prior, maps), target) for levels in (snr_db[is_test], drawn)]


if __name__ == "__main__":
    sys.exit(main())
