"""How many rows to read at a time, so that a page takes about as much room whatever a row is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.changes import Event

ROOM = 512 * 1024
"""Characters that a page should have, about."""

MOST = 500
FIRST = 50

WINDOW = 50_000
"""Entries of the log that one read looks through at most."""


class Pace:
    """`rows` follows the size of the rows that were read last, and `window` how many numbers it
    took to find them: without statistics PostgreSQL sorts the whole window for one page of it."""

    def __init__(self) -> None:
        self.rows = FIRST
        self.window = 2 * FIRST

    def look(self, numbers: int, *, full: bool) -> None:
        """A page took so many numbers, and was full or not."""
        wanted = 2 * numbers if full else 4 * self.window
        self.window = max(2 * self.rows, min(WINDOW, wanted))

    def measure(self, events: Sequence[Event]) -> None:
        sizes = [len(event.state.row) for event in events if event.state and event.state.row]
        if not sizes:
            self.rows = min(MOST, self.rows * 2)
            return
        fitting = ROOM * len(sizes) // max(1, sum(sizes))
        # Upwards by steps: the next rows may be larger than these.
        self.rows = max(1, min(MOST, fitting, self.rows * 4))
