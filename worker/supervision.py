"""One attempt from claim to end: start the trainer, listen to it, keep the lease, stop it, tell the end."""

import os
import selectors
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session

from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import JobAttempt
from heimdall_core.domain.errors import ErrorInfo, HeimdallError
from heimdall_core.jobs import finishing
from heimdall_core.jobs.claiming import LIGHT_KINDS, Claim, LeaseLost
from heimdall_core.jobs.finishing import MICRO_BATCH_SIZE, Publish
from heimdall_core.jobs.queries import newest_checkpoint
from heimdall_core.jobs.retrying import describe_checkpoint
from heimdall_core.registry.reading import NotRead
from heimdall_core.settings import Settings
from heimdall_core.storage import S3Store
from heimdall_core.telemetry import NO_SPANS, Spans
from worker.attempt_spans import AttemptSpans
from worker.endings import TIME_LIMIT, explain_exit
from worker.lease_keeper import LeaseKeeper
from worker.memory_evidence import MemoryEvidence
from worker.process_control import boot_seconds
from worker.publishing import prepare_publication
from worker.reports import TrainerReports
from worker.trainer_process import EXIT_STOPPED, classify
from worker.trainers import ForkServer, Trainer
from worker.usage import peak_of

_LOOK_SECONDS = 0.2
_FLUSH_SECONDS = 0.5
_ALIVE_SECONDS = 1.0
_RETRY_SECONDS = 0.5
_KILL_SECONDS = 10.0
#: How a trainer ends that was stopped: politely or by our signals.
_STOPPED = {EXIT_STOPPED, -signal.SIGTERM, -signal.SIGKILL}
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What all attempts of a worker share."""

    database: Database
    store: S3Store
    fork_server: ForkServer
    settings: Settings
    #: Set when the worker shuts down.
    shutdown: threading.Event
    spans: Spans = NO_SPANS


class Attempt:
    """Supervises one trainer; ``run`` returns when the attempt is over and its process gone."""

    def __init__(
        self, host: Host, claim: Claim, *, devices: str | None = None, claimed_at: float | None = None
    ) -> None:
        """``devices``: what the trainer's ``CUDA_VISIBLE_DEVICES`` becomes; None: it stays as it is.

        ``claimed_at``: seconds since boot before the claim was asked for; None: now.
        """
        self._host, self._claim, self._devices = host, claim, devices
        self._began_at = boot_seconds()
        self._finish_sent = False
        self._peak_host_bytes: int | None = None
        self._memory = MemoryEvidence()
        self._keeper = LeaseKeeper(host.database, claim, host.settings.lease, claimed_at=claimed_at)
        # A step of the trace of the request that made the job.
        self._spans = AttemptSpans(host.spans, claim)
        self._reports = TrainerReports(
            host.database, claim, log_limit_bytes=host.settings.worker.log_limit_bytes, spans=self._spans
        )
        self._stop = StopSequence(host.settings.lease.stop_grace_seconds)
        self._job_folder = host.settings.home / "work" / claim.job_id
        trace_id = self._spans.trace.trace_id
        self._log = _log.bind(job_id=claim.job_id, attempt=claim.attempt, trace_id=trace_id)

    def run(self) -> None:
        """Never raises: whatever happens, the lease runs out and the reaper sees to the job."""
        self._log.info("attempt_started", kind=self._claim.kind)
        self._keeper.start()
        try:
            self._run_or_tell()
        except LeaseLost:
            self._log.warning("lease_lost")
            self._spans.fail("lease_lost", "the attempt no longer holds its job")
        except Exception as error:  # noqa: BLE001 - a slot must outlive whatever went wrong with one job
            self._log.exception("supervisor_failed")
            self._spans.fail("supervisor_failed", str(error))
        finally:
            self._keeper.stop()
            self._spans.end()

    def _run_or_tell(self) -> None:
        try:
            self._run_trainer()
        except HeimdallError as failure:
            self._log.warning("attempt_failed_to_start", error=failure.message)
            self._fail(failure.to_info(), exit_code=None)

    def _run_trainer(self) -> None:
        self._make_workspace()
        trainer = self._host.fork_server.spawn()
        try:
            self._require_lease()
            trainer.send(self._start_message())
            self._record_pid(trainer.pid)
            exit_code = self._listen(trainer)
        finally:
            if trainer.exit_code() is None:
                trainer.signal_group(signal.SIGKILL)
                trainer.exit_code(_KILL_SECONDS)
            trainer.close()
        self._log.info("trainer_ended", exit_code=exit_code)
        self._finish(exit_code)

    def _start_message(self) -> dict[str, Any]:
        claim, settings = self._claim, self._host.settings
        cores = os.cpu_count() or 1
        # A light job is short: a training need not leave a core to it.
        slots = settings.worker.slots + (settings.worker.light_slots if claim.kind in LIGHT_KINDS else 0)
        return {
            "job_id": claim.job_id,
            "attempt": claim.attempt,
            "kind": claim.kind,
            "spec": claim.spec,
            "inputs": claim.inputs,
            "output_uri": f"s3://{settings.storage.models_bucket}/jobs/{claim.job_id}/a{claim.attempt}",
            "workspace": str(self._workspace),
            "adjustments": claim.adjustments,
            "devices": self._devices,
            "num_threads": settings.worker.torch_threads or max(1, cores // slots),
            "alive_until": self._alive_until(),
            "resume_from": self._resume_from(),
            "traceparent": self._spans.trace.traceparent,
            "tracestate": self._spans.trace.state,
        }

    def _resume_from(self) -> dict[str, Any] | None:
        """The newest durable checkpoint that fits; before the first, that of the job that is retried."""
        between_epochs = MICRO_BATCH_SIZE in self._claim.adjustments
        with self._host.database.transaction() as session:
            checkpoint = newest_checkpoint(session, self._claim.job_id, at_epoch_end=between_epochs)
            if checkpoint is not None:
                return describe_checkpoint(checkpoint)
        inherited: dict[str, Any] | None = self._claim.inputs.get("resume_from")
        fits = inherited is not None and (inherited["at_epoch_end"] or not between_epochs)
        return inherited if fits else None

    def _record_pid(self, pid: int) -> None:
        where = (JobAttempt.job_id == self._claim.job_id, JobAttempt.number == self._claim.attempt)
        with self._host.database.transaction() as session:
            session.execute(update(JobAttempt).where(*where).values(trainer_pid=pid))

    def _listen(self, trainer: Trainer) -> int:
        """Moves what the trainer says into rows until it has ended and both pipes are dry."""
        takers = {trainer.events: self._reports.take_events, trainer.log: self._reports.take_log}
        next_flush = next_alive = 0.0
        with selectors.DefaultSelector() as selector:
            for descriptor in takers:
                selector.register(descriptor, selectors.EVENT_READ)
            while True:
                if selector.get_map():
                    _read_ready(selector, takers)
                exit_code = trainer.exit_code(0.0 if selector.get_map() else _LOOK_SECONDS)
                if exit_code is not None and not _has_input(selector):
                    return exit_code
                self._look_after(trainer)
                now = time.monotonic()
                if self._reports.is_urgent or now >= next_flush:
                    self._reports.flush()
                    next_flush = now + _FLUSH_SECONDS
                if now >= next_alive:
                    trainer.send({"alive_until": self._alive_until()})
                    # A trainer that is killed tells nothing at its end.
                    self._peak_host_bytes = peak_of(trainer.pid) or self._peak_host_bytes
                    next_alive = now + _ALIVE_SECONDS

    def _alive_until(self) -> float:
        """When the trainer ends itself, whatever holds its supervisor up: before the lease runs out."""
        return self._keeper.state.extended_at + self._host.settings.lease.kill_after_seconds

    def _look_after(self, trainer: Trainer) -> None:
        """Decides whether the trainer must stop, and how firmly.

        Raises:
            LeaseLost: another attempt may hold the job; the caller kills the trainer.
        """
        lease, state = self._host.settings.lease, self._keeper.state
        self._require_lease()
        if state.requests.cancel:
            self._stop.request("cancel")
        elif state.requests.pause:
            self._stop.request("pause")
        elif self._is_over_time():
            self._stop.request("time_limit")
        elif self._host.shutdown.is_set() or state.silence_seconds() > lease.stop_after_seconds:
            self._stop.request("shutdown")
        elif state.requests.finish and not self._finish_sent:
            trainer.send({"finish": True})
            self._finish_sent = True
        self._stop.press(trainer)

    def _require_lease(self) -> None:
        state = self._keeper.state
        if state.is_lost or state.silence_seconds() > self._host.settings.lease.kill_after_seconds:
            raise LeaseLost(self._claim.job_id)

    def _is_over_time(self) -> bool:
        left = self._claim.runtime_left_seconds
        return left is not None and boot_seconds() - self._began_at > left

    def _finish(self, exit_code: int) -> None:
        self._reports.note_usage(peak_host_bytes=self._peak_host_bytes)
        error = explain_exit(
            exit_code,
            self._reports.error,
            has_result=self._reports.result is not None,
            memory_ran_out=self._memory.ran_out(),
        )
        if exit_code == EXIT_STOPPED or (self._stop.reason and exit_code in _STOPPED):
            self._finish_stopped(exit_code)
        elif error is not None:
            self._fail(error, exit_code=exit_code)
        else:
            self._succeed()

    def _fail(self, error: ErrorInfo, *, exit_code: int | None) -> None:
        self._spans.fail(error.code, error.message)
        self._end(lambda s: finishing.fail(s, self._claim, error, exit_code=exit_code))

    def _finish_stopped(self, exit_code: int) -> None:
        claim = self._claim
        match self._stop.reason:
            case "cancel":
                self._end(lambda s: finishing.finish_cancelled(s, claim, exit_code=exit_code))
                self._clear_workspace()
            case "time_limit":
                self._fail(TIME_LIMIT, exit_code=exit_code)
            case _:
                self._end(lambda s: finishing.give_back(s, claim, exit_code=exit_code))

    def _succeed(self) -> None:
        result = self._reports.result
        assert result is not None
        try:
            publish = prepare_publication(
                self._claim, result, self._host.store, self._host.settings.promotion
            )
        except HeimdallError as failure:
            self._fail(failure.to_info(), exit_code=0)
            return
        try:
            self._publish(publish)
        except LeaseLost:
            raise
        except Exception as failure:  # noqa: BLE001 - whatever it is, the job must say so
            self._log.exception("publication_failed")
            self._fail(classify(failure), exit_code=0)
            return
        self._clear_workspace()

    def _publish(self, publish: Publish) -> None:
        """Ends the attempt with success; what that needs of the object store is read between two tries."""
        while True:
            try:
                self._end(
                    lambda s: finishing.succeed(
                        s, self._claim, artifacts=self._reports.artifacts, publish=publish
                    )
                )
            except NotRead as wanted:
                wanted.fetch()
            else:
                return

    @property
    def _workspace(self) -> Path:
        """Of this attempt alone: what a killed one left behind, or still writes, is not in its way."""
        return self._job_folder / f"a{self._claim.attempt}"

    def _make_workspace(self) -> None:
        """Makes it, and removes those of the job's earlier attempts on this host."""
        for former in self._job_folder.glob("*"):
            shutil.rmtree(former, ignore_errors=True)
        self._workspace.mkdir(parents=True, exist_ok=True)

    def _clear_workspace(self) -> None:
        """A failed or given back attempt leaves it: its newest checkpoint lies there."""
        shutil.rmtree(self._job_folder, ignore_errors=True)

    def _end(self, change: Callable[[Session], None]) -> None:
        while not self._reports.flush():
            self._wait_for_database()
        self._tell(change)

    def _tell(self, change: Callable[[Session], None]) -> None:
        """Commits the end of the attempt; while the database is away it is tried again within the lease."""
        while True:
            try:
                with self._host.database.transaction() as session:
                    change(session)
            except LeaseLost:
                self._log.warning("lease_lost_at_the_end")
            except DBAPIError as error:
                if not _is_away(error):
                    raise
                self._log.warning("end_not_written", reason=str(error.__cause__ or error))
                self._wait_for_database()
                continue
            return

    def _wait_for_database(self) -> None:
        if self._keeper.state.silence_seconds() > self._host.settings.lease.kill_after_seconds:
            raise LeaseLost(self._claim.job_id)
        time.sleep(_RETRY_SECONDS)


class StopSequence:
    """Ask over the pipe, then SIGTERM, then SIGKILL to the group, each after the grace has passed."""

    def __init__(self, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._stages = ["ask", "term", "kill"]
        self._next_at = 0.0
        self.reason: str | None = None

    def request(self, reason: str) -> None:
        """The first reason stays."""
        self.reason = self.reason or reason

    def press(self, trainer: Trainer) -> None:
        """Takes the next step if one is due."""
        if self.reason is None or not self._stages or boot_seconds() < self._next_at:
            return
        stage = self._stages.pop(0)
        self._next_at = boot_seconds() + self._grace_seconds
        if stage == "ask":
            trainer.send({"stop": self.reason})
        else:
            trainer.signal_group(signal.SIGTERM if stage == "term" else signal.SIGKILL)


def _is_away(error: DBAPIError) -> bool:
    """Whether the connection was at fault, the server's end of an idle transaction included."""
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)


def _read_ready(selector: selectors.BaseSelector, takers: Mapping[int, Callable[[bytes], None]]) -> None:
    for key, _ in selector.select(_LOOK_SECONDS):
        data = os.read(key.fd, 65_536)
        if data:
            takers[key.fd](data)
        else:
            selector.unregister(key.fd)


def _has_input(selector: selectors.BaseSelector) -> bool:
    return bool(selector.get_map()) and bool(selector.select(0))
