"""How soon events reach their followers, and what those cost the database.

``python -m benchmarks.event_streams``. One API process, PostgreSQL and the followers share this machine;
rounds with few and with many followers take turns. A delay is from the return of an event's COMMIT to its
arrival at a follower; statements are counted in the API process.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from fastapi import FastAPI
from sqlalchemy import event

from heimdall_core.accounts.keys import ensure_key, make_key
from heimdall_core.database.engine import Database
from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Job
from heimdall_core.database.migrate import upgrade
from heimdall_core.embedded.ports import LOOPBACK
from heimdall_core.embedded.stack import EmbeddedStack
from heimdall_core.jobs.events import record_event
from heimdall_core.settings import Settings

_EVENT = "bench.tick"
_GRACE_SECONDS = 10.0


def create() -> FastAPI:
    """The API, with a count of the statements that it has sent."""
    from api.main import create as create_api

    app, counted = create_api(), {"statements": 0}

    @event.listens_for(app.state.services.database.engine, "before_cursor_execute")
    def count(*_: object) -> None:
        counted["statements"] += 1

    @app.get("/bench", include_in_schema=False)
    async def statements() -> dict[str, int]:
        return counted

    return app


@dataclass(slots=True)
class Round:
    """What one round has shown."""

    num_followers: int
    delays_ms: list[float] = field(default_factory=list)
    num_lost: int = 0
    statements_per_event: float = 0.0
    idle_statements_per_minute: float = 0.0


@contextmanager
def serving(environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """The URL of an API process."""
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.event_streams:create"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--host", LOOPBACK, "--port", str(port), "--no-access-log"],
            env={**os.environ, **environment, "HEIMDALL_RATE_LIMIT__ENABLED": "false"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://{LOOPBACK}:{port}"
    try:
        _wait_for(url, process, log)
        yield url
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        print(f"the API stopped in {time.monotonic() - began:.1f} s")
    finally:
        process.kill()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        try:
            httpx.get(f"{url}/livez", trust_env=False)
        except httpx.TransportError:
            if process.poll() is not None:
                raise SystemExit(log.read_text()) from None
            time.sleep(0.1)
        else:
            return


async def follow(url: str, key: str, arrived: list[tuple[float, bytes]], ready: asyncio.Semaphore) -> None:
    """Notes when each event arrives on one stream; what it says is read later."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET /v1/events/stream?name={_EVENT} HTTP/1.1\r\nHost: {host}\r\n"
        f"Authorization: Bearer {key}\r\n\r\n".encode()
    )
    try:
        while line := await reader.readline():
            if line.startswith(b"retry: "):
                ready.release()
            elif line.startswith(b"data: "):
                arrived.append((time.perf_counter(), line))
    finally:
        writer.close()


async def run_round(
    url: str, key: str, database: Database, job_id: str, arguments: argparse.Namespace, num_followers: int
) -> Round:
    """Opens so many streams, records events and waits for them."""
    arrived: list[tuple[float, bytes]] = []
    ready, found = asyncio.Semaphore(0), Round(num_followers=num_followers)
    followers = [asyncio.create_task(follow(url, key, arrived, ready)) for _ in range(num_followers)]
    for _ in followers:
        await asyncio.wait_for(ready.acquire(), timeout=120)
    await asyncio.sleep(2)
    idle = _statements(url)
    await asyncio.sleep(arguments.idle_seconds)
    begun = _statements(url)
    found.idle_statements_per_minute = (begun - idle) * 60 / arguments.idle_seconds
    committed = await asyncio.to_thread(_record, database, job_id, arguments)
    deadline = time.monotonic() + _GRACE_SECONDS
    while len(arrived) < num_followers * len(committed) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    found.statements_per_event = (_statements(url) - begun) / len(committed)
    for follower in followers:
        follower.cancel()
    await asyncio.gather(*followers, return_exceptions=True)
    for moment, line in arrived:
        number = json.loads(line.removeprefix(b"data: "))["data"]["number"]
        found.delays_ms.append(max(0.0, 1e3 * (moment - committed[number])))
    found.num_lost = num_followers * len(committed) - len(found.delays_ms)
    return found


def _record(database: Database, job_id: str, arguments: argparse.Namespace) -> dict[int, float]:
    committed: dict[int, float] = {}
    pause = threading.Event()
    for number in range(arguments.events):
        with database.transaction() as session:
            record_event(session, session.get_one(Job, job_id), _EVENT, number=number)
        committed[number] = time.perf_counter()
        pause.wait(1 / arguments.rate)
    return committed


def _statements(url: str) -> int:
    count: int = httpx.get(f"{url}/bench", trust_env=False, timeout=30).json()["statements"]
    return count


def main() -> None:
    """Prints one line per round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--followers", type=int, nargs="+", default=[1, 500])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--rate", type=float, default=3.0, help="events per second")
    parser.add_argument("--idle-seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with EmbeddedStack(Path(folder) / "home", services=False) as stack:
            _measure(stack.environment, Path(folder) / "api.log", arguments)


def _measure(environment: Mapping[str, str], log: Path, arguments: argparse.Namespace) -> None:
    os.environ.update(environment)
    settings = Settings(_env_file=None)
    database = Database(settings.database)
    upgrade(database.engine)
    key, job_id = make_key(), new_id("job")
    with database.transaction() as session:
        ensure_key(session, key, owner="ann", name="benchmark")
        session.add(Job(id=job_id, kind="train", owner="ann", spec={}))
    with serving(environment, log) as url:
        print("followers  delay p50    p99    max ms  lost  statements/event  idle statements/min")
        for _ in range(arguments.rounds):
            for num_followers in arguments.followers:
                found = asyncio.run(run_round(url, key, database, job_id, arguments, num_followers))
                p50, p99, most = np.percentile(found.delays_ms or [float("nan")], [50, 99, 100])
                print(
                    f"{num_followers:9d}  {p50:9.1f}  {p99:5.1f}  {most:8.1f}  {found.num_lost:4d}"
                    f"  {found.statements_per_event:16.2f}  {found.idle_statements_per_minute:19.1f}",
                    flush=True,
                )
    database.dispose()


if __name__ == "__main__":
    main()
