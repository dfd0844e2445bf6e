"""Asking the neighbours how they are, without ever waiting long for one that hangs."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Literal

import httpx
import redis

from api.services import Services

State = Literal["ok", "unavailable", "no_answer"]
PATIENCE_SECONDS = 1.0


class Probe:
    """One question that is asked again only when the last one has been answered."""

    def __init__(self, name: str, check: Callable[[], object]) -> None:
        self._check = check
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"probe-{name}")
        self._pending: Future[object] | None = None

    def ask(self) -> "Future[object]":
        """The answer to come."""
        if self._pending is None or self._pending.done():
            self._pending = self._executor.submit(self._check)
        return self._pending


class Probes:
    """The services that the api can do without for a while."""

    def __init__(self, checks: Mapping[str, Callable[[], object]]) -> None:
        self._probes = {name: Probe(name, check) for name, check in checks.items()}

    def states(self) -> dict[str, State]:
        """The state of each, within a second."""
        asked = {name: probe.ask() for name, probe in self._probes.items()}
        wait(asked.values(), timeout=PATIENCE_SECONDS)
        return {name: _state(answer) for name, answer in asked.items()}


def make_probes(services: Services) -> Probes:
    """Probes of Redis, the object store and, if there is one, MLflow's server."""
    checks = {"redis": _redis_check(services), "storage": services.store.ping}
    uri = services.settings.tracking.uri or ""
    return Probes(checks | ({"tracking": _http_check(uri)} if uri.startswith("http") else {}))


def _http_check(uri: str) -> Callable[[], object]:
    def check() -> None:
        answer = httpx.get(f"{uri.rstrip('/')}/health", timeout=PATIENCE_SECONDS, trust_env=False)
        answer.raise_for_status()

    return check


def _redis_check(services: Services) -> Callable[[], object]:
    url = services.settings.redis.url.get_secret_value()
    client = redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1)
    return client.ping


def _state(answer: "Future[object]") -> State:
    if not answer.done():
        return "no_answer"
    return "ok" if answer.exception() is None else "unavailable"
