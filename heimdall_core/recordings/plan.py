"""Which files make which session: known before any samples are read, so that they can be fetched ahead."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from heimdall_core.recordings.fields import MAX_TEXT
from heimdall_core.recordings.recording_reading import Header
from heimdall_core.recordings.refusal import RefusedFile
from heimdall_core.recordings.session import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPlan:
    """One recording whose samples are still to be read."""

    name: str
    """The ``.sigmf-meta`` or the line of a sheet that describes it."""
    data: str
    """The file with its samples."""
    header: Header


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPlan:
    """A session to be, and the recordings that it cannot have."""

    file: str
    """The collection, else the first metadata file or line of a sheet."""
    name: str
    source: Source
    recordings: tuple[RecordingPlan | RefusedFile, ...]
    started_at: datetime | None = None
    """None: when the first recording started."""
    split_group: str | None = None

    @property
    def data_files(self) -> tuple[str, ...]:
        """The files with samples, in the order in which they are read."""
        return tuple(r.data for r in self.recordings if isinstance(r, RecordingPlan))


Plan = SessionPlan | RefusedFile


def title_of(file: str, ending: str) -> str:
    """The name of a session that states none: its file's, without folders and ending."""
    name = "".join(c for c in PurePosixPath(file).name.removesuffix(ending) if c.isprintable())
    return name.strip()[:MAX_TEXT] or "session"


def contradicted_by(values: Sequence[Hashable]) -> list[int] | None:
    """For each value the place of one that differs from it; None: all are equal."""
    other = next((i for i, value in enumerate(values) if value != values[0]), None)
    if other is None:
        return None
    return [other if value == values[0] else 0 for value in values]
