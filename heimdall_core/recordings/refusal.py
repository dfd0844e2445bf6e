"""Why a file is not taken, in words for the person who sent it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

MAX_SHOWN: Final = 500
"""Characters of a name or message; archives and metadata may hold texts of any length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedFile:
    """A file (or a row of a table) that is left out, and what is wrong with it.

    Name and message are made printable and at most ``MAX_SHOWN`` long: they may come from an archive.
    """

    name: str
    code: str
    message: str
    hint: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _shown(self.name))
        object.__setattr__(self, "message", _shown(self.message))


class Refusal(Exception):
    """Raised inside a reader at the first thing wrong with a file."""

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.name: str | None = None

    def of(self, name: str) -> RefusedFile:
        """The report's line, for the file of this name unless a narrower one is known."""
        return RefusedFile(name=self.name or name, code=self.code, message=self.message, hint=self.hint)


def _shown(text: str) -> str:
    """What any log, document or database takes: no control characters, no halves of surrogate pairs."""
    cut = text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
    return "".join(c if c.isprintable() else "\ufffd" for c in cut)


@contextmanager
def refused_as(name: str) -> Iterator[None]:
    """What is refused inside is the file of this name."""
    try:
        yield
    except Refusal as refusal:
        refusal.name = refusal.name or name
        raise
