"""Counting over windows."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from fakeservers import tally as module
from fakeservers.tally import Tally


def test_a_window_ends_exactly_when_it_is_over() -> None:
    tally = Tally()
    tally.add("messages", 100.0, 3)
    tally.add("messages", 200.0, 4)
    assert tally.within("messages", 200.0, 100.0) == 4, "an event exactly that old has left"
    assert tally.within("messages", 199.9, 100.0) == 7
    assert tally.total("messages") == 7
    assert tally.within("messages", 1e9, 1.0) == 0
    assert tally.within("other", 0.0, 1.0) == tally.total("other") == 0
    assert tally.names() == ["messages"]


def test_a_clock_that_went_back_loses_nothing() -> None:
    tally = Tally()
    tally.add("logins", 100.0)
    tally.add("logins", 50.0)
    assert tally.total("logins") == 2
    assert tally.within("logins", 100.0, 10.0) == 2


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 5))), st.integers(0, 60), st.integers(1, 60))
def test_windows_are_sums(events: list[tuple[int, int]], now: int, window: int) -> None:
    tally = Tally()
    for time, amount in sorted(events):
        tally.add("x", float(time), amount)
    assert tally.within("x", float(now), float(window)) == sum(n for time, n in events if time > now - window)
    assert tally.total("x") == sum(n for _, n in events)


def test_a_long_life_costs_an_entry_for_each_second() -> None:
    tally = Tally()
    events = 30 * module.EXACT
    for number in range(events):
        tally.add("octets", number / 1000, 2)
    assert tally.total("octets") == 2 * events
    now = events / 1000
    assert tally.within("octets", now, 1.0) == 2 * 999
    far = tally.within("octets", now, 200.0)
    assert abs(far - 2 * 200_000) <= 2 * 1000, "right to the second"
    times, _ = tally._counts["octets"]
    assert isinstance(times, array)
    assert len(times) < 2 * module.EXACT


def test_a_clock_that_stands_still_makes_one_entry() -> None:
    tally = Tally()
    for _ in range(1000):
        tally.add("commands", 5.0)
    assert tally._counts["commands"] == (5.0, 1000)
    assert tally.total("commands") == 1000


def test_messages_noted_are_counted_when_somebody_asks() -> None:
    tally = Tally()
    for number in range(module.FRESH + 3):
        tally.add_message((float(number), 2, 10))
    assert tally.within("messages", float(module.FRESH + 2), 5.0) == 5
    assert tally.within("recipients", float(module.FRESH + 2), 5.0) == 10
    assert tally.total("octets") == 10 * (module.FRESH + 3)
    tally.add_message((1e6, 1, 1))
    assert tally.names() == ["messages", "octets", "recipients"]
    assert tally.total("recipients") == 2 * (module.FRESH + 3) + 1
