"""The HTTP API under 50 callers, in turns with bare routes of the same process and with MLflow's server.

``python -m benchmarks.api``. Callers, API, PostgreSQL and MLflow share this machine. Each figure is a median
over rounds; each ratio is one of neighbouring turns.
"""

import argparse
import asyncio
import gc
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from pydantic import SecretStr
from sqlalchemy import text

from benchmarks import event_streams
from benchmarks.api_goals import Goal, judge
from benchmarks.api_processes import Server, serving_api, serving_mlflow
from benchmarks.folder import bench_folder, write_json
from benchmarks.load import MakeRequest, request
from benchmarks.paired import Contender, figures, take_turns
from heimdall_core.accounts.keys import ensure_key, make_key
from heimdall_core.database import Database
from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Job
from heimdall_core.database.migrate import upgrade
from heimdall_core.database.paging import encode_cursor
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
PARTS = ("polling", "submissions", "mlflow", "pages", "streams")
#: One caller stands for fifty: its quota must not end the measurement.
_SETTINGS = {"HEIMDALL_RATE_LIMIT__REQUESTS": "1000000000", "HEIMDALL_LOG_FORMAT": "json"}
_GOES_ALONE = "application/of-a-kind+json"
"""A content type by which a submission joins no others."""


@dataclass(frozen=True, slots=True)
class Bench:
    """One API process, its database, and callers."""

    server: Server
    database: Database
    key: str
    options: argparse.Namespace

    @property
    def headers(self) -> dict[str, str]:
        """Of every request."""
        return {"Authorization": f"Bearer {self.key}"}

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request, outside of the measurement."""
        url = self.server.url + path
        answer = httpx.request(method, url, headers=self.headers, trust_env=False, timeout=60, **options)
        return answer.raise_for_status()

    def contender(self, make: MakeRequest, *, clients: int | None = None) -> Contender:
        """A load of the API process."""
        count = clients or self.options.clients
        return Contender(make=make, port=self.server.port, pid=self.server.pid, clients=count)

    def get(self, path: str, **headers: str) -> Contender:
        """The same GET each time."""
        raw = request("GET", path, headers={**self.headers, **headers})
        return self.contender(lambda _: raw)

    def take_turns(self, contenders: Mapping[str, Contender]) -> dict[str, Any]:
        """Their figures."""
        return figures(take_turns(contenders, rounds=self.options.rounds, seconds=self.options.seconds))


def polling(bench: Bench) -> dict[str, Any]:
    """Polls of a running and of a queued job, with ``ETag`` and without, beside a route that is empty."""
    running, queued = (bench.ask("POST", "/v1/jobs", json=_train(n)).json()["id"] for n in range(2))
    with bench.database.transaction() as session:
        session.execute(text(_RUN), {"id": running})
    paths = {name: f"/v1/jobs/{job_id}" for name, job_id in (("running", running), ("queued", queued))}
    etags = {name: bench.ask("GET", path).headers["ETag"] for name, path in paths.items()}
    return bench.take_turns(
        {
            "empty": bench.get("/bare/empty"),
            "304_running": bench.get(paths["running"], **{"If-None-Match": etags["running"]}),
            "304_queued": bench.get(paths["queued"], **{"If-None-Match": etags["queued"]}),
            "200_running": bench.get(paths["running"]),
        }
    )


def submissions(bench: Bench, mlflow: Server | None) -> dict[str, Any]:
    """Jobs submitted, beside a route that does one INSERT and COMMIT, and MLflow's runs."""
    bodies = [json.dumps(_train(number)).encode() for number in range(256)]

    def submitting(**headers: str) -> MakeRequest:
        given = {**bench.headers, **headers}
        return lambda number: request("POST", "/v1/jobs", headers=given, body=bodies[number % 256])

    def keyed(number: int) -> bytes:
        return submitting(**{"Idempotency-Key": f'"{secrets.token_hex(16)}"'})(number)

    def insert(number: int) -> bytes:
        return request("POST", "/bare/insert", body=bodies[number % 256])

    contenders = {
        "insert": bench.contender(insert),
        "submit": bench.contender(submitting()),
        "submit_with_key": bench.contender(keyed),
        "submit_alone": bench.contender(submitting(**{"Content-Type": _GOES_ALONE})),
        "submit, 1 caller": bench.contender(submitting(), clients=1),
        "insert, 1 caller": bench.contender(insert, clients=1),
    }
    if mlflow is not None:
        contenders |= _runs(mlflow, bench.options.clients)
    return bench.take_turns(contenders)


def _runs(server: Server, clients: int) -> dict[str, Contender]:
    base = f"{server.url}/api/2.0/mlflow"
    with httpx.Client(trust_env=False, timeout=60) as client:
        named = {"name": f"bench-{secrets.token_hex(4)}"}
        experiment = client.post(f"{base}/experiments/create", json=named).json()["experiment_id"]
        body = {"experiment_id": experiment, "start_time": 1, "run_name": "bench"}
        made = client.post(f"{base}/runs/create", json=body).raise_for_status()
        run = made.json()["run"]["info"]["run_id"]
    create = request("POST", "/api/2.0/mlflow/runs/create", body=json.dumps(body).encode())
    get = request("GET", f"/api/2.0/mlflow/runs/get?run_id={run}")

    def asking(raw: bytes) -> Contender:
        return Contender(make=lambda _: raw, port=server.port, pid=server.pid, clients=clients)

    return {"runs_create": asking(create), "runs_get": asking(get)}


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
    return bench.take_turns({"first": bench.get(base), "last": bench.get(f"{base}&cursor={cursor}")})


def streams(bench: Bench, folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Events on their way to many followers of one API process."""
    job_id, found = new_id("job"), []
    with bench.database.transaction() as session:
        session.add(Job(id=job_id, kind="train", owner="bench", spec={}))
    given = argparse.Namespace(events=60, rate=6.0, idle_seconds=5.0)
    with event_streams.serving(environment, folder / "streams.log") as url:
        for _ in range(2):
            arguments = (url, bench.key, bench.database, job_id, given, bench.options.followers)
            found.append(asyncio.run(event_streams.run_round(*arguments)))
    rounds = [_stream_figures(one) for one in found]
    for row in rounds:
        print(f"  {bench.options.followers} followers: {row}", flush=True)
    return {"followers": bench.options.followers, "rounds": rounds}


def _stream_figures(found: event_streams.Round) -> dict[str, float]:
    p50, p99, most = np.percentile(found.delays_ms or [np.inf], [50, 99, 100]).round(1)
    return {
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "max_ms": float(most),
        "num_lost": found.num_lost,
        "statements_per_event": round(found.statements_per_event, 2),
    }


def _train(number: int) -> dict[str, Any]:
    return {"kind": "train", "dataset": {"name": "bench"}, "training": {"seed": number}, "tags": {"n": "1"}}


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, on engines of its own."""
    folder = Path(tempfile.mkdtemp(prefix="api-", dir=bench_folder()))
    machine: dict[str, Any] = {"begun_at": datetime.now(UTC).isoformat(), "cores": os.cpu_count()}
    load_before = os.getloadavg()
    with EmbeddedStack(folder / "home", services=False) as stack:
        found = _measure(options, folder, {**stack.environment, **_SETTINGS})
    shutil.rmtree(folder)
    machine |= {"load_before": load_before, "ended_at": datetime.now(UTC).isoformat()}
    return {"machine": machine, "options": {k: v for k, v in vars(options).items() if k != "json"}, **found}


def _measure(options: argparse.Namespace, folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    url = environment["HEIMDALL_DATABASE__URL"]
    database = Database(DatabaseSettings(url=SecretStr(url)), application_name="bench")
    upgrade(database.engine)
    key = make_key()
    with database.transaction() as session:
        session.execute(text(_DATASET))
        ensure_key(session, key, owner="bench", name="bench")
    gc.collect()
    gc.freeze()  # a full collection here would count as the server's latency
    found: dict[str, Any] = {}
    with ExitStack() as servers:
        bench = Bench(servers.enter_context(serving_api(folder, environment)), database, key, options)
        if "polling" in options.parts:
            _note(found, "polling", polling(bench))
        if "submissions" in options.parts:
            store = url.rpartition("/")[0] + "/mlflow"
            with ExitStack() as beside:
                wanted = "mlflow" in options.parts
                mlflow = beside.enter_context(serving_mlflow(folder, environment, store)) if wanted else None
                _note(found, "submissions", submissions(bench, mlflow))
        if "pages" in options.parts:
            _note(found, "pages", pages(bench))
        if "streams" in options.parts:
            found["streams"] = streams(bench, folder, environment)
    database.dispose()
    return found


def _note(found: dict[str, Any], title: str, rows: dict[str, Any]) -> None:
    found[title] = rows
    print(f"\n{title:<24}{'per second':>12}{'p50 ms':>10}{'p99 ms':>10}{'CPU us':>10}  statuses")
    for name, row in rows.items():
        cells = f"{row['per_second']:>12}{row['p50_ms']:>10}{row['p99_ms']:>10}{row['cpu_us']:>10}"
        print(f"  {name:<22}{cells}  {row['statuses']}", flush=True)


def _show_goals(goals: list[Goal]) -> None:
    print(f"\n{'goals':<34}{'wanted':>10}{'median':>10}{'least':>10}{'most':>10}")
    for goal in goals:
        cells = f"{goal.bound:>10}{goal.value:>10.2f}{goal.least:>10.2f}{goal.most:>10.2f}"
        print(f"  {goal.name:<32}{cells}  {'met' if goal.is_met else 'MISSED'}")


def main() -> None:
    """Measures and prints; with ``--json`` keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn of a load")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=100_000, help="in the list that is paged")
    parser.add_argument("--followers", type=int, default=500, help="of the stream of events")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what is measured")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    found = run(options)
    goals = judge(found)
    _show_goals(goals)
    if options.json:
        kept = [{**asdict(goal), "is_met": goal.is_met} for goal in goals]
        write_json(options.json, {**found, "goals": kept})


if __name__ == "__main__":
    main()
