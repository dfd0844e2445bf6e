"""What a Celery process is: a worker with slots, the control plane, or both, by the queues it consumes."""

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from uuid import UUID

import structlog

from heimdall_core.database.engine import Database
from heimdall_core.jobs.hints import CONTROL_QUEUE, JOBS_QUEUE, HintPublisher
from heimdall_core.settings import Settings
from heimdall_core.storage import S3Store
from heimdall_core.telemetry import NO_SPANS, Spans, open_spans
from worker.control import ControlPlane, ControlTask
from worker.host_lock import HostLock
from worker.identity import this_worker
from worker.reaper_hold import ReaperHold
from worker.slots import SlotPool
from worker.spectrograms import SpectrogramMaker
from worker.supervision import Host
from worker.trainers import ForkServer
from worker.webhook_sender import WebhookSender

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Roles:
    slots: SlotPool | None = None
    spectrograms: SpectrogramMaker | None = None
    plane: ControlPlane | None = None
    webhooks: WebhookSender | None = None
    spans: Spans = NO_SPANS


_roles = _Roles()


def start(queues: Collection[str], settings: Settings) -> None:
    """Called once, before Celery connects to the broker: a worker works without Redis too."""
    if JOBS_QUEUE in queues:
        identity, _roles.spans = this_worker(), open_spans("heimdall-worker")
        lock = HostLock(settings.home / "run" / f"{identity.name}.lock")
        host = Host(
            database=Database(settings.database, application_name="heimdall-worker"),
            store=S3Store(settings.storage),
            fork_server=ForkServer(keep_open=(lock.fileno(),)),
            settings=settings,
            shutdown=threading.Event(),
            spans=_roles.spans,
        )
        _roles.slots = SlotPool(host, identity, lock)
        _roles.slots.start()
        _roles.spectrograms = SpectrogramMaker(host)
        _roles.spectrograms.start()
    if CONTROL_QUEUE in queues:
        hints = HintPublisher(settings.redis)
        hints.start()
        database = Database(settings.database, application_name="heimdall-control")
        hold = ReaperHold(settings.lease.lease_seconds)
        _roles.plane = ControlPlane(database=database, hints=hints, settings=settings, hold=hold)
        _roles.webhooks = WebhookSender(database, settings.webhooks)
        _roles.webhooks.start()
    _log.info("role_started", queues=sorted(queues))


def wake_slots() -> None:
    """A hint arrived."""
    if _roles.slots:
        _roles.slots.wake()


def make_spectrogram(session_id: str, segment: int) -> None:
    """Somebody looks at a session."""
    if _roles.spectrograms:
        _roles.spectrograms.ask(UUID(session_id), segment)


def bind(task: ControlTask) -> Callable[[], None]:
    """The Celery form of a control task."""

    def run() -> None:
        if _roles.plane:
            task.run(_roles.plane)

    run.__doc__ = task.run.__doc__
    return run


def request_stop() -> None:
    """SIGTERM arrived: trainers checkpoint and stop."""
    if _roles.slots:
        _roles.slots.request_stop()


def join() -> None:
    """Waits for the trainers' end."""
    if _roles.spectrograms:
        _roles.spectrograms.close()
    if _roles.slots:
        _roles.slots.join()
    if _roles.webhooks:
        _roles.webhooks.close()
    if _roles.plane:
        _roles.plane.hints.close()
    _roles.spans.close()
