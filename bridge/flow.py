"""One table's way from change to read: what is dirty, and when its task must wake."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.changes import Change, Operation
from bridge.coalescer import Coalescer

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.tables import Table


class Flow:
    """The dirty keys of one table, and its Gaps, with the wake-up of the task that reads them."""

    def __init__(self, table: Table) -> None:
        timing = table.debounce, table.max_wait, table.leading
        self.table = table
        self.keys = Coalescer(*timing)
        # A Gap obeys the table's timing too: bulk statements in a row are one snapshot.
        self.gaps = Coalescer(*timing)
        self.wake = asyncio.Event()

    def gap(self, now: float) -> None:
        self.gaps.add(Change(self.table.name, (), Operation.UPDATE), now)
        self.wake.set()

    def clear(self) -> None:
        self.keys.clear()
        self.gaps.clear()

    async def due(self, now: Callable[[], float]) -> None:
        """Until something is due; returns at once if it already is."""
        while True:
            self.wake.clear()
            deadlines = [d for d in (self.keys.deadline(), self.gaps.deadline()) if d is not None]
            if deadlines and min(deadlines) <= now():
                return
            try:
                async with asyncio.timeout_at(min(deadlines, default=None)):
                    await self.wake.wait()
            except TimeoutError:
                return
