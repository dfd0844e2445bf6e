"""Where the sources of a selection lie, few enough to draw, and which receivers hear the same. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from heimdall_core.datasets.assembling import SelectedSession, Selection
from heimdall_core.domain.manifest import Split
from heimdall_core.domain.spec import STRICT

MOST_PLACES: Final = 1000
"""Of each split; where there are more, those of one cell of a grid are told together."""
MOST_RECEIVERS: Final = 100
_CELLS_A_SIDE: Final = 30
_DECIMALS: Final = 5

_Spot = tuple[Split | None, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Sessions whose sources lie at one position, or near to each other: then it is their mean."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    latitude: float
    longitude: float
    split: Split | None
    """Null: the sessions have not been split."""
    sessions: int


def gather_places(
    sessions: Sequence[SelectedSession], split_of_each: Sequence[Split] | None
) -> Sequence[Place]:
    """At most ``MOST_PLACES`` of each split, which together hold every session; most sessions last."""
    splits: Iterable[Split | None] = split_of_each or [None] * len(sessions)
    counts: defaultdict[_Spot, int] = defaultdict(int)
    for one, split in zip(sessions, splits, strict=True):
        counts[split, one.latitude, one.longitude] += 1
    found: list[Place] = []
    for split in dict.fromkeys(spot[0] for spot in counts):
        found += _of_split(split, {spot[1:]: n for spot, n in counts.items() if spot[0] == split})
    return sorted(found, key=lambda place: place.sessions)


def _of_split(split: Split | None, counts: dict[tuple[float, float], int]) -> list[Place]:
    places = [(latitude, longitude, sessions) for (latitude, longitude), sessions in counts.items()]
    if len(places) <= MOST_PLACES:
        return [_mean(split, [place]) for place in places]
    spots = np.array(list(counts))
    low, high = spots.min(axis=0), spots.max(axis=0)
    size = np.maximum((high - low) / _CELLS_A_SIDE, 1e-9)
    cells: defaultdict[tuple[int, int], list[tuple[float, float, int]]] = defaultdict(list)
    for (row, column), place in zip(((spots - low) // size).astype(int).tolist(), places, strict=True):
        cells[row, column].append(place)
    return [_mean(split, members) for members in cells.values()]


def _mean(split: Split | None, members: Sequence[tuple[float, float, int]]) -> Place:
    sessions = sum(number for _, _, number in members)
    latitude, longitude = (sum(m[axis] * m[2] for m in members) / sessions for axis in (0, 1))
    return Place(
        latitude=round(latitude, _DECIMALS),
        longitude=round(longitude, _DECIMALS),
        split=split,
        sessions=sessions,
    )


def count_together(selection: Selection) -> Sequence[Sequence[int]] | None:
    """(R, R): sessions that two receivers recorded, on the diagonal those of one; None: too many."""
    if len(selection.receivers) > MOST_RECEIVERS:
        return None
    places = {receiver.name: place for place, receiver in enumerate(selection.receivers)}
    heard = np.zeros((len(selection.sessions), len(places)), np.float32)
    for row, one in enumerate(selection.sessions):
        heard[row, [places[recording.receiver] for recording in one.recordings]] = 1.0
    together: list[list[int]] = (heard.T @ heard).round().astype(int).tolist()
    return together
