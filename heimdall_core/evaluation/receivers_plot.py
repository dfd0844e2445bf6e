"""The picture of an ablation: by how much the error grows without each receiver."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from heimdall_core.evaluation.ablation import ReceiverRemoved
from heimdall_core.evaluation.drawing import BLUE, GREY, INK, VERMILION, canvas, save, unit_of

_BAR_INCHES = 0.3
_MARGIN_INCHES = 1.35
_FEWEST_BARS = 4


def draw_receivers(path: Path, removed: Sequence[ReceiverRemoved], *, median_error_m: float) -> Path:
    """One bar for each receiver, the most missed one on top, with the 95 % interval of its length."""
    bars = [(r.change["mean_error_m"], r) for r in removed if r.change is not None]
    bars.sort(key=lambda bar: bar[0])
    known = [receiver for _, receiver in bars]
    figure, axes = canvas(7.6, _MARGIN_INCHES + _BAR_INCHES * max(len(known), _FEWEST_BARS))
    unit, divisor = unit_of(median_error_m)
    changes = np.array([change for change, _ in bars]) / divisor
    intervals = np.array([r.mean_error_change_95_m for r in known]) / divisor
    heights = np.arange(len(known))
    axes.barh(heights, changes, height=0.68, color=[BLUE if c > 0 else VERMILION for c in changes], zorder=2)
    axes.hlines(heights, *intervals.T, color=INK, linewidth=1.1, zorder=3)
    axes.axvline(0.0, color=INK, linewidth=0.8, zorder=4)
    axes.set_yticks(heights, [r.receiver for r in known])
    axes.set_ylim(-0.6, max(len(known), _FEWEST_BARS) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"change of the mean error without the receiver ({unit}), with 95 % interval")
    axes.set_title("What each receiver contributes", loc="left")
    _write_counts(axes, known, heights, intervals)
    return save(figure, path, palette=True)


def _write_counts(axes: Any, known: Sequence[ReceiverRemoved], heights: Any, intervals: Any) -> None:
    """At the right edge: how many of the sampled sessions each receiver heard."""
    low, high = min(0.0, intervals.min()), max(0.0, intervals.max())
    span = (high - low) or 1.0
    axes.set_xlim(low - 0.03 * span, high + 0.03 * span)
    for receiver, height in zip(known, heights, strict=True):
        text = f"heard {receiver.num_heard} of {receiver.num_sessions}"
        axes.annotate(
            text,
            (1.01, height),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
            color=GREY,
        )
