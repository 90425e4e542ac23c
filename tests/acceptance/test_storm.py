"""Everybody is dropped at once and comes back at once: what the database is asked for it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.support.bridges import configure, running
from tests.support.proxy import Proxy
from tests.support.replica import following, rows

if TYPE_CHECKING:
    import psycopg

    from bridge.hub import Hub
    from bridge.metrics import Metrics

CLIENTS = 60
TOPICS = ["orders", *(f"orders/{n}" for n in range(1, 5))]
ALLOWED = 8
"""Two readers may each have begun before the others came, for `orders` and for single rows; then
one read for each kind of topic serves all who wait. And as much again for a read that was
given up for the lock."""


def count(metrics: Metrics) -> float:
    return metrics.registry.get_sample_value("rowcast_snapshots_total") or 0.0


def returned(hub: Hub, before: set[object]) -> bool:
    return (
        hub.subscribers == CLIENTS
        and before.isdisjoint(hub.mailboxes)
        and all(len(mailbox.subscriptions) == len(TOPICS) for mailbox in hub.mailboxes)
    )


async def test_who_comes_back_together_shares_the_reads(
    database: str, admin: psycopg.Connection
) -> None:
    """The reads are held up until all are there, so that their number depends on no clock."""
    admin.execute("CREATE TABLE orders (id int PRIMARY KEY, n int)")
    admin.execute("INSERT INTO orders SELECT n, 0 FROM generate_series(1, 50) n")
    async with AsyncExitStack() as stack:
        bridge = await stack.enter_async_context(running(configure(database, "  orders:\n")))
        address = urlsplit(bridge.http)
        assert address.hostname
        assert address.port
        proxy = await stack.enter_async_context(Proxy(address.hostname, address.port))
        url = f"ws://127.0.0.1:{proxy.port}/ws"
        replicas = await asyncio.gather(
            *(stack.enter_async_context(following(url, *TOPICS)) for _ in range(CLIENTS))
        )
        hub, metrics = bridge.bridge.hub, bridge.bridge.metrics
        with admin.transaction():
            admin.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            admin.execute("UPDATE orders SET n = 1")
            reads, before = count(metrics), set(hub.mailboxes)
            proxy.cut()
            while not returned(hub, before):
                await asyncio.sleep(0.02)
        expected = {"orders": rows(admin, "SELECT * FROM orders")}
        for topic in TOPICS[1:]:
            id_ = int(topic.partition("/")[2])
            expected[topic] = rows(admin, "SELECT * FROM orders WHERE id = %s", id_)
        for replica in replicas:
            await replica.equals(expected)
        assert count(metrics) - reads <= ALLOWED
