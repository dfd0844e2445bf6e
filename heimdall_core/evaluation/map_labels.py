"""Names and the scale bar of a map, put where they hide least."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from heimdall_core.evaluation.drawing import INK

Float = NDArray[np.float64]

#: Where a name may stand beside its marker: the side that it is on, horizontally and vertically.
_SIDES: Final = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))
_GAP_POINTS = 7.0
_POINTS_PER_INCH = 72.0
_FONT_SIZE: Final = 7.5
_CHAR_WIDTH: Final = 0.56
"""Of a mean character, in font sizes."""
_HALO: Final = (withStroke(linewidth=2.4, foreground="white"),)
_BAR_SHARE = 0.25
_BAR_MARGIN = 0.05


def name_places(axes: Any, places_km: Float, names: Sequence[str], obstacles_km: Float) -> None:
    """Writes each name beside its place; a name that would lie on another name is left out.

    Of the sides without another name the one with the fewest obstacles is taken. The limits of the axes
    must be final.
    """
    to_points = _POINTS_PER_INCH / axes.figure.dpi
    markers, obstacles = (axes.transData.transform(p) * to_points for p in (places_km, obstacles_km))
    frame = axes.get_window_extent().extents * to_points
    taken: list[Float] = []
    for name, place_km, place in zip(names, places_km, markers, strict=True):
        others = markers[np.any(markers != place, axis=1)]
        boxes = [_box(place, name, side) for side in _SIDES]
        free = [
            (_num_inside(box, others) * 20 + _num_inside(box, obstacles), number)
            for number, box in enumerate(boxes)
            if _is_inside(box, frame) and not any(_overlap(box, other) for other in taken)
        ]
        if free:
            side = _SIDES[min(free)[1]]
            taken.append(boxes[min(free)[1]])
            _write(axes, name, place_km, side)


def draw_scale_bar(axes: Any, obstacles_km: Float) -> None:
    """A bar of a round length in the corner that is least occupied."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    width, height = right - left, top - bottom
    length_km = round_length(_BAR_SHARE * width)
    corners = [
        (left + _BAR_MARGIN * width if at_left else right - _BAR_MARGIN * width - length_km, y)
        for y in (bottom + _BAR_MARGIN * height, top - 2 * _BAR_MARGIN * height)
        for at_left in (True, False)
    ]
    x, y = min(
        corners,
        key=lambda c: _num_inside(
            np.array([c[0], c[1] - 0.03 * height, c[0] + length_km, c[1] + 0.08 * height]), obstacles_km
        ),
    )
    axes.plot([x, x + length_km], [y, y], color=INK, linewidth=3.0, solid_capstyle="butt", zorder=8)
    label = f"{length_km:g} km" if length_km >= 1.0 else f"{length_km * 1e3:g} m"
    middle = (x + length_km / 2, y)
    text = axes.annotate(
        label, middle, xytext=(0, 4), textcoords="offset points", ha="center", fontsize=8.5, zorder=8
    )
    text.set_path_effects(_HALO)


def round_length(length_km: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not longer."""
    power = 10.0 ** np.floor(np.log10(length_km))
    return float(max(factor * power for factor in (1, 2, 5) if factor * power <= length_km))


def _write(axes: Any, name: str, place_km: Float, side: tuple[int, int]) -> None:
    text = axes.annotate(
        name,
        tuple(place_km),
        xytext=(_GAP_POINTS * side[0], _GAP_POINTS * side[1]),
        textcoords="offset points",
        ha=("right", "center", "left")[side[0] + 1],
        va=("top", "center", "bottom")[side[1] + 1],
        fontsize=_FONT_SIZE,
        color=INK,
        zorder=9,
    )
    text.set_path_effects(_HALO)


def _box(place: Float, name: str, side: tuple[int, int]) -> Float:
    """Left, bottom, right, top of a name in points."""
    width, height = _CHAR_WIDTH * _FONT_SIZE * len(name), 1.25 * _FONT_SIZE
    x = place[0] + _GAP_POINTS * side[0] + (side[0] - 1) * width / 2
    y = place[1] + _GAP_POINTS * side[1] + (side[1] - 1) * height / 2
    return np.array([x, y, x + width, y + height])


def _num_inside(box: Float, points: Float) -> int:
    return int(np.all((points >= box[:2]) & (points <= box[2:]), axis=1).sum())


def _is_inside(box: Float, frame: Float) -> bool:
    return bool(np.all(box[:2] >= frame[:2]) and np.all(box[2:] <= frame[2:]))


def _overlap(one: Float, other: Float) -> bool:
    return bool(np.all(one[:2] < other[2:]) and np.all(other[:2] < one[2:]))
