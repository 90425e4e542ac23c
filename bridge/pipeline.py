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
from typing import TYPE_CHECKING, Any

from bridge import gauges, pool
from bridge.changelog import Changelog
from bridge.changes import Gap, Lost, Ring
from bridge.delivery import Delivery
from bridge.durable import Durable
from bridge.flow import Flow, relays
from bridge.gateways.server import Gateway
from bridge.health import Health
from bridge.hub import Hub
from bridge.inquiry import Inquiry, session_name
from bridge.intake import Intake
from bridge.listener import Listener, Notifier
from bridge.loader import Loader
from bridge.logbook import Logbook
from bridge.logs import Logs
from bridge.metrics import Metrics
from bridge.pacing import Pacing
from bridge.reload import Reload, found
from bridge.trace import Trace
from bridge.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.config import Config
    from bridge.flush import Flush
    from bridge.listener import Item
    from bridge.tables import Table

log = logging.getLogger(__name__)

STALLED = 10.0
"""Seconds without taking a byte after which a subscriber is closed."""

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
        self.on_flush: list[Callable[[Flush], None]] = [self.metrics.flushed]
        self.health = Health()
        self.hub = Hub(subscriptions=config.limits.subscriptions)
        trace = Trace() if config.server.inspector else None
        self.hub.trace = self.hub.streams.audience.trace = trace
        self.gateway = Gateway(config, self.hub, self.health, self.metrics, self.instance)
        self._flows: dict[str, Flow] = {}
        self._stopping = asyncio.Event()
        self._reload = Reload()
        self._durable: Durable | None = None
        self._logs: Logs | None = None
        parts = self.metrics, self.instance, self.hub, self.health
        gauges.observe(*parts, lambda: self._flows.values(), lambda: self._durable)

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

    def reload(self, load: Callable[[], Config]) -> None:
        """Serve another config, if it is right; may be called from a signal handler."""
        self._reload.ask(load)

    async def _work(self) -> None:
        """All but the gateway and the hub begins anew with a new config: subscribers stay."""
        tables = await found(self.config, self.health)
        while True:
            async with asyncio.TaskGroup() as tasks:
                serving = tasks.create_task(self._serve(tables))
                self.config, tables = await self._reload.granted(self.config)
                serving.cancel()
            self.health.begin()
            log.info("new config is served", extra={"tables": len(tables)})

    async def _serve(self, tables: dict[str, Table]) -> None:
        self.hub.renew(tables.values())
        self._flows = {name: Flow(table, relays(table, tables)) for name, table in tables.items()}
        self._intake = Intake(self.hub, self._flows, self.metrics, self._loop.time)
        async with pool.open_pool(self.config) as connections:
            self._prepare = partial(pool.bump_epoch, connections, self.config.schema)
            loader = Loader(
                connections,
                self.config.schema,
                snapshot_rows=self.config.limits.snapshot_rows,
                row_size=self.config.limits.row,
                settings=pool.local_settings(self.config),
                rls=self.config.rls,
            )
            durable = self._durable = self._keeper(connections, loader)
            parts = self.hub, loader, self.health, self.metrics
            back = self._intake.take, self._intake.gap
            delivery = Delivery(*parts, *back, durable, self.on_flush)
            local = pool.local_settings(self.config)
            book = Logbook(connections, loader, self.config.schema, local)
            self._logs = Logs(tables, self.hub.streams, book, self.health, self.metrics)
            self.gateway.inspector.inquiry = Inquiry(connections, local, tables, self.config.schema)
            self.health.clear("database")
            watch = Watch(self.config, tables, connections, self.health, self.metrics)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._capture(), name="capture")
                tasks.create_task(watch.run(), name="watch")
                tasks.create_task(self.gateway.presence.answer(self.config.listen), name="answer")
                for flow in self._flows.values():
                    tasks.create_task(delivery.reload(flow), name=f"reload {flow.table.name}")
                for n in range(READERS):
                    tasks.create_task(delivery.read_topics(), name=f"read topics {n}")
                if durable:
                    tasks.create_task(delivery.follow(durable), name="follow")
                    tasks.create_task(durable.pacing.run(), name="pacing")
                for work in self._logs.work():
                    tasks.create_task(work(), name="logs")
                tasks.create_task(self._tend(delivery), name="tend")
                tasks.create_task(self._reconcile(), name="reconcile")

    def _keeper(self, connections: Any, loader: Loader) -> Durable | None:
        """What durable tables need, if there are any."""
        if not any(flow.table.durable for flow in self._flows.values()):
            return None
        changelog = Changelog(connections, self.config.schema, pool.local_settings(self.config))
        return Durable(
            self.hub,
            self._flows,
            changelog,
            loader,
            self.metrics,
            Pacing(self.config.listen, self.config.schema),
            take=self._intake.take,
            gap=self._intake.gap,
            concerns=self._intake.concerns,
        )

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
            name=session_name(self.config.schema, self.instance),
            asked=self.gateway.presence.asked,
        )
        self._counted = 0, 0
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
                if self._logs:
                    self._logs.stale()
            case Gap(None):
                self._resume()
            case Gap(str() as table):
                self._intake.gap(table)
            case Ring("changes") if self._durable:
                self._durable.feed.heard(item)
            case Ring("log") if self._logs:
                self._logs.ring()
            case list():
                self._intake.take(item)

    def _resume(self) -> None:
        """LISTEN is confirmed and the epoch bumped: read everything followed anew."""
        self._intake.missed(None)
        for flow in self._flows.values():
            flow.clear()
        if self._durable:
            self._durable.feed.forget()
        if self._logs:
            self._logs.resume()
        self.health.clear("listener")
        self.hub.resume()

    # Keeping watch.

    async def _tend(self, delivery: Delivery) -> None:
        while True:
            now = self._loop.time()
            delivery.forgive(now)
            self.gateway.tend(now, STALLED)
            self.metrics.repairs.inc(self.hub.routes.missed(now, PATIENCE))
            asleep = self._loop.time()
            await asyncio.sleep(1.0)
            self.metrics.loop_lag.set(self._loop.time() - asleep - 1.0)

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
