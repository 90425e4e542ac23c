"""From what is dirty to what the hub is told: every read of the database for subscribers.

A read that fails is tried again. Until then its keys stay dirty and its topics wait, but
nobody who reads does: one table that cannot be read delays no other.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import psycopg
from psycopg_pool import PoolTimeout

from bridge.audience import NOBODY
from bridge.changes import Change, Operation
from bridge.errors import DatabaseError
from bridge.feed import PACE
from bridge.flush import Flush
from bridge.refusals import RefusedError
from bridge.trace import Kind
from bridge.viewer import label

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from bridge.audience import Missed
    from bridge.changes import Dirty, Key, Mark, Snapshot, State
    from bridge.durable import Durable
    from bridge.errors import ProtocolError
    from bridge.flow import Flow
    from bridge.health import Health
    from bridge.hub import Hub
    from bridge.loader import Loader
    from bridge.metrics import Metrics
    from bridge.routes import Topic
    from bridge.turns import Request
    from bridge.viewer import Viewer

    Answers = Mapping[Topic, Snapshot | ProtocolError]

log = logging.getLogger(__name__)

Read = TypeVar("Read")

UNREADABLE = (psycopg.Error, PoolTimeout, DatabaseError, OSError)
"""What a read may raise for reasons that pass: it is tried again."""

RETRY = 0.5
"""Seconds until a read that failed is tried again."""

FORGIVEN = 10.0
"""Seconds after which a failure nobody needed to repeat is no reason against being ready."""

POISON_INTERVAL = 60.0
"""Seconds between two log lines about one table's rows that cannot be read."""

TOPICS_PER_READ = {"single": 500, "other": 16}
"""Snapshots read in one statement: topics of one row each, and topics of many."""


class Delivery:
    """Reads for one bridge. `take_in` is where changes go that a read brings to light; `gap`
    is for a table of which a read shows that there may be others; `on_flush` hears of every batch
    that was told."""

    def __init__(
        self,
        hub: Hub,
        loader: Loader,
        health: Health,
        metrics: Metrics,
        take_in: Callable[[list[Change], Mark | None], None],
        gap: Callable[[str, Mark | None], None],
        durable: Durable | None = None,
        on_flush: Sequence[Callable[[Flush], None]] = (),
    ) -> None:
        self._hub = hub
        self._loader = loader
        self._health = health
        self._metrics = metrics
        self._take_in = take_in
        self._gap = gap
        self._durable = durable
        self._on_flush = on_flush
        self._loop = asyncio.get_running_loop()
        self._asked = asyncio.Event()
        self._failing: dict[str, float] = {}
        self._told_of_poison: dict[str, float] = {}
        hub.on_request = self._asked.set
        hub.outbox.later = self._loop.call_soon

    async def reload(self, flow: Flow) -> None:
        """Read what is due of one table, for ever."""
        while True:
            await flow.due(self._loop.time)
            if gaps := flow.gaps.take(self._loop.time()):
                self._begin_anew(flow, gaps[0])
            flow.at = self._loop.time()
            dirty = flow.taken = flow.keys.take(flow.at)
            try:
                await self._tell(flow, dirty)
            except RefusedError:
                self._metrics.poisoned.inc(len(dirty))
                self._gap(flow.table.name, _lowest(dirty))
            flow.taken = ()

    async def _tell(self, flow: Flow, dirty: Sequence[Dirty]) -> None:
        if flow.relays is not None and dirty:
            await self._relay(flow, flow.relays, dirty)
        routes, name = self._hub.routes, flow.table.name
        trace = self._hub.trace
        unwanted = set(() if trace is None else _keys(dirty))
        for viewer in routes.viewers(name):
            if wanted := routes.wanted(name, dirty, viewer):
                if unwanted:
                    unwanted.difference_update(_keys(wanted))
                await self._publish(flow, wanted, viewer)
        if trace is not None:
            trace.keys(Kind.UNWANTED, name, unwanted)

    def _begin_anew(self, flow: Flow, gap: Dirty) -> None:
        marks = (mark for mark in (gap.mark, flow.keys.mark()) if mark is not None)
        mark = min(marks, default=None)
        flow.keys.clear()
        self._hub.gap(flow.table.name)
        if flow.relays is not None:
            self._gap(flow.relays, mark)

    async def _publish(self, flow: Flow, dirty: Sequence[Dirty], viewer: Viewer) -> None:
        asked = self._loop.time()
        read = await self._states(flow, dirty, viewer)
        if read is None:
            self._restore(flow, dirty)
            return
        states, poisoned = read
        loaded = self._loop.time()
        if poisoned:
            self._set_aside(flow, poisoned, viewer)
        flow.taken = ()
        self._note(flow.table.name, states, poisoned)
        durable = self._durable if flow.table.durable else None
        moment = durable.told(flow.table.name) if durable else None
        sent = self._hub.publish(flow.table, dirty, states, moment, viewer)
        await self._hub.outbox.written()
        flush = Flush(
            flow.table.name,
            flow.table.durable,
            dirty,
            flow.at,
            asked,
            loaded,
            self._loop.time(),
            sent,
            states[0].version if states else "",
        )
        for tell in self._on_flush:
            tell(flush)

    async def _states(
        self, flow: Flow, dirty: Sequence[Dirty], viewer: Viewer
    ) -> tuple[Sequence[State], Sequence[Key]] | None:
        """As `Loader.load`, but for what was read ahead; None if it failed."""
        if viewer is None and (foreseen := flow.foreseen(dirty)) is not None:
            return foreseen, ()
        what = f"reload {flow.table.name}{label(viewer)}"
        loader = self._loader.seen_by(viewer)
        read = await self._attempt(what, loader.load(flow.table, _keys(dirty)))
        self._metrics.reloads.inc(read is not None)
        return read

    def _note(self, table: str, states: Sequence[State], refused: Sequence[Key]) -> None:
        if (trace := self._hub.trace) is not None:
            trace.keys(Kind.READ, table, (s.key for s in states if s.row is not None))
            trace.keys(Kind.GONE, table, (s.key for s in states if s.row is None))
            trace.keys(Kind.REFUSED, table, refused)

    async def _relay(self, flow: Flow, parent: str, dirty: Sequence[Dirty]) -> None:
        """Only a read tells which rows of the parent these rows belong to."""
        read = await self._attempt(
            f"parents of {flow.table.name}", self._loader.parents(flow.table, _keys(dirty))
        )
        if read is None:
            self._restore(flow, dirty)
            return
        age = self._loop.time() - min(key.since - key.age for key in dirty)
        found = [Change(parent, key, Operation.UPDATE, age=age) for key in read]
        self._take_in(found, _lowest(dirty))

    def _restore(self, flow: Flow, dirty: Sequence[Dirty]) -> None:
        if self._hub.trace is not None:
            self._hub.trace.keys(Kind.FAILED, flow.table.name, _keys(dirty))
        flow.keys.restore(dirty, self._loop.time(), RETRY)
        flow.wake.set()

    def _set_aside(self, flow: Flow, keys: Sequence[Key], viewer: Viewer) -> None:
        self._metrics.poisoned.inc(len(keys))
        self._hub.poison(flow.table, keys, viewer)
        # Any role may NOTIFY us keys that are none. They are counted, and said once a minute;
        # as a warning, for nobody is to be woken by whoever sends such.
        now = self._loop.time()
        if now >= self._told_of_poison.get(flow.table.name, now):
            self._told_of_poison[flow.table.name] = now + POISON_INTERVAL
            about = {"table": flow.table.name, "keys": len(keys)}
            log.warning("rows that cannot be read", extra=about)

    async def read_topics(self) -> None:
        """Read the topics that are owed a snapshot, for ever."""
        while True:
            now = self._loop.time()
            if (request := self._hub.requests(**TOPICS_PER_READ, now=now)) is not None:
                await self._read(request)
                continue
            self._asked.clear()
            due = self._hub.turns.due() if self._hub.live else None
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._asked.wait()

    async def _read(self, request: Request) -> None:
        table = request.route.table
        what, asked = f"snapshot {table.name}{label(request.viewer)}", self._loop.time()
        read = await self._attempt(what, self._answers(request))
        if read is None:
            self._loop.call_later(RETRY, self._hub.again, request)
            return
        self._metrics.snapshots.inc()
        self._metrics.snapshot_seconds.observe(self._loop.time() - asked)
        answers, missed = read
        self._hub.deliver(request, answers, self._loop.time(), missed)

    async def _answers(self, request: Request) -> tuple[Answers, Missed]:
        table, topics = request.route.table, list(request.topics)
        durable = self._durable if table.durable else None
        about = await durable.begun() if durable else None
        values = [topic.values for topic in topics]
        loader = self._loader.seen_by(request.viewer)
        read = await loader.snapshots(table, request.route.template, values)
        answers = dict(zip(topics, read, strict=True))
        if durable is None or about is None:
            return answers, NOBODY
        return await durable.resumed(request, answers, about)

    async def follow(self, durable: Durable) -> None:
        """Read what durable tables' triggers keep, for ever."""
        while True:
            await durable.feed.wait()
            if await self._attempt("kept changes", self._read_on(durable)) is None:
                durable.feed.ring()
                await asyncio.sleep(RETRY)
            await asyncio.sleep(PACE)

    async def _read_on(self, durable: Durable) -> bool:
        await durable.feed.read()
        return True

    async def _attempt(self, what: str, read: Awaitable[Read]) -> Read | None:
        """The read, or None if it failed for a reason that may pass."""
        try:
            result = await read
        except UNREADABLE as error:
            self._failed(what, reason(error))
            return None
        self._failing.pop(what, None)
        self._health.clear(what)
        return result

    def _failed(self, what: str, why: str) -> None:
        self._metrics.load_errors.inc()
        if what not in self._failing:
            log.warning("read failed", extra={"what": what, "reason": why})
        self._failing[what] = self._loop.time()
        self._health.fail(what, f"{what}: {why}")

    def forgive(self, now: float) -> None:
        """Forget failures of reads that nobody wants any more."""
        for what, since in list(self._failing.items()):
            if now - since > FORGIVEN:
                del self._failing[what]
                self._health.clear(what)


def _lowest(dirty: Sequence[Dirty]) -> Mark | None:
    return min((key.mark for key in dirty if key.mark is not None), default=None)


def _keys(dirty: Sequence[Dirty]) -> list[Key]:
    return [key.key for key in dirty]


def reason(error: Exception) -> str:
    """An error in one line, without the connection string or the values it may quote."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return f"{error.diag.message_primary} ({error.sqlstate})"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
