"""Requests that are served together."""

import asyncio
import threading

import pytest

from api.gathering import Gathering


class Turns:
    """Serves by doubling, one turn whenever it is let; what is odd has no answer."""

    def __init__(self, *, most=None):
        self.served, self.error = [], None
        self.begun, self._let = threading.Event(), threading.Semaphore(0)
        self.gathering = Gathering(self._serve, name="turns", most=most)

    def let(self, count=1):
        for _ in range(count):
            self._let.release()

    def _serve(self, asked):
        self.begun.set()
        assert self._let.acquire(timeout=10)
        self.served.append(asked)
        if self.error is not None:
            raise self.error
        return {number: 2 * number for number in asked if number % 2 == 0}

    async def ask(self, *numbers):
        """Tasks that ask, the first of which is being served."""
        tasks = [asyncio.create_task(self.gathering.ask(number)) for number in numbers]
        while self.gathering.num_waiting < len(set(numbers)):
            await asyncio.sleep(0)
        return tasks


@pytest.fixture
def turns():
    turns = Turns()
    yield turns
    turns.let(100)
    turns.gathering.close()


def test_a_lone_request_is_served_at_once(turns):
    turns.let()
    assert asyncio.run(turns.gathering.ask(4)) == 8
    assert turns.served == [(4,)]


def test_what_comes_during_a_turn_is_served_together_in_the_next_in_the_order_of_arrival(turns):
    async def run():
        first = asyncio.create_task(turns.gathering.ask(2))
        await asyncio.to_thread(turns.begun.wait, 10)
        later = await turns.ask(8, 4, 6)
        turns.let(2)
        return await asyncio.gather(first, *later)

    assert asyncio.run(run()) == [4, 16, 8, 12]
    assert turns.served == [(2,), (8, 4, 6)]


def test_a_turn_has_no_more_than_it_may():
    turns = Turns(most=2)

    async def run():
        tasks = await turns.ask(2, 4, 6, 8, 10)
        turns.let(3)
        return await asyncio.gather(*tasks)

    assert asyncio.run(run()) == [4, 8, 12, 16, 20]
    assert turns.served == [(2, 4), (6, 8), (10,)]
    turns.gathering.close()


def test_who_asks_for_the_same_shares_an_answer_and_what_is_left_out_has_none(turns):
    async def run():
        tasks = await turns.ask(2, 3, 2)
        turns.let()
        return await asyncio.gather(*tasks)

    assert asyncio.run(run()) == [4, None, 4]
    assert turns.served == [(2, 3)]


def test_an_error_reaches_everybody_of_its_turn_and_nobody_else(turns):
    turns.error = RuntimeError("no database")

    async def run():
        tasks = await turns.ask(2, 4)
        turns.let()
        failed = await asyncio.gather(*tasks, return_exceptions=True)
        turns.error = None
        turns.let()
        return failed, await turns.gathering.ask(6)

    failed, after = asyncio.run(run())
    assert [str(error) for error in failed] == ["no database", "no database"]
    assert after == 12


def test_one_that_no_longer_waits_does_not_keep_the_others_from_their_answers(turns):
    async def run():
        gone, stays = await turns.ask(2, 4)
        gone.cancel()
        turns.let()
        return await stays

    assert asyncio.run(run()) == 8
