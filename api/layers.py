"""What lies around every request, from the outside in, and what it holds."""

from fastapi import FastAPI
from prometheus_client import Histogram

from api.known_callers import KnownCallers
from api.metrics import Timing
from api.middleware import BodyLimit, RequestContext
from api.polling import JobGlances, UnchangedJobs
from api.rate_limits import RateLimits
from api.services import Services
from api.token_buckets import RateLimiter, RedisBuckets
from api.tracing import Tracing
from heimdall_core.jobs.queue_facts import QueuePolicy, RecentQueue


class Layers:
    """The state of the layers of one application."""

    def __init__(self, services: Services) -> None:
        limit = services.settings.rate_limit
        buckets = RedisBuckets(services.settings.redis, limit.requests, limit.window_seconds)
        self.limiter = RateLimiter(limit, buckets) if limit.enabled else None
        self.callers = KnownCallers()
        policy = queue_policy(services)
        self.queue = RecentQueue(policy)
        self.glances = JobGlances(services.database, policy)
        self.spans = services.spans

    async def close(self) -> None:
        """Ends what they hold open."""
        self.glances.close()
        if self.limiter is not None:
            await self.limiter.close()


def add_layers(app: FastAPI, layers: Layers, *, answers: Histogram) -> None:
    """Wraps the application; what is added last is outermost."""
    app.add_middleware(BodyLimit)
    if layers.limiter is not None:
        app.add_middleware(RateLimits, limiter=layers.limiter)
    app.add_middleware(RequestContext)
    app.add_middleware(Tracing, spans=layers.spans)
    app.add_middleware(Timing, answers=answers)
    app.add_middleware(UnchangedJobs, callers=layers.callers, glances=layers.glances)


def queue_policy(services: Services) -> QueuePolicy:
    """What of the settings decides about waiting."""
    return QueuePolicy(
        worker_alive_seconds=services.settings.lease.lease_seconds,
        max_running_per_owner=services.settings.queue.max_running_per_owner,
    )
