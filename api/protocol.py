"""HTTP/1.1 for ``uvicorn --http``: uvicorn's own, with bounds on the time and size of a request's head.

Without them a caller that sends a byte now and then holds a connection for ever.
"""

from asyncio import TimerHandle, Transport
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS: Final = 10.0
"""From the first byte of a connection, or of a request on it, to the end of the request's headers."""
HEAD_BYTES: Final = 64 * 1024
"""Request line and headers."""
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
)


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose request's head is too slow or too large."""

    head_seconds = HEAD_SECONDS
    head_bytes = HEAD_BYTES
    _clock: TimerHandle | None = None
    _num_head_bytes = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Starts the clock."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what comes before the end of the headers."""
        if self._clock is not None:
            self._num_head_bytes += len(data)
        super().data_received(data)
        if self._clock is not None and self._num_head_bytes > self.head_bytes:
            self._refuse(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._start_clock()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._stop_clock()
        super().on_headers_complete()

    def _start_clock(self) -> None:
        if self._clock is None:
            self._num_head_bytes = 0
            self._clock = self.loop.call_later(self.head_seconds, self._refuse, _TOO_SLOW)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _refuse(self, answer: bytes) -> None:
        """Ends the connection; says why unless an answer to a former request is on its way."""
        self._stop_clock()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(answer)
        self.transport.close()
