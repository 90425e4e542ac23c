"""Whether the database still is as capture needs it: triggers, NOTIFY queue, kept changes.

One query every ten seconds answers the first two. It asks for the queue's usage, which is also
what frees a queue that a dead listener left full, and for a fingerprint of our triggers;
only when that changed are they compared with the config. A version of the database that
this bridge cannot work with ends it: what it read from there on, it might misread.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg_pool import PoolTimeout

from bridge import storage
from bridge.drift import Drift, drift
from bridge.link import briefly
from bridge.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg_pool import AsyncConnectionPool

    from bridge.config import Config
    from bridge.health import Health
    from bridge.link import Connection
    from bridge.metrics import Metrics
    from bridge.tables import Table

log = logging.getLogger(__name__)

INTERVAL = 10.0
"""Seconds between two looks."""

WARNINGS = (0.1, 0.25, 0.5)
"""Shares of the NOTIFY queue in use at which it is worth a line in the log."""

_LOOK = """
SELECT pg_notification_queue_usage(), md5(concat(
    (SELECT obj_description(e.oid, 'pg_class') FROM pg_class e
     JOIN pg_namespace n ON n.oid = e.relnamespace
     WHERE n.nspname = %(schema)s AND e.relname = 'epoch'),
    string_agg(concat_ws(' ',
        t.oid, t.xmin, t.tgenabled, p.oid, p.xmin, s.xmin, c.relname, c.relnamespace), ','
    ORDER BY t.oid)))
FROM pg_trigger t
JOIN pg_proc p ON p.oid = t.tgfoid
JOIN pg_namespace s ON s.oid = p.pronamespace AND s.nspname = %(schema)s
JOIN pg_class c ON c.oid = t.tgrelid
"""


def _bounds(config: Config, store: str) -> tuple[float, int | None]:
    if store == "audit":
        return config.audit_retention, None
    return config.retention, config.retention_size


class Watch:
    """Looks for one bridge; what it finds is told to `health` and `metrics`."""

    def __init__(
        self,
        config: Config,
        tables: Mapping[str, Table],
        pool: AsyncConnectionPool[Connection],
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._tables = tables
        self._pool = pool
        self._health = health
        self._metrics = metrics
        stores = storage.needed(iter(tables.values()))
        self._kept = [
            Retention(config.schema, store, *_bounds(config, store)) for store in sorted(stores)
        ]
        for store in stores - {"audit"}:
            metrics.kept_limit.labels(store).set(config.retention_size)
        self._full: set[str] = set()
        self._seen: object = ()
        self._warned = 0.0

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except (psycopg.Error, PoolTimeout) as error:
                # The listener notices a lost database sooner, and says so.
                log.debug("could not look after the database", extra={"reason": str(error)})
            await asyncio.sleep(INTERVAL)

    async def look(self) -> None:
        async with self._pool.connection() as connection:
            found = await connection.execute(_LOOK, {"schema": self._config.schema})
            usage, fingerprint = await found.fetchone() or (0.0, None)
            for kept in self._kept:
                self._tell(kept, await self._let_go(connection, kept))
        self._gauge(usage)
        if fingerprint != self._seen:
            self._judge(await briefly(self._config.database, self._drift))
            self._seen = fingerprint

    async def _let_go(
        self, connection: psycopg.AsyncConnection[Any], kept: Retention
    ) -> str | None:
        """Of what was kept long enough; the reason why not, where that is due and fails."""
        try:
            size = await kept.look(connection)
            if size is None:
                return None
            self._metrics.kept.labels(kept.store).set(size.total)
            if not kept.due(size) or await kept.turn(connection, size):
                return None
        except psycopg.DatabaseError as error:
            return error.diag.message_primary or str(error)
        return "a transaction or another instance is using them"

    def _tell(self, kept: Retention, reason: str | None) -> None:
        """Once until it works again."""
        if reason is None:
            self._full.discard(kept.store)
        elif kept.store not in self._full:
            self._full.add(kept.store)
            log.warning(
                "old changes cannot be let go", extra={"store": kept.store, "reason": reason}
            )

    def _drift(self, connection: psycopg.Connection[Any]) -> list[Drift]:
        return drift(connection, self._config, self._tables)

    def _judge(self, found: list[Drift]) -> None:
        self._metrics.drift.set(len(found))
        if found:
            log.warning("capture has drifted", extra={"reason": self._shown(found)})
        if grave := [one for one in found if one.grave]:
            self._health.fail("triggers", self._shown(grave))
        else:
            self._health.clear("triggers")

    def _shown(self, found: list[Drift]) -> str:
        shown = (f"{one.table or self._config.schema}: {one.message}" for one in found[:5])
        return "; ".join([*shown, "run `rowcast migrate`"])

    def _gauge(self, usage: float) -> None:
        self._metrics.queue_usage.set(usage)
        passed = max((limit for limit in WARNINGS if usage >= limit), default=0.0)
        if passed > self._warned:
            log.warning("the NOTIFY queue fills up", extra={"usage": round(usage, 3)})
        self._warned = passed
