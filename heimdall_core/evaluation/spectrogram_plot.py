"""The picture of a recording session: what each receiver heard, over its noise floor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from heimdall_core.evaluation.drawing import GREY, INK, VERMILION, save
from heimdall_core.recordings.geodesy import distance_m, to_plane_km
from heimdall_core.recordings.level import channel_power_dbfs, estimate_snr_db
from heimdall_core.recordings.session import IqRecording, RecordedSession, Source

Float = NDArray[np.float64]

CHANNEL_BANDWIDTH_HZ: Final = 10_000.0
"""The channel in which levels and stated noise floors are meant."""
_COLOURS: Final = "magma"
_LOWEST_DB: Final = -5.0
_LEAST_RANGE_DB: Final = 20.0
_MOST_COLUMNS: Final = 3
_LEAST_COLUMNS: Final = 2
"""Room for the header, where one receiver alone fills the width."""
_LIKE: Final = 1.5
"""Recordings whose lengths and rates differ by less share their axes."""
_MOST_FRAMES: Final = 700
_MOST_BINS: Final = 512
_LEAST_BINS: Final = 64
_BRIGHTEST_PERCENTILE: Final = 99.7
_MEDIAN_OF_EXPONENTIAL: Final = math.log(2.0)
_PANEL_WIDTH_IN: Final = 4.1
_PANEL_HEIGHT_IN: Final = 2.35
_HEADER_HEIGHT_IN: Final = 2.7
_DPI: Final = 130
_MAP_PLACE: Final = (0.5, 0.06, 0.49, 0.88)
#: Room for a name at each side of the map, and for a line of text.
_NAME_IN: Final = 1.45
_LINE_IN: Final = 0.15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeardPanel:
    """One receiver's part of the picture."""

    receiver: str
    latitude: float
    longitude: float
    distance_km: float | None
    """To the source; None: nobody knows where it is."""
    snr_db: float | None
    level_dbfs: float
    """In the channel; -inf for silence."""
    floor_dbfs: float | None
    """Noise in the channel, as stated; None: taken from the picture itself."""
    over_noise_db: Float
    """(bins, frames)."""
    duration_ms: float
    bandwidth_khz: float


def describe_recording(recording: IqRecording, session: RecordedSession) -> HeardPanel:
    """Spectrogram and levels of a recording.

    Raises:
        ValueError: it has no samples.
    """
    if not len(recording.samples):
        raise ValueError(f"the recording of {recording.receiver.name} has no samples")
    receiver, source = recording.receiver, session.source
    distance_km = None
    if source.is_located:
        far_m = distance_m(receiver.latitude, receiver.longitude, source.latitude, source.longitude)
        distance_km = float(far_m) / 1e3
    return HeardPanel(
        receiver=receiver.name,
        latitude=receiver.latitude,
        longitude=receiver.longitude,
        distance_km=distance_km,
        snr_db=estimate_snr_db(recording, bandwidth_hz=CHANNEL_BANDWIDTH_HZ),
        level_dbfs=channel_power_dbfs(
            recording.samples, sample_rate_hz=recording.sample_rate_hz, bandwidth_hz=CHANNEL_BANDWIDTH_HZ
        ),
        floor_dbfs=recording.noise_floor_dbfs,
        over_noise_db=over_noise_db(recording),
        duration_ms=1e3 * recording.duration_seconds,
        bandwidth_khz=recording.sample_rate_hz / 1e3,
    )


def over_noise_db(recording: IqRecording) -> Float:
    """(bins, frames) power density over that of the noise, dB; frequencies rise about the centre.

    The noise is the stated floor, else the median of the picture.
    """
    density = power_density(recording.samples, recording.sample_rate_hz)
    if recording.noise_floor_dbfs is not None:
        noise = 10.0 ** (recording.noise_floor_dbfs / 10.0) / CHANNEL_BANDWIDTH_HZ
    else:
        noise = float(np.median(density)) / _MEDIAN_OF_EXPONENTIAL
    return 10.0 * np.log10(np.maximum(density, np.finfo(float).tiny) / max(noise, np.finfo(float).tiny))


def power_density(samples: NDArray[np.complex64], sample_rate_hz: float) -> Float:
    """(bins, frames) per hertz, full scale 1; of a long recording evenly spaced frames."""
    num_bins = _num_bins(len(samples))
    samples = np.pad(samples, (0, max(0, num_bins - len(samples))))
    window = hann(num_bins, sym=False)
    hop = max(num_bins // 8, -(-len(samples) // _MOST_FRAMES))
    transform = ShortTimeFFT(window, hop, sample_rate_hz, fft_mode="centered", scale_to="psd")
    first, last = transform.lower_border_end[1], transform.upper_border_begin(len(samples))[1]
    return np.asarray(transform.spectrogram(samples, p0=first, p1=max(last, first + 1)), dtype=np.float64)


def _num_bins(num_samples: int) -> int:
    """A power of two that shows time and frequency about equally fine."""
    wanted = 2 ** round(math.log2(2.0 * math.sqrt(max(num_samples, 1))))
    return int(min(max(wanted, _LEAST_BINS), _MOST_BINS))


def draw_session(path: Path, session: RecordedSession, panels: Sequence[HeardPanel]) -> Path:
    """Header, map and one spectrogram for each receiver, the strongest first, as a PNG."""
    ordered = by_strength(panels)
    columns = min(_MOST_COLUMNS, len(ordered))
    rows = -(-len(ordered) // columns)
    height_in = _PANEL_HEIGHT_IN * rows
    width_in = _PANEL_WIDTH_IN * max(columns, _LEAST_COLUMNS)
    figure = Figure(figsize=(width_in, _HEADER_HEIGHT_IN + height_in), dpi=_DPI)
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(2, 1, height_ratios=(_HEADER_HEIGHT_IN, height_in))
    header, body = parts
    scale = Normalize(_LOWEST_DB, _brightest_db(ordered))
    _draw_header(header, session, ordered)
    _draw_panels(body, ordered, scale, rows=rows, columns=columns)
    return save(figure, path)


def by_strength(panels: Sequence[HeardPanel]) -> list[HeardPanel]:
    """The strongest first."""
    return sorted(panels, key=lambda p: (-(p.snr_db if p.snr_db is not None else -math.inf), p.receiver))


def _brightest_db(panels: Sequence[HeardPanel]) -> float:
    """The top of the shared scale: a multiple of 5 dB that few points exceed."""
    peak = max(float(np.percentile(p.over_noise_db, _BRIGHTEST_PERCENTILE)) for p in panels)
    return max(_LOWEST_DB + _LEAST_RANGE_DB, 5.0 * math.ceil(peak / 5.0))


def _draw_header(header: Any, session: RecordedSession, panels: Sequence[HeardPanel]) -> None:
    source, inch = session.source, 1.0 / _HEADER_HEIGHT_IN
    left = 0.62 / header.bbox.width * header.dpi
    header.text(left, 1 - 0.24 * inch, source.name, fontsize=17, weight="bold", color=INK, va="top")
    frequency = f"{source.frequency_hz / 1e6:.4f} MHz" if source.frequency_hz else "frequency not stated"
    facts = [
        (f"{frequency}, {session.started_at:%Y-%m-%d %H:%M:%S} UTC", 11.5, INK),
        (f"{_place(source)}{_power(source.power_dbm)}", 10, GREY),
        (f"heard by {len(panels)} receiver{'s' if len(panels) != 1 else ''}", 10, GREY),
        *([(f"session {session.name}", 10, GREY)] if session.name != source.name else []),
    ]
    for number, (text, points, colour) in enumerate(facts):
        header.text(left, 1 - (0.72 + 0.27 * number) * inch, text, fontsize=points, color=colour, va="top")
    _draw_map(header, session, panels)


def _place(source: Source) -> str:
    if not source.is_located:
        return "position not known"
    north, east = "N" if source.latitude >= 0 else "S", "E" if source.longitude >= 0 else "W"
    return f"at {abs(source.latitude):.4f}° {north}, {abs(source.longitude):.4f}° {east}"


def _power(power_dbm: float | None) -> str:
    return "" if power_dbm is None else f", {power_dbm:.0f} dBm EIRP"


def _draw_map(header: Any, session: RecordedSession, panels: Sequence[HeardPanel]) -> None:
    """Receivers about the source, north up, each with its name and, if known, the length of the path."""
    axes = header.add_axes(_MAP_PLACE)
    axes.set_axis_off()
    source = session.source
    origin = (source.latitude, source.longitude) if source.is_located else _first_receiver(panels)
    planes = to_plane_km([p.latitude for p in panels], [p.longitude for p in panels], origin=origin)
    places_km = np.stack(planes, axis=1)
    km_per_inch = _frame(axes, header, np.vstack([places_km, (0.0, 0.0)]))
    if source.is_located:
        _draw_paths(axes, places_km)
    axes.scatter(*places_km.T, s=42, marker="^", color=INK, edgecolors="white", linewidths=0.7, zorder=3)
    names = [p.receiver if p.distance_km is None else f"{p.receiver}, {p.distance_km:.0f} km" for p in panels]
    for side in (-1, 1):
        chosen = np.flatnonzero((places_km[:, 0] < 0) == (side < 0))
        heights_km = spread(places_km[chosen, 1], least=_LINE_IN * km_per_inch)
        for place, height_km in zip(chosen, heights_km, strict=True):
            _name(axes, names[place], places_km[place], height_km, side=side, km_per_inch=km_per_inch)


def _first_receiver(panels: Sequence[HeardPanel]) -> tuple[float, float]:
    return panels[0].latitude, panels[0].longitude


def _draw_paths(axes: Any, places_km: Float) -> None:
    """The source, a star at the origin, and a line to each receiver."""
    for x, y in places_km:
        axes.plot([0, x], [0, y], color=GREY, linewidth=0.7, alpha=0.5, zorder=1)
    axes.scatter([0], [0], s=150, marker="*", color=VERMILION, edgecolors="white", linewidths=0.7, zorder=4)


def _frame(axes: Any, header: Any, places_km: Float) -> float:
    """Equal scales about everything drawn, with room for names at both sides; returns km per inch."""
    width_in, height_in = (
        header.bbox.width / header.dpi * _MAP_PLACE[2],
        header.bbox.height / header.dpi * _MAP_PLACE[3],
    )
    low, high = places_km.min(axis=0), places_km.max(axis=0)
    wide_km, high_km = np.maximum(high - low, 1.0)
    km_per_inch = float(max(wide_km / (width_in - 2 * _NAME_IN), high_km / (height_in - 2 * _LINE_IN)))
    centre = (low + high) / 2
    axes.set_xlim(centre[0] - width_in / 2 * km_per_inch, centre[0] + width_in / 2 * km_per_inch)
    axes.set_ylim(centre[1] - height_in / 2 * km_per_inch, centre[1] + height_in / 2 * km_per_inch)
    return km_per_inch


def _name(axes: Any, name: str, place_km: Float, height_km: float, *, side: int, km_per_inch: float) -> None:
    """Writes a name beside a receiver, at a height of its own."""
    shift_points = 72 * (height_km - place_km[1]) / km_per_inch
    axes.annotate(
        name,
        tuple(place_km),
        xytext=(7 * side, shift_points),
        textcoords="offset points",
        ha="left" if side > 0 else "right",
        va="center",
        fontsize=7.5,
        color=INK,
        zorder=5,
        bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "alpha": 0.7, "edgecolor": "none"},
    )


def spread(values: Float, *, least: float) -> Float:
    """The values moved as little as it takes to lie ``least`` apart, in the same order."""
    order = np.argsort(values, kind="stable")
    steps = least * np.arange(len(values))
    result = np.empty(len(values))
    result[order] = _pooled(np.asarray(values, dtype=float)[order] - steps) + steps
    return result


def _pooled(values: Float) -> Float:
    """The nearest values that do not fall (isotonic regression by pooling)."""
    pools: list[list[float]] = []
    for value in values:
        pools.append([float(value)])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    return np.array([np.mean(pool) for pool in pools for _ in pool])


def _draw_panels(
    body: Any, panels: Sequence[HeardPanel], scale: Normalize, *, rows: int, columns: int
) -> None:
    width, height = body.bbox.width / body.dpi, body.bbox.height / body.dpi
    grid = body.add_gridspec(
        rows,
        columns,
        left=0.62 / width,
        right=1 - 0.95 / width,
        top=1 - 0.3 / height,
        bottom=0.52 / height,
        hspace=0.36,
        wspace=0.16,
    )
    share = _are_alike([p.bandwidth_khz for p in panels]) and _are_alike([p.duration_ms for p in panels])
    for number, panel in enumerate(panels):
        axes = body.add_subplot(grid[number // columns, number % columns])
        _draw_panel(axes, panel, scale)
        if share:
            half_khz = max(p.bandwidth_khz for p in panels) / 2
            axes.set(xlim=(0, max(p.duration_ms for p in panels)), ylim=(-half_khz, half_khz))
        is_lowest, is_leftmost = number + columns >= len(panels), number % columns == 0
        axes.tick_params(labelleft=is_leftmost or not share, labelbottom=is_lowest or not share)
        axes.set_xlabel("time (ms)" if is_lowest else "", fontsize=9)
        axes.set_ylabel("offset (kHz)" if is_leftmost else "", fontsize=9)
    _draw_scale(body, scale, width=width, height=height)


def _are_alike(values: Sequence[float]) -> bool:
    return max(values) < _LIKE * min(values)


def _draw_panel(axes: Any, panel: HeardPanel, scale: Normalize) -> None:
    half_khz = panel.bandwidth_khz / 2
    axes.set_facecolor("#ececec")
    axes.imshow(
        panel.over_noise_db,
        origin="lower",
        aspect="auto",
        extent=(0, panel.duration_ms, -half_khz, half_khz),
        cmap=_COLOURS,
        norm=scale,
        interpolation="antialiased",
    )
    axes.tick_params(labelsize=8, colors=INK)
    axes.set_title(panel.receiver, loc="left", fontsize=10, weight="bold", color=INK, pad=4)
    axes.set_title(_levels(panel), loc="right", fontsize=8.5, color=INK, pad=4)


def _levels(panel: HeardPanel) -> str:
    snr = "SNR unknown" if panel.snr_db is None else f"SNR {panel.snr_db:.1f} dB"
    level = "silence" if math.isinf(panel.level_dbfs) else f"{panel.level_dbfs:.1f} dBFS"
    return f"{snr}   {level}"


def _draw_scale(body: Any, scale: Normalize, *, width: float, height: float) -> None:
    length = min(2.6, height - 0.82)
    place = body.add_axes((1 - 0.8 / width, 1 - (0.3 + length) / height, 0.14 / width, length / height))
    bar = body.colorbar(ScalarMappable(norm=scale, cmap=_COLOURS), cax=place, extend="both")
    bar.ax.tick_params(labelsize=8, colors=INK)
    bar.set_label("dB over the noise floor", fontsize=9)
    bar.outline.set_visible(False)
