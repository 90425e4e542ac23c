"""The one reader of the log's end: it settles the order, and publishes what is settled.

It runs while somebody follows a log topic, and begins each time by waiting until all who
are writing then are done: what is settled is not known from anywhere else. It wakes when a
transaction rings, and where transactions can be prepared, which then cannot ring, it looks
by itself. While there is a gap it asks who holds it, every few milliseconds.

A table whose rows cannot be read holds up no other: its streams fall behind, and read by
themselves. Where the database is lost, what was proven of a gap is forgotten; what is
settled stays so, for the log outlives a crash.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import groupby
from typing import TYPE_CHECKING

from bridge.drain import Drain, Proof
from bridge.held import Held
from bridge.pace import Pace
from bridge.replay import RETRY, UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bridge.changes import Event
    from bridge.drain import Entry
    from bridge.health import Health
    from bridge.logbook import About, Logbook
    from bridge.metrics import Metrics
    from bridge.streams import Streams
    from bridge.tables import Table
    from bridge.viewer import Viewer

log = logging.getLogger(__name__)

GAP = 0.01
"""Seconds between two looks at who holds a gap."""

CHECK = 5.0
"""Seconds after which the log is looked at without having been rung for."""

UNRUNG = 0.1
"""The same where transactions may be prepared, which cannot ring."""


class LogFeed:
    """For one bridge; `tables` are its log tables."""

    def __init__(
        self,
        tables: Mapping[str, Table],
        streams: Streams,
        book: Logbook,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._tables = tables
        self._streams = streams
        self._book = book
        self._health = health
        self._metrics = metrics
        self._wake = asyncio.Event()
        self._drain: Drain | None = None
        self._pace = Pace()
        self._held = Held(book, metrics)
        self._check = CHECK
        self._returned = False
        self.on_caught_up: Callable[[], None] = lambda: None
        """Called when all that was written before `resume` has been published."""
        streams.on_doubt = self.ring

    def ring(self) -> None:
        """Something was written, or somebody came."""
        self._wake.set()

    def resume(self) -> None:
        """The database is back."""
        self._returned = True
        if self._drain is not None:
            self._drain.forget()
        self.ring()

    async def run(self) -> None:
        while True:
            self._wake.clear()
            if not self._streams:
                self._rest()
                await self._sleep(None)
                continue
            try:
                await self._step()
                self._health.clear("log")
            except UNREADABLE as error:
                await self._failed(error)

    def _rest(self) -> None:
        """Nobody follows: no queries, and what is settled is soon not known any more."""
        self._drain = None
        self._streams.end()
        self._held.clear()

    async def _failed(self, error: Exception) -> None:
        self._metrics.load_errors.inc()
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "log" not in self._health.reasons:
            log.warning("the log cannot be read", extra={"reason": why})
        self._health.fail("log", f"log: {why}")
        if self._drain is not None:
            self._drain.forget()
        await asyncio.sleep(RETRY)

    async def _sleep(self, seconds: float | None) -> None:
        """Until something is written, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    # Where the order begins.

    async def _begin(self) -> Drain:
        """Everything up to the last number is settled once its writers are done."""
        self._check = UNRUNG if await self._book.prepares() else CHECK
        about, proof = await self._book.about(), Proof()
        if (known := self._streams.settled) is not None:  # another config is served now
            if not self._moved(about, known):
                return Drain(known)
            self._streams.lose()
        while True:
            proof.hold(await self._book.holders())
            await self._held.look(proof, about.issued - about.pruned, 0.0)
            if proof.done:
                break
            await asyncio.sleep(GAP)
        self._streams.begin(about.identity, about.issued)
        return Drain(about.issued)

    # What is written.

    async def _step(self) -> None:
        returned, self._returned = self._returned, False
        try:
            if self._drain is None:
                self._drain = await self._begin()
            complete = await self._read(self._drain)
        except BaseException:
            self._returned |= returned
            raise
        if not complete:
            self._returned |= returned
            return
        if returned:
            self.on_caught_up()
        if self._drain is not None and self._drain.proof is not None:
            await asyncio.sleep(GAP)  # a ring tells of others: who holds the gap has not ended
        else:
            await self._sleep(self._check)

    async def _read(self, drain: Drain) -> bool:
        """One look at the log; whether that was all there is."""
        if drain.proof is not None:
            drain.proof.hold(await self._book.holders())
        before, limit = drain.settled, self._pace.rows
        entries, about = await self._book.entries(before, limit)
        if self._moved(about, before):
            self._restart()
            return False
        complete = len(entries) < limit
        settled = drain.see(entries, complete=complete)
        if settled or drain.settled > before:
            await self._publish(settled, drain.settled)
        await self._measure(drain)
        return complete

    def _moved(self, about: About, settled: int) -> bool:
        lost = about.pruned > settled or about.issued < settled
        return lost or about.identity != self._streams.identity

    def _restart(self) -> None:
        """Another cluster, or one that forgot, or so much was written that it is pruned."""
        log.warning("the log is another one now, or pruned: followers begin anew")
        self._drain = None
        self._streams.lose()

    async def _publish(self, entries: Sequence[Entry], settled: int) -> None:
        began = asyncio.get_running_loop().time()
        events: list[Event] = []
        read: dict[str, set[Viewer]] = {}
        ordered = sorted(entries, key=lambda entry: entry.source)
        for source, group in groupby(ordered, lambda entry: entry.source):
            read[source] = set()
            if source in self._tables:
                await self._add(self._tables[source], list(group), events, read[source])
        # Who came meanwhile, to a table whose rows nobody wanted then, reads them by itself.
        for source, viewers in read.items():
            self._streams.fall_back(source, viewers)
        events.sort(key=lambda event: event.seq)
        self._count(events)
        self._streams.publish(events, settled)
        self._time(entries, events, asyncio.get_running_loop().time() - began)

    async def _add(
        self, table: Table, entries: Sequence[Entry], events: list[Event], read: set[Viewer]
    ) -> None:
        """Read the rows as each viewer who hears of them sees them."""
        for viewer in self._streams.audience.viewers(table.name):
            if (found := await self._events(table, entries, viewer)) is not None:
                events += found
                read.add(viewer)

    async def _events(
        self, table: Table, entries: Sequence[Entry], viewer: Viewer
    ) -> list[Event] | None:
        """The entries with their rows; None if these cannot be read now."""
        try:
            events = await self._book.events(table, entries, viewer)
        except UNREADABLE as error:
            self._metrics.load_errors.inc()
            log.warning("read failed", extra={"what": table.name, "reason": type(error).__name__})
            return None
        self._pace.measure(events)
        return events

    def _count(self, events: Sequence[Event]) -> None:
        self._metrics.events.inc(len({event.seq for event in events}))
        missed = [event for event in events if event.state is None]
        self._metrics.missed.inc(len(missed))
        # Policies may fail for claims that somebody has, who must not fill the log by it.
        if tables := sorted({event.table for event in missed if event.viewer is None}):
            about = {"table": ", ".join(tables)}
            log.error("rows of a log that cannot be named or read", extra=about)

    def _time(self, entries: Sequence[Entry], events: Sequence[Event], since: float) -> None:
        """How old events are now that were read so many seconds ago."""
        heard = {event.seq for event in events}
        for entry in entries:
            if entry.seq in heard:
                self._metrics.published(entry.source, entry.age + since)

    async def _measure(self, drain: Drain) -> None:
        if drain.proof is None or not drain.waiting:
            self._held.clear()
            return
        behind = drain.waiting[-1].seq - drain.settled
        await self._held.look(drain.proof, behind, drain.waiting[0].age)
