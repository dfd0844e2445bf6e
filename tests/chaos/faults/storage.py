"""Family 14: S3 out of reach, and a checkpoint that is damaged."""

import json
import random
import signal
import time

from sqlalchemy import select

from heimdall_core.database.job_tables import Checkpoint, JobAttempt
from tests.chaos.faults.chaos import Chaos, Found
from tests.chaos.faults.network import disturbed, proxies_of
from tests.chaos.proxy import Mode
from tests.chaos.world import WORKERS, send


def storage_away(chaos: Chaos, random_: random.Random) -> Found:
    """S3 refuses, goes silent, or is slow, for a worker and its trainers."""
    mode: Mode = random_.choice(("closed", "silent", "slow"))
    seconds = random_.uniform(1, 10)
    worker = random_.choice(WORKERS)
    affected = chaos.running(worker)
    with disturbed(
        proxies_of(chaos, "s3", (worker,)), mode, delay_seconds=0.5, resets=random_.random() < 0.5
    ):
        time.sleep(seconds)
    return {"mode": mode, "seconds": round(seconds, 1), "affected": affected}


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
            return {"affected": [(job, attempt)], "hit": send(pid, signal.SIGKILL), "uri": uri}
    return {"hit": False}
