"""What a subscriber gets in the ordinary course of things, over a real socket."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support import PATIENCE
from tests.support import connect as sql_connect
from tests.support.bridges import configure, running
from tests.support.replica import following, rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psycopg

    from tests.support.bridges import Running

ORDERS = """
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, status text NOT NULL, secret text);
INSERT INTO orders VALUES (1, 7, 'placed', 'x'), (2, 7, 'paid', 'x'), (3, 8, 'paid', 'x');
"""

CONFIG = """
  orders:
    topics: [orders, "orders/{id}", "customers/{customer_id}/orders"]
    columns: [id, customer_id, status]
"""


@pytest.fixture
async def bridge(database: str, admin: psycopg.Connection) -> AsyncIterator[Running]:
    admin.execute(ORDERS)
    async with running(configure(database, CONFIG, limits="{subscriptions: 3}")) as bridge:
        yield bridge


class Client:
    """A raw client: sends commands, reads messages."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, **command: object) -> None:
        await self.connection.send(json.dumps(command))

    async def next(self) -> dict:
        async with asyncio.timeout(PATIENCE):
            return json.loads(await self.connection.recv())

    async def subscribe(self, topic: str, **more: object) -> list[dict]:
        """The reply, and the pages of the snapshot."""
        await self.send(type="subscribe", topic=topic, **more)
        got = [await self.next(), await self.next()]
        while not got[-1]["last"]:
            got.append(await self.next())
        return got


@pytest.fixture
async def client(bridge: Running) -> AsyncIterator[Client]:
    async with connect(bridge.url) as connection:
        client = Client(connection)
        assert (await client.next())["type"] == "welcome"
        yield client


async def test_a_subscriber_gets_a_snapshot_and_then_changes(
    client: Client, admin: psycopg.Connection
) -> None:
    subscribed, snapshot = await client.subscribe("orders/1", id=5)
    assert subscribed == {"type": "subscribed", "topic": "orders/1", "id": 5, "resumed": False}
    row = {"id": 1, "customer_id": 7, "status": "placed"}
    assert snapshot["rows"] == [{"key": {"id": 1}, "row": row}]
    admin.execute("UPDATE orders SET status = 'paid' WHERE id = 1")
    change = await client.next()
    assert change.pop("version") > snapshot["version"]
    assert change == {
        "type": "change",
        "topic": "orders/1",
        "table": "orders",
        "op": "update",
        "key": {"id": 1},
        "row": row | {"status": "paid"},
    }


async def test_a_row_that_moves_leaves_one_topic_and_enters_the_other(
    client: Client, admin: psycopg.Connection
) -> None:
    await client.subscribe("customers/7/orders")
    await client.subscribe("customers/8/orders")
    admin.execute("UPDATE orders SET customer_id = 8 WHERE id = 1")
    left, entered = await client.next(), await client.next()
    assert (left["topic"], left["op"], left["row"]) == ("customers/7/orders", "delete", None)
    assert (entered["topic"], entered["op"]) == ("customers/8/orders", "insert")
    assert entered["row"] == {"id": 1, "customer_id": 8, "status": "placed"}


@pytest.mark.parametrize(
    ("statement", "op", "key"),
    [
        ("INSERT INTO orders VALUES (9, NULL, 'placed', 'x')", "insert", 9),
        ("UPDATE orders SET status = 'sent' WHERE id = 2", "update", 2),
        ("DELETE FROM orders WHERE id = 2", "delete", 2),
    ],
)
async def test_op_speaks_of_the_topic(
    client: Client, admin: psycopg.Connection, statement: str, op: str, key: int
) -> None:
    await client.subscribe("orders")
    admin.execute(statement)
    change = await client.next()
    assert (change["op"], change["key"]) == (op, {"id": key})
    assert (change["row"] is None) == (op == "delete")


async def test_truncate_brings_an_empty_snapshot(client: Client, admin: psycopg.Connection) -> None:
    await client.subscribe("orders")
    admin.execute("TRUNCATE orders")
    page = await client.next()
    assert (page["type"], page["rows"], page["first"], page["last"]) == ("snapshot", [], True, True)


async def test_what_is_rolled_back_is_never_seen(client: Client, admin: psycopg.Connection) -> None:
    await client.subscribe("orders")
    with admin.transaction(force_rollback=True):
        admin.execute("UPDATE orders SET status = 'ghost'")
    admin.execute("UPDATE orders SET status = 'real' WHERE id = 3")
    assert (await client.next())["row"]["status"] == "real"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("nonsense", "bad_message"),
        ("[]", "bad_message"),
        ('{"type":"dance"}', "unknown_type"),
        ('{"type":"subscribe"}', "bad_message"),
        ('{"type":"subscribe","topic":"nothing"}', "unknown_topic"),
        ('{"type":"subscribe","topic":"orders/abc"}', "unknown_topic"),
        ('{"type":"subscribe","topic":"orders/01"}', "unknown_topic"),
        ('{"type":"unsubscribe","topic":"orders"}', "unknown_topic"),
    ],
)
async def test_a_bad_command_gets_an_error_and_the_connection_stays(
    client: Client, command: str, code: str
) -> None:
    await client.connection.send(command)
    error = await client.next()
    assert (error["type"], error["code"]) == ("error", code)
    await client.send(type="ping")
    assert await client.next() == {"type": "pong"}


async def test_one_subscription_too_many_is_refused(client: Client) -> None:
    for topic in ("orders", "orders/1", "orders/2"):
        await client.subscribe(topic)
    await client.send(type="subscribe", topic="orders/3", id="n")
    error = await client.next()
    assert (error["code"], error["topic"], error["id"]) == (
        "too_many_subscriptions",
        "orders/3",
        "n",
    )


async def test_after_unsubscribe_there_is_silence(
    client: Client, admin: psycopg.Connection
) -> None:
    await client.subscribe("orders/1")
    await client.send(type="unsubscribe", topic="orders/1")
    assert await client.next() == {"type": "unsubscribed", "topic": "orders/1"}
    await client.subscribe("orders/2")
    admin.execute("UPDATE orders SET status = 'sent' WHERE id IN (1, 2)")
    assert (await client.next())["topic"] == "orders/2"


async def test_a_hammered_key_neither_starves_nor_floods(
    bridge: Running, database: str, admin: psycopg.Connection
) -> None:
    async with following(bridge.url, "orders/1") as replica:
        before = len(replica.messages)
        await asyncio.to_thread(_hammer, database)
        expected = {
            "orders/1": rows(admin, "SELECT id, customer_id, status FROM orders WHERE id = 1")
        }
        await replica.equals(expected)
        changes = len(replica.messages) - before
        reloads = bridge.bridge.metrics.reloads._value.get()
        assert 1 <= changes <= reloads <= 1500 / 10


def _hammer(database: str) -> None:
    with sql_connect(database) as connection:
        for n in range(1500):
            connection.execute("UPDATE orders SET status = %s WHERE id = 1", (f"n{n}",))
