"""The one place that knows all parts, starts every task and ends it.

    listener ─▶ coalescer (one per table) ─▶ loader ─▶ hub ─▶ gateway

A change goes from the listener into its table's coalescer without waiting for
anything. One task per table takes what is due, reads it and hands it to the hub, so a
table that is locked delays no other. A Gap leaves everything followed to the
snapshot readers. A read that fails leaves its keys dirty and its topics wanted.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from contextlib import aclosing, closing
from functools import partial
from typing import TYPE_CHECKING

import psycopg
from psycopg_pool import PoolTimeout

from bridge import catalog, pool
from bridge.backoff import Backoff
from bridge.changes import Change, Gap, Lost, Operation
from bridge.errors import DatabaseError
from bridge.flow import Flow, relays
from bridge.gateways.server import Gateway
from bridge.health import Health
from bridge.hub import Hub
from bridge.listener import Listener, Notifier
from bridge.loader import Loader
from bridge.metrics import Metrics
from bridge.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bridge.changes import Dirty
    from bridge.config import Config
    from bridge.listener import Item
    from bridge.routes import Request, Topic
    from bridge.tables import Table

log = logging.getLogger(__name__)

UNREADABLE = (psycopg.Error, PoolTimeout, DatabaseError, OSError)
"""What a read may raise for reasons that pass: it is tried again."""

RETRY = 0.5
"""Seconds until a reload that failed is tried again."""

STALLED = 10.0
"""Seconds without taking a byte after which a subscriber is closed."""

TOPICS_PER_READ = {"single": 500, "other": 16}
"""Snapshots read in one statement: topics of one row each, and topics of many."""

PATIENCE = 5.0
"""Seconds beyond its debounce that a notification may be late before it counts as missed."""

READERS = 2
"""Snapshot reads at a time; the pool keeps connections free for reloads."""


class Bridge:
    """One instance: `run` until `stop`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.instance = secrets.token_hex(2)
        self.metrics = Metrics()
        self.health = Health()
        self.hub = Hub(subscriptions=config.limits.subscriptions)
        self.gateway = Gateway(config, self.hub, self.health, self.metrics, self.instance)
        self._flows: dict[str, Flow] = {}
        self._asked = asyncio.Event()
        self._stopping = asyncio.Event()
        self._counted = 0, 0
        self.hub.on_request = self._asked.set
        self._observe()

    async def run(self, started: Callable[[str, int], None] = lambda _host, _port: None) -> None:
        """Serve until `stop`; `started` gets the address once connections are taken.

        Raises CatalogError if the database does not have what the config names.
        """
        self._loop = asyncio.get_running_loop()
        started(*await self.gateway.start())
        try:
            async with asyncio.TaskGroup() as tasks:
                work = tasks.create_task(self._work())
                await self._ended(work)
                self.health.fail("stop", "stopping")
                work.cancel()
        finally:
            await self.gateway.stop()

    def stop(self) -> None:
        """Drain and end; may be called from a signal handler."""
        self._stopping.set()

    async def _ended(self, work: asyncio.Task[None]) -> None:
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    async def _work(self) -> None:
        tables = await self._tables()
        self.hub.routes.watch(tables.values())
        self._flows = {name: Flow(table, relays(table, tables)) for name, table in tables.items()}
        async with pool.open_pool(self.config) as connections:
            self._prepare = partial(pool.bump_epoch, connections, self.config.schema)
            limit = self.config.limits.snapshot_rows
            self._loader = Loader(connections, self.config.schema, snapshot_rows=limit)
            self.health.clear("database")
            watch = Watch(self.config, tables, connections, self.health, self.metrics)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._capture(), name="capture")
                tasks.create_task(watch.run(), name="watch")
                for flow in self._flows.values():
                    tasks.create_task(self._reload(flow), name=f"reload {flow.table.name}")
                for n in range(READERS):
                    tasks.create_task(self._read_topics(), name=f"read topics {n}")
                tasks.create_task(self._tend(), name="tend")
                tasks.create_task(self._reconcile(), name="reconcile")

    # Getting to know the database.

    async def _tables(self) -> dict[str, Table]:
        backoff = Backoff()
        while True:
            try:
                return await asyncio.to_thread(_resolve, self.config)
            except psycopg.Error as error:
                self.health.fail("database", _reason(error))
                log.warning("database unreachable", extra={"reason": _reason(error)})
            await asyncio.sleep(backoff.delay())

    # Changes in.

    async def _capture(self) -> None:
        # Probes go the way that reads go, so that two databases by mistake are noticed.
        notifier = Notifier(self.config.database, self.config.schema)
        listener = Listener(
            self.config.listen,
            self.config.schema,
            probe=notifier.notify,
            widths={flow.table.name: flow.table.width for flow in self._flows.values()},
            prepare=self._prepare,
        )
        with closing(notifier):
            async with aclosing(listener.listen()) as items:
                async for item in items:
                    self._take(item)
                    self._count(listener)

    def _take(self, item: Item) -> None:
        match item:
            case Lost(reason):
                self.health.fail("listener", reason)
                self.hub.stale()
            case Gap(None):
                self._resume()
            case Gap(str() as table):
                self.metrics.gaps.inc()
                self._flows[table].gap(self._loop.time())
            case list():
                self._take_in(item)

    def _take_in(self, changes: list[Change]) -> None:
        now = self._loop.time()
        for change in changes:
            flow = self._flows[change.table]
            # Who follows later reads later: nothing is lost by not keeping this.
            if not self._concerns(flow):
                continue
            if flow.keys.add(change, now) is not None:
                self.metrics.gaps.inc()
                flow.gap(now)
            flow.wake.set()
        self.metrics.changes.inc(len(changes))

    def _concerns(self, flow: Flow) -> bool:
        """Whether anybody follows this table, or one that its rows refresh."""
        if self.hub.routes.follows(flow.table.name):
            return True
        return flow.relays is not None and self._concerns(self._flows[flow.relays])

    def _resume(self) -> None:
        """LISTEN is confirmed and the epoch bumped: read everything followed anew."""
        self.metrics.gaps.inc()
        for flow in self._flows.values():
            flow.clear()
        self.health.clear("listener")
        self.hub.resume()

    # States out.

    async def _reload(self, flow: Flow) -> None:
        while True:
            await flow.due(self._loop.time)
            now = self._loop.time()
            if flow.gaps.take(now):
                flow.keys.clear()
                self.hub.gap(flow.table.name)
                if flow.relays is not None:
                    self._flows[flow.relays].gap(now)
            taken = flow.keys.take(now)
            if flow.relays is not None and taken:
                await self._relay(flow, taken)
            if wanted := [d for d in taken if self.hub.routes.wants(flow.table.name, d)]:
                await self._publish(flow, wanted)

    async def _relay(self, flow: Flow, dirty: Sequence[Dirty]) -> None:
        """Rows that only know their parent's key by themselves: look it up, and refresh that."""
        who = f"parents of {flow.table.name}"
        try:
            parents = await self._loader.parents(flow.table, [d.key for d in dirty])
        except UNREADABLE as error:
            self._failed(who, error)
            flow.keys.restore(dirty, self._loop.time(), RETRY)
            flow.wake.set()
            return
        self.health.clear(who)
        parent = flow.relays or ""
        self._take_in([Change(parent, key, Operation.UPDATE) for key in parents])

    async def _publish(self, flow: Flow, dirty: list[Dirty]) -> None:
        who = f"reload {flow.table.name}"
        try:
            states, poisoned = await self._loader.load(flow.table, [d.key for d in dirty])
        except UNREADABLE as error:
            self._failed(who, error)
            flow.keys.restore(dirty, self._loop.time(), RETRY)
            flow.wake.set()
            return
        self.health.clear(who)
        self.metrics.reloads.inc()
        if poisoned:
            self.metrics.poisoned.inc(len(poisoned))
            log.error("rows that PostgreSQL refuses to read", extra={"table": flow.table.name})
            self.hub.poison(flow.table, poisoned)
        self.hub.publish(flow.table, dirty, states)
        self._measure(dirty)

    async def _read_topics(self) -> None:
        backoff = Backoff()
        while True:
            while (request := self.hub.requests(**TOPICS_PER_READ)) is None:
                self._asked.clear()
                await self._asked.wait()
            if await self._read(request):
                backoff.reset()
            else:
                await asyncio.sleep(backoff.delay())

    async def _read(self, request: Request) -> bool:
        topics: list[Topic] = list(request.topics)
        who = f"snapshot {request.route.table.name}"
        try:
            answers = await self._loader.snapshots(
                request.route.table, request.route.template, [topic.values for topic in topics]
            )
        except UNREADABLE as error:
            self._failed(who, error)
            self.hub.again(request)
            return False
        self.health.clear(who)
        self.metrics.snapshots.inc()
        answered = dict(zip(topics, answers, strict=True))
        self.hub.deliver(request, answered, self._loop.time())
        return True

    def _failed(self, who: str, error: Exception) -> None:
        self.metrics.load_errors.inc()
        if who not in self.health.reasons:
            log.warning("read failed", extra={"what": who, "reason": _reason(error)})
        self.health.fail(who, f"{who}: {_reason(error)}")

    # Keeping watch.

    async def _tend(self) -> None:
        while True:
            now = self._loop.time()
            self.gateway.drop_stalled(now, STALLED)
            self.metrics.repairs.inc(self.hub.routes.missed(now, PATIENCE))
            await asyncio.sleep(1.0)

    async def _reconcile(self) -> None:
        """Now and then read all that is followed: some writes fire no trigger."""
        while self.config.reconcile:
            # Spread, so that instances that started together do not read together.
            await asyncio.sleep(self.config.reconcile * random.uniform(0.5, 1))  # noqa: S311
            self.hub.reconcile()

    def _count(self, listener: Listener) -> None:
        """The listener counts for itself; what is new since the last time goes to the metrics."""
        notifications, malformed = listener.notifications, listener.malformed
        self.metrics.notifications.inc(notifications - self._counted[0])
        self.metrics.malformed.inc(malformed - self._counted[1])
        self._counted = notifications, malformed

    def _measure(self, dirty: list[Dirty]) -> None:
        now = self._loop.time()
        for key in dirty:
            self.metrics.latency.observe(now - key.since)
        self.metrics.last_latency.set(now - dirty[-1].since)

    def _observe(self) -> None:
        self.metrics.subscribers.set_function(lambda: self.hub.subscribers)
        self.metrics.topics.set_function(lambda: self.hub.topics)
        self.metrics.ready.set_function(lambda: self.health.ready)
        self.metrics.dirty.set_function(lambda: sum(len(f.keys) for f in self._flows.values()))


def _resolve(config: Config) -> dict[str, Table]:
    with psycopg.connect(config.database, autocommit=True, connect_timeout=5) as connection:
        return catalog.resolved(connection, config)


def _reason(error: Exception) -> str:
    """An error in one line, without the connection string or the values it may quote."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return f"{error.diag.message_primary} ({error.sqlstate})"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
