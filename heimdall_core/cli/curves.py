"""How a training goes, epoch by epoch: small curves for a terminal, a line each elsewhere."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from heimdall_core.cli.output import metres

WIDTH: Final = 28
"""Characters of a plot, of two dots each."""
HEIGHT: Final = 2
"""Characters of a plot, of four dots each."""
_BLANK: Final = 0x2800
#: Bit of each dot of a braille character, by column and row.
_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One value for each epoch; less is better."""

    label: str
    epochs: Sequence[int]
    values: Sequence[float]
    tell: Callable[[float], str]

    def summary(self) -> str:
        """The newest value, and the least with its epoch."""
        least = min(range(len(self.values)), key=self.values.__getitem__)
        newest, best = self.tell(self.values[-1]), self.tell(self.values[least])
        return f"{newest}, least {best} at epoch {self.epochs[least]}"


def _loss(value: float) -> str:
    return f"{value:z.3f}"


#: Label, the curves that it may be (the first that there is counts), and how a value is told.
_SHOWN: Final[Sequence[tuple[str, Sequence[str], Callable[[float], str]]]] = (
    ("loss", ("val_loss", "train_loss"), _loss),
    ("median error", ("val_median_error_m",), metres),
)
NAMES: Final = tuple(name for _, names, _ in _SHOWN for name in names)
"""Of the curves to ask the service for."""


def read_curves(metrics: Mapping[str, Sequence[Mapping[str, float | None]]]) -> list[Curve]:
    """The curves of a job's ``metrics``; of several values in an epoch the last, of later attempts theirs."""
    return [
        Curve(label=label, epochs=list(found), values=list(found.values()), tell=tell)
        for label, names, tell in _SHOWN
        if (found := next(filter(None, (_by_epoch(metrics.get(name, ())) for name in names)), None))
    ]


def _by_epoch(points: Sequence[Mapping[str, float | None]]) -> dict[int, float]:
    found = {
        int(point["epoch"]): point["value"]
        for point in points
        if point["value"] is not None and point["epoch"] is not None
    }
    return dict(sorted(found.items()))


def plot_lines(curves: Sequence[Curve], *, width: int = WIDTH) -> Iterator[str]:
    """Each curve as a plot with its summary beside it."""
    for curve in curves:
        if len(curve.values) > 1:
            first, *others = plot(curve.values, width=width)
            yield f"{curve.label:<12} {first} {curve.summary()}"
            yield from (f"{'':<12} {other}" for other in others)


def summary_lines(curves: Sequence[Curve]) -> Iterator[str]:
    """Each curve in words: for logs and pipes."""
    for curve in curves:
        yield f"{curve.label:<12} {curve.summary()}"


def plot(values: Sequence[float], *, width: int = WIDTH, height: int = HEIGHT) -> list[str]:
    """The values from left to right in braille dots, the greatest at the top."""
    columns = _resampled(values, 2 * width)
    least, span = min(columns), max(columns) - min(columns)
    top = 4 * height - 1
    rows = [top - round((value - least) / span * top) if span else top for value in columns]
    cells = [[_BLANK] * width for _ in range(height)]
    for x, row in enumerate(rows):
        for y in _joined(rows[max(x - 1, 0)], row):
            cells[y // 4][x // 2] |= _DOTS[x % 2][y % 4]
    return ["".join(map(chr, line)) for line in cells]


def _joined(former: int, row: int) -> range:
    """The dots of a column: its own, and those between it and the column before."""
    if former == row:
        return range(row, row + 1)
    return range(former + 1, row + 1) if row > former else range(row, former)


def _resampled(values: Sequence[float], count: int) -> list[float]:
    """As many values as columns: means of neighbours where there are more, straight lines where fewer."""
    if len(values) > count:
        bounds = [x * len(values) // count for x in range(count + 1)]
        return [_mean(values[start:end]) for start, end in pairwise(bounds)]
    return [_between(values, x * (len(values) - 1) / (count - 1)) for x in range(count)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _between(values: Sequence[float], place: float) -> float:
    before = int(place)
    after = min(before + 1, len(values) - 1)
    return values[before] + (place - before) * (values[after] - values[before])
