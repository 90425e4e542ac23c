"""Documents made of several tables: whatever changes below, the parent's subscribers see it."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.support.bridges import configure, running
from tests.support.replica import following, rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psycopg

    from tests.support.bridges import Running
    from tests.support.replica import Replica

SHOP = """
CREATE TABLE orders (id bigint PRIMARY KEY, customer int, status text NOT NULL DEFAULT 'open');
CREATE TABLE items (order_id int REFERENCES orders ON DELETE CASCADE, line int, price numeric,
                    PRIMARY KEY (order_id, line));
CREATE TABLE notes (id int PRIMARY KEY, order_id int, line int, note text,
    FOREIGN KEY (order_id, line) REFERENCES items ON DELETE CASCADE ON UPDATE CASCADE);
CREATE VIEW documents AS
SELECT o.id, o.customer, o.status,
       coalesce((SELECT sum(price) FROM items i WHERE i.order_id = o.id), 0) AS total,
       (SELECT json_agg(n.note ORDER BY n.id) FROM notes n WHERE n.order_id = o.id) AS notes
FROM orders o;
INSERT INTO orders SELECT n, n % 3 FROM generate_series(1, 12) n;
INSERT INTO items SELECT o, l, o * l FROM generate_series(1, 12) o, generate_series(1, 3) l;
INSERT INTO notes SELECT n, n % 12 + 1, n % 3 + 1, 'note' FROM generate_series(1, 24) n;
"""

CONFIG = """
  orders:
    topics: [orders, "orders/{id}", "customers/{customer}/orders"]
    document: documents
    where: "status <> 'draft'"
    debounce: 20ms
    max_wait: 100ms
  items: {refreshes: orders}
  notes: {refreshes: items}
"""

TOPICS = ("orders", "orders/1", "orders/2", "customers/0/orders", "customers/1/orders")


@pytest.fixture
async def bridge(database: str, admin: psycopg.Connection) -> AsyncIterator[Running]:
    admin.execute(SHOP)
    async with running(configure(database, CONFIG)) as bridge:
        yield bridge


@pytest.fixture
async def replica(bridge: Running) -> AsyncIterator[Replica]:
    async with following(bridge.url, *TOPICS) as replica:
        yield replica


def truth(admin: psycopg.Connection) -> dict:
    shown = "SELECT d.* FROM documents d WHERE status <> 'draft'"
    return {
        "orders": rows(admin, shown),
        "orders/1": rows(admin, f"{shown} AND id = 1"),
        "orders/2": rows(admin, f"{shown} AND id = 2"),
        "customers/0/orders": rows(admin, f"{shown} AND customer = 0"),
        "customers/1/orders": rows(admin, f"{shown} AND customer = 1"),
    }


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE orders SET status = 'paid' WHERE id = 1",
        "UPDATE items SET price = 99 WHERE order_id = 1 AND line = 2",
        "INSERT INTO items VALUES (2, 9, 5)",
        "DELETE FROM items WHERE order_id = 2 AND line = 1",
        "UPDATE notes SET note = 'new' WHERE id = 1",
        "UPDATE items SET order_id = 2, line = 7 WHERE order_id = 1 AND line = 3",
        "UPDATE notes SET order_id = 1, line = 1 WHERE id = 13",
        "DELETE FROM orders WHERE id = 1",
        "UPDATE orders SET customer = 1 WHERE id = 3",
        "UPDATE orders SET status = 'draft' WHERE id = 2",
        "TRUNCATE notes",
        "TRUNCATE orders CASCADE",
        "UPDATE notes SET note = 'all of them'",
    ],
)
async def test_a_change_anywhere_reaches_those_who_see_it(
    replica: Replica, admin: psycopg.Connection, statement: str
) -> None:
    admin.execute(statement)
    await replica.equals(truth(admin))


async def test_a_draft_is_in_no_topic_until_it_is_none(
    replica: Replica, admin: psycopg.Connection
) -> None:
    admin.execute("INSERT INTO orders VALUES (50, 1, 'draft')")
    admin.execute("UPDATE orders SET customer = 0 WHERE id = 50")
    admin.execute("DELETE FROM orders WHERE id = 50")
    admin.execute("INSERT INTO orders VALUES (51, 1, 'draft')")
    admin.execute("UPDATE orders SET status = 'open' WHERE id = 51")
    await replica.equals(truth(admin))
    changes = [m for m in replica.messages if m["type"] == "change"]
    assert {m["key"]["id"] for m in changes} == {51}
    assert {m["op"] for m in changes} == {"insert"}


async def test_many_children_in_one_transaction_are_one_reload_of_the_parent(
    bridge: Running, replica: Replica, admin: psycopg.Connection
) -> None:
    before = bridge.bridge.metrics.reloads._value.get()
    with admin.transaction():
        for line in range(10, 40):
            admin.execute("INSERT INTO items VALUES (1, %s, 1)", (line,))
    await replica.equals(truth(admin))
    assert bridge.bridge.metrics.reloads._value.get() - before == 1


async def test_whatever_is_written_every_document_converges(
    replica: Replica, admin: psycopg.Connection
) -> None:
    random = Random(11)
    for _ in range(150):
        with admin.transaction(force_rollback=random.random() < 0.1):
            admin.execute(_statement(random))
    await replica.equals(truth(admin))
    assert replica.regressions == []


def _statement(random: Random) -> str:
    order, line = random.randint(1, 14), random.randint(1, 6)
    taken = f"EXISTS (SELECT FROM items WHERE order_id = {order} AND line = {line})"
    return random.choice(
        [
            f"UPDATE items SET price = price + 1 WHERE order_id = {order}",
            f"UPDATE items SET line = {line} + 100 WHERE order_id = {order} AND line = {line}"
            f" AND NOT EXISTS (SELECT FROM items WHERE order_id = {order} AND line = {line} + 100)",
            f"UPDATE notes SET order_id = {order}, line = {line} WHERE id = {line * 3} AND {taken}",
            f"UPDATE notes SET note = 'n{line}' WHERE order_id = {order}",
            f"DELETE FROM notes WHERE id = {order}",
            f"INSERT INTO orders VALUES ({order}, {line % 3}) ON CONFLICT (id) DO UPDATE"
            " SET customer = excluded.customer",
            f"INSERT INTO items SELECT id, {line}, 1 FROM orders WHERE id = {order}"
            " ON CONFLICT DO NOTHING",
            f"DELETE FROM orders WHERE id = {order} AND {line} = 1",
            f"UPDATE orders SET status = '{random.choice(['draft', 'open', 'paid'])}'"
            f" WHERE id = {order}",
        ]
    )
