"""One run: submits, injects, watches, waits for the end, and checks."""

import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Job
from heimdall_core.domain.errors import Conflict
from heimdall_core.jobs.requests import resume_job
from tests.chaos import trace
from tests.chaos.chaotic_worker import take_fence_away
from tests.chaos.faults import INJECTORS, Chaos
from tests.chaos.invariants import TERMINAL, Violation, check
from tests.chaos.schedule import EXCLUSIVE, Fault, plan_arrivals, plan_faults
from tests.chaos.workload import OWNERS, Workload
from tests.chaos.world import World

_SETTLE_SECONDS = 240.0
_WATCH_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run does; the same plan injects the same faults at the same times."""

    seed: int
    jobs: int
    faults: int
    seconds: float
    kinds: tuple[str, ...] = ()
    is_fenced: bool = True


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    plan: Plan
    violations: list[Violation]
    lines: list[trace.Line]
    statuses: Counter[str] = field(default_factory=Counter)


def run(plan: Plan, folder: Path) -> Outcome:
    """Carries out the plan in a folder made anew, which holds the trace, all logs and data afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    if not plan.is_fenced:
        take_fence_away()
    with World(folder, is_fenced=plan.is_fenced) as world:
        database = world.database()
        workload = Workload(database, world.store(), world.core_settings())
        workload.prepare()
        world.start_services()
        chaos = Chaos(world, workload, database)
        _wait(world.api_answers, 60)
        watch = _Watch(database)
        watch.start()
        _carry_out(plan, chaos)
        left = _settle(chaos)
        watch.stop()
        statuses = Counter(watch.statuses().values())
        world.stop_services()
        lines = list(trace.read(folder / "trace.jsonl"))
        with database.transaction() as session:
            violations = check(lines, session)
        if left:
            violations.append(Violation(rule="every job ends", detail={"jobs": left}))
        violations += _leftovers(world)
        database.dispose()
    return Outcome(plan, violations, lines, statuses)


def _carry_out(plan: Plan, chaos: Chaos) -> None:
    """Arrivals on one thread, each fault on one of its own when its time has come."""
    began = time.monotonic()
    arrivals = plan_arrivals(plan.seed, count=plan.jobs, seconds=plan.seconds)
    faults = plan_faults(plan.seed, count=plan.faults, seconds=plan.seconds, kinds=plan.kinds)
    with ThreadPoolExecutor(8) as pool:
        submitting = pool.submit(_submit_all, plan.seed, chaos, arrivals, began)
        for fault in faults:
            time.sleep(max(0.0, began + fault.at_seconds - time.monotonic()))
            pool.submit(_inject, chaos, fault)
        submitting.result()


def _submit_all(seed: int, chaos: Chaos, arrivals: list[float], began: float) -> None:
    from heimdall_core.jobs.hints import HintPublisher

    random_ = random.Random(f"jobs {seed}")
    hints = HintPublisher(chaos.world.core_settings().redis)
    hints.start()
    for at in arrivals:
        time.sleep(max(0.0, began + at - time.monotonic()))
        owner = random_.choice(OWNERS)
        spec = _insist(lambda: chaos.workload.next(random_))
        _insist(lambda spec=spec, owner=owner: chaos.workload.submit(spec, owner=owner))
        hints.hint()
    hints.close()


def _insist(call: Callable[[], Any]) -> Any:
    """PostgreSQL itself may be down for a moment."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return call()
        except SQLAlchemyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _inject(chaos: Chaos, fault: Fault) -> None:
    at = trace.boot_now()
    try:
        if fault.kind in EXCLUSIVE:
            with chaos.engines:
                found = INJECTORS[fault.kind](chaos, random.Random(fault.seed))
        else:
            found = INJECTORS[fault.kind](chaos, random.Random(fault.seed))
    except Exception as error:  # noqa: BLE001 - another fault took away what this one needs
        found = {"hit": False, "injector_error": repr(error)[:300]}
    trace.record("fault", kind=fault.kind, family=fault.family, began=at, **found)


def _settle(chaos: Chaos) -> list[str]:
    """Nothing goes wrong any more: what waits is resumed, and everything must end. Returns what did not."""
    for proxy in chaos.world.proxies.values():
        proxy.mode, proxy.lose_commits = "open", 0
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        rows = _insist(lambda: _unfinished(chaos.database))
        if not rows or time.monotonic() > deadline:
            return [job_id for job_id, _ in rows]
        for job_id, status in rows:
            if status == "paused":
                _resume(chaos, job_id)
        time.sleep(0.5)


def _unfinished(database: Database) -> list[tuple[str, str]]:
    with database.transaction() as session:
        query = select(Job.id, Job.status).where(Job.status.not_in(TERMINAL))
        return [(job_id, status) for job_id, status in session.execute(query)]


def _resume(chaos: Chaos, job_id: str) -> None:
    try:
        with chaos.database.transaction() as session:
            resume_job(session, job_id, owner=None)
    except Conflict:
        return


def _leftovers(world: World) -> list[Violation]:
    found = []
    _wait(lambda: not world.survivors(), 10)
    if pids := world.survivors():
        found.append(Violation(rule="no process is left", detail={"pids": pids}))
    work = [str(p) for name in ("worker-a", "worker-b") for p in (world.folder / name / "work").glob("*")]
    trace.record("workspaces_left", where=world.folder, count=len(work))
    parts = [str(p) for p in (world.folder / "cache").rglob("*") if ".part" in p.name or "partial" in p.name]
    if parts:
        found.append(Violation(rule="no temporary file is left", detail={"paths": parts[:10]}))
    return found


class _Watch:
    """Looks at every job a few times a second, and notes what changed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: dict[str, tuple[str, int, int]] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()
        self._look()

    def statuses(self) -> dict[str, str]:
        return {job: seen[0] for job, seen in self._seen.items()}

    def _run(self) -> None:
        while not self._done.wait(_WATCH_SECONDS):
            try:
                self._look()
            except SQLAlchemyError as error:
                trace.record("watch_failed", error=type(error).__name__)

    def _look(self) -> None:
        query = select(Job.id, Job.status, Job.attempt, Job.failures).where(Job.owner != "setup")
        with self._database.transaction() as session:
            rows = session.execute(query).all()
        for job_id, *now in rows:
            seen = (now[0], now[1], now[2])
            if self._seen.get(job_id) != seen:
                self._seen[job_id] = seen
                trace.record("job", job=job_id, status=seen[0], attempt=seen[1], failures=seen[2])


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
