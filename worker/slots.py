"""The slots of a host: threads that claim and supervise, woken by hints and by the clock."""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from heimdall_core.database.job_tables import Worker
from heimdall_core.domain.job import JobKind
from heimdall_core.jobs.claiming import LIGHT_KINDS, Claim, WorkerIdentity, claim_job
from heimdall_core.jobs.leases import release_restarted
from heimdall_core.settings import WorkerSettings
from worker.accelerators import DeviceMemory, count_gpus, visible_gpus
from worker.host_lock import HostLock
from worker.process_control import boot_seconds
from worker.supervision import Attempt, Host
from worker.workspaces import WorkspaceSweeper

#: How long a former fork server may take to be gone.
_LOCK_SECONDS = 10.0
_log = structlog.get_logger(__name__)


class SlotPool:
    """``slots`` threads, each running one job at a time.

    A hint only wakes them: what there is to do is asked of the database, also every
    ``idle_poll_seconds`` without any hint.
    """

    def __init__(self, host: Host, identity: WorkerIdentity, lock: HostLock) -> None:
        self._host, self._identity, self._lock = host, identity, lock
        self._hints = threading.Condition()
        self._hinted = 0
        self._settling = threading.Lock()
        self._is_settled = False
        self._threads = [
            threading.Thread(target=self._work, args=(slot,), name=slot.name, daemon=True)
            for slot in plan_slots(host.settings.worker, visible_gpus() if identity.has_gpu else ())
        ]
        self._presence = threading.Thread(target=self._keep_presence, name="presence", daemon=True)

    def start(self) -> None:
        """Starts the fork server and the threads; needs neither Redis nor, yet, the database."""
        self._host.fork_server.start()
        for thread in (*self._threads, self._presence):
            thread.start()

    def wake(self) -> None:
        """A hint: there may be something to do. Never blocks."""
        with self._hints:
            self._hinted += 1
            self._hints.notify_all()

    def request_stop(self) -> None:
        """Asks every running trainer to checkpoint and stop; called from a signal handler."""
        self._host.shutdown.set()

    def join(self) -> None:
        """Waits until every slot is empty, then ends the fork server."""
        self._host.shutdown.set()
        for thread in self._threads:
            while thread.is_alive():
                self.wake()
                thread.join(timeout=0.5)
        self._host.fork_server.close()
        self._presence.join(timeout=2)

    def _work(self, slot: "Slot") -> None:
        while not self._host.shutdown.is_set():
            asked_at, hinted = boot_seconds(), self._hinted
            claim = self._claim(slot)
            if claim is None:
                self._wait(hinted)
                continue
            memory = DeviceMemory(slot.devices)
            Attempt(self._host, claim, devices=slot.devices, claimed_at=asked_at).run()
            memory.wait_until_free(self._host.shutdown)

    def _wait(self, hinted: int) -> None:
        """Until a hint comes after the first ``hinted``; every slot looks: not each takes every kind."""
        with self._hints:
            timeout = self._host.settings.worker.idle_poll_seconds
            self._hints.wait_for(lambda: self._hinted != hinted, timeout)

    def _claim(self, slot: "Slot") -> Claim | None:
        # A warm trainer first: a job that is claimed waits for nothing.
        if not self._host.fork_server.wait_ready(timeout=0):
            self._host.fork_server.start()
            self._host.fork_server.wait_ready(timeout=1.0)
            return None
        try:
            self._settle()
            with self._host.database.transaction() as session:
                return claim_job(
                    session,
                    self._identity,
                    lease_seconds=self._host.settings.lease.lease_seconds,
                    kinds=slot.kinds,
                    max_running_per_owner=self._host.settings.queue.max_running_per_owner,
                )
        except SQLAlchemyError as error:
            _log.warning("claim_failed", reason=str(error.__cause__ or error))
            return None

    def _settle(self) -> None:
        """Once, before the first claim: takes back what a former process under this name left running."""
        with self._settling:
            if self._is_settled:
                return
            if self._lock.acquire(timeout_seconds=_LOCK_SECONDS):
                with self._host.database.transaction() as session:
                    jobs = release_restarted(session, self._identity)
                for job in jobs:
                    _log.warning("job_taken_back", job_id=job.id, attempt=job.attempt)
            else:
                _log.error("worker_name_in_use", remedy="give each worker its own HEIMDALL_WORKER_NAME")
            self._is_settled = True

    def _keep_presence(self) -> None:
        sweeper = WorkspaceSweeper(self._host.settings.home, self._host.database)
        while not self._host.shutdown.is_set():
            try:
                with self._host.database.transaction() as session:
                    _announce(session, self._identity, self._host.settings.worker)
                sweeper.sweep_if_due()
            except SQLAlchemyError as error:
                _log.warning("presence_failed", reason=str(error.__cause__ or error))
            self._host.shutdown.wait(self._host.settings.lease.heartbeat_seconds)


def _announce(session: Session, identity: WorkerIdentity, settings: WorkerSettings) -> None:
    facts = {
        "host": identity.host,
        "boot_id": identity.boot_id,
        "pid": os.getpid(),
        "slots": settings.slots,
        "light_slots": settings.light_slots,
        "kinds": [kind.value for kind in settings.kinds],
        "accelerator": f"{count_gpus()} gpu" if identity.has_gpu else "cpu",
        "memory_bytes": identity.memory_bytes,
        "last_seen_at": func.now(),
    }
    statement = upsert(Worker).values(name=identity.name, **facts)
    session.execute(statement.on_conflict_do_update(index_elements=["name"], set_=facts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Room for one trainer."""

    name: str
    kinds: tuple[JobKind, ...]
    devices: str | None
    """Its ``CUDA_VISIBLE_DEVICES``; None: the host has no accelerator."""


def plan_slots(settings: WorkerSettings, gpus: Sequence[str]) -> list[Slot]:
    """One slot per accelerator for what needs one, and light ones that see none."""
    light = tuple(kind for kind in settings.kinds if kind in LIGHT_KINDS)
    heavy = tuple(k for k in settings.kinds if not settings.light_slots or k not in LIGHT_KINDS)
    return [
        Slot(name=f"slot-{n}", kinds=heavy, devices=gpus[n % len(gpus)] if gpus else None)
        for n in range(settings.slots if heavy else 0)
    ] + [
        Slot(name=f"light-{n}", kinds=light, devices="" if gpus else None)
        for n in range(settings.light_slots if light else 0)
    ]
