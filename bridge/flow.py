"""One table's way from change to read: what is dirty, and when its task must wake."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.changes import Change, Operation
from bridge.coalescer import Coalescer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from bridge.changes import Dirty, Key, Mark, State
    from bridge.tables import Table


class Flow:
    """The dirty keys of one table, and its Gaps, with the wake-up of the task that reads them.

    `taken` are the keys that are being read, since `at`. `relays` names the table whose rows are
    to be refreshed too, where only a read can tell which ones.
    """

    def __init__(self, table: Table, relays: str | None = None) -> None:
        self.relays = relays
        timing = table.debounce, table.max_wait, table.leading
        self.table = table
        self.keys = Coalescer(*timing)
        # A Gap obeys the table's timing too: bulk statements in a row are one snapshot.
        self.gaps = Coalescer(*timing)
        self.wake = asyncio.Event()
        self._foreseen: dict[Key, State] = {}
        self.taken: Sequence[Dirty] = ()
        self.at = 0.0

    def add(self, changes: Iterable[Change], now: float, mark: Mark | None) -> Iterator[Change]:
        """Take them in; yields each that was one too many, and then nothing is dirty."""
        self._foreseen = {}
        for change in changes:
            if self.keys.add(change, now, mark) is not None:
                yield change
        self.wake.set()

    def foresee(self, states: Iterable[State]) -> None:
        """What keys were after all changes that have come: good for the next read, if that is at
        once, and none comes before it."""
        self._foreseen = {state.key: state for state in states}

    def foreseen(self, dirty: Sequence[Dirty]) -> list[State] | None:
        """The states of all of these, if they need not be read."""
        known, self._foreseen = self._foreseen, {}
        if not dirty or not all(one.key in known for one in dirty):
            return None
        return [known[one.key] for one in dirty]

    def gap(self, now: float, mark: Mark | None = None) -> None:
        self.gaps.add(Change(self.table.name, (), Operation.UPDATE), now, mark)
        self.wake.set()

    def clear(self) -> None:
        self.keys.clear()
        self.gaps.clear()
        self._foreseen = {}

    def mark(self) -> Mark | None:
        """The lowest mark of what has not been published: waiting, or being read."""
        marks = [self.keys.mark(), self.gaps.mark(), *(dirty.mark for dirty in self.taken)]
        return min((mark for mark in marks if mark is not None), default=None)

    async def due(self, now: Callable[[], float]) -> None:
        """Until something is due; returns at once if it already is."""
        while True:
            self.wake.clear()
            deadlines = [d for d in (self.keys.deadline(), self.gaps.deadline()) if d is not None]
            if deadlines and min(deadlines) <= now():
                return
            self._foreseen = {}
            try:
                async with asyncio.timeout_at(min(deadlines, default=None)):
                    await self.wake.wait()
            except TimeoutError:
                return


def relays(table: Table, tables: Mapping[str, Table]) -> str | None:
    """The table that this one refreshes, if others refresh this one.

    A table's own triggers name the parent's key themselves. But a child's child names the
    key of the row between, and that row's parent is for the bridge to find.
    """
    if table.parent is None:
        return None
    children = (other for other in tables.values() if other.parent is not None)
    middle = any(child.parent.table == table.name for child in children if child.parent)
    return table.parent.table if middle else None
