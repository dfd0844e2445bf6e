"""Workers are asked once in a while, however often a page asks the api."""

from api.spectrograms import ASK_AGAIN_SECONDS, AskedFor


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_of_many_calls_one_asks_until_it_may_have_been_lost():
    clock = Clock()
    asked = AskedFor(clock)
    assert asked.note("a") == (True, 0.0)
    assert [asked.note("a")[0] for _ in range(100)] == [False] * 100
    assert asked.note("b")[0], "another one is no repetition"
    clock.now = ASK_AGAIN_SECONDS
    assert asked.note("a") == (True, ASK_AGAIN_SECONDS)
    assert not asked.note("a")[0]


def test_who_comes_back_hours_later_has_not_waited_for_hours():
    clock = Clock()
    asked = AskedFor(clock)
    asked.note("a")
    clock.now = 7200.0
    assert asked.note("a") == (True, 0.0)


def test_what_was_made_and_is_gone_again_is_asked_for_at_once():
    asked = AskedFor(Clock())
    asked.note("a")
    asked.forget("a")
    assert asked.note("a") == (True, 0.0)


def test_what_nobody_waits_for_any_more_is_forgotten():
    asked = AskedFor(Clock(), most_remembered=3)
    for name in "abcde":
        asked.note(name)
    assert asked.note("a")[0]
    assert not asked.note("e")[0]
