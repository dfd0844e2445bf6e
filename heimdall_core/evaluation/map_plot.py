"""The map of a report: where the transmitters were, and where the model puts them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse

from heimdall_core.evaluation.drawing import BLUE, GREY, INK, VERMILION, canvas, save
from heimdall_core.evaluation.metrics import CHI_SQUARED_2, Float, Predictions
from heimdall_core.recordings.geodesy import to_plane_km

_DRAWN_SESSIONS = 250
_DRAWN_ELLIPSES = 10
_NAMED_RECEIVERS = 12
_MARGIN = 0.06


def draw_map(
    path: Path,
    *,
    predictions: Predictions,
    true_km: Float,
    receivers_km: Float,
    receiver_names: Sequence[str],
    origin: tuple[float, float],
) -> Path:
    """Receivers, true and predicted positions, the errors between them and some 68 % ellipses."""
    figure, axes = canvas(8.0, 7.2)
    predicted_km = np.stack(to_plane_km(predictions.latitude, predictions.longitude, origin=origin), axis=1)
    shown = _spread(len(true_km), _DRAWN_SESSIONS)
    _draw_errors(axes, true_km[shown], predicted_km[shown])
    _draw_ellipses(axes, predictions.take(_spread(len(true_km), _DRAWN_ELLIPSES)), predicted_km)
    _draw_receivers(axes, receivers_km, receiver_names)
    _frame_map(axes, np.concatenate([true_km[shown], predicted_km[shown], receivers_km]))
    axes.set_xlabel(f"east of {origin[1]:.3f}° (km)")
    axes.set_ylabel(f"north of {origin[0]:.3f}° (km)")
    axes.set_title(_map_title(len(true_km), len(shown)), loc="left")
    _map_legend(figure)
    return save(figure, path)


def _spread(total: int, wanted: int) -> Any:
    """At most ``wanted`` places, evenly spread over ``total``."""
    return np.unique(np.linspace(0, total - 1, min(total, wanted)).round().astype(np.int64))


def _draw_errors(axes: Any, true_km: Float, predicted_km: Float) -> None:
    segments = np.stack([true_km, predicted_km], axis=1)
    axes.add_collection(LineCollection(list(segments), colors=GREY, linewidths=0.6, alpha=0.45, zorder=2))
    axes.scatter(*true_km.T, s=14, facecolors="white", edgecolors=INK, linewidths=0.8, zorder=3)
    axes.scatter(*predicted_km.T, s=12, color=BLUE, linewidths=0, zorder=4)


def _draw_ellipses(axes: Any, predictions: Predictions, predicted_km: Float) -> None:
    chosen_km = predicted_km[_spread(len(predicted_km), _DRAWN_ELLIPSES)]
    long_km, short_km, angle_deg = _ellipse_axes(predictions)
    for width, height, angle, centre in zip(long_km, short_km, angle_deg, chosen_km, strict=True):
        ellipse = Ellipse(tuple(centre), width, height, angle=angle, facecolor=(*to_rgb(BLUE), 0.04))
        ellipse.set(edgecolor=(*to_rgb(BLUE), 0.55), linewidth=0.9, zorder=1)
        axes.add_patch(ellipse)
        axes.plot(*centre, "o", color=BLUE, markersize=5.5, markeredgecolor="white", zorder=5)


def _ellipse_axes(predictions: Predictions) -> tuple[Float, Float, Float]:
    """Full axes, km, of the 68 % ellipses and the angle of the longer, degrees from east to north."""
    east, north = predictions.sigma_east_m / 1e3, predictions.sigma_north_m / 1e3
    covariance = np.empty((len(predictions), 2, 2))
    covariance[:, 0, 0], covariance[:, 1, 1] = east**2, north**2
    covariance[:, 0, 1] = covariance[:, 1, 0] = predictions.correlation * east * north
    values, vectors = np.linalg.eigh(covariance)
    full = 2.0 * np.sqrt(CHI_SQUARED_2[68] * values)
    angle = np.degrees(np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1]))
    return full[:, 1], full[:, 0], angle


def _draw_receivers(axes: Any, receivers_km: Float, names: Sequence[str]) -> None:
    axes.scatter(
        *receivers_km.T, s=95, marker="^", color=VERMILION, edgecolors="white", linewidths=0.9, zorder=6
    )
    if len(names) > _NAMED_RECEIVERS:
        return
    for name, place in zip(names, receivers_km, strict=True):
        axes.annotate(
            name,
            place,
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color=INK,
            zorder=7,
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.75, "edgecolor": "none"},
        )


def _frame_map(axes: Any, points_km: Float) -> None:
    """Equal scales, a margin about everything drawn, and a scale bar."""
    low, high = points_km.min(axis=0), points_km.max(axis=0)
    margin = _MARGIN * float((high - low).max() or 1.0)
    axes.set_xlim(low[0] - margin, high[0] + margin)
    axes.set_ylim(low[1] - margin, high[1] + margin)
    axes.set_aspect("equal")
    length_km = _round_length(0.25 * float(high[0] - low[0] + 2 * margin))
    _draw_scale_bar(axes, length_km)


def _draw_scale_bar(axes: Any, length_km: float) -> None:
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x, y = left + 0.04 * (right - left), bottom + 0.04 * (top - bottom)
    axes.plot([x, x + length_km], [y, y], color=INK, linewidth=3.0, solid_capstyle="butt", zorder=8)
    label = f"{length_km:g} km" if length_km >= 1.0 else f"{length_km * 1e3:g} m"
    axes.annotate(
        label, (x + length_km / 2, y), xytext=(0, 4), textcoords="offset points", ha="center", fontsize=8.5
    )


def _round_length(length_km: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not longer."""
    power = 10.0 ** np.floor(np.log10(length_km))
    return float(max(factor * power for factor in (1, 2, 5) if factor * power <= length_km))


def _map_title(num_sessions: int, num_shown: int) -> str:
    shown = "" if num_shown == num_sessions else f" ({num_shown} shown)"
    return f"True and predicted positions of {num_sessions} sessions{shown}"


def _map_legend(figure: Figure) -> None:
    def dot(**style: Any) -> Line2D:
        return Line2D([], [], linestyle="none", marker=style.pop("marker", "o"), **style)

    entries = {
        "receiver": dot(marker="^", color=VERMILION, markersize=9, markeredgecolor="white"),
        "true position": dot(markerfacecolor="white", markeredgecolor=INK, markersize=5),
        "predicted position": dot(color=BLUE, markersize=5),
        "error": Line2D([], [], color=GREY, linewidth=1.0),
        "68 % ellipse": dot(markerfacecolor="#d9e8f3", markeredgecolor=BLUE, markersize=11),
    }
    figure.legend(
        list(entries.values()), list(entries), loc="outside lower center", ncols=5, frameon=False, fontsize=9
    )
