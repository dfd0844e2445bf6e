"""The injectors: each does one fault to the running system, undoes what must be undone, and says what it did."""

import contextlib
import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Checkpoint, Job, JobAttempt
from heimdall_core.domain.errors import Conflict, ErrorCategory, ErrorInfo
from heimdall_core.domain.spec import LimitsSpec
from heimdall_core.jobs import finishing, leases, reporting
from heimdall_core.jobs.claiming import Claim, LeaseLost
from heimdall_core.jobs.dispatch import mark_for_hint
from heimdall_core.jobs.requests import cancel_job, finish_job, pause_job, resume_job
from tests.chaos import trace
from tests.chaos.crash_points import Deed, arm, disarm
from tests.chaos.proxy import Mode, Proxy
from tests.chaos.workload import Workload
from tests.chaos.world import API_KEY, CONTROLS, LEASE_SECONDS, WORKERS, World, send

Found = dict[str, Any]
Injector = Callable[["Chaos", random.Random], Found]

WORKER_POINTS = (
    "in_claim",
    "after_claim",
    "before_spawn",
    "after_spawn",
    "before_t5",
    "in_t5",
    "after_t5",
)
TRAINER_POINTS = ("mid_step", "mid_checkpoint", "before_upload", "after_upload")
_POINT_SECONDS = 15.0


@dataclass(slots=True)
class Chaos:
    """What the injectors act on."""

    world: World
    workload: Workload
    database: Database
    #: One at a time arms a point.
    points: threading.Lock = field(default_factory=threading.Lock)
    engines: threading.Lock = field(default_factory=threading.Lock)

    def running(self, worker: str | None = None) -> list[tuple[str, int]]:
        """Jobs and attempts that run now."""
        with self.database.transaction() as session:
            query = select(Job.id, Job.attempt).where(Job.status == "running")
            if worker:
                query = query.where(Job.lease_owner == worker)
            return [(job_id, attempt) for job_id, attempt in session.execute(query)]

    def violation(self, rule: str, **data: Any) -> None:
        """Something that the promise forbids was seen."""
        trace.record("violation", rule=rule, **data)

    def cancel(self, job_id: str) -> str:
        """Cancels; says what came of it, and checks later that no attempt began afterwards."""
        with contextlib.suppress(Conflict):
            with self.database.transaction() as session:
                job = cancel_job(session, job_id, owner=None)
                status, attempt = job.status, job.attempt
            trace.record("cancel_answered", job=job_id, status=status, attempt=attempt)
            return status
        return "conflict"


@contextmanager
def _mode(
    proxies: list[Proxy], mode: Mode, *, delay_seconds: float = 0.0, resets: bool = False
) -> Iterator[None]:
    for proxy in proxies:
        proxy.delay_seconds, proxy.mode = delay_seconds, mode
        if mode == "closed":
            proxy.reset()
    try:
        yield
    finally:
        for proxy in proxies:
            if resets:
                proxy.reset()
            proxy.mode = "open"


def _proxies(chaos: Chaos, engine: str, services: tuple[str, ...] | None = None) -> list[Proxy]:
    return [
        p for (s, e), p in chaos.world.proxies.items() if e == engine and (services is None or s in services)
    ]


# 1 --------------------------------------------------------------------------------------------------


def _submit_by_http(chaos: Chaos, random_: random.Random, disturb: Callable[[], None]) -> Found:
    key = f'"{random_.getrandbits(64):x}"'
    body = {
        "kind": "train",
        "dataset": {"name": "tiny"},
        "model": {"name": "chaos", "backbone": "micro"},
        "training": {"epochs": 1, "batch_size": 8},
        "export": {"enabled": False},
        "register": {"enabled": False},
        "tags": {"key": key.strip('"')},
    }
    headers = {"Authorization": f"Bearer {API_KEY}", "Idempotency-Key": key}
    timer = threading.Timer(random_.uniform(0, 0.06), disturb)
    timer.start()
    answers, deadline = 0, time.monotonic() + 60
    while time.monotonic() < deadline:
        answers += 1
        try:
            answer = httpx.post(
                f"http://127.0.0.1:{chaos.world.api_port}/v1/jobs", json=body, headers=headers, timeout=5
            )
        except httpx.HTTPError:
            time.sleep(0.3)
            continue
        if answer.status_code == 202:
            break
        time.sleep(0.3)
    else:
        chaos.violation("the API did not come back", key=key)
    timer.join()
    with chaos.database.transaction() as session:
        jobs = session.scalars(select(Job.id).where(Job.tags["key"].astext == key.strip('"'))).all()
    if len(jobs) != 1:
        chaos.violation("one key, one job", key=key, jobs=list(jobs))
    return {"requests": answers, "jobs": list(jobs)}


def api_killed(chaos: Chaos, random_: random.Random) -> Found:
    """kill -9 around the COMMIT of a submission; the retry with the same key."""
    return _submit_by_http(chaos, random_, lambda: _signal(chaos.world.services["api"].pid, signal.SIGKILL))


def api_commit_answer_lost(chaos: Chaos, random_: random.Random) -> Found:
    """The COMMIT is applied, its answer never arrives."""
    (proxy,) = _proxies(chaos, "postgres", ("api",))
    proxy.lose_commits = random_.choice((1, 1, 2))
    try:
        return _submit_by_http(chaos, random_, lambda: None) | {"lost": proxy.lost}
    finally:
        proxy.lose_commits = 0


# 2 --------------------------------------------------------------------------------------------------


def valkey_away(chaos: Chaos, random_: random.Random) -> Found:
    """Refused, black-holed or slow for everybody; a submission must not feel it."""
    mode: Mode = random_.choice(("closed", "silent", "slow"))
    seconds = random_.uniform(2, 12)
    with _mode(_proxies(chaos, "valkey"), mode, delay_seconds=0.5, resets=random_.random() < 0.5):
        began = time.monotonic()
        found = _submit_by_http(chaos, random_, lambda: None)
        answered = time.monotonic() - began
        if found["requests"] == 1 and answered > 3:
            chaos.violation("a submission waits for no broker", seconds=answered)
        time.sleep(max(0.0, seconds - answered))
    return {"mode": mode, "seconds": seconds, "answered_seconds": round(answered, 3)}


def valkey_flushed(chaos: Chaos, _random: random.Random) -> Found:
    """FLUSHALL."""
    with _redis(chaos) as client:
        client.flushall()
    return {}


def valkey_restarted_empty(chaos: Chaos, random_: random.Random) -> Found:
    """kill -9, and all its data gone."""
    with _redis(chaos) as client:
        client.flushall()
    down = random_.uniform(0.2, 4)
    chaos.world.restart_engine("valkey", down_seconds=down)
    return {"seconds": down}


@contextmanager
def _redis(chaos: Chaos) -> Iterator[Any]:
    url = chaos.world.core_settings().redis.url.get_secret_value()
    with redis.Redis.from_url(url) as client:
        yield client


# 3 --------------------------------------------------------------------------------------------------


def control_killed(chaos: Chaos, random_: random.Random) -> Found:
    """One or both of the reapers and dispatchers, or the clock."""
    names = random_.choice((CONTROLS, CONTROLS[:1], ("beat",)))
    for name in names:
        _signal(chaos.world.services[name].pid, signal.SIGKILL)
    return {"names": names}


def dispatcher_killed_before_hint(chaos: Chaos, _random: random.Random) -> Found:
    """Between the mark and the message."""
    _at_point(
        chaos, "before_hint", "kill", prepare=lambda: chaos.workload.submit(chaos.workload.training(epochs=1))
    )
    return {}


def hints_dropped(chaos: Chaos, _random: random.Random) -> Found:
    """The queue vanishes while jobs are submitted."""
    jobs = []
    with _redis(chaos) as client:
        for _ in range(3):
            jobs.append(chaos.workload.submit(chaos.workload.training(epochs=1)))
            client.delete("heimdall:jobs", "jobs")
            time.sleep(0.2)
    return {"jobs": jobs}


def hints_forged(chaos: Chaos, random_: random.Random) -> Found:
    """Wake-ups for nothing, and messages that are none."""
    from heimdall_core.jobs.hints import JOBS_QUEUE, WAKE_TASK, producer_app

    app = producer_app(chaos.world.core_settings().redis)
    for _ in range(30):
        app.send_task(WAKE_TASK, queue=JOBS_QUEUE, expires=600, retry=False)
    app.send_task("heimdall.no_such_task", queue=JOBS_QUEUE, retry=False)
    app.send_task(WAKE_TASK, args=[1, "what"], queue=JOBS_QUEUE, retry=False)
    app.close()
    return {"messages": 32}


# 4 --------------------------------------------------------------------------------------------------


def _at_point(chaos: Chaos, point: str, deed: Deed, *, prepare: Callable[[], object] = lambda: None) -> bool:
    """Arms the point and waits until a process has come by; False: none did."""
    with chaos.points:
        prepare()
        arm(chaos.world.folder, point, deed)
        deadline = time.monotonic() + _POINT_SECONDS
        while (chaos.world.folder / "armed" / point).exists():
            if time.monotonic() > deadline:
                return not disarm(chaos.world.folder, point)
            time.sleep(0.02)
        return True


def crash_point(chaos: Chaos, random_: random.Random) -> Found:
    """A process ends at one of the points where it hurts."""
    point = random_.choice(WORKER_POINTS + TRAINER_POINTS)
    deed: Deed = random_.choice(("kill", "kill", "segv"))
    return {"point": point, "deed": deed, "hit": _at_point(chaos, point, deed)}


# 5 --------------------------------------------------------------------------------------------------


def worker_killed(chaos: Chaos, random_: random.Random) -> Found:
    """kill -9 of the supervisor."""
    worker = random_.choice(WORKERS)
    service = chaos.world.services[worker]
    service.pause_seconds = random_.choice((0.2, 0.2, 9.0))
    affected = chaos.running(worker)
    trainers = chaos.world.trainers(worker)
    _signal(service.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while alive := [p for p in trainers if _is_running(p) and not _is_frozen(p)]:
        if time.monotonic() > deadline:
            chaos.violation("no trainer outlives its worker", pids=alive)
            break
        time.sleep(0.02)
    return {"worker": worker, "affected": affected}


def trainer_killed(chaos: Chaos, random_: random.Random) -> Found:
    """kill -9 of trainers."""
    worker = random_.choice(WORKERS)
    affected = chaos.running(worker)
    pids = chaos.world.trainers(worker)
    return {"affected": affected, "hit": [_signal(pid, signal.SIGKILL) for pid in pids]}


def fork_server_killed(chaos: Chaos, random_: random.Random) -> Found:
    """kill -9 of the process that trainers are forked from."""
    worker = random_.choice(WORKERS)
    affected, pid = chaos.running(worker), chaos.world.fork_server(worker)
    return {"affected": affected, "hit": bool(pid and _signal(pid, signal.SIGKILL))}


def trainer_crashed(chaos: Chaos, _random: random.Random) -> Found:
    """SIGSEGV in the middle of a step."""
    return {"hit": _at_point(chaos, "mid_step", "segv")}


def memory_out(chaos: Chaos, _random: random.Random) -> Found:
    """The allocation fails in the middle of a step."""
    return {"hit": _at_point(chaos, "mid_step", "memory")}


def stubborn_cancelled(chaos: Chaos, _random: random.Random) -> Found:
    """A trainer that hears neither the request nor SIGTERM is cancelled."""
    job = chaos.workload.submit(chaos.workload.training(epochs=400, behaviour="stubborn"))
    _wait(lambda: any(job == j for j, _ in chaos.running()), seconds=30)
    time.sleep(1)
    return {"job": job, "answer": chaos.cancel(job)}


# 6 --------------------------------------------------------------------------------------------------


def _freeze(chaos: Chaos, random_: random.Random, pids: Callable[[str], list[int]]) -> Found:
    worker = random_.choice(WORKERS)
    seconds = random_.uniform(0.5, 2.5) * LEASE_SECONDS
    affected, frozen = chaos.running(worker), pids(worker)
    for pid in frozen:
        _signal(pid, signal.SIGSTOP)
    trace.record("frozen", pids=frozen)
    time.sleep(seconds)
    for pid in random_.sample(frozen, len(frozen)):
        _signal(pid, signal.SIGCONT)
    trace.record("thawed", pids=frozen)
    return {"worker": worker, "seconds": round(seconds, 1), "affected": affected, "processes": len(frozen)}


def supervisor_frozen(chaos: Chaos, random_: random.Random) -> Found:
    """SIGSTOP of the worker, which is the supervisor of its trainers."""
    return _freeze(chaos, random_, lambda w: [chaos.world.services[w].pid])


def trainer_frozen(chaos: Chaos, random_: random.Random) -> Found:
    """SIGSTOP of the trainers."""
    return _freeze(chaos, random_, chaos.world.trainers)


def fork_server_frozen(chaos: Chaos, random_: random.Random) -> Found:
    """SIGSTOP of the fork server."""
    return _freeze(chaos, random_, lambda w: [p for p in [chaos.world.fork_server(w)] if p])


def all_frozen(chaos: Chaos, random_: random.Random) -> Found:
    """A whole host sleeps."""

    def pids(worker: str) -> list[int]:
        server = chaos.world.fork_server(worker)
        own = [chaos.world.services[worker].pid, *([server] if server else [])]
        return [*own, *chaos.world.trainers(worker)]

    return _freeze(chaos, random_, pids)


# 7 --------------------------------------------------------------------------------------------------


def database_silent_for_one(chaos: Chaos, random_: random.Random) -> Found:
    """A partition between one worker and PostgreSQL; afterwards the packets arrive, or the connections end."""
    worker = random_.choice(WORKERS)
    seconds, resets = random_.uniform(0.3, 2.2) * LEASE_SECONDS, random_.random() < 0.5
    affected = chaos.running(worker)
    with _mode(_proxies(chaos, "postgres", (worker,)), "silent", resets=resets):
        time.sleep(seconds)
    return {"worker": worker, "seconds": round(seconds, 1), "resets": resets, "affected": affected}


def database_silent_for_all(chaos: Chaos, random_: random.Random) -> Found:
    """A partition between PostgreSQL and everybody."""
    seconds, resets = random_.uniform(0.3, 1.8) * LEASE_SECONDS, random_.random() < 0.5
    affected = chaos.running()
    with _mode(_proxies(chaos, "postgres"), "silent", resets=resets):
        time.sleep(seconds)
    return {"seconds": round(seconds, 1), "resets": resets, "affected": affected}


def database_closed(chaos: Chaos, random_: random.Random) -> Found:
    """Connections are reset and refused."""
    seconds = random_.uniform(0.1, 1.5) * LEASE_SECONDS
    affected = chaos.running()
    with _mode(_proxies(chaos, "postgres"), "closed"):
        time.sleep(seconds)
    return {"seconds": round(seconds, 1), "affected": affected}


def commit_answers_lost(chaos: Chaos, random_: random.Random) -> Found:
    """COMMITs are applied, their answers lost, the connections reset."""
    service = random_.choice((*WORKERS, *WORKERS, *CONTROLS))
    (proxy,) = _proxies(chaos, "postgres", (service,))
    before, proxy.lose_commits = proxy.lost, random_.randint(1, 8)
    time.sleep(5)
    proxy.lose_commits = 0
    return {"service": service, "lost": proxy.lost - before}


def postgres_killed(chaos: Chaos, random_: random.Random) -> Found:
    """kill -9 of the postmaster and its backends, and recovery from the log."""
    down = random_.uniform(0.1, 3)
    chaos.world.restart_engine("postgres", down_seconds=down)
    return {"seconds": round(down, 1)}


# 8 --------------------------------------------------------------------------------------------------


def worker_terminated(chaos: Chaos, random_: random.Random) -> Found:
    """SIGTERM at any moment."""
    worker = random_.choice(WORKERS)
    affected = chaos.running(worker)
    chaos.world.services[worker].pause_seconds = 0.2
    return {
        "worker": worker,
        "affected": affected,
        "hit": _signal(chaos.world.services[worker].pid, signal.SIGTERM),
    }


def terminated_at_point(chaos: Chaos, random_: random.Random) -> Found:
    """SIGTERM during a claim, a step, a checkpoint or the end."""
    point = random_.choice(("in_claim", "after_claim", "before_spawn", "mid_step", "mid_checkpoint", "in_t5"))
    return {"point": point, "hit": _at_point(chaos, point, "term")}


# 9 --------------------------------------------------------------------------------------------------


def cancelled(chaos: Chaos, random_: random.Random) -> Found:
    """At once, while it is claimed, while it runs, or about when it ends; by two callers."""
    job = chaos.workload.submit(chaos.workload.training(epochs=random_.choice((1, 30))))
    time.sleep(random_.choice((0.0, random_.uniform(0, 1.5), random_.uniform(1, 6))))
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(chaos.cancel, [job, job]))
    return {"job": job, "answers": answers}


def cancelled_while_reaped(chaos: Chaos, random_: random.Random) -> Found:
    """Jobs of nobody whose leases run out are cancelled while reapers take them back."""
    jobs = [_orphan(chaos) for _ in range(4)]
    offsets = [random_.gauss(0, 0.004) for _ in jobs]

    def race(job: str, offset: float) -> str:
        time.sleep(max(0.0, 0.05 + offset))
        return chaos.cancel(job)

    with ThreadPoolExecutor(8) as pool:
        reapers = [pool.submit(_reap_after, chaos, 0.05 + random_.gauss(0, 0.002)) for _ in range(2)]
        answers = list(pool.map(race, jobs, offsets))
        for reaper in reapers:
            reaper.result()
    return {"jobs": jobs, "answers": answers}


def _orphan(chaos: Chaos) -> str:
    """A running job whose lease has run out and whose worker never was."""
    from datetime import UTC, datetime, timedelta

    with chaos.database.transaction() as session:
        from heimdall_core.jobs.submission import submit_job

        job = submit_job(
            session, chaos.workload.training(epochs=1, limits=LimitsSpec(max_attempts=5)), owner="ada"
        )
        job.status, job.attempt, job.lease_owner = "running", 1, "nobody"
        job.lease_expires_at = datetime.now(UTC) - timedelta(seconds=1)
        session.flush()
        session.add(JobAttempt(job_id=job.id, number=1, worker="nobody", host="none", boot_id="none"))
        return job.id


def _reap_after(chaos: Chaos, seconds: float) -> None:
    time.sleep(seconds)
    with contextlib.suppress(SQLAlchemyError), chaos.database.transaction() as session:
        leases.reap_expired(session)


def paused_and_resumed(chaos: Chaos, random_: random.Random) -> Found:
    """A running job is paused, and resumed some seconds later."""
    job = chaos.workload.submit(chaos.workload.training(epochs=30))
    _wait(lambda: any(job == j for j, _ in chaos.running()), seconds=30)
    time.sleep(random_.uniform(0, 2))
    found: Found = {"job": job}
    with contextlib.suppress(Conflict), chaos.database.transaction() as session:
        found["paused"] = pause_job(session, job, owner=None).status
    time.sleep(random_.uniform(0, 6))
    with contextlib.suppress(Conflict), chaos.database.transaction() as session:
        found["resumed"] = resume_job(session, job, owner=None).status
    return found


def finished_early(chaos: Chaos, random_: random.Random) -> Found:
    """A long training is asked to end with what it has."""
    running = chaos.running()
    if not running:
        return {"hit": False}
    job, _ = random_.choice(running)
    with contextlib.suppress(Conflict), chaos.database.transaction() as session:
        finish_job(session, job, owner=None)
        return {"job": job, "hit": True}
    return {"job": job, "hit": False}


# 10 -------------------------------------------------------------------------------------------------


def reapers_and_dispatchers_race(chaos: Chaos, _random: random.Random) -> Found:
    """Four of each, all at once, beside the two that run anyway."""
    jobs = [_orphan(chaos) for _ in range(6)]
    barrier = threading.Barrier(8)

    def reap() -> int:
        barrier.wait(10)
        with chaos.database.transaction() as session:
            return len(leases.reap_expired(session))

    def dispatch() -> int:
        barrier.wait(10)
        with chaos.database.transaction() as session:
            return mark_for_hint(session, silence_seconds=0.0)

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(work) for work in (reap, dispatch) * 4]
        counts = [future.result() for future in futures]
    with chaos.database.transaction() as session:
        failures = session.scalars(select(Job.failures).where(Job.id.in_(jobs))).all()
    if any(count > 1 for count in failures if count) and max(failures) > 4:
        chaos.violation("a lease is reaped once", failures=list(failures))
    return {"jobs": jobs, "counts": counts}


# 11 -------------------------------------------------------------------------------------------------


def late_reports(chaos: Chaos, random_: random.Random) -> Found:
    """Attempts that are over beat, report, finish, fail and give back: all refused."""
    tried = 0
    for claim in _ended_claims(chaos, random_):
        for name, say in _LATE.items():
            tried += 1
            try:
                with chaos.database.transaction() as session:
                    say(session, claim)
            except LeaseLost:
                continue
            chaos.violation("an attempt that is over changes nothing", job=claim.job_id, how=name)
    return {"tried": tried}


def _ended_claims(chaos: Chaos, random_: random.Random) -> list[Claim]:
    with chaos.database.transaction() as session:
        rows = session.execute(
            select(Job, JobAttempt)
            .join(JobAttempt, JobAttempt.job_id == Job.id)
            .where(JobAttempt.ended_at.is_not(None))
            .order_by((Job.status == "running").desc(), JobAttempt.ended_at.desc())
            .limit(40)
        ).all()
    chosen = random_.sample(rows, min(6, len(rows)))
    return [
        Claim(
            job_id=job.id,
            attempt=attempt.number,
            lease_owner=attempt.worker,
            kind=job.kind,
            owner=job.owner,
            spec=job.spec,
            inputs=job.inputs,
            max_attempts=job.max_attempts,
            failures=job.failures,
            waited_seconds=0.0,
            adjustments=job.adjustments,
            runtime_left_seconds=None,
        )
        for job, attempt in rows
        if (job, attempt) in [tuple(row) for row in chosen]
    ]


_LATE: dict[str, Callable[[Any, Claim], object]] = {
    "heartbeat": lambda s, c: leases.extend_lease(s, c, lease_seconds=60),
    "flags": leases.read_requests,
    "report": lambda s, c: reporting.write_report(
        s, c, reporting.Report(points={("late", 1): (1, 1.0)}, log=["late"]), number=10_000
    ),
    "success": lambda s, c: finishing.succeed(s, c, artifacts=[], publish=lambda _s, _j: {}),
    "failure": lambda s, c: finishing.fail(
        s, c, ErrorInfo(code="late", category=ErrorCategory.BUG, message="late"), exit_code=1
    ),
    "cancelled": lambda s, c: finishing.finish_cancelled(s, c, exit_code=None),
    "give_back": lambda s, c: finishing.give_back(s, c, exit_code=None),
}


def frozen_before_its_end(chaos: Chaos, random_: random.Random) -> Found:
    """A worker sleeps through its lease between the end of its trainer and the COMMIT of the success."""
    if not _at_point(chaos, "before_t5", "freeze"):
        return {"hit": False}
    _wait(lambda: any(_is_frozen(chaos.world.services[w].pid) for w in WORKERS), seconds=5)
    pids = [chaos.world.services[w].pid for w in WORKERS if _is_frozen(chaos.world.services[w].pid)]
    trace.record("frozen", pids=pids)
    time.sleep(LEASE_SECONDS + random_.uniform(3, 7))
    for pid in pids:
        _signal(pid, signal.SIGCONT)
    trace.record("thawed", pids=pids)
    return {"hit": bool(pids)}


# 12 -------------------------------------------------------------------------------------------------


def poison(chaos: Chaos, random_: random.Random) -> Found:
    """A job that kills every trainer."""
    limits = LimitsSpec(max_attempts=random_.randint(1, 3))
    return {
        "job": chaos.workload.submit(chaos.workload.training(epochs=1, behaviour="poison", limits=limits))
    }


# 14 -------------------------------------------------------------------------------------------------


def storage_away(chaos: Chaos, random_: random.Random) -> Found:
    """S3 refuses, goes silent, or is slow, for a worker and its trainers."""
    mode: Mode = random_.choice(("closed", "silent", "slow"))
    seconds = random_.uniform(1, 10)
    worker = random_.choice(WORKERS)
    affected = chaos.running(worker)
    with _mode(_proxies(chaos, "s3", (worker,)), mode, delay_seconds=0.5, resets=random_.random() < 0.5):
        time.sleep(seconds)
    return {"mode": mode, "seconds": round(seconds, 1), "affected": affected}


def disk_full(chaos: Chaos, random_: random.Random) -> Found:
    """ENOSPC where a checkpoint or an artifact is written."""
    point = random_.choice(("mid_checkpoint", "before_upload", "before_spawn"))
    return {"point": point, "hit": _at_point(chaos, point, "disk")}


def checkpoint_corrupted(chaos: Chaos, random_: random.Random) -> Found:
    """The newest durable checkpoint of a running job is damaged, and its trainer killed."""
    for job, attempt in random_.sample(running := chaos.running(), len(running)):
        with chaos.database.transaction() as session:
            uri = session.scalar(
                select(Checkpoint.uri)
                .where(Checkpoint.job_id == job)
                .order_by(Checkpoint.step.desc())
                .limit(1)
            )
            pid = session.scalar(
                select(JobAttempt.trainer_pid).where(JobAttempt.job_id == job, JobAttempt.number == attempt)
            )
        if uri and pid:
            chaos.workload.store.put_bytes(uri, json.dumps({"damaged": job}).encode())
            return {"affected": [(job, attempt)], "hit": _signal(pid, signal.SIGKILL), "uri": uri}
    return {"hit": False}


def _signal(pid: int, number: signal.Signals) -> bool:
    return send(pid, number)


def _is_frozen(pid: int) -> bool:
    """Another fault has stopped it: it dies when it is thawed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def _is_running(pid: int) -> bool:
    from heimdall_core.embedded.identity import identify

    return identify(pid) is not None


def _wait(condition: Callable[[], bool], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


INJECTORS: dict[str, Injector] = {
    f.__name__: f
    for f in (
        api_killed, api_commit_answer_lost, valkey_away, valkey_flushed, valkey_restarted_empty, control_killed,
        dispatcher_killed_before_hint, hints_dropped, hints_forged, crash_point, worker_killed, trainer_killed,
        fork_server_killed, trainer_crashed, memory_out, stubborn_cancelled, supervisor_frozen, trainer_frozen,
        all_frozen, fork_server_frozen, database_silent_for_one, database_silent_for_all, database_closed,
        commit_answers_lost, postgres_killed, worker_terminated, terminated_at_point, cancelled,
        cancelled_while_reaped, paused_and_resumed, finished_early, reapers_and_dispatchers_race, late_reports, frozen_before_its_end,
        poison, storage_away, disk_full, checkpoint_corrupted,
    )
}  # fmt: skip
