"""How much is read at a time follows what was read last."""

from __future__ import annotations

from bridge import pace
from bridge.changes import Event, State
from bridge.pace import Pace


def events(count: int, size: int) -> list[Event]:
    return [Event(n, "t", State(("1",), ("1", "1"), "{}", "x" * size, "v")) for n in range(count)]


def test_large_rows_make_small_pages_and_small_ones_large() -> None:
    reading = Pace()
    reading.measure(events(50, 10_000_000))
    assert reading.rows == 1
    for _ in range(5):
        reading.measure(events(reading.rows, 10))
    assert reading.rows == pace.MOST


def test_the_window_grows_while_nothing_is_found_and_shrinks_to_what_is_needed() -> None:
    reading = Pace()
    for _ in range(9):
        reading.look(reading.window, full=False)
    assert reading.window == pace.WINDOW
    reading.look(60, full=True)
    assert reading.window == 120
