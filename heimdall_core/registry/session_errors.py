"""What a version makes of each test session, read from a job's ``residuals.json``."""

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from heimdall_core.database.job_tables import Artifact
from heimdall_core.registry.measurements import SPLIT
from heimdall_core.registry.reading import ByteSource, read_written

RESIDUALS: Final = "residuals.json"
_LEAST_SIGMA_M = 0.05
"""Half of the step in which the file gives standard deviations."""
_MOST_CORRELATION = 0.99995

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SessionErrors:
    """N test sessions in the order of their ids; every array is (N,)."""

    session_ids: tuple[str, ...]
    error_m: Float
    nll_per_m2: Float
    was_fitted: NDArray[np.bool_]
    """Whether the network was fitted to the session."""

    def take(self, places: Sequence[int]) -> "SessionErrors":
        """Some of them, by place."""
        chosen = list(places)
        return SessionErrors(
            session_ids=tuple(self.session_ids[i] for i in chosen),
            error_m=self.error_m[chosen],
            nll_per_m2=self.nll_per_m2[chosen],
            was_fitted=self.was_fitted[chosen],
        )

    def fitted_to(self, session_ids: AbstractSet[str]) -> "SessionErrors":
        """The same of a network that was fitted to these sessions too."""
        more = np.array([one in session_ids for one in self.session_ids], bool)
        return replace(self, was_fitted=self.was_fitted | more)

    def served_with(self, *, error_factor: float, nll_change: float) -> "SessionErrors":
        """The same of a file that makes so much else of the network: every error, every NLL alike."""
        return replace(self, error_m=self.error_m * error_factor, nll_per_m2=self.nll_per_m2 + nll_change)


def read_session_errors(session: Session, store: ByteSource, job_id: str) -> SessionErrors | None:
    """The test sessions of the job's ``residuals.json``; None: it has handed out none.

    Raises:
        StorageUnavailable: the file cannot be read, is gone (``object_gone``), or is not what the job wrote
            (``object_changed``).
    """
    statement = select(Artifact).where(Artifact.job_id == job_id, Artifact.name == RESIDUALS)
    artifact = session.scalar(statement.order_by(Artifact.attempt.desc()).limit(1))
    if artifact is None:
        return None
    return parse_session_errors(json.loads(read_written(store, artifact.uri, artifact.sha256)))


def parse_session_errors(document: Mapping[str, Any]) -> SessionErrors:
    """The test sessions of a parsed ``residuals.json``."""
    rows = sorted(
        (row for row in document["sessions"] if row["split"] == SPLIT), key=lambda row: str(row["session_id"])
    )
    return SessionErrors(
        session_ids=tuple(str(row["session_id"]) for row in rows),
        error_m=_column(rows, "error_m"),
        nll_per_m2=_nll_per_m2(rows),
        was_fitted=np.array([row["trained_on"] is True for row in rows], bool),
    )


def pair_sessions(first: SessionErrors, second: SessionErrors) -> tuple[SessionErrors, SessionErrors]:
    """Both on the sessions that both were measured on and neither was fitted to, in the same order."""
    places = {session_id: place for place, session_id in enumerate(second.session_ids)}
    common = [
        (i, places[session_id])
        for i, session_id in enumerate(first.session_ids)
        if session_id in places and not first.was_fitted[i] and not second.was_fitted[places[session_id]]
    ]
    return first.take([i for i, _ in common]), second.take([j for _, j in common])


def _nll_per_m2(rows: Sequence[Mapping[str, Any]]) -> Float:
    """-ln of the Gaussian's density per square metre at the label."""
    east = np.maximum(_column(rows, "sigma_east_m"), _LEAST_SIGMA_M)
    north = np.maximum(_column(rows, "sigma_north_m"), _LEAST_SIGMA_M)
    correlation = np.clip(_column(rows, "correlation"), -_MOST_CORRELATION, _MOST_CORRELATION)
    root_determinant = east * north * np.sqrt(1.0 - correlation**2)
    return np.log(2.0 * np.pi * root_determinant) + 0.5 * _column(rows, "squared_mahalanobis")


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> Float:
    return np.array([row[name] for row in rows], np.float64)
