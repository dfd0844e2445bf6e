"""A TCP proxy that can fail like a network: refuse, go silent, delay, or lose the answer to a COMMIT."""

import asyncio
import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["open", "closed", "silent", "slow"]
_COMMIT = b"COMMIT\x00"
_LOOK_SECONDS = 0.02
_BLOCK = 65_536


@dataclass(slots=True, eq=False)
class _Link:
    """One connection and its other half."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    loses_answer: bool = False

    def reset(self) -> None:
        for writer in (self.client, self.server):
            with contextlib.suppress(OSError, RuntimeError):
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


@dataclass(slots=True, eq=False)
class Proxy:
    """Between one client program and one server."""

    name: str
    target: int
    loop: asyncio.AbstractEventLoop
    port: int = 0
    mode: Mode = "open"
    delay_seconds: float = 0.0
    #: So many COMMITs still lose their answer.
    lose_commits: int = 0
    #: So many answers of any kind still get lost.
    lose_answers: int = 0
    lost: int = 0
    _links: set[_Link] = field(default_factory=set)

    def reset(self) -> None:
        """Every connection ends as if the peer had rebooted."""
        self.loop.call_soon_threadsafe(self._reset)

    def _reset(self) -> None:
        for link in list(self._links):
            link.reset()

    async def listen(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "closed":
            writer.transport.abort()
            return
        await self._gate()
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, far_writer)
        self._links.add(link)
        try:
            await asyncio.gather(self._up(link, reader), self._down(link, far_reader))
        except (OSError, asyncio.IncompleteReadError):
            link.reset()
        finally:
            self._links.discard(link)
            for half in (writer, far_writer):
                with contextlib.suppress(OSError, RuntimeError):
                    half.close()

    async def _up(self, link: _Link, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_BLOCK):
            await self._gate()
            if self.lose_commits > 0 and _COMMIT in data:
                self.lose_commits -= 1
                link.loses_answer = True
            link.server.write(data)
            await link.server.drain()
        link.reset()

    async def _down(self, link: _Link, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_BLOCK):
            await self._gate()
            if link.loses_answer or self.lose_answers > 0:
                self.lose_answers = max(0, self.lose_answers - (not link.loses_answer))
                self.lost += 1
                break
            link.client.write(data)
            await link.client.drain()
        link.reset()

    async def _gate(self) -> None:
        if self.mode == "slow":
            await asyncio.sleep(self.delay_seconds)
        while self.mode == "silent":
            await asyncio.sleep(_LOOK_SECONDS)


class ProxyHost:
    """All proxies of a run, in one thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def open(self, name: str, target: int) -> Proxy:
        """A proxy that listens on a port of its own."""
        proxy = Proxy(name, target, self._loop)
        asyncio.run_coroutine_threadsafe(proxy.listen(), self._loop).result(5)
        return proxy

    def close(self) -> None:
        """Ends the thread; connections end with the process."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
