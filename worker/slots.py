"""The slots of a host: threads that claim and supervise, woken by hints and by the clock."""

import os
import threading
from collections.abc import Callable, Sequence
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
        slots = plan_slots(host.settings.worker, visible_gpus() if identity.has_gpu else ())
        self._heavy = HeavySlots([slot for slot in slots if slot.is_heavy])
        self._threads = [
            threading.Thread(target=self._work, args=(slot,), name=slot.name, daemon=True) for slot in slots
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
            if slot.is_heavy:
                taken = self._heavy.take(slot, lambda free, most: self._claim(slot, free, most))
            else:
                claim = self._claim(slot, 1, 1)
                taken = None if claim is None else (claim, [slot])
            if taken is None:
                self._wait(hinted)
                continue
            claim, slots = taken
            self._attend(claim, slots, asked_at)

    def _attend(self, claim: Claim, slots: "Sequence[Slot]", asked_at: float) -> None:
        devices = join_devices(slots)
        memory = DeviceMemory(devices)
        try:
            Attempt(self._host, claim, devices=devices, claimed_at=asked_at).run()
            memory.wait_until_free(self._host.shutdown)
        finally:
            if slots[0].is_heavy:
                self._heavy.give_back(slots)
                # Theirs are other threads, and what waited for them may have been passed over.
                self.wake()

    def _wait(self, hinted: int) -> None:
        """Until a hint comes after the first ``hinted``; every slot looks: not each takes every kind."""
        with self._hints:
            timeout = self._host.settings.worker.idle_poll_seconds
            self._hints.wait_for(lambda: self._hinted != hinted, timeout)

    def _claim(self, slot: "Slot", free_devices: int, all_devices: int) -> Claim | None:
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
                    free_devices=free_devices,
                    all_devices=all_devices,
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
    is_heavy: bool = True
    """Whether it may be one of several that a job takes."""


class HeavySlots:
    """Which of a host's slots are taken: a job that wants k devices takes k at once, or none.

    One slot claims at a time, knowing how many are free, so that no two jobs wait for each other's slots.
    """

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = tuple(slots)
        self._taken: set[str] = set()
        self._lock = threading.Lock()

    def take(
        self, slot: Slot, claim: Callable[[int, int], Claim | None]
    ) -> tuple[Claim, Sequence[Slot]] | None:
        """Has a job claimed (``claim(devices free now, devices in all)``) and takes its slots.

        None: there was none, or the slot is one of those that another slot's job has.
        """
        with self._lock:
            if slot.name in self._taken:
                return None
            free = _distinct([slot, *(s for s in self._slots if s.name not in self._taken)])
            job = claim(len(free), len(_distinct(self._slots)))
            if job is None:
                return None
            slots = free[: job.num_devices]
            self._taken.update(s.name for s in slots)
            return job, slots

    def give_back(self, slots: Sequence[Slot]) -> None:
        """The job is over."""
        with self._lock:
            self._taken.difference_update(s.name for s in slots)


def _distinct(slots: Sequence[Slot]) -> list[Slot]:
    """At most one slot of each GPU, in order; where there is no GPU, each slot."""
    found = {slot.devices or slot.name: slot for slot in reversed(slots)}
    first = {slot.name for slot in found.values()}
    return list({slot.name: slot for slot in slots if slot.name in first}.values())


def join_devices(slots: Sequence[Slot]) -> str | None:
    """The ``CUDA_VISIBLE_DEVICES`` of a job that has these slots; None: it stays as it is."""
    named = [slot.devices for slot in slots if slot.devices is not None]
    return ",".join(named) if named else None


def plan_slots(settings: WorkerSettings, gpus: Sequence[str]) -> list[Slot]:
    """One slot per accelerator for what needs one, and light ones that see none."""
    light = tuple(kind for kind in settings.kinds if kind in LIGHT_KINDS)
    heavy = tuple(k for k in settings.kinds if not settings.light_slots or k not in LIGHT_KINDS)
    return [
        Slot(name=f"slot-{n}", kinds=heavy, devices=gpus[n % len(gpus)] if gpus else None)
        for n in range(settings.slots if heavy else 0)
    ] + [
        Slot(name=f"light-{n}", kinds=light, devices="" if gpus else None, is_heavy=False)
        for n in range(settings.light_slots if light else 0)
    ]
