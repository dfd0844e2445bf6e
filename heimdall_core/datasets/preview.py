"""Previewing: what a definition would freeze, in numbers. Reads only; writes, stores and locks nothing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import ClassVar

from sqlalchemy.orm import Session

from heimdall_core.datasets.assembling import Selection, assemble_manifest, divide_into_units
from heimdall_core.datasets.definition import DatasetDefinition
from heimdall_core.datasets.duplicates import MAX_IDS_SHOWN, check_no_leak, find_shared
from heimdall_core.datasets.freezing import check_selection, find_digest, next_version
from heimdall_core.datasets.places import Place, gather_places
from heimdall_core.datasets.query_bounds import check_approved_only, check_bounds
from heimdall_core.datasets.selection import select_sessions
from heimdall_core.datasets.splitting import split_units
from heimdall_core.datasets.summary import (
    SelectionSummary,
    Separation,
    SplitSize,
    separate,
    split_sizes,
    summarize,
)
from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.domain.manifest import Manifest, Split
from heimdall_core.domain.spec import STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewProblem:
    """Something that would make freezing fail."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    pointer: str
    """JSON pointer into the body, as in a problem document."""
    detail: str
    code: str
    """Of the problem document that freezing would answer with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Sessions that the rest of the query matches and that would not be frozen; each counts once."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    pending: int = 0
    """Nobody has approved or rejected them."""
    rejected: int = 0
    approved: int = 0
    """Only where the query asks for other statuses."""
    incomplete_source: int = 0
    """Of a source without position or frequency."""
    no_recordings: int = 0
    """The selected receivers recorded nothing."""
    unverified_iq: int = 0
    """No recording has a location, checksum, byte range, sample rate and known format."""
    too_few_receivers: int = 0
    """Fewer than ``min_receivers`` recorded it."""
    below_min_snr: int = 0
    """Enough receivers recorded it, but too few reached ``min_snr_db``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingsLeftOut:
    """Recordings by the selected receivers that would not be frozen though their session matches."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    unverified: int = 0
    """Without location, checksum, byte range, sample rate or known format."""
    repeated: int = 0
    """A receiver recorded the session more than once; its earliest recording is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """Sessions that share recordings byte for byte with others; silence does not count."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    sessions: int
    across_splits: int
    """Those that share recordings with another split, which freezing refuses."""
    session_ids: Sequence[str]
    """The first 20, those across splits before the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetPreview(SelectionSummary):
    """What a definition would freeze, in numbers."""

    splits: Mapping[Split, SplitSize] | None
    """Null: the sessions cannot be split as asked; ``problems`` says why."""
    separation: Mapping[Split, Separation] | None
    """How far val and test lie from the nearest position that trains; null: as ``splits``."""
    places: Sequence[Place]
    """Where the sources lie, at most 1,000 places of each split."""
    units: int | None
    """Blocks, groups or sources that no split divides; null: the sessions cannot be divided so."""
    left_out: LeftOut
    recordings_left_out: RecordingsLeftOut
    duplicates: Duplicates
    problems: Sequence[PreviewProblem]
    """What would make freezing fail; empty: freezing this now succeeds."""
    would_create_version: int | None
    """Number of the version that freezing would make; null: it would fail, or make none."""
    same_as_version: int | None
    """Version that has this content already: freezing would give it again."""


def preview_dataset(session: Session, definition: DatasetDefinition, *, raw_bucket: str) -> DatasetPreview:
    """What freezing would make of the definition now.

    Raises:
        InvalidRequest: the query contradicts itself or names what does not exist.
    """
    check_bounds(definition.query)
    selection = select_sessions(session, definition.query, raw_bucket=raw_bucket)
    trial = _Trial(selection, definition)
    created, same = _versions(session, trial) if not trial.problems else (None, None)
    summary = summarize(selection)
    return DatasetPreview(
        **{member.name: getattr(summary, member.name) for member in fields(summary)},
        splits=split_sizes(selection.sessions, trial.units, trial.split_of_each)
        if trial.split_of_each
        else None,
        separation=separate(selection.sessions, trial.split_of_each) if trial.split_of_each else None,
        places=gather_places(selection.sessions, trial.split_of_each),
        units=len(set(trial.units)) if trial.units else None,
        left_out=LeftOut(**selection.left_out),
        recordings_left_out=RecordingsLeftOut(**selection.recordings_left_out),
        duplicates=_duplicates(selection, trial.split_of_each),
        problems=trial.problems,
        would_create_version=created,
        same_as_version=same,
    )


class _Trial:
    """Takes the steps of freezing that need no database, and keeps what fails instead of ending there."""

    def __init__(self, selection: Selection, definition: DatasetDefinition) -> None:
        self.selection, self.definition = selection, definition
        self.units: Sequence[str] = ()
        self.splits: Mapping[str, Split] = {}
        self.problems: list[PreviewProblem] = []
        with self._keeping():
            check_approved_only(definition.query)
        with self._keeping():
            check_selection(selection, definition.query)
        if selection.sessions:
            with self._keeping():
                self._split()

    @property
    def split_of_each(self) -> Sequence[Split] | None:
        """The split of each session; None: they cannot be split."""
        return [self.splits[unit] for unit in self.units] if self.splits else None

    def manifest(self, *, version: int) -> Manifest:
        """What would be frozen."""
        return assemble_manifest(
            self.selection, self.definition, units=self.units, splits=self.splits, version=version
        )

    def _split(self) -> None:
        self.units = divide_into_units(self.selection, self.definition.split)
        self.splits = split_units(self.units, self.definition.split)
        check_no_leak(self.selection.sessions, self.split_of_each or ())

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        try:
            yield
        except InvalidRequest as refused:
            self.problems += [
                PreviewProblem(pointer=f"#{one.pointer}", detail=one.detail, code=refused.stable_code)
                for one in refused.problems
            ]


def _versions(session: Session, trial: _Trial) -> tuple[int | None, int | None]:
    """The version that would be made, and the one that exists with this content: one of them is None."""
    name = trial.definition.name
    number = next_version(session, name)
    if number == 1:
        return number, None
    former = find_digest(session, name, trial.manifest(version=number).digest())
    return (None, former.version) if former else (number, None)


def _duplicates(selection: Selection, splits: Sequence[Split] | None) -> Duplicates:
    shared = find_shared(selection.sessions, splits)
    ids = list(dict.fromkeys([*shared.across_splits, *shared.sessions]))
    return Duplicates(
        sessions=len(shared.sessions),
        across_splits=len(shared.across_splits),
        session_ids=ids[:MAX_IDS_SHOWN],
    )
