"""Wake-ups for the workers, and wishes: sent from a thread of their own, and free to be lost."""

import contextlib
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from heimdall_core.domain.tracing import current_trace
from heimdall_core.settings import RedisSettings

WAKE_TASK = "heimdall.wake"
SPECTROGRAM_TASK = "heimdall.spectrogram"
JOBS_QUEUE = "jobs"
CONTROL_QUEUE = "control"

_LOOK_EXPIRES_SECONDS = 120.0
"""By then nobody waits for the picture any more."""
_PACE_SECONDS = 0.05
"""Between two messages: a burst of submissions wakes the workers long before the last of it."""
_log = structlog.get_logger(__name__)


def producer_app(settings: RedisSettings) -> Celery:
    """A Celery app that can only publish, and gives up quickly."""
    app = Celery("heimdall-producer", broker=settings.url.get_secret_value(), set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        result_backend=None,
        task_publish_retry=False,
        broker_connection_timeout=0.5,
        broker_connection_retry_on_startup=False,
        broker_transport_options={
            "socket_connect_timeout": 0.5,
            "socket_timeout": 0.5,
            "global_keyprefix": settings.key_prefix,
            "visibility_timeout": 600,
        },
    )
    return app


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """A task for whichever worker takes it."""

    task: str
    arguments: Mapping[str, str | int] = field(default_factory=dict)
    expires_seconds: float = 600.0


class HintPublisher:
    """``hint()`` returns at once, whatever Redis does."""

    def __init__(self, settings: RedisSettings, *, backlog: int = 100) -> None:
        self._app = producer_app(settings)
        #: The messages to come, each with its headers; None: the end.
        self._pending: queue.Queue[tuple[_Message, dict[str, str]] | None] = queue.Queue(maxsize=backlog)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hints", daemon=True)

    def start(self) -> None:
        """Starts the sending thread."""
        self._thread.start()

    def hint(self) -> None:
        """Asks for one wake-up; dropped when too many wait, for one of those will do."""
        self._put(_Message(task=WAKE_TASK))

    def ask_spectrogram(self, session_id: UUID, segment: int) -> None:
        """Asks a worker to make it; dropped when too much waits: whoever wants it asks again."""
        facts: Mapping[str, str | int] = {"session_id": str(session_id), "segment": segment}
        self._put(_Message(task=SPECTROGRAM_TASK, arguments=facts, expires_seconds=_LOOK_EXPIRES_SECONDS))

    def _put(self, message: _Message) -> None:
        try:
            self._pending.put_nowait((message, _headers()))
        except queue.Full:
            _log.debug("hint_dropped", task=message.task)

    def close(self) -> None:
        """Ends the thread after the message it is sending; what still waits is dropped."""
        self._ending.set()
        self._drop_pending()
        self._pending.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def _run(self) -> None:
        while (pending := self._pending.get()) is not None:
            try:
                self._send(*pending)
                self._ending.wait(_PACE_SECONDS)
            except (OperationalError, OSError) as error:
                _log.warning("hint_failed", reason=str(error), dropped=self._drop_pending())

    def _send(self, message: _Message, headers: dict[str, str]) -> None:
        self._app.send_task(
            message.task,
            kwargs=dict(message.arguments),
            queue=JOBS_QUEUE,
            expires=message.expires_seconds,
            retry=False,
            headers=headers,
        )

    def _drop_pending(self) -> int:
        """Empties the backlog but for the request to end: workers find the jobs by themselves."""
        dropped = 0
        with contextlib.suppress(queue.Empty):
            while self._pending.get_nowait() is not None:
                dropped += 1
            self._pending.put(None)
        return dropped


def _headers() -> dict[str, str]:
    """The trace of whoever asks (W3C Trace Context)."""
    trace = current_trace()
    if trace is None:
        return {}
    return {"traceparent": trace.traceparent} | ({"tracestate": trace.state} if trace.state else {})
