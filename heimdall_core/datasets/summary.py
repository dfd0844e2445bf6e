"""A selection in numbers: receivers, levels, frequencies, times and places. Pure: no database."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import median
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from heimdall_core.datasets.assembling import SelectedSession, Selection
from heimdall_core.datasets.definition import Box
from heimdall_core.datasets.places import Place, count_together, gather_places
from heimdall_core.datasets.region import smallest_box
from heimdall_core.domain.manifest import Split
from heimdall_core.domain.spec import STRICT
from heimdall_core.recordings.geodesy import distance_m

SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")
SNR_BIN_DB = 5
MAX_FREQUENCIES = 20
_DECIMALS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSize:
    """How much one split holds."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    sessions: int
    units: int
    """Blocks, groups or sources."""
    positions: int = 0
    """Distinct positions of known sources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """How far the sessions of a split lie from the nearest position that trains: small distances leak."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    smallest_m: float
    p10_m: float
    median_m: float
    shared_positions: int
    """Positions of the split that the training split has too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSummary:
    """What one receiver recorded."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    name: str
    recordings: int
    median_snr_db: float | None
    """Null: the SNR of none of its recordings is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardBy:
    """How many sessions this many receivers recorded."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    receivers: int
    sessions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnrBin:
    """How many recordings have an SNR of at least ``from_db`` and below ``to_db``."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    from_db: int
    to_db: int
    recordings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnrHistogram:
    """Recordings by SNR."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    bins: Sequence[SnrBin]
    """Steps of 5 dB, lowest first; those without a recording are left out."""
    unknown: int
    """Recordings whose SNR the catalogue does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrequencyCount:
    """How many sessions a frequency has."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    frequency_hz: float
    sessions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRange:
    """Start of the first and of the last session, RFC 3339 in UTC."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    first: str
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionSummary:
    """What was selected, in numbers."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    sessions: int
    recordings: int
    sources: int
    """Known sources by name."""
    positions: int
    """Distinct positions of known sources: what the network can learn to tell apart."""
    receivers: Sequence[ReceiverSummary]
    """The network's inputs, in the order of its channels."""
    heard_by: Sequence[HeardBy]
    """Sessions by the number of receivers that recorded them, fewest first."""
    heard_together: Sequence[Sequence[int]] | None = None
    """Sessions that both of two receivers recorded, rows and columns in the order of ``receivers``.

    On the diagonal those that one recorded. Null: more than 100 receivers, frozen before it was kept, or in
    a list of versions.
    """
    snr: SnrHistogram
    frequencies: Sequence[FrequencyCount]
    """The 20 frequencies with the most sessions, most first."""
    num_frequencies: int
    time_range: TimeRange | None
    """Null: there is no session."""
    bounding_box: Box | None
    """The smallest box that holds the sources, across the antimeridian where that is narrower."""


def summarize(selection: Selection) -> SelectionSummary:
    """The numbers of a selection."""
    sessions = selection.sessions
    frequencies = Counter(one.frequency_hz for one in sessions)
    return SelectionSummary(
        sessions=len(sessions),
        recordings=sum(len(one.recordings) for one in sessions),
        sources=len({one.source for one in sessions}),
        positions=len({(one.latitude, one.longitude) for one in sessions}),
        receivers=_receivers(selection),
        heard_by=_heard_by(sessions),
        heard_together=count_together(selection),
        snr=_snr_histogram([snr for one in sessions for snr in one.snr_db]),
        frequencies=[
            FrequencyCount(frequency_hz=frequency, sessions=count)
            for frequency, count in sorted(frequencies.items(), key=_most_first)[:MAX_FREQUENCIES]
        ],
        num_frequencies=len(frequencies),
        time_range=_time_range(sessions),
        bounding_box=_bounding_box(sessions),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionStatistics(SelectionSummary):
    """What a dataset version holds, in numbers."""

    splits: Mapping[Split, SplitSize]
    separation: Mapping[Split, Separation]
    """Of val and test from train."""
    places: Sequence[Place] | None = None
    """Where the sources lie, at most 1,000 places of each split; null: frozen before they were kept, or in a
    list of versions."""


def describe_version(
    selection: Selection, units: Sequence[str], split_of_each: Sequence[Split]
) -> VersionStatistics:
    """The numbers of a selection whose sessions, with one unit each, are split."""
    summary = summarize(selection)
    return VersionStatistics(
        **{member.name: getattr(summary, member.name) for member in fields(summary)},
        splits=split_sizes(selection.sessions, units, split_of_each),
        separation=separate(selection.sessions, split_of_each),
        places=gather_places(selection.sessions, split_of_each),
    )


def split_sizes(
    sessions: Sequence[SelectedSession], units: Sequence[str], split_of_each: Sequence[Split]
) -> dict[Split, SplitSize]:
    """Sessions, units and positions of each split; one unit and one split for each session."""
    positions = _positions(sessions, split_of_each)
    counts = Counter(split_of_each)
    parts = Counter(split for _, split in set(zip(units, split_of_each, strict=True)))
    return {
        split: SplitSize(sessions=counts[split], units=parts[split], positions=len(positions[split]))
        for split in SPLITS
    }


def separate(sessions: Sequence[SelectedSession], split_of_each: Sequence[Split]) -> dict[Split, Separation]:
    """How far the positions of val and test lie from those of train; quantiles are over positions."""
    positions = _positions(sessions, split_of_each)
    trained = np.array(sorted(positions["train"]))
    found: dict[Split, Separation] = {}
    for split in ("val", "test"):
        if positions[split] and len(trained):
            nearest_m = _nearest_m(np.array(sorted(positions[split])), trained)
            smallest, p10, half = np.quantile(nearest_m, [0.0, 0.1, 0.5]).tolist()
            found[split] = Separation(
                smallest_m=round(smallest, _DECIMALS),
                p10_m=round(p10, _DECIMALS),
                median_m=round(half, _DECIMALS),
                shared_positions=len(positions[split] & positions["train"]),
            )
    return found


def _positions(
    sessions: Sequence[SelectedSession], split_of_each: Sequence[Split]
) -> dict[Split, set[tuple[float, float]]]:
    """The distinct latitudes and longitudes of each split."""
    found: dict[Split, set[tuple[float, float]]] = {split: set() for split in SPLITS}
    for one, split in zip(sessions, split_of_each, strict=True):
        found[split].add((one.latitude, one.longitude))
    return found


def _nearest_m(positions: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Geodesic distance of each position (M, 2), degrees, to the nearest of the others.

    The nearest is found on the sphere and measured on the ellipsoid: they differ by less than 1 %.
    """
    _, nearest = KDTree(_on_sphere(others)).query(_on_sphere(positions))
    return distance_m(*positions.T, *others[nearest].T)


def _on_sphere(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    latitude, longitude = np.radians(positions).T
    ring = np.cos(latitude)
    return np.stack([ring * np.cos(longitude), ring * np.sin(longitude), np.sin(latitude)], axis=1)


def _most_first(item: tuple[float, int]) -> tuple[int, float]:
    return -item[1], item[0]


def _receivers(selection: Selection) -> Sequence[ReceiverSummary]:
    levels: defaultdict[str, list[float | None]] = defaultdict(list)
    for one in selection.sessions:
        for recording, snr_db in zip(one.recordings, one.snr_db, strict=True):
            levels[recording.receiver].append(snr_db)
    return [
        ReceiverSummary(
            name=receiver.name,
            recordings=len(levels[receiver.name]),
            median_snr_db=_median([snr for snr in levels[receiver.name] if snr is not None]),
        )
        for receiver in selection.receivers
    ]


def _median(values: Sequence[float]) -> float | None:
    return round(median(values), _DECIMALS) if values else None


def _heard_by(sessions: Sequence[SelectedSession]) -> Sequence[HeardBy]:
    counts = Counter(len(one.recordings) for one in sessions)
    return [HeardBy(receivers=number, sessions=counts[number]) for number in sorted(counts)]


def _snr_histogram(levels: Sequence[float | None]) -> SnrHistogram:
    steps = Counter(math.floor(level / SNR_BIN_DB) for level in levels if level is not None)
    return SnrHistogram(
        bins=[
            SnrBin(from_db=step * SNR_BIN_DB, to_db=(step + 1) * SNR_BIN_DB, recordings=steps[step])
            for step in sorted(steps)
        ],
        unknown=len(levels) - steps.total(),
    )


def _time_range(sessions: Sequence[SelectedSession]) -> TimeRange | None:
    """Of sessions in order of time."""
    return TimeRange(first=sessions[0].started_at, last=sessions[-1].started_at) if sessions else None


def _bounding_box(sessions: Sequence[SelectedSession]) -> Box | None:
    if not sessions:
        return None
    return smallest_box([one.latitude for one in sessions], [one.longitude for one in sessions])
