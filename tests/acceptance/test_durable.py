"""A subscriber that was away gets what it has missed: all of it, once, from any instance."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from bridge import cursor as cursors
from tests.support import connect as sql_connect
from tests.support.bridges import configure, running
from tests.support.replica import following, rows
from tests.support.visitor import cursor_of, visiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psycopg

    from bridge.demo.postgres import Postgres
    from tests.support.bridges import Running
    from tests.support.visitor import Message

ORDERS = """
CREATE TABLE orders (id int PRIMARY KEY, customer_id int NOT NULL, status text NOT NULL);
CREATE TABLE lines (id int PRIMARY KEY, order_id int REFERENCES orders, price int);
CREATE TABLE notes (id int PRIMARY KEY, line_id int REFERENCES lines, said text);
INSERT INTO orders SELECT n, n % 5, 'placed' FROM generate_series(1, 50) n;
INSERT INTO lines SELECT n, n, n FROM generate_series(1, 50) n;
"""

CONFIG = """
  orders: {durable: true, topics: [orders, "orders/{id}", "customers/{customer_id}/orders"]}
  lines: {refreshes: orders}
  notes: {refreshes: lines}
"""


@pytest.fixture
async def instances(database: str, admin: psycopg.Connection) -> AsyncIterator[list[Running]]:
    admin.execute(ORDERS)
    async with AsyncExitStack() as stack:
        config = configure(database, CONFIG)
        first = await stack.enter_async_context(running(config))
        second = await stack.enter_async_context(running(config, migrated=False))
        yield [first, second]


def brief(messages: list[Message]) -> list[tuple[str, int]]:
    """Each once: one that came while the topic was read is in that read, and told by itself too."""
    assert {message["type"] for message in messages} <= {"change"}
    return sorted({(message["op"], message["key"]["id"]) for message in messages})


async def test_one_who_was_away_gets_what_it_missed_from_another_instance(
    instances: list[Running], admin: psycopg.Connection
) -> None:
    first, second = instances
    at = await cursor_of(first.url, "customers/1/orders")
    admin.execute("UPDATE orders SET status = 'paid' WHERE id = 1")
    admin.execute("UPDATE orders SET status = 'sent' WHERE id = 1")
    admin.execute("UPDATE orders SET status = 'paid' WHERE id IN (2, 3)")  # of other customers
    admin.execute("UPDATE orders SET customer_id = 2 WHERE id = 6")
    admin.execute("UPDATE orders SET customer_id = 1 WHERE id = 7")
    admin.execute("DELETE FROM lines WHERE id = 11")
    admin.execute("DELETE FROM orders WHERE id = 11")
    admin.execute("INSERT INTO orders VALUES (51, 1, 'placed')")
    async with visiting(second.url, "customers/1/orders", at) as visit:
        reply, missed = await visit.begin()
        assert reply["resumed"] is True
        assert brief(missed) == [
            ("delete", 6),
            ("delete", 11),
            ("insert", 7),
            ("insert", 51),
            ("update", 1),
        ]
        assert next(m["row"] for m in missed if m["key"] == {"id": 1})["status"] == "sent"
    async with visiting(first.url, "customers/1/orders", visit.cursor) as again:
        assert await again.begin() == (
            {"type": "subscribed", "topic": again.topic, "resumed": True, "cursor": again.cursor},
            [],
        )


async def test_every_change_says_where_to_resume(
    instances: list[Running], admin: psycopg.Connection
) -> None:
    first, second = instances
    async with visiting(first.url, "orders") as visit:
        await visit.begin()
        seen = []
        for n in (1, 2, 3):
            admin.execute("UPDATE orders SET status = 'paid' WHERE id = %s", (n,))
            change = await visit.next()
            assert change["key"] == {"id": n}
            seen.append(change["cursor"])
    for n, at in enumerate(seen, 1):
        async with visiting(second.url, "orders", at) as visit:
            reply, missed = await visit.begin()
            assert reply["resumed"] is True
            assert brief(missed) == [("update", later) for later in (1, 2, 3) if later > n]


def write(database: str, count: int) -> set[int]:
    """Random writes, one a transaction; returns the keys of those that did something."""
    changed, chance = set(), random.Random(4)
    with sql_connect(database) as writer:
        for n in range(count):
            key = chance.randint(100, 2000)
            statement = (
                "DELETE FROM orders WHERE id = %s"
                if n % 9 == 0
                else "INSERT INTO orders VALUES (%s, 1, 'new') ON CONFLICT (id) DO UPDATE"
                " SET customer_id = orders.customer_id + 1"
            )
            changed |= {key} if writer.execute(statement, (key,)).rowcount else set()
    return changed


async def test_ten_thousand_writes_are_missed_by_key(
    instances: list[Running], database: str, admin: psycopg.Connection
) -> None:
    first, second = instances
    admin.execute("INSERT INTO orders SELECT n, n % 5, 'placed' FROM generate_series(100, 3000) n")
    at = await cursor_of(first.url, "orders")
    # Beside the bridges, whose loop this is: a loop that hangs is given up.
    changed = await asyncio.to_thread(write, database, 10_000)
    async with visiting(second.url, "orders", at) as visit:
        reply, missed = await visit.begin()
        assert reply["resumed"] is True
        assert sorted(message["key"]["id"] for message in missed) == sorted(changed)
        there = rows(admin, "SELECT * FROM orders")
        for message in missed:
            assert message["row"] == there.get(f'{{"id": {message["key"]["id"]}}}')


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
async def test_a_transaction_that_was_open_before_the_cursor_is_missed_when_it_commits(
    instances: list[Running], admin: psycopg.Connection, database: str, level: str
) -> None:
    with sql_connect(database) as slow:
        slow.execute(f"BEGIN ISOLATION LEVEL {level}")
        slow.execute("SAVEPOINT a; UPDATE orders SET status = 'slow' WHERE id = 1")
        slow.execute("SAVEPOINT b; UPDATE orders SET status = 'no' WHERE id = 2; ROLLBACK TO b")
        admin.execute("UPDATE orders SET status = 'fast' WHERE id = 3")
        at = await cursor_of(instances[0].url, "orders")
        admin.execute("UPDATE orders SET status = 'fast' WHERE id = 4")
        async with visiting(instances[1].url, "orders", at) as visit:
            assert brief((await visit.begin())[1]) == [("update", 4)]
        slow.execute("COMMIT")
        async with visiting(instances[1].url, "orders", visit.cursor) as visit:
            assert brief((await visit.begin())[1]) == [("update", 1)]
        async with visiting(instances[0].url, "orders", at) as visit:
            assert brief((await visit.begin())[1]) == [("update", 1), ("update", 4)]


async def test_a_child_and_a_grandchild_are_changes_of_the_row_they_refresh(
    instances: list[Running], admin: psycopg.Connection
) -> None:
    at = await cursor_of(instances[0].url, "orders/5")
    admin.execute("UPDATE lines SET price = 0 WHERE id = 5")
    async with visiting(instances[1].url, "orders/5", at) as visit:
        reply, missed = await visit.begin()
        assert (reply["resumed"], brief(missed)) == (True, [("update", 5)])
    admin.execute("INSERT INTO notes VALUES (1, 5, 'hello')")
    async with visiting(instances[1].url, "orders/5", visit.cursor) as visit:
        # What a note belongs to, only a read of its line can tell: no difference, but the truth.
        reply, (snapshot,) = await visit.begin()
        assert (reply["resumed"], snapshot["rows"][0]["key"]) == (False, {"id": 5})


async def refused(url: str, topic: str, at: object) -> bool:
    """Whether this cursor is answered by the whole topic, and by saying so."""
    async with visiting(url, topic, at) as visit:
        reply, messages = await visit.begin()
        return reply["resumed"] is False and [m["type"] for m in messages] == ["snapshot"]


async def test_a_cursor_of_nothing_is_answered_by_a_snapshot(instances: list[Running]) -> None:
    url = instances[0].url
    at = await cursor_of(url, "orders/1")
    identity, topic, xmin, xmax, _ = at.split(".")[1:]
    future = f"{int(xmax, 16) + 1000:x}"
    made_up = [
        "", "start", "x", at[:-3], at + "-zz", at.upper(), "s", "s....", "\0", "é" * 9000,
        f"s.00000000.{topic}.{xmin}.{xmax}.",
        f"s.{identity}.{topic}.{future}.{future}.",
        f"s.{identity}.{topic}.{xmax}.{xmin}.{'0-' * 9}",
        f"s.{identity}.{topic}.ffffffffffffffff.ffffffffffffffff.",
        f"l.{identity}.{topic}.7",
    ]  # fmt: skip
    for one in made_up:
        assert await refused(url, "orders/1", one), one
    assert await refused(url, "orders/2", at), "another topic's"
    assert not await refused(url, "orders/1", at)


async def test_more_keys_than_a_payload_names_are_answered_by_a_snapshot(
    instances: list[Running], admin: psycopg.Connection
) -> None:
    at = await cursor_of(instances[0].url, "orders")
    admin.execute("INSERT INTO orders SELECT n, 1, 'bulk' FROM generate_series(1000, 2500) n")
    async with visiting(instances[1].url, "orders", at) as visit:
        reply, pages = await visit.begin()
        assert reply["resumed"] is False
        assert sum(len(page["rows"]) for page in pages) == 1551


async def test_after_a_loss_only_what_changed_is_told(
    instances: list[Running], admin: psycopg.Connection
) -> None:
    async with following(instances[0].url, "orders", "customers/1/orders") as replica:
        before = len(replica.messages)
        admin.execute(
            "SELECT pg_terminate_backend(pid), pg_sleep(0) FROM pg_stat_activity"
            " WHERE application_name = 'rowcast'"
        )
        admin.execute("UPDATE orders SET status = 'missed' WHERE id = 6")
        await replica.until(lambda: replica.recovered > 0)
        there = rows(admin, "SELECT * FROM orders")
        first = rows(admin, "SELECT * FROM orders WHERE customer_id = 1")
        assert replica.held["orders"].rows == there
        assert replica.held["customers/1/orders"].rows == first
        told = replica.messages[before:]
        assert "snapshot" not in {message["type"] for message in told}
        assert {m["key"]["id"] for m in told if m["type"] == "change"} == {6}


async def test_prepared_transactions_are_told(postgres: Postgres) -> None:
    url = postgres.url("postgres")
    with sql_connect(url) as admin:
        admin.execute(ORDERS)
        admin.execute("ALTER SYSTEM SET max_prepared_transactions = 10")
    postgres.restart()
    with sql_connect(url) as admin:
        async with (
            running(configure(url, CONFIG)) as bridge,
            following(bridge.url, "orders/1", "orders/2") as replica,
        ):
            at = await cursor_of(bridge.url, "orders")
            admin.execute("BEGIN; UPDATE orders SET status = 'two' WHERE id = 1")
            admin.execute("PREPARE TRANSACTION 'one'")
            admin.execute("UPDATE orders SET status = 'meanwhile' WHERE id = 2")
            await replica.equals(
                {
                    f"orders/{n}": rows(admin, "SELECT * FROM orders WHERE id = %s", n)
                    for n in (1, 2)
                }
            )
            admin.execute("COMMIT PREPARED 'one'")
            await replica.equals(
                {
                    f"orders/{n}": rows(admin, "SELECT * FROM orders WHERE id = %s", n)
                    for n in (1, 2)
                }
            )
            async with visiting(bridge.url, "orders", at) as visit:
                assert brief((await visit.begin())[1]) == [("update", 1), ("update", 2)]


async def test_a_crash_ends_the_history(postgres: Postgres) -> None:
    url = postgres.url("postgres")
    with sql_connect(url) as admin:
        admin.execute(ORDERS)
    async with running(configure(url, CONFIG)) as bridge:
        at = await cursor_of(bridge.url, "orders/1")
        await asyncio.to_thread(postgres.kill)
        await asyncio.to_thread(postgres.restart)
        with sql_connect(url) as admin:
            admin.execute("UPDATE orders SET status = 'after' WHERE id = 1")
        await bridge.bridge.health.wait()
        async with visiting(bridge.url, "orders/1", at) as visit:
            reply, messages = await visit.begin()
            assert reply["resumed"] is False
            assert messages[-1]["rows"][0]["row"]["status"] == "after"
        async with visiting(bridge.url, "orders/1", visit.cursor) as visit:
            assert (await visit.begin())[0]["resumed"] is True


def test_a_cursor_is_short_and_goes_back_to_its_moment() -> None:
    moment = cursors.Moment(1000, 1010, (1000, 1003))
    written = cursors.of_moment("identity", "orders", moment)
    assert written is not None
    assert cursors.moment(written, "identity", "orders") == moment
