"""What the pictures share: a figure without a display or global state, and its colours."""

from pathlib import Path
from typing import Any, Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

# Okabe-Ito: told apart by colour-blind readers.
BLUE: Final = "#0072B2"
ORANGE: Final = "#E69F00"
GREEN: Final = "#009E73"
VERMILION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
INK: Final = "#222222"
GREY: Final = "#8a8a8a"
_DPI = 130
_NUM_COLOURS = 128
_METRES_BELOW_M = 3000.0


def canvas(width: float, height: float) -> tuple[Figure, Any]:
    """A figure of so many inches and its axes."""
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def save(figure: Figure, path: Path, *, palette: bool = False) -> Path:
    """Writes the PNG; with ``palette`` of 128 colours, which lines and markers need no more of."""
    figure.savefig(path, dpi=_DPI, facecolor="white")
    if palette:
        with Image.open(path) as drawn:
            indexed = drawn.convert("RGB").quantize(_NUM_COLOURS, dither=Image.Dither.NONE)
        indexed.save(path, optimize=True, dpi=(_DPI, _DPI))
    return path


def unit_of(median_m: float) -> tuple[str, float]:
    """Metres for a city, kilometres for a country, and how many metres one of them has."""
    return ("m", 1.0) if median_m < _METRES_BELOW_M else ("km", 1e3)
