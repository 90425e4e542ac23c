"""One batch of one table on its way, with the times at which it passed each station."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.changes import Dirty


class Flush(NamedTuple):
    """Times are the loop's: when the keys were `taken` from the coalescer, when their SELECT was
    asked for, when it was answered (`loaded`), and when the last message was handed over (`sent`).

    `messages` counts by subscriber. `version` is that of the read, as messages say it.
    """

    table: str
    durable: bool
    dirty: Sequence[Dirty]
    taken: float
    asked: float
    loaded: float
    sent: float
    messages: int
    version: str = ""

    @property
    def began(self) -> float:
        """When the first of its changes arrived."""
        return min((dirty.since for dirty in self.dirty), default=self.taken)

    @property
    def written(self) -> float:
        """When the oldest of them was written, where that is known; else when it arrived."""
        return min((dirty.since - dirty.age for dirty in self.dirty), default=self.taken)
