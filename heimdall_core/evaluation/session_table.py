"""``sessions.json``: the evaluated sessions by column, from which a page draws map, error and calibration."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from heimdall_core.domain.manifest import Split
from heimdall_core.evaluation.breakdowns import Truth
from heimdall_core.evaluation.metrics import Float, Predictions, residual_m, squared_mahalanobis
from heimdall_core.recordings.geodesy import to_degrees, to_plane_km

SESSIONS_SCHEMA: Final = 1
_READING: Final[Mapping[str, str]] = {
    "sessions": "one value for each session in every column",
    "east_km": "in the plane about the origin: azimuthal equidistant, WGS-84",
    "snr_db": "one row for each session, one value for each receiver; null: it heard nothing",
    "trained_on": "true: the network was fitted to it, so a small error proves nothing; null: not known",
    "errors_m": "of the model first, then of each baseline",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SessionTable:
    """N sessions of one split: where they were, and where the model puts them."""

    split: Split
    session_ids: tuple[str, ...]
    sources: tuple[str | None, ...]
    """Names of the transmitters; None: the manifest does not know the session."""
    trained_on: tuple[bool | None, ...]
    """Whether the network was fitted to the session; None: not known."""
    predictions: Predictions
    truth: Truth
    errors_m: Mapping[str, Float]
    """By name, the model's first: (N,) metres."""
    receiver_names: tuple[str, ...]
    receivers_km: Float
    """(R, 2) east, north."""

    def write(self, path: Path) -> Path:
        """Writes JSON with one column to a line."""
        members = [f'"{name}": {_compact(value)}' for name, value in self._head().items()]
        members.append(_object("sessions", self._columns()))
        members.append(_object("errors_m", {name: _rounded(e, 1) for name, e in self.errors_m.items()}))
        path.write_text("{\n " + ",\n ".join(members) + "\n}\n")
        return path

    def _head(self) -> dict[str, Any]:
        latitude, longitude = self.truth.origin
        return {
            "schema": SESSIONS_SCHEMA,
            "reading": dict(_READING),
            "split": self.split,
            "num_sessions": len(self.session_ids),
            "origin": {"latitude": latitude, "longitude": longitude},
            "receivers": list(self._receivers()),
        }

    def _receivers(self) -> Iterator[dict[str, Any]]:
        degrees = to_degrees(*self.receivers_km.T, origin=self.truth.origin)
        for name, (east, north), latitude, longitude in zip(
            self.receiver_names, self.receivers_km, *degrees, strict=True
        ):
            yield {
                "name": name,
                "latitude": round(float(latitude), 6),
                "longitude": round(float(longitude), 6),
                "east_km": round(float(east), 4),
                "north_km": round(float(north), 4),
            }

    def _columns(self) -> dict[str, Sequence[Any]]:
        truth, predicted = self.truth, self.predictions
        east, north = to_plane_km(truth.latitude, truth.longitude, origin=truth.origin)
        put_east, put_north = to_plane_km(predicted.latitude, predicted.longitude, origin=truth.origin)
        residual = residual_m(predicted, truth.latitude, truth.longitude, truth.origin)
        return {
            "session_id": self.session_ids,
            "source": self.sources,
            "trained_on": self.trained_on,
            "latitude": _rounded(truth.latitude, 6),
            "longitude": _rounded(truth.longitude, 6),
            "predicted_latitude": _rounded(predicted.latitude, 6),
            "predicted_longitude": _rounded(predicted.longitude, 6),
            "east_km": _rounded(east, 4),
            "north_km": _rounded(north, 4),
            "predicted_east_km": _rounded(put_east, 4),
            "predicted_north_km": _rounded(put_north, 4),
            "sigma_east_m": _rounded(predicted.sigma_east_m, 1),
            "sigma_north_m": _rounded(predicted.sigma_north_m, 1),
            "correlation": _rounded(predicted.correlation, 4),
            "squared_mahalanobis": _rounded(squared_mahalanobis(predicted, residual), 3),
            "snr_db": [_rounded(row, 1) for row in truth.snr_db],
        }


def _rounded(values: Iterable[float], digits: int) -> list[float | None]:
    return [round(float(value), digits) if np.isfinite(value) else None for value in values]


def _object(name: str, columns: Mapping[str, Sequence[Any]]) -> str:
    lines = ",\n  ".join(f'"{key}": {_compact(column)}' for key, column in columns.items())
    return f'"{name}": {{\n  {lines}\n }}'


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
