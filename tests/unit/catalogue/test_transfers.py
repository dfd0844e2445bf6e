import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from heimdall_core.catalogue.transfers import (
    MAX_BYTES_IN_FLIGHT,
    MAX_IN_FLIGHT,
    TransferWindow,
    ahead_of_use,
)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(MAX_IN_FLIGHT) as pool:
        yield pool


def test_a_failed_transfer_is_raised_when_it_is_waited_for(pool):
    window: TransferWindow[float] = TransferWindow(pool)
    window.start(lambda: 1 / 0, num_bytes=1)
    with pytest.raises(ZeroDivisionError):
        window.finish_oldest()
    assert len(window) == 0


def test_few_transfers_are_in_flight(pool):
    window: TransferWindow[None] = TransferWindow(pool)
    for _ in range(MAX_IN_FLIGHT):
        assert window.has_room(1)
        window.start(lambda: None, num_bytes=1)
    assert not window.has_room(1)
    window.finish_oldest()
    assert window.has_room(1)


def test_their_bytes_are_bounded_but_one_large_one_goes(pool):
    window: TransferWindow[None] = TransferWindow(pool)
    assert window.has_room(2 * MAX_BYTES_IN_FLIGHT)
    window.start(lambda: None, num_bytes=MAX_BYTES_IN_FLIGHT)
    assert not window.has_room(1)


def test_items_come_in_order_and_the_next_are_on_their_way(pool):
    barrier = threading.Barrier(MAX_IN_FLIGHT, timeout=10)

    def transfer(item: int) -> int:
        barrier.wait()
        return item

    numbers = range(4 * MAX_IN_FLIGHT)
    assert list(ahead_of_use(pool, numbers, transfer, size=lambda _: 1)) == list(numbers)
