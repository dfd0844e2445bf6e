"""Which recordings of the platform belong to which of its sessions; pure, no database.

The platform's recorder writes one row per receiver and piece of IQ: its ``timestamp`` lies within the
session, its ``frequency_hz`` is the known source's. A row that the platform (or we) linked to a session
belongs to that one, whatever its time.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from heimdall_core.catalogue.platform_report import PlatformRecording
from heimdall_core.domain.errors import DataError
from heimdall_core.recordings.refusal import Refusal, RefusedFile
from heimdall_core.recordings.session import utc_text
from heimdall_core.storage.uri import SCHEME, object_uri, split_uri

FREQUENCY_TOLERANCE_HZ: Final = 500
"""The recorder keeps a frequency in MHz as a float and cuts it to whole Hz, with three decimals at the
coarsest: at most 500 Hz off, and far from the next channel (6.25 kHz)."""

PLATFORM_FORMAT: Final = "npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionWindow:
    """When and where a session of the platform may have been heard."""

    id: str
    name: str
    starts_at: datetime
    ends_at: datetime
    is_chosen: bool
    """Whether this import takes it over; the others only tell what is ambiguous."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformRow:
    """A measurement that has IQ and that nobody has described yet."""

    id: str
    timestamp: datetime
    receiver: str | None
    frequency_hz: int
    location: str
    format: str | None
    sample_rate_hz: int | None
    num_samples: int | None
    session_ids: tuple[str, ...]
    """The one that it is linked to, else all that it fits by time and frequency."""

    @property
    def name(self) -> str:
        """What a report calls it: the object's key."""
        return (
            self.location.removeprefix(SCHEME).partition("/")[2] if SCHEME in self.location else self.location
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """The recordings to read, and those that cannot be used whatever their objects hold."""

    recordings: tuple[PlatformRecording, ...]
    refused: tuple[RefusedFile, ...]


def match_rows(
    rows: Iterable[PlatformRow],
    windows: Mapping[str, SessionWindow],
    *,
    bucket: str,
    described: Collection[tuple[str, str]] = (),
) -> Matching:
    """Gives each row to its session, in order of time.

    Args:
        rows: candidates, each with the sessions that it may belong to.
        windows: every session that a row names.
        bucket: where the platform's recorder stores; a bare key lies there.
        described: (session, receiver) pairs that have a recording already.
    """
    matcher = _Matcher(bucket=bucket, taken=set(described))
    for row in sorted(rows, key=lambda row: (row.timestamp, row.receiver or "", row.location)):
        matcher.take(row, _inside(row, [windows[i] for i in row.session_ids]))
    return Matching(recordings=tuple(matcher.recordings), refused=tuple(matcher.refused))


def _inside(row: PlatformRow, fits: Sequence[SessionWindow]) -> Sequence[SessionWindow]:
    """Where one session ends as the next begins, a row at that moment is the next one's."""
    return [window for window in fits if row.timestamp < window.ends_at] or fits


class _Matcher:
    """Takes rows one after another; the first of a receiver in a session is the one that counts."""

    def __init__(self, *, bucket: str, taken: set[tuple[str, str]]) -> None:
        self._bucket = bucket
        self._described = frozenset(taken)
        self._taken = taken
        self._uris: set[str] = set()
        self.recordings: list[PlatformRecording] = []
        self.refused: list[RefusedFile] = []

    def take(self, row: PlatformRow, fits: Sequence[SessionWindow]) -> None:
        """Accepts or refuses the row; what concerns no chosen session is left alone."""
        if not any(window.is_chosen for window in fits) or self._is_known(row, fits):
            return
        try:
            _check_unambiguous(fits)
            self.recordings.append(self._recording(row, fits[0]))
        except Refusal as refusal:
            self.refused.append(refusal.of(row.name))

    def _is_known(self, row: PlatformRow, fits: Sequence[SessionWindow]) -> bool:
        return len(fits) == 1 and (fits[0].id, row.receiver) in self._described

    def _recording(self, row: PlatformRow, window: SessionWindow) -> PlatformRecording:
        receiver, sample_rate_hz = _checked(row)
        uri = _uri_within(self._bucket, row.location)
        self._claim(uri, (window.id, receiver))
        return PlatformRecording(
            session_id=window.id,
            session_name=window.name,
            measurement_id=row.id,
            timestamp=utc_text(row.timestamp),
            receiver=receiver,
            name=row.name,
            location=row.location,
            uri=uri,
            sample_rate_hz=sample_rate_hz,
            frequency_hz=row.frequency_hz,
            num_samples=row.num_samples,
        )

    def _claim(self, uri: str, place: tuple[str, str]) -> None:
        if uri in self._uris:
            raise Refusal("object_used_twice", "another measurement names the same object")
        if place in self._taken:
            raise Refusal(
                "duplicate_receiver",
                f"receiver {place[1]!r} has an earlier recording in this session",
                hint="A session has one recording per receiver; the earliest is taken.",
            )
        self._uris.add(uri)
        self._taken.add(place)


def _uri_within(bucket: str, location: str) -> str:
    """The object's URI, which is one of this bucket."""
    uri = object_uri(location, bucket=bucket)
    try:
        named, _ = split_uri(uri)
    except DataError:
        named = None
    if named != bucket:
        hint = f"The recordings of the platform are looked for in s3://{bucket} alone."
        raise Refusal("foreign_location", f"{location!r} is no object there", hint=hint)
    return uri


def _check_unambiguous(fits: Sequence[SessionWindow]) -> None:
    if len(fits) > 1:
        names = ", ".join(repr(window.name) for window in fits[:3])
        raise Refusal(
            "ambiguous_session",
            f"fits {len(fits)} sessions by time and frequency: {names}",
            hint="Set its recording_session_id, or end one session before the next begins.",
        )


def _checked(row: PlatformRow) -> tuple[str, int]:
    """Receiver and sample rate."""
    if row.receiver is None:
        raise Refusal("no_receiver", "its measurement names no receiver")
    if row.format != PLATFORM_FORMAT:
        raise Refusal(
            "unsupported_format",
            f"its iq_data_format is {row.format!r}, not {PLATFORM_FORMAT!r}",
            hint="Import other formats as SigMF: heimdall recordings import PATHS.",
        )
    if not row.sample_rate_hz or row.sample_rate_hz < 0:
        raise Refusal("no_sample_rate", f"its iq_sample_rate is {row.sample_rate_hz}")
    return row.receiver, row.sample_rate_hz


def group_rows(pairs: Iterable[tuple[PlatformRow, str]]) -> Iterator[PlatformRow]:
    """One row for each measurement, with all the sessions that it came with."""
    sessions: dict[tuple[datetime, str], list[str]] = {}
    rows: dict[tuple[datetime, str], PlatformRow] = {}
    for row, session_id in pairs:
        key = (row.timestamp, row.id)
        rows.setdefault(key, row)
        sessions.setdefault(key, []).append(session_id)
    for key, row in rows.items():
        yield PlatformRow(
            id=row.id,
            timestamp=row.timestamp,
            receiver=row.receiver,
            frequency_hz=row.frequency_hz,
            location=row.location,
            format=row.format,
            sample_rate_hz=row.sample_rate_hz,
            num_samples=row.num_samples,
            session_ids=tuple(sessions[key]),
        )
