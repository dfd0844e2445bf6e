"""The queue, the workers, the service itself, and the events of everything."""

from collections.abc import Iterable

from heimdall_client.calls import get, history, post
from heimdall_client.documents.document import document, items
from heimdall_client.documents.fleet import Queue, Readiness, Worker
from heimdall_client.documents.jobs import Event, Job
from heimdall_client.exchanges import Request, path_of
from heimdall_client.following import event_filter, watch_all
from heimdall_client.operations.binding import Answering, Blocking, Iterating, NonBlocking
from heimdall_client.steps import Feed, Flow, exchange


def read_queue() -> Flow[Queue]:
    """How many jobs wait and run."""
    return get("/v1/queue", document(Queue))


def list_workers() -> Flow[list[Worker]]:
    """The hosts that run jobs, and what they run."""
    return get("/v1/workers", items(Worker))


def drain_worker(name: str) -> Flow[list[Worker]]:
    """Keeps a worker from new jobs; it ends what it runs. Gives all workers."""
    return post(path_of("workers", name) + ":drain", items(Worker))


def undrain_worker(name: str) -> Flow[list[Worker]]:
    """Lets a drained worker take jobs again. Gives all workers."""
    return post(path_of("workers", name) + ":undrain", items(Worker))


def list_events(
    *,
    after: str | None = None,
    names: Iterable[str] = (),
    kinds: Iterable[str] = (),
    job: Job | str | None = None,
    model: str | None = None,
) -> Feed[Event]:
    """The events of everything that the caller may see, as far as they go now, oldest first.

    Arguments are those of ``watch``.
    """
    return history("/v1/events", Event, event_filter(names, kinds, job, model), after=after)


def read_readiness() -> Flow[Readiness]:
    """Whether the service is ready, and which of its neighbours it cannot reach; asked once."""
    answer = yield from exchange(Request(method="GET", path="/readyz"))
    return document(Readiness)(answer)


class WorkerOperations:
    """Every call about workers."""

    list = Answering(list_workers)
    drain = Answering(drain_worker)
    undrain = Answering(undrain_worker)


class EventOperations:
    """Every call about the events of everything."""

    list = Iterating(list_events)
    watch = Iterating(watch_all)


class Workers(WorkerOperations, Blocking):
    """Workers, blocking."""


class AsyncWorkers(WorkerOperations, NonBlocking):
    """Workers, to be awaited."""


class Events(EventOperations, Blocking):
    """Events, blocking."""


class AsyncEvents(EventOperations, NonBlocking):
    """Events, to be awaited."""
