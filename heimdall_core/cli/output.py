"""What commands print: lines, tables and JSON on stdout, errors on stderr."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from heimdall_core.domain.errors import HeimdallError


class PlainConsole(Console):
    """Prints what it is given: no guessed colours, no emoji for ``:names:``, plain where nobody watches."""

    def __init__(self, *, stderr: bool = False, width: int | None = None, soft_wrap: bool = False) -> None:
        super().__init__(stderr=stderr, width=width, soft_wrap=soft_wrap, highlight=False, emoji=False)

    def on_broken_pipe(self) -> NoReturn:
        """Ends quietly: the reader, such as ``head``, has seen enough."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0)


console = PlainConsole(soft_wrap=True)
errors = PlainConsole(stderr=True, soft_wrap=True)

KILOBYTE = 1000.0
_WIDE = 1000
MINUTE_SECONDS = 60


def say(line: str = "") -> None:
    """Prints a line; ``[bold]`` and the like are markup."""
    console.print(line)


def show_error(error: HeimdallError) -> None:
    """Prints what went wrong and, if known, what to do."""
    errors.print("[bold red]error:[/] ", end="")
    errors.print(error.message, markup=False)
    if error.hint:
        errors.print(f"       {error.hint}", markup=False, style="dim")


def show_json(value: object) -> None:
    """Prints a value as JSON, for programs to read."""
    console.print(json.dumps(value, indent=2, ensure_ascii=False), markup=False)


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the one style of this command."""
    made = Table(
        title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False
    )
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def show_rows(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Prints rows as a table, or one line where there are none."""
    listed = list(rows)
    if not listed:
        say(f"[dim]{empty}[/]")
        return
    made = table(*columns)
    for row in listed:
        made.add_row(*(_cell(value) for value in row))
    show_table(made)


def show_table(made: Table) -> None:
    """Prints a table with every cell whole; a narrow terminal wraps its lines itself."""
    needed = made.__rich_measure__(console, console.options.update_width(_WIDE)).maximum
    PlainConsole(width=max(console.width, needed)).print(made)


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def metres(value: object) -> str:
    """A distance as people say it."""
    if not isinstance(value, int | float):
        return "-"
    return f"{value:z,.0f} m" if abs(value) < 10 * KILOBYTE else f"{value / KILOBYTE:,.1f} km"


def size(num_bytes: float) -> str:
    """A number of bytes with a decimal unit."""
    for unit in ("B", "kB", "MB"):
        if num_bytes < KILOBYTE:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= KILOBYTE
    return f"{num_bytes:.1f} GB"


def duration(seconds: object) -> str:
    """Seconds as ``1:05``, or a dash."""
    if not isinstance(seconds, int | float):
        return "-"
    minutes, rest = divmod(round(seconds), MINUTE_SECONDS)
    return f"{minutes}:{rest:02d}"


def moment(text: object) -> str:
    """An RFC 3339 time in local time, to the second."""
    if not isinstance(text, str):
        return "-"
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def member(data: Mapping[str, object] | None, *path: str) -> object:
    """A nested member of a JSON object, or None where any step is absent."""
    value: object = data
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
