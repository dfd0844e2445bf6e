"""Callers that keep an HTTP server busy: raw sockets, so that the server is what is measured."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from statistics import quantiles

import uvloop

MakeRequest = Callable[[int], bytes]
"""The bytes of the request of this number."""


@dataclass(slots=True, kw_only=True)
class Load:
    """What came of a load."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of the server process."""
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def per_second(self) -> float:
        """Answers in a second."""
        return len(self.latencies) / self.seconds

    @property
    def cpu_us(self) -> float:
        """The server's own time for one answer, microseconds: what other processes do adds nothing to it."""
        return self.cpu_seconds / len(self.latencies) * 1e6

    def latency_ms(self, percent: int) -> float:
        """A percentile of the latencies."""
        return quantiles(self.latencies, n=100)[percent - 1] * 1e3


def request(method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """An HTTP/1.1 request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        has_type = "Content-Type" in (headers or {})
        lines += [] if has_type else ["Content-Type: application/json"]
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def put_under_load(
    port: int, make: MakeRequest, *, clients: int, seconds: float, pid: int | None = None
) -> Load:
    """So many callers ask one after another for so long."""
    return uvloop.run(_run(port, make, clients, seconds, pid))


async def _run(port: int, make: MakeRequest, clients: int, seconds: float, pid: int | None) -> Load:
    load = Load()
    cpu_before, began = cpu_seconds(pid), time.perf_counter()
    callers = (_call(port, make, load, number, clients, began + seconds) for number in range(clients))
    await asyncio.gather(*callers)
    load.seconds = time.perf_counter() - began
    load.cpu_seconds = cpu_seconds(pid) - cpu_before
    if refused := {status for status in load.statuses if status >= HTTPStatus.BAD_REQUEST}:
        raise RuntimeError(f"the server answered {sorted(refused)}: that is not what was to be measured")
    return load


async def _call(port: int, make: MakeRequest, load: Load, number: int, clients: int, until: float) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (asked := time.perf_counter()) < until:
        writer.write(make(number))
        status, _ = await read_answer(reader)
        load.latencies.append(time.perf_counter() - asked)
        load.statuses[status] += 1
        number += clients
    writer.close()
    await writer.wait_closed()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of an answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"transfer-encoding: chunked" in head:
        return int(head[9:12]), await _read_chunks(reader)
    _, found, rest = head.partition(b"content-length:")
    length = int(rest.partition(b"\r\n")[0]) if found else 0
    return int(head[9:12]), await reader.readexactly(length) if length else b""


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while length := int(await reader.readline(), 16):
        body += await reader.readexactly(length)
        await reader.readline()
    await reader.readline()
    return body


def cpu_seconds(pid: int | None) -> float:
    """What a process and its ended children have used; 0 without a process."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return sum(int(fields[index]) for index in (11, 12)) / 100
