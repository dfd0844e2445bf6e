"""What a run is told, one thing at a time, and how it is written down."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of a curve; ``at_ms`` since 1970 makes the second sending of one the same point."""

    name: str
    value: float
    step: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to send: parameters, tags, points, a file, or the end."""

    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    file: Path | None = None
    folder: str | None = None
    end_status: str | None = None
    at_ms: int = 0

    @property
    def is_essential(self) -> bool:
        """Whether it is kept although there is no room left: it is small, and a run is wrong without."""
        return bool(self.params or self.tags or self.end_status)

    def to_dict(self) -> dict[str, Any]:
        """JSON's own types; what is empty is left out."""
        points = [[p.name, p.value, p.step, p.at_ms] for p in self.points]
        file = None if self.file is None else str(self.file)
        return {
            key: value for key, value in (asdict(self) | {"points": points, "file": file}).items() if value
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Item":
        """The item that ``to_dict`` described.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        points = tuple(
            Point(name=name, value=value, step=step, at_ms=at_ms)
            for name, value, step, at_ms in data.get("points", ())
        )
        file = Path(data["file"]) if "file" in data else None
        return cls(**{**data, "points": points, "file": file})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStart:
    """How a run begins; ``key`` finds it again whoever asks.

    Args:
        key: value of the tag ``key_tag`` in MLflow.
        key_tag: the job's tag, or that of a run without a job.
        name: the run's name.
        tags: of the run; ``key_tag`` among them.
        at_ms: when it began, ms since 1970.
    """

    key: str
    key_tag: str
    name: str
    tags: Mapping[str, str]
    at_ms: int

    @property
    def query(self) -> str:
        """MLflow's filter for this run."""
        return f"tags.`{self.key_tag}` = '{self.key}'"
