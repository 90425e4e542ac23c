"""The demo's traffic: whatever it does, the shop's books balance after every step."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from importlib.resources import files
from random import Random
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from bridge.demo import traffic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STEPS = 150

_WRONG_TOTALS = """
SELECT orders.id, total, sum(quantity * price) FROM orders
LEFT JOIN order_items ON order_id = orders.id
GROUP BY orders.id HAVING total IS DISTINCT FROM sum(quantity * price)
"""
_TABLES = ("customers", "products", "orders", "order_items")


@pytest.fixture
def shop(database: str) -> str:
    with psycopg.connect(database) as connection:
        connection.execute(files("bridge.demo").joinpath("shop.sql").read_bytes())
    return database


@asynccontextmanager
async def at_work(url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        yield connection


async def rows(connection: psycopg.AsyncConnection[Any], query: str) -> list[tuple[Any, ...]]:
    return await (await connection.execute(query.encode())).fetchall()


async def contents(connection: psycopg.AsyncConnection[Any]) -> list[list[tuple[Any, ...]]]:
    return [await rows(connection, f"SELECT * FROM {table} ORDER BY 1, 2") for table in _TABLES]


async def test_the_shop_opens_balanced(shop: str) -> None:
    async with at_work(shop) as connection:
        assert await rows(connection, _WRONG_TOTALS) == []
        counts = [len(table) for table in await contents(connection)]
    assert counts == [40, 30, 120, 300]


@pytest.mark.parametrize("seed", [1, 2])
async def test_random_steps_leave_consistent_data(shop: str, seed: int) -> None:
    random = Random(seed)
    async with at_work(shop) as connection:
        before = await contents(connection)
        for _ in range(STEPS):
            await traffic.step(connection, random)
        assert await rows(connection, _WRONG_TOTALS) == []
        after = await contents(connection)
    assert before[0] == after[0]
    assert before[2] != after[2]
    assert abs(len(after[2]) - traffic.KEPT) < STEPS / 5


async def test_one_seed_is_one_scenario(shop: str) -> None:
    async def play(connection: psycopg.AsyncConnection[Any]) -> list[tuple[Any, ...]]:
        random = Random(3)
        async with connection.transaction(force_rollback=True):
            await connection.execute("SELECT setval('orders_id_seq', 1000)")
            for _ in range(20):
                await traffic.step(connection, random)
            return await rows(connection, "SELECT id, status, total FROM orders ORDER BY id")

    async with at_work(shop) as connection:
        assert await play(connection) == await play(connection)


async def test_an_abandoned_purchase_leaves_nothing(shop: str) -> None:
    async with at_work(shop) as connection:
        before = await contents(connection)
        assert await traffic.abandon(connection, Random(1))
        assert await contents(connection) == before


async def test_a_purchase_of_nothing_is_rolled_back(shop: str) -> None:
    async with at_work(shop) as connection:
        await connection.execute("UPDATE products SET stock = 0")
        before = await contents(connection)
        assert not await traffic.place(connection, Random(1))
        assert await contents(connection) == before


async def test_a_cancelled_order_goes_back_to_the_shelves(shop: str) -> None:
    async with at_work(shop) as connection:
        query = "SELECT sum(stock) FROM products"
        ((before,),) = await rows(connection, query)
        assert await traffic.place(connection, Random(1))
        await connection.execute("UPDATE orders SET status = 'shipped' WHERE id <= 120")
        assert await traffic.cancel(connection, Random(1))
        assert await rows(connection, query) == [(before,)]


async def test_a_burst_is_many_commits_of_one_order(shop: str) -> None:
    async with at_work(shop) as connection:
        ((before,),) = await rows(connection, "SELECT txid_current()")
        assert await traffic.burst(connection, Random(1), times=30, seconds=0)
        ((after,),) = await rows(connection, "SELECT txid_current()")
        touched = await rows(
            connection, "SELECT 1 FROM orders WHERE updated_at > now() - '1 min'::interval"
        )
        assert await rows(connection, _WRONG_TOTALS) == []
    assert after - before > 30
    assert len(touched) == 1


async def test_traffic_outlives_its_connection(shop: str) -> None:
    work = asyncio.create_task(traffic.run(shop, rate=1000, random=Random(1)))
    try:
        async with at_work(shop) as connection:
            first = await backend(connection, other_than=None)
            await connection.execute("SELECT pg_terminate_backend(%s)", (first,))
            assert await backend(connection, other_than=first) != first
    finally:
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work


async def backend(connection: psycopg.AsyncConnection[Any], *, other_than: int | None) -> int:
    """The process that serves the traffic, once there is one."""
    while True:
        found = await rows(
            connection,
            "SELECT pid FROM pg_stat_activity"
            " WHERE application_name = 'shop' AND datname = current_database()",
        )
        if found and found[0][0] != other_than:
            return int(found[0][0])
        await asyncio.sleep(0.02)
