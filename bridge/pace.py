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


class Pace:
    """`rows` follows the size of the rows that were read last."""

    def __init__(self) -> None:
        self.rows = FIRST

    def measure(self, events: Sequence[Event]) -> None:
        sizes = [len(event.state.row) for event in events if event.state and event.state.row]
        if not sizes:
            self.rows = min(MOST, self.rows * 2)
            return
        fitting = ROOM * len(sizes) // max(1, sum(sizes))
        # Upwards by steps: the next rows may be larger than these.
        self.rows = max(1, min(MOST, fitting, self.rows * 4))
