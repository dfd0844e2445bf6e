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
from numpy.typing import NDArray

from heimdall_core.evaluation.drawing import BLUE, GREY, INK, VERMILION, canvas, save
from heimdall_core.evaluation.map_labels import draw_scale_bar, name_places
from heimdall_core.evaluation.metrics import CHI_SQUARED_2, Float, Predictions
from heimdall_core.recordings.geodesy import to_plane_km

_DRAWN_SESSIONS = 150
_DRAWN_ELLIPSES = 8
_MARGIN = 0.06
_WIDTH_IN = 8.0
_HEIGHT_RANGE_IN = (4.2, 8.6)
#: Of axis labels, title and legend.
_BORDER_IN = (0.8, 1.25)


def draw_map(
    path: Path,
    *,
    predictions: Predictions,
    true_km: Float,
    receivers_km: Float,
    receiver_names: Sequence[str],
    origin: tuple[float, float],
) -> Path:
    """Receivers, true and predicted positions, the errors between them and the 68 % ellipses of a few."""
    predicted_km = np.stack(to_plane_km(predictions.latitude, predictions.longitude, origin=origin), axis=1)
    shown = _spread(len(true_km), _DRAWN_SESSIONS)
    drawn_km = np.concatenate([true_km[shown], predicted_km[shown]])
    low, high = _frame(np.concatenate([drawn_km, receivers_km]))
    figure, axes = canvas(_WIDTH_IN, _height(high - low))
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.set_xlabel(f"km east of {_degrees(origin[1], 'E', 'W')}")
    axes.set_ylabel(f"km north of {_degrees(origin[0], 'N', 'S')}")
    axes.set_title(_map_title(len(true_km), len(shown)), loc="left")
    _map_legend(figure)
    _draw_errors(axes, true_km[shown], predicted_km[shown])
    _draw_ellipses(axes, predictions, true_km, predicted_km, shown[_apart(predicted_km[shown])])
    axes.scatter(
        *receivers_km.T, s=95, marker="^", color=VERMILION, edgecolors="white", linewidths=0.9, zorder=6
    )
    figure.draw_without_rendering()
    draw_scale_bar(axes, np.concatenate([drawn_km, receivers_km]))
    name_places(axes, receivers_km, receiver_names, drawn_km)
    return save(figure, path, palette=True)


def _frame(points_km: Float) -> tuple[Float, Float]:
    """The corners of everything drawn, and a margin."""
    low, high = points_km.min(axis=0), points_km.max(axis=0)
    margin = _MARGIN * float((high - low).max() or 1.0)
    return low - margin, high + margin


def _height(extent_km: Float) -> float:
    """Of a figure whose map fills its width."""
    ratio = float(extent_km[1] / extent_km[0])
    return float(np.clip((_WIDTH_IN - _BORDER_IN[0]) * ratio + _BORDER_IN[1], *_HEIGHT_RANGE_IN))


def _degrees(value: float, positive: str, negative: str) -> str:
    return f"{abs(value):.3f}° {positive if value >= 0 else negative}"


def _spread(total: int, wanted: int) -> Any:
    """At most ``wanted`` places, evenly spread over ``total``."""
    return np.unique(np.linspace(0, total - 1, min(total, wanted)).round().astype(np.int64))


def _draw_errors(axes: Any, true_km: Float, predicted_km: Float) -> None:
    segments = np.stack([true_km, predicted_km], axis=1)
    axes.add_collection(LineCollection(list(segments), colors=GREY, linewidths=0.6, alpha=0.4, zorder=2))
    axes.scatter(*true_km.T, s=14, facecolors="white", edgecolors=INK, linewidths=0.8, zorder=3)
    axes.scatter(*predicted_km.T, s=12, color=BLUE, linewidths=0, zorder=4)


def _apart(places_km: Float) -> NDArray[np.int64]:
    """A few of the places, each the farthest from those before it; the first is the most central."""
    chosen = [int(np.linalg.norm(places_km - np.median(places_km, axis=0), axis=1).argmin())]
    nearest = np.full(len(places_km), np.inf)
    while len(chosen) < min(_DRAWN_ELLIPSES, len(places_km)):
        nearest = np.minimum(nearest, np.linalg.norm(places_km - places_km[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    return np.unique(np.array(chosen, np.int64))


def _draw_ellipses(
    axes: Any, predictions: Predictions, true_km: Float, predicted_km: Float, chosen: NDArray[np.int64]
) -> None:
    """The 68 % ellipses of the chosen sessions, with their errors in bold."""
    axes_km = _ellipse_axes(predictions.take(chosen))
    for width, height, angle, i in zip(*axes_km, chosen, strict=True):
        ellipse = Ellipse(tuple(predicted_km[i]), width, height, angle=angle, facecolor=(*to_rgb(BLUE), 0.05))
        ellipse.set(edgecolor=(*to_rgb(BLUE), 0.6), linewidth=1.0, zorder=1)
        axes.add_patch(ellipse)
    bold = np.stack([true_km[chosen], predicted_km[chosen]], axis=1)
    axes.add_collection(LineCollection(list(bold), colors=INK, linewidths=1.1, zorder=4.5))
    axes.scatter(*true_km[chosen].T, s=34, facecolors="white", edgecolors=INK, linewidths=1.3, zorder=5)
    axes.scatter(*predicted_km[chosen].T, s=38, color=BLUE, edgecolors="white", linewidths=0.9, zorder=5)


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
