"""The HTTP API under 50 callers, in pairs with a bare route of the same process and with MLflow's server."""

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from pydantic import SecretStr
from sqlalchemy import text

from benchmarks.folder import bench_folder, write_json
from benchmarks.load import Load, MakeRequest, put_under_load, request
from heimdall_core.accounts.keys import ensure_key, make_key
from heimdall_core.database import Database
from heimdall_core.database.migrate import upgrade
from heimdall_core.database.paging import encode_cursor
from heimdall_core.embedded import services
from heimdall_core.embedded.ports import LOOPBACK
from heimdall_core.embedded.stack import EmbeddedStack
from heimdall_core.settings import DatabaseSettings

_DATASET = """
insert into training.dataset_version (name, version, digest, manifest_uri, manifest_sha256, counts, receivers,
    query, split, created_by)
values ('bench', 1, repeat('d', 64), 's3://heimdall-models/bench.json', repeat('e', 64),
    '{"train": 80, "val": 10, "test": 10, "recordings": 400, "units": 100}', '[]', '{}', '{}', 'bench')
"""
_JOBS = """
insert into training.job (id, kind, owner, status, spec, created_at, started_at, finished_at)
select 'job_' || translate(lpad(n::text, 24, '0'), '0189', 'abcd'), 'train', 'bench', 'succeeded',
    (select spec from training.job limit 1), now() - n * interval '1 minute',
    now() - n * interval '1 minute', now() - n * interval '1 minute'
from generate_series(1, :count) n
"""
_RUN = """
update training.job set status = 'running', lease_owner = 'bench',
    lease_expires_at = now() + interval '1 day', started_at = now() where id = :id
"""


PARTS = ("polling", "submissions", "pages", "mlflow")


class Bench:
    """One API process, its database, and callers."""

    def __init__(
        self, port: int, pid: int, database: Database, key: str, options: argparse.Namespace
    ) -> None:
        self.port, self.pid, self.database, self.options = port, pid, database, options
        self.headers = {"Authorization": f"Bearer {key}"}
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=self.headers, trust_env=False, timeout=30
        )

    def load(self, make: MakeRequest, *, port: int | None = None, pid: int | None = None) -> Load:
        """One round of a load; of the API process unless another is named."""
        return put_under_load(
            port or self.port,
            make,
            clients=self.options.clients,
            seconds=self.options.seconds,
            pid=pid or self.pid,
        )

    def get(self, path: str, **headers: str) -> MakeRequest:
        """The same GET each time."""
        raw = request("GET", path, headers={**self.headers, **headers})
        return lambda _: raw

    def paired(self, loads: Mapping[str, MakeRequest]) -> dict[str, Any]:
        """Every load once in each round; medians over the rounds."""
        rounds: dict[str, list[Load]] = {name: [] for name in loads}
        for make in loads.values():
            put_under_load(self.port, make, clients=self.options.clients, seconds=1)
        for _ in range(self.options.rounds):
            for name, make in loads.items():
                rounds[name].append(self.load(make))
        return {name: _figures(found) for name, found in rounds.items()}


def _figures(rounds: list[Load]) -> dict[str, Any]:
    statuses = sorted({status for load in rounds for status in load.statuses})
    return {
        "per_second": round(median(load.per_second for load in rounds), 1),
        "p50_ms": round(median(load.latency_ms(50) for load in rounds), 2),
        "p99_ms": round(median(load.latency_ms(99) for load in rounds), 2),
        "cpu_us": round(median(load.cpu_us for load in rounds), 1),
        "statuses": statuses,
    }


def polling(bench: Bench) -> dict[str, Any]:
    """Polls of a running and of a queued job, with ``ETag`` and without, beside a route that is empty."""
    running, queued = (bench.client.post("/v1/jobs", json=_train(n)).json()["id"] for n in range(2))
    with bench.database.transaction() as session:
        session.execute(text(_RUN), {"id": running})
    paths = {name: f"/v1/jobs/{job_id}" for name, job_id in (("running", running), ("queued", queued))}
    etags = {name: bench.client.get(path).headers["ETag"] for name, path in paths.items()}
    return bench.paired(
        {
            "empty": bench.get("/bare/empty"),
            "304_running": bench.get(paths["running"], **{"If-None-Match": etags["running"]}),
            "304_queued": bench.get(paths["queued"], **{"If-None-Match": etags["queued"]}),
            "200_running": bench.get(paths["running"]),
        }
    )


def submissions(bench: Bench) -> dict[str, Any]:
    """Jobs submitted, beside a route that does one INSERT and COMMIT."""
    bodies = [json.dumps(_train(number)).encode() for number in range(256)]

    def submit(number: int) -> bytes:
        return request("POST", "/v1/jobs", headers=bench.headers, body=bodies[number % 256])

    def keyed(number: int) -> bytes:
        headers = {**bench.headers, "Idempotency-Key": f'"{secrets.token_hex(16)}"'}
        return request("POST", "/v1/jobs", headers=headers, body=bodies[number % 256])

    def insert(number: int) -> bytes:
        return request("POST", "/bare/insert", body=bodies[number % 256])

    return bench.paired({"insert": insert, "submit": submit, "submit_with_key": keyed})


def pages(bench: Bench) -> dict[str, Any]:
    """First and last page of a list of many jobs: keyset paging makes them equal."""
    with bench.database.transaction() as session:
        session.execute(text(_JOBS), {"count": bench.options.jobs})
        oldest = session.execute(
            text("select created_at, id from training.job order by created_at, id offset 50 limit 1")
        ).one()
    with bench.database.engine.connect() as connection:
        vacuum = connection.execution_options(isolation_level="AUTOCOMMIT")
        vacuum.execute(text("vacuum analyze training.job"))
    cursor = encode_cursor(oldest.created_at, oldest.id)
    base = "/v1/jobs?limit=50&status=succeeded"
    return bench.paired({"first": bench.get(base), "last": bench.get(f"{base}&cursor={cursor}")})


def mlflow(bench: Bench, folder: Path, environment: Mapping[str, str], url: str) -> dict[str, Any]:
    """MLflow's server on the same PostgreSQL."""
    with _mlflow_server(folder, environment, url) as (port, pid):
        base = f"http://127.0.0.1:{port}/api/2.0/mlflow"
        with httpx.Client(trust_env=False, timeout=60) as client:
            named = {"name": f"bench-{secrets.token_hex(4)}"}
            experiment = client.post(f"{base}/experiments/create", json=named).json()["experiment_id"]
            body = json.dumps({"experiment_id": experiment, "start_time": 1, "run_name": "bench"}).encode()
            made = client.post(f"{base}/runs/create", json=json.loads(body)).raise_for_status()
            run = made.json()["run"]["info"]["run_id"]
        create = request("POST", "/api/2.0/mlflow/runs/create", body=body)
        get = request("GET", f"/api/2.0/mlflow/runs/get?run_id={run}")
        loads = {"runs_create": create, "runs_get": get}
        rounds: dict[str, list[Load]] = {name: [] for name in loads}
        for _ in range(bench.options.rounds):
            for name, raw in loads.items():
                rounds[name].append(bench.load(lambda _, raw=raw: raw, port=port, pid=pid))
        return {name: _figures(found) for name, found in rounds.items()}


def _train(number: int) -> dict[str, Any]:
    return {"kind": "train", "dataset": {"name": "bench"}, "training": {"seed": number}, "tags": {"n": "1"}}


@contextmanager
def _api_server(folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    """Port and pid of one uvicorn process."""
    port = _free_port()
    argv = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.api_server:create"]
    argv += ["--port", str(port), "--no-access-log", "--log-level", "warning"]
    with (folder / "api.log").open("wb") as log, _process(argv, environment, log) as process:
        _wait(process, f"http://127.0.0.1:{port}/readyz")
        yield port, process.pid


@contextmanager
def _mlflow_server(folder: Path, environment: Mapping[str, str], url: str) -> Iterator[tuple[int, int]]:
    """Port of MLflow's server, and the pid of its one worker."""
    port = _free_port()
    spec = services.mlflow(port=port, run=folder, database_url=url, storage=environment)
    argv = [*spec.argv]
    with (
        (folder / "mlflow.log").open("wb") as log,
        _process(argv, {**environment, **spec.env}, log) as process,
    ):
        _wait(process, f"http://127.0.0.1:{port}/health")
        yield port, _youngest(process.pid)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        port: int = listener.getsockname()[1]
        return port


def _youngest(pid: int) -> int:
    """Of the process's descendants: MLflow's launcher starts what serves."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return _youngest(int(children[-1])) if children else pid


@contextmanager
def _process(argv: list[str], environment: Mapping[str, str], log: Any) -> Iterator[subprocess.Popen[bytes]]:
    root = str(Path(__file__).parents[1])
    given = {**os.environ, **environment, "PYTHONPATH": root}
    process = subprocess.Popen(argv, env=given, cwd=root, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def _wait(process: subprocess.Popen[bytes], url: str, *, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(url, trust_env=False).status_code == httpx.codes.OK:
                return
        time.sleep(0.2)
    raise RuntimeError(f"{url} does not answer; the log lies beside the engines")


def goals(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What is to hold, as ratios of what was measured in one run."""

    def ratio(part: str, one: str, other: str, figure: str = "per_second") -> float:
        return round(figures[part][one][figure] / figures[part][other][figure], 2)

    found: dict[str, Any] = {}
    if "polling" in figures:
        found["304 polls / empty route >= 0.4"] = ratio("polling", "304_running", "empty")
        found["304 polls of a queued job / empty route"] = ratio("polling", "304_queued", "empty")
    if "submissions" in figures:
        found["submissions / bare insert >= 0.5"] = ratio("submissions", "submit", "insert")
        found["submission p99, ms < 100"] = figures["submissions"]["submit"]["p99_ms"]
    if "pages" in figures:
        found["last page / first page, p50"] = ratio("pages", "last", "first", "p50_ms")
    if {"mlflow", "submissions"} <= figures.keys():
        created = figures["mlflow"]["runs_create"]["per_second"]
        rate = figures["submissions"]["submit"]["per_second"]
        found["submissions / MLflow runs/create >= 3"] = round(rate / created, 1)
    return found


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, on engines of its own."""
    folder = Path(tempfile.mkdtemp(prefix="api-", dir=bench_folder()))
    with EmbeddedStack(folder / "home", services=False) as stack:
        figures = _measure(options, folder, {**stack.environment, **_SETTINGS})
    shutil.rmtree(folder)
    return figures


#: One caller stands for fifty: its quota must not end the measurement.
_SETTINGS = {"HEIMDALL_RATE_LIMIT__REQUESTS": "1000000000"}


def _measure(options: argparse.Namespace, folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    url = environment["HEIMDALL_DATABASE__URL"]
    database = Database(DatabaseSettings(url=SecretStr(url)), application_name="bench")
    upgrade(database.engine)
    key = make_key()
    with database.transaction() as session:
        session.execute(text(_DATASET))
        ensure_key(session, key, owner="bench", name="bench")
    figures: dict[str, Any] = {}
    with _api_server(folder, environment) as (port, pid):
        bench = Bench(port, pid, database, key, options)
        for part in (p for p in (polling, submissions, pages) if p.__name__ in options.parts):
            figures[part.__name__] = part(bench)
            _show(part.__name__, figures[part.__name__])
        if "mlflow" in options.parts:
            store = url.rpartition("/")[0] + "/mlflow"
            figures["mlflow"] = mlflow(bench, folder, environment, store)
            _show("mlflow", figures["mlflow"])
        bench.client.close()
    database.dispose()
    return {**figures, "goals": goals(figures)}


def _show(title: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    print(f"\n{title:<24}{'per second':>12}{'p50 ms':>10}{'p99 ms':>10}{'CPU us':>10}  statuses")
    for name, row in rows.items():
        figures = f"{row['per_second']:>12}{row['p50_ms']:>10}{row['p99_ms']:>10}{row['cpu_us']:>10}"
        print(f"  {name:<22}{figures}  {row['statuses']}", flush=True)


def main() -> None:
    """Measures and prints; with ``--json`` keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=100_000, help="in the list that is paged")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what is measured")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    figures = run(options)
    print("\ngoals")
    for name, value in figures["goals"].items():
        print(f"  {name:<44}{value:>8}")
    if options.json:
        write_json(options.json, figures)


if __name__ == "__main__":
    main()
