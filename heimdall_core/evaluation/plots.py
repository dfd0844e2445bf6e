"""Curves of a report: error distribution against the baselines, and calibration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from heimdall_core.evaluation.drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    VERMILION,
    canvas,
    save,
    unit_of,
)
from heimdall_core.evaluation.metrics import CHI_SQUARED_2, Float

_LABELS: Final[Mapping[str, str]] = {
    "model": "LocalizationNet",
    "knn": "kNN (k = 15)",
    "log_distance_grid": "log-distance Bayes grid",
    "weighted_centroid": "weighted centroid",
    "train_mean": "train mean",
}
_COLOURS: Final[Mapping[str, str]] = {
    "model": BLUE,
    "knn": VERMILION,
    "log_distance_grid": GREEN,
    "weighted_centroid": ORANGE,
    "train_mean": GREY,
}


def draw_error_cdf(path: Path, errors_m: Mapping[str, Float]) -> Path:
    """The share of sessions within each error, the model's and the baselines'."""
    figure, axes = canvas(7.2, 4.8)
    unit, divisor = unit_of(float(np.median(np.concatenate(list(errors_m.values())))))
    farthest = max(float(errors.max()) for errors in errors_m.values()) / divisor
    for name, errors in errors_m.items():
        ordered = np.sort(errors) / divisor
        share = np.append(np.arange(1, len(ordered) + 1) / len(ordered), 1.0)
        label = f"{_LABELS.get(name, name)}: median {np.median(ordered):.3g} {unit}"
        emphasis = {"linewidth": 2.4, "zorder": 3} if name == "model" else {"linewidth": 1.4}
        axes.step(
            np.append(ordered, farthest),
            share,
            where="post",
            label=label,
            color=_COLOURS.get(name, PURPLE),
            **emphasis,
        )
    for level in (0.5, 0.9):
        axes.axhline(level, color=GREY, linewidth=0.7, linestyle=(0, (4, 4)), zorder=0)
    axes.set_xlim(0.0, np.percentile(np.concatenate(list(errors_m.values())), 99.0) / divisor)
    axes.set_ylim(0.0, 1.0)
    axes.set_xlabel(f"position error ({unit})")
    axes.set_ylabel("share of sessions")
    axes.set_title(f"Error of {len(next(iter(errors_m.values())))} sessions", loc="left")
    axes.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)
    return save(figure, path, palette=True)


def draw_calibration(path: Path, squared_distance: Float, *, ence: float) -> Path:
    """Observed against nominal coverage of the uncertainty ellipses, with a 95 % sampling band."""
    figure, axes = canvas(5.6, 5.4)
    nominal = np.linspace(0.0, 1.0, 101)
    inside = 1.0 - np.exp(-0.5 * np.sort(squared_distance))
    observed = np.searchsorted(inside, nominal, side="right") / len(inside)
    margin = 1.96 * np.sqrt(nominal * (1.0 - nominal) / len(inside))
    axes.fill_between(
        nominal,
        nominal - margin,
        nominal + margin,
        color=GREY,
        alpha=0.25,
        linewidth=0,
        label="95 % sampling band",
    )
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1.0, linestyle=(0, (4, 3)), label="calibrated")
    axes.plot(nominal, observed, color=BLUE, linewidth=2.2, label="observed")
    for percent, radius in CHI_SQUARED_2.items():
        share = float(np.mean(squared_distance <= radius))
        axes.plot(percent / 100, share, "o", color=BLUE, markersize=6, zorder=4)
        axes.annotate(
            f"{share:.1%}" if share > 0.995 else f"{share:.0%}",
            (percent / 100, share),
            xytext=(9, -10),
            textcoords="offset points",
            fontsize=9,
            color=BLUE,
        )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="nominal coverage of the ellipse", ylabel="observed coverage")
    axes.set_aspect("equal")
    axes.set_title(f"Calibration: ENCE {ence:.3f}", loc="left")
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    return save(figure, path, palette=True)
