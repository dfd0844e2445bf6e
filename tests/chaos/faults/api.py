"""Family 1: a submission whose API process or COMMIT is lost."""

import random
import signal
import threading
import time
from collections.abc import Callable

import httpx
from sqlalchemy import select

from heimdall_core.database.job_tables import Job
from tests.chaos.faults.chaos import Chaos, Found
from tests.chaos.faults.network import proxies_of
from tests.chaos.world import API_KEY, send


def submit_by_http(chaos: Chaos, random_: random.Random, disturb: Callable[[], object]) -> Found:
    """Submits with one key, disturbs meanwhile, and asks again until there is an answer: one job must come of it."""
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
    return submit_by_http(chaos, random_, lambda: send(chaos.world.services["api"].pid, signal.SIGKILL))


def api_commit_answer_lost(chaos: Chaos, random_: random.Random) -> Found:
    """The COMMIT is applied, its answer never arrives."""
    (proxy,) = proxies_of(chaos, "postgres", ("api",))
    proxy.lose_commits = random_.choice((1, 1, 2))
    try:
        return submit_by_http(chaos, random_, lambda: None) | {"lost": proxy.lost}
    finally:
        proxy.lose_commits = 0
