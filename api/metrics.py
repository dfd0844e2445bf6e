"""What Prometheus is told: the fleet as the database has it, and this process."""

import threading
import time
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from sqlalchemy import QueuePool
from sqlalchemy.orm import Session
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.event_hub import EventHub
from api.services import Services
from heimdall_core.jobs.measures import End, Start, read_happenings, read_levels
from heimdall_core.notifications.lag import num_pending, webhook_lag_seconds
from heimdall_core.notifications.stream import last_event_number

# When a series began is told by nothing that reads these. The library's function states no types.
disable_created_metrics()  # type: ignore[no-untyped-call]

_MINUTE, _HOUR = 60.0, 3600.0
_WAITS: Final = (0.5, 1, 5, 15, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 6 * _HOUR, 24 * _HOUR)
_RUNS: Final = (5, 15, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 4 * _HOUR, 12 * _HOUR, 48 * _HOUR)
_ANSWERS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LOST: Final = "lost"


class ServiceMetrics:
    """The metrics of one application, brought up to date when they are read."""

    def __init__(self, services: Services, events: EventHub) -> None:
        self._services, self._events = services, events
        self._lock = threading.Lock()
        self._after: int | None = None
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._define_fleet()
        self._define_process()

    def _define_fleet(self) -> None:
        registry = self._registry
        jobs, kind = ("kind", "status"), ("kind",)
        self._jobs = Gauge("heimdall_jobs", "Jobs that are queued or run.", jobs, registry=registry)
        self._oldest = Gauge(
            "heimdall_queue_oldest_seconds", "Age of the oldest job that could run.", registry=registry
        )
        self._workers = Gauge("heimdall_workers", "Hosts that run jobs.", ("state",), registry=registry)
        self._waits = Histogram(
            "heimdall_job_wait_seconds", "From submission to start.", kind, registry=registry, buckets=_WAITS
        )
        self._runs = Histogram(
            "heimdall_job_run_seconds",
            "Of attempts that ended.",
            ("kind", "outcome"),
            registry=registry,
            buckets=_RUNS,
        )
        self._expiries = Counter(
            "heimdall_lease_expiries", "Attempts whose worker went silent.", registry=registry
        )
        self._webhook_lag = Gauge(
            "heimdall_webhook_lag_seconds", "How long the oldest message is overdue.", registry=registry
        )
        self._webhooks = Gauge(
            "heimdall_webhook_deliveries_pending", "Messages that nobody has taken yet.", registry=registry
        )
        self._outbox = Gauge(
            "heimdall_outbox_oldest_seconds", "Age of what MLflow was not told of yet.", registry=registry
        )

    def _define_process(self) -> None:
        registry = self._registry
        self._connections = Gauge(
            "heimdall_database_connections", "Connections of this process in use.", registry=registry
        )
        self._connection_limit = Gauge(
            "heimdall_database_connections_limit", "Connections that it may have.", registry=registry
        )
        self._streams = Gauge("heimdall_event_streams", "Open streams of this process.", registry=registry)
        self._stream_limit = Gauge(
            "heimdall_event_streams_limit", "Streams that it may have open.", registry=registry
        )
        self.answers = Histogram(
            "heimdall_http_request_seconds",
            "From request to the head of its answer; polls of unchanged jobs are not counted.",
            ("method", "route", "status"),
            registry=registry,
            buckets=_ANSWERS,
        )

    def render(self, session: Session) -> bytes:
        """All of them as Prometheus reads them."""
        with self._lock:
            self._read_levels(session)
            self._read_happenings(session)
            self._read_process()
            return generate_latest(self._registry)

    def _read_levels(self, session: Session) -> None:
        levels = read_levels(session, alive_seconds=self._services.settings.lease.lease_seconds)
        self._jobs.clear()
        for (kind, status), number in levels.jobs.items():
            self._jobs.labels(kind, status).set(number)
        for state, number in levels.workers.items():
            self._workers.labels(state).set(number)
        self._oldest.set(levels.oldest_seconds)
        self._outbox.set(levels.outbox_seconds)
        self._webhook_lag.set(webhook_lag_seconds(session))
        self._webhooks.set(num_pending(session))

    def _read_happenings(self, session: Session) -> None:
        """Counts from the first look on: what was before is not of this process's time."""
        if self._after is None:
            self._after = last_event_number(session)
        happenings, self._after = read_happenings(session, after=self._after)
        for happening in happenings:
            match happening:
                case Start(kind=kind, waited_seconds=seconds):
                    self._waits.labels(kind).observe(seconds)
                case End(kind=kind, outcome=outcome, seconds=seconds):
                    self._runs.labels(kind, outcome).observe(seconds)
                    if outcome == _LOST:
                        self._expiries.inc()

    def _read_process(self) -> None:
        pool = self._services.database.engine.pool
        assert isinstance(pool, QueuePool)
        self._connections.set(pool.checkedout())
        self._connection_limit.set(pool.size())
        self._streams.set(self._events.num_streams)
        self._stream_limit.set(self._events.settings.max_streams)


class Timing:
    """Counts requests and times them, by route: a path that no route has is ``none``."""

    def __init__(self, app: ASGIApp, *, answers: Histogram) -> None:
        self._app, self._answers = app, answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                # A method may be any word that a stranger sends.
                method = scope["method"] if scope["method"] in _METHODS else "other"
                labels = (method, route, str(message["status"]))
                self._answers.labels(*labels).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, timed)
