"""Two versions on the same test sessions: which measurements they share, and what is missing."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import ModelVersion
from heimdall_core.database.job_tables import Artifact
from heimdall_core.domain.errors import StorageRefused
from heimdall_core.registry.ancestry import read_used_sessions
from heimdall_core.registry.bootstrap import LEAST_SESSIONS
from heimdall_core.registry.gate import MEDIAN_ERROR, NLL, Contest
from heimdall_core.registry.measurements import Measurement, evaluation_of, find_measurements, find_shared
from heimdall_core.registry.reading import ByteSource
from heimdall_core.registry.session_errors import (
    RESIDUALS,
    SessionErrors,
    pair_sessions,
    read_session_errors,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Two versions' errors on the same sessions."""

    measured: tuple[Measurement, Measurement]
    num_measured: tuple[int, int]
    """Test sessions that each was measured on."""
    errors: tuple[SessionErrors, SessionErrors]
    """On those that both were measured on and neither was fitted to."""

    @property
    def num_sessions(self) -> int:
        """How many those are."""
        return len(self.errors[0].session_ids)


Met = TypeVar("Met", Contest, Paired)


def find_contest(
    session: Session,
    store: ByteSource,
    challenger: ModelVersion,
    champion: ModelVersion,
    fresh: Sequence[Measurement] = (),
    *,
    min_sessions: int = 1,
) -> Contest | None:
    """What the two make of the same test sessions; None: they were not measured so.

    Metrics do where both were measured on the whole split and had seen nothing of it; else the sessions that
    are new to both are taken from the files of residuals. Of several contests the first with enough sessions
    counts, else the one with the most. Where the two were trained on datasets of different names, only the
    test split of the challenger's does.

    Raises:
        StorageUnavailable: such a file cannot be read, or is not what its job wrote.
    """
    pairs = find_shared(session, challenger, champion, fresh)
    if is_elsewhere(challenger, champion):
        pairs = (pair for pair in pairs if pair[0].dataset_digest == challenger.dataset_digest)
    return _first_enough(
        (partial(_contest, session, store, own, theirs) for own, theirs in pairs), min_sessions
    )


def is_elsewhere(challenger: ModelVersion, champion: ModelVersion) -> bool:
    """Whether the two were trained on datasets of different names."""
    return challenger.dataset_name != champion.dataset_name


def find_paired(
    session: Session, store: ByteSource, first: ModelVersion, second: ModelVersion
) -> Paired | None:
    """The errors of both, session by session; None: they were not measured on the same dataset version.

    Of several such measurements as ``find_contest``.

    Raises:
        StorageUnavailable: a file of residuals cannot be read, or is not what its job wrote.
    """
    pairs = find_shared(session, first, second)
    return _first_enough((partial(_paired, session, store, *pair) for pair in pairs), LEAST_SESSIONS)


def missing_evaluations(
    session: Session, first: ModelVersion, second: ModelVersion, fresh: Sequence[Measurement] = ()
) -> tuple[dict[str, Any], ...]:
    """Bodies for ``POST /v1/jobs`` after which the two are measured on the same sessions.

    On the dataset version of the one that was registered last: its test sessions are the newest. Of datasets
    of different names on the first one's.
    """
    newer = first if is_elsewhere(first, second) else max((first, second), key=lambda row: row.version)
    return tuple(
        evaluation_of(row, newer)
        for row in sorted((first, second), key=lambda row: row.version)
        if not any(_has_residuals(session, job_id) for job_id in _jobs_on(session, row, newer, fresh))
    )


def _first_enough(meetings: Iterable[Callable[[], Met | None]], min_sessions: int) -> Met | None:
    """The first with enough sessions, else the one with the most; None: there is none.

    Raises:
        StorageRefused: a file is lost, and no meeting without it has enough.
    """
    most: Met | None = None
    lost: StorageRefused | None = None
    for meet in meetings:
        try:
            met = meet()
        except StorageRefused as error:
            lost = lost or error
            continue
        if met is not None and (met.num_sessions is None or met.num_sessions >= min_sessions):
            return met
        if met is not None and (most is None or (met.num_sessions or 0) > (most.num_sessions or 0)):
            most = met
    if lost is not None:
        raise lost
    return most


def _jobs_on(
    session: Session, row: ModelVersion, on: ModelVersion, fresh: Sequence[Measurement]
) -> Iterator[str]:
    for measurement in find_measurements(session, row, fresh):
        if measurement.dataset_digest == on.dataset_digest:
            yield measurement.job_id


def _has_residuals(session: Session, job_id: str) -> bool:
    found = select(Artifact.id).where(Artifact.job_id == job_id, Artifact.name == RESIDUALS).limit(1)
    return session.scalar(found) is not None


def _contest(session: Session, store: ByteSource, own: Measurement, theirs: Measurement) -> Contest | None:
    if own.is_whole and theirs.is_whole:
        return _between(own, own.num_sessions, _stated(own), _stated(theirs))
    paired = _paired(session, store, own, theirs)
    if paired is None:
        return None
    first, second = paired.errors
    return _between(own, len(first.session_ids), _figures(first), _figures(second))


def _between(
    own: Measurement,
    num_sessions: int | None,
    challenger: dict[str, float | None],
    champion: dict[str, float | None],
) -> Contest:
    return Contest(
        dataset_name=own.dataset_name,
        dataset_version=own.dataset_version,
        dataset_digest=own.dataset_digest,
        num_sessions=num_sessions,
        challenger=challenger,
        champion=champion,
    )


def _stated(measurement: Measurement) -> dict[str, float | None]:
    error_m, nll = (measurement.metrics.get(name) for name in (MEDIAN_ERROR, NLL))
    return {
        MEDIAN_ERROR: None if error_m is None else error_m * measurement.error_factor,
        NLL: None if nll is None else nll + measurement.nll_change,
    }


def _figures(errors: SessionErrors) -> dict[str, float | None]:
    if not errors.session_ids:
        return {MEDIAN_ERROR: None, NLL: None}
    return {MEDIAN_ERROR: float(np.median(errors.error_m)), NLL: float(np.mean(errors.nll_per_m2))}


def _paired(session: Session, store: ByteSource, one: Measurement, other: Measurement) -> Paired | None:
    first = _errors_of(session, store, one)
    second = None if first is None else _errors_of(session, store, other)
    if first is None or second is None:
        return None
    return Paired(
        measured=(one, other),
        num_measured=(len(first.session_ids), len(second.session_ids)),
        errors=pair_sessions(first, second),
    )


def _errors_of(session: Session, store: ByteSource, measurement: Measurement) -> SessionErrors | None:
    """As served, and with the sessions that ancestors of the weights were trained on marked as fitted."""
    errors = read_session_errors(session, store, measurement.job_id)
    if errors is None:
        return None
    for former in measurement.former:
        errors = errors.fitted_to(read_used_sessions(store, former))
    return errors.served_with(error_factor=measurement.error_factor, nll_change=measurement.nll_change)
