"""Assembling a manifest from selected sessions: origin, units, splits. Pure: no database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from heimdall_core.datasets.definition import DatasetDefinition, SplitSpec
from heimdall_core.datasets.splitting import block_label, split_units
from heimdall_core.domain.errors import FieldProblem, InvalidRequest
from heimdall_core.domain.manifest import (
    Manifest,
    ManifestReceiver,
    ManifestRecording,
    ManifestSession,
    Split,
)
from heimdall_core.recordings.geodesy import to_plane_km

_ORIGIN_DECIMALS = 4
"""About 10 m: where the plane's origin lies need not be finer."""

_HALF_TURN = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedSession:
    """A session before it has a split."""

    id: str
    source: str
    latitude: float
    longitude: float
    frequency_hz: float
    started_at: str
    group: str | None
    recordings: tuple[ManifestRecording, ...]
    snr_db: tuple[float | None, ...] = ()
    """Of each recording, where the catalogue knows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Sessions by time, and the receivers that recorded them, by name."""

    sessions: Sequence[SelectedSession]
    receivers: tuple[ManifestReceiver, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Sessions that the query's other members match, by the reason why they do not count."""
    recordings_left_out: Mapping[str, int] = field(default_factory=dict)
    """Recordings of the selected receivers in matching sessions that cannot be used, by reason."""


def build_manifest(selection: Selection, definition: DatasetDefinition, *, version: int) -> Manifest:
    """The manifest of the selected sessions, split. Pure.

    Raises:
        InvalidRequest: the sessions cannot be split as asked.
    """
    units = divide_into_units(selection, definition.split)
    splits = split_units(units, definition.split)
    return assemble_manifest(selection, definition, units=units, splits=splits, version=version)


def assemble_manifest(
    selection: Selection,
    definition: DatasetDefinition,
    *,
    units: Sequence[str],
    splits: Mapping[str, Split],
    version: int,
) -> Manifest:
    """The manifest of sessions whose units, one for each, have a split."""
    origin = plane_origin(selection.receivers)
    return Manifest(
        name=definition.name,
        version=version,
        origin_latitude=origin[0],
        origin_longitude=origin[1],
        receivers=selection.receivers,
        sessions=tuple(
            ManifestSession(
                id=chosen.id,
                source=chosen.source,
                latitude=chosen.latitude,
                longitude=chosen.longitude,
                frequency_hz=chosen.frequency_hz,
                started_at=chosen.started_at,
                split=splits[unit],
                block=unit,
                recordings=chosen.recordings,
            )
            for chosen, unit in zip(selection.sessions, units, strict=True)
        ),
    )


def plane_origin(receivers: Sequence[ManifestReceiver]) -> tuple[float, float]:
    """Mean of the receivers' latitudes and longitudes, degrees."""
    latitude = sum(r.latitude for r in receivers) / len(receivers)
    longitude = sum(_unbroken([r.longitude for r in receivers])) / len(receivers)
    return round(latitude, _ORIGIN_DECIMALS), round(_wrapped(longitude), _ORIGIN_DECIMALS)


def _unbroken(longitudes: Sequence[float]) -> Sequence[float]:
    """The longitudes, continued past 180 degrees where receivers lie on both sides of the antimeridian."""
    if max(longitudes) - min(longitudes) <= _HALF_TURN:
        return longitudes
    return [longitude + 2 * _HALF_TURN if longitude < 0 else longitude for longitude in longitudes]


def _wrapped(longitude: float) -> float:
    return longitude - 2 * _HALF_TURN if longitude > _HALF_TURN else longitude


def divide_into_units(selection: Selection, split: SplitSpec) -> Sequence[str]:
    """The unit of each session that no split may divide.

    Raises:
        InvalidRequest: a session has no group, and the split goes by groups.
    """
    if split.strategy == "source":
        return [chosen.source for chosen in selection.sessions]
    if split.strategy == "group":
        return [_group(chosen) for chosen in selection.sessions]
    east_km, north_km = to_plane_km(
        np.array([chosen.latitude for chosen in selection.sessions]),
        np.array([chosen.longitude for chosen in selection.sessions]),
        origin=plane_origin(selection.receivers),
    )
    return [
        block_label(e, n, block_km=split.block_km)
        for e, n in zip(east_km.tolist(), north_km.tolist(), strict=True)
    ]


def _group(chosen: SelectedSession) -> str:
    if chosen.group is None:
        detail = "use spatial_block or source, or import the sessions with a group"
        problem = FieldProblem(pointer="/split/strategy", detail=detail)
        raise InvalidRequest(
            f"session {chosen.id} has no group", problems=(problem,), hint=detail, code="bad_split"
        )
    return chosen.group
