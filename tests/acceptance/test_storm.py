"""Everybody is dropped at once and comes back at once: what the database is asked for it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bridge.turns import PAUSE
from tests.support.bridges import configure, running
from tests.support.proxy import Proxy
from tests.support.replica import following, rows
from tests.support.visitor import Visit, visiting

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

FIRST = 3
"""Reads beyond one in a pause: the first, and those for the last few who come too late for it."""


def count(metrics: Metrics) -> float:
    return metrics.registry.get_sample_value("rowcast_snapshots_total") or 0.0


def returned(hub: Hub, before: set[object]) -> bool:
    return (
        hub.subscribers == CLIENTS
        and before.isdisjoint(hub.mailboxes)
        and all(len(mailbox.subscriptions) == len(TOPICS) for mailbox in hub.mailboxes)
    )


VISITORS, VISITS = 60, 5


async def test_a_crowd_that_comes_again_and_again_is_read_to_once_in_a_while(
    database: str, admin: psycopg.Connection
) -> None:
    """Each wants the topic again as soon as it has it, so that somebody always waits. How long
    it takes is measured, and says how many reads there may be."""
    admin.execute("CREATE TABLE orders (id int PRIMARY KEY, n int)")
    admin.execute("INSERT INTO orders SELECT n, 0 FROM generate_series(1, 50) n")
    async with AsyncExitStack() as stack:
        bridge = await stack.enter_async_context(running(configure(database, "  orders:\n")))
        visits = [
            await stack.enter_async_context(visiting(bridge.url, "orders")) for _ in range(VISITORS)
        ]

        async def come_back(visit: Visit, times: int) -> None:
            for _ in range(times):
                await visit.send(type="subscribe", topic="orders")
                while (message := await visit.next())["type"] != "snapshot":
                    pass
                assert len(message["rows"]) == 50

        metrics, loop = bridge.bridge.metrics, asyncio.get_running_loop()
        with admin.transaction():
            admin.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            coming = [asyncio.ensure_future(come_back(visit, 1)) for visit in visits]
            while sum(len(m.subscriptions) for m in bridge.bridge.hub.mailboxes) < VISITORS:
                await asyncio.sleep(0.02)
        await asyncio.gather(*coming)
        reads, began = count(metrics), loop.time()
        await asyncio.gather(*(come_back(visit, VISITS) for visit in visits))
        assert count(metrics) - reads <= FIRST + (loop.time() - began) / PAUSE


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
