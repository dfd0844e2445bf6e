"""How quick the engine is: ``python -m tests.chaos.figures NAME``; each figure is measured on running services."""

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import insert, select, text

from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Job, JobAttempt, JobEvent
from heimdall_core.embedded.identity import identify
from heimdall_core.jobs.claiming import WorkerIdentity, claim_job
from heimdall_core.jobs.requests import cancel_job
from tests.chaos import trace
from tests.chaos.faults import Chaos
from tests.chaos.workload import OWNERS, Workload, statuses
from tests.chaos.world import API_KEY, SERVICES, WORKERS, World, send

#: The times that the service has when nobody sets any.
DEFAULTS = {
    "HEIMDALL_LEASE__LEASE_SECONDS": "120",
    "HEIMDALL_LEASE__HEARTBEAT_SECONDS": "15",
    "HEIMDALL_LEASE__STOP_AFTER_SECONDS": "80",
    "HEIMDALL_LEASE__KILL_AFTER_SECONDS": "100",
    "HEIMDALL_LEASE__FLAG_POLL_SECONDS": "1",
    "HEIMDALL_LEASE__STOP_GRACE_SECONDS": "20",
    "HEIMDALL_WORKER__SLOTS": "1",
    "HEIMDALL_WORKER__IDLE_POLL_SECONDS": "5",
}
_WITHOUT_B = tuple(name for name in SERVICES if name != "worker-b")


@contextmanager
def _running(folder: Path, names: tuple[str, ...], settings: dict[str, str] | None = None) -> Iterator[Chaos]:
    shutil.rmtree(folder, ignore_errors=True)
    with World(folder, settings=settings or {}) as world:
        database = world.database()
        workload = Workload(database, world.store(), world.core_settings())
        workload.prepare()
        world.start_services(names)
        _until(world.api_answers)
        if set(names) & set(WORKERS):
            # Warm: every worker has run something, and the features are cached.
            jobs = [workload.submit(workload.training(epochs=1)) for _ in range(4)]
            _until(lambda: all(statuses(database)[job] == "succeeded" for job in jobs))
        yield Chaos(world, workload, database)
        database.dispose()


def recovery_on_another_worker(folder: Path) -> None:
    """kill -9 of a worker that stays away: until the training runs on, on the other worker."""
    with _running(folder, SERVICES) as chaos:
        seconds = [_kill_and_wait(chaos, away_seconds=25.0) for _ in range(4)]
    _tell("kill -9 of a worker (lease 6 s), to the first step on another worker, s", seconds)


def recovery_after_restart(folder: Path) -> None:
    """kill -9 of the only worker, started again after 0.2 s: until the training runs on."""
    with _running(folder, _WITHOUT_B) as chaos:
        seconds = [_kill_and_wait(chaos, away_seconds=0.2) for _ in range(4)]
    _tell("kill -9 of the only worker, restarted, to the next first step, s", seconds)
    log = (folder / "worker-a" / "log").read_text()
    preloads = [
        float(line.split("seconds=")[1].split()[0])
        for line in log.splitlines()
        if "fork_server_ready" in line
    ]
    _tell("of which the preload, s", preloads)


def _kill_and_wait(chaos: Chaos, *, away_seconds: float) -> float:
    job = chaos.workload.submit(chaos.workload.training(epochs=2000))
    _until(lambda: _steps(chaos, job, attempt=1))
    time.sleep(2)
    with chaos.database.transaction() as session:
        worker = session.scalar(select(Job.lease_owner).where(Job.id == job))
    assert worker is not None
    service = chaos.world.services[worker]
    service.pause_seconds = away_seconds
    killed_at = trace.boot_now()
    send(service.pid, signal.SIGKILL)
    _until(lambda: _steps(chaos, job, attempt=2))
    seconds = _steps(chaos, job, attempt=2)[0] - killed_at
    chaos.cancel(job)
    _until(lambda: service.child.is_running and statuses(chaos.database)[job] == "cancelled")
    _until(lambda: chaos.world.fork_server(worker) is not None)
    time.sleep(15)  # its preload shall not slow the next round down
    return seconds


def _steps(chaos: Chaos, job: str, *, attempt: int) -> list[float]:
    lines = trace.read(chaos.world.folder / "trace.jsonl")
    return [
        x["at"] for x in lines if x["what"] == "first_step" and (x["job"], x["attempt"]) == (job, attempt)
    ]


def cancel(folder: Path) -> None:
    """From the request to the end of the trainer's process, and of the job; with the default settings."""
    gone, ended = [], []
    with _running(folder, _WITHOUT_B, DEFAULTS) as chaos:
        for number in range(20):
            job = chaos.workload.submit(chaos.workload.training(epochs=5000))
            _until(lambda job=job: _steps(chaos, job, attempt=1))
            time.sleep(0.5 + 0.13 * number)
            with chaos.database.transaction() as session:
                pid = session.scalar(select(JobAttempt.trainer_pid).where(JobAttempt.job_id == job))
            assert pid is not None
            began = time.monotonic()
            with chaos.database.transaction() as session:
                cancel_job(session, job, owner=None)
            _until(lambda pid=pid: identify(pid) is None, every=0.005)
            gone.append(time.monotonic() - began)
            _until(lambda job=job: statuses(chaos.database)[job] == "cancelled", every=0.01)
            ended.append(time.monotonic() - began)
    _tell(":cancel to the trainer's process gone, s", gone)
    _tell(":cancel to the job's status cancelled, s", ended)


def start(folder: Path) -> None:
    """From the POST to the first optimizer step on a warm worker, with hints and without."""
    with _running(folder, _WITHOUT_B, DEFAULTS) as chaos:
        _tell("POST to the first step, warm worker, s", _starts(chaos, 30))
        for (_, engine), proxy in chaos.world.proxies.items():
            if engine == "valkey":
                proxy.mode = "closed"
                proxy.reset()
        posts: list[float] = []
        _tell("the same with Valkey stopped, s", _starts(chaos, 12, posts))
        _tell("POST itself with Valkey stopped, ms", [1000 * s for s in posts])


def _starts(chaos: Chaos, count: int, posts: list[float] | None = None) -> list[float]:
    jobs = []
    for _ in range(count):
        began = time.monotonic()
        jobs.append(_post(chaos)["id"])
        if posts is not None:
            posts.append(time.monotonic() - began)
        _until(lambda: statuses(chaos.database)[jobs[-1]] == "succeeded", every=0.1)
        time.sleep(0.3)
    with chaos.database.transaction() as session:
        events = session.scalars(
            select(JobEvent.data).where(JobEvent.job_id.in_(jobs), JobEvent.name == "first_step")
        ).all()
    return [event["seconds_since_submit"] for event in events]


def queue(folder: Path, count: int = 10_000) -> None:
    """Claims and answers of the API with nothing and with 10,000 jobs queued."""
    with _running(folder, ("api",)) as chaos:
        # So many that a page is full: what a longer queue costs is not what more documents cost.
        for _ in range(60):
            _post(chaos)
        _end_all(chaos)
        _ask(chaos, "nothing queued")
        _end_all(chaos)
        _fill(chaos, count)
        _ask(chaos, f"{count} queued at once")
        _vacuum(chaos)
        _ask(chaos, f"{count} queued, after VACUUM")
        _tell(f"claim with {count} queued, ms", _claims(chaos, 500))
        _tell(f"GET /v1/queue with {count} queued, ms", _answers(chaos, "/v1/queue"))


def _ask(chaos: Chaos, state: str) -> None:
    _tell(f"GET /v1/jobs (50 jobs), {state}, ms", _answers(chaos, "/v1/jobs"))
    job = _post(chaos)["id"]
    _tell(f"GET /v1/jobs/ID (the last of the queue), {state}, ms", _answers(chaos, f"/v1/jobs/{job}"))
    _tell(f"POST /v1/jobs, {state}, ms", [_timed(lambda: _post(chaos)) for _ in range(100)])


def _end_all(chaos: Chaos) -> None:
    with chaos.database.transaction() as session:
        for job_id in session.scalars(select(Job.id).where(Job.status == "queued")).all():
            cancel_job(session, job_id, owner=None)


def _vacuum(chaos: Chaos) -> None:
    """What autovacuum does within a minute or two of such a burst."""
    engine = chaos.database.engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("vacuum analyze training.job"))


def _fill(chaos: Chaos, count: int) -> None:
    job_id = chaos.workload.submit(chaos.workload.training(epochs=1))
    with chaos.database.transaction() as session:
        model = session.get_one(Job, job_id)
        common = {name: getattr(model, name) for name in ("kind", "spec", "inputs", "tags", "accelerator")}
        rows = [
            {
                **common,
                "id": new_id("job"),
                "owner": OWNERS[n % 3],
                "priority": ("low", "normal", "high")[n % 7 % 3],
                "priority_rank": n % 7 % 3,
            }
            for n in range(count)
        ]
        session.execute(insert(Job), rows)


def _claims(chaos: Chaos, count: int) -> list[float]:
    worker = WorkerIdentity(name="figures", host="h", boot_id="b", has_gpu=False, memory_bytes=2**34)
    claimed: list[tuple[int, Any]] = []

    def claim() -> None:
        with chaos.database.transaction() as session:
            taken = claim_job(session, worker, lease_seconds=600)
            assert taken is not None
            job = session.get_one(Job, taken.job_id)
            claimed.append((job.priority_rank, job.created_at))

    times = [_timed(claim) for _ in range(count)]
    assert [rank for rank, _ in claimed] == sorted((rank for rank, _ in claimed), reverse=True), "by priority"
    return times


def _answers(chaos: Chaos, path: str) -> list[float]:
    http = _client(chaos.world.api_port)
    return [_timed(lambda: http.get(path).raise_for_status()) for _ in range(100)]


def _post(chaos: Chaos) -> dict[str, Any]:
    body = {
        "kind": "train",
        "dataset": {"name": "tiny"},
        "model": {"name": "chaos", "backbone": "micro"},
        "training": {"epochs": 1, "batch_size": 8},
        "export": {"enabled": False},
        "register": {"enabled": False},
    }
    answer = _client(chaos.world.api_port).post("/v1/jobs", json=body)
    answer.raise_for_status()
    job: dict[str, Any] = answer.json()
    return job


@cache
def _client(port: int) -> httpx.Client:
    """One connection for all requests, as a service that calls often has."""
    headers = {"Authorization": f"Bearer {API_KEY}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30)


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)


def _until(condition: Callable[[], object], *, seconds: float = 120.0, every: float = 0.05) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what the figure waits for did not come to pass")
        time.sleep(every)


def _tell(what: str, values: Sequence[float]) -> None:
    ordered = sorted(values)
    quantile = {q: ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0.5, 0.9, 0.99)}
    numbers = "  ".join(f"p{round(100 * q)} {value:.2f}" for q, value in quantile.items())
    sys.stdout.write(f"{what}: {numbers}  max {ordered[-1]:.2f}  (n={len(ordered)})\n")
    sys.stdout.flush()


FIGURES: dict[str, Callable[[Path], None]] = {
    f.__name__.replace("_", "-"): f
    for f in (recovery_on_another_worker, recovery_after_restart, cancel, start, queue)
}


def main() -> int:
    """Measures the named figures, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.figures", description=__doc__)
    parser.add_argument("names", nargs="*", choices=list(FIGURES), metavar="NAME", help=", ".join(FIGURES))
    parser.add_argument("--folder", type=Path, default=Path("/tmp/heimdall-figures"))
    options = parser.parse_args()
    for name in options.names or FIGURES:
        FIGURES[name](options.folder)
        shutil.rmtree(options.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
