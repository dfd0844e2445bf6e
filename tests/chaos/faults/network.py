"""The proxies between a service and an engine, and how they misbehave."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.chaos.faults.chaos import Chaos
from tests.chaos.proxy import Mode, Proxy


@contextmanager
def disturbed(
    proxies: list[Proxy], mode: Mode, *, delay_seconds: float = 0.0, resets: bool = False
) -> Iterator[None]:
    """The proxies misbehave, and then are open again."""
    for proxy in proxies:
        proxy.delay_seconds, proxy.mode = delay_seconds, mode
        if mode == "closed":
            proxy.reset()
    try:
        yield
    finally:
        for proxy in proxies:
            if resets:
                proxy.reset()
            proxy.mode = "open"


def proxies_of(chaos: Chaos, engine: str, services: tuple[str, ...] | None = None) -> list[Proxy]:
    """Those to an engine, of all services or the named ones."""
    return [
        p for (s, e), p in chaos.world.proxies.items() if e == engine and (services is None or s in services)
    ]
