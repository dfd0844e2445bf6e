"""Server-sent events out of bytes, however they are cut (HTML standard, section 9.2)."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from heimdall_client.errors import UnreadableAnswer

MEDIA_TYPE: Final = "text/event-stream"
LONGEST_FRAME_CHARS: Final = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One event of a stream."""

    id: str | None
    event: str
    data: str


class FrameReader:
    """Fed with pieces of a body; gives the frames that they complete."""

    def __init__(self) -> None:
        self.retry_seconds: float | None = None
        """What the service asks to wait before it is connected to again."""
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest = ""
        self._id: str | None = None
        self._event, self._data = "", list[str]()

    def feed(self, piece: bytes) -> Iterator[Frame]:
        """The frames that end in this piece; one that the stream's end cuts off is none.

        Raises:
            UnreadableAnswer: a frame is longer than any event.
        """
        self._rest += self._decoder.decode(piece)
        for line in self._complete_lines():
            if line:
                self._take(line)
            elif frame := self._finished():
                yield frame
        if len(self._rest) + sum(map(len, self._data)) > LONGEST_FRAME_CHARS:
            raise UnreadableAnswer("the stream of events has a frame without end", code="unreadable_answer")

    def _complete_lines(self) -> list[str]:
        """The lines whose end is known; a CR at the very end may be half of a CRLF."""
        held = "\r" if self._rest.endswith("\r") else ""
        text = self._rest.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n")
        *lines, last = text.split("\n")
        self._rest = last + held
        return lines

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdecimal():
            self.retry_seconds = int(value) / 1000.0

    def _finished(self) -> Frame | None:
        event, data = self._event or "message", self._data
        self._event, self._data = "", []
        return Frame(id=self._id, event=event, data="\n".join(data)) if data else None
