"""A change of one table that sends another's rows again: which of them, and that it is once."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from bridge.changes import Change, Gap, Operation
from tests.support.capture import Ear, entry, watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    Heard = Callable[[str], list[Change | Gap]]

GAP = Gap("orders", "many keys changed")
TABLES = (
    "CREATE TABLE orders (id bigint PRIMARY KEY, note text);"
    "CREATE TABLE items (id int PRIMARY KEY, order_id int REFERENCES orders ON DELETE CASCADE"
    " ON UPDATE CASCADE, what text);"
    "INSERT INTO orders SELECT i FROM generate_series(1, 9) i;"
    "INSERT INTO items VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 2, 'c'), (4, NULL, 'd')"
)


def touched(*key: object, table: str = "orders") -> Change:
    return Change(table, tuple(map(str, key)), Operation.UPDATE)


@pytest.fixture(params=["statement", "row"])
def trigger(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def hearing(connection: Connection, ear: Ear) -> Heard:
    def hear(statements: str) -> list[Change | Gap]:
        connection.execute(statements)
        return ear.changes()

    return hear


@pytest.fixture
def heard(connection: Connection, admin: Connection, trigger: str) -> Heard:
    connection.execute(TABLES)
    entries = [entry("orders"), entry("items", refreshes="orders", trigger=trigger)]
    return hearing(connection, Ear(admin, watch(connection, *entries)))


CASES = {
    "insert": ("INSERT INTO items VALUES (5, 3)", [touched(3)]),
    "several of one parent": ("INSERT INTO items VALUES (5, 3), (6, 3)", [touched(3)]),
    "several of several": (
        "INSERT INTO items VALUES (5, 3), (6, 4), (7, 3)",
        [touched(3), touched(4)],
    ),
    "one without a parent": ("INSERT INTO items VALUES (5, NULL)", []),
    "several without a parent": ("INSERT INTO items VALUES (5, NULL), (6, NULL)", []),
    "with and without": ("INSERT INTO items VALUES (5, NULL), (6, 3)", [touched(3)]),
    "update": ("UPDATE items SET what = 'x' WHERE id = 1", [touched(1)]),
    "update of several": ("UPDATE items SET what = 'x'", [touched(1), touched(2)]),
    "update that changes nothing": ("UPDATE items SET what = what WHERE id = 1", []),
    "update of several that changes nothing": ("UPDATE items SET what = what", []),
    "update that changes one of several": (
        "UPDATE items SET what = CASE id WHEN 3 THEN 'x' ELSE what END",
        [touched(2)],
    ),
    "move": ("UPDATE items SET order_id = 5 WHERE id = 1", [touched(1), touched(5)]),
    "move of several": (
        "UPDATE items SET order_id = id + 5 WHERE id IN (1, 3)",
        [touched(1), touched(2), touched(6), touched(8)],
    ),
    "move to nowhere": ("UPDATE items SET order_id = NULL WHERE id = 1", [touched(1)]),
    "move from nowhere": ("UPDATE items SET order_id = 5 WHERE id = 4", [touched(5)]),
    "change of the own key": ("UPDATE items SET id = 9 WHERE id = 1", [touched(1)]),
    "delete": ("DELETE FROM items WHERE id = 1", [touched(1)]),
    "delete of several": ("DELETE FROM items", [touched(1), touched(2)]),
    "delete of none": ("DELETE FROM items WHERE id = 99", []),
    "truncate": ("TRUNCATE items", [GAP]),
    "a transaction full of them": (
        "DO $$ BEGIN FOR i IN 10..200 LOOP INSERT INTO items VALUES (i, 3);"
        " UPDATE items SET what = i::text WHERE id = i; END LOOP; END $$",
        [touched(3)],
    ),
}


@pytest.mark.parametrize(("statements", "expected"), CASES.values(), ids=CASES.keys())
def test_statement(heard: Heard, statements: str, expected: list[Change | Gap]) -> None:
    assert Counter(heard(statements)) == Counter(expected)


def test_cascade_names_a_parent_that_is_gone(heard: Heard) -> None:
    gone = [change for change in heard("DELETE FROM orders WHERE id = 1") if change[2] != "d"]
    assert gone == [touched(1)]


def test_a_parents_new_key(heard: Heard) -> None:
    said = heard("UPDATE orders SET id = 99 WHERE id = 1")
    assert {touched(1), touched(99)} <= set(said)


@pytest.mark.parametrize("rows", [2, 1_000, 1_001, 10_000])
def test_however_many_children_of_one_parent_are_one_key(
    connection: Connection, admin: Connection, rows: int
) -> None:
    connection.execute(TABLES)
    ear = Ear(admin, watch(connection, entry("orders"), entry("items", refreshes="orders")))
    connection.execute(f"INSERT INTO items SELECT i, 3 FROM generate_series(10, {rows + 9}) i")
    assert ear.payloads() == ['{"t":"orders","o":"u","k":[["3"]]}']
    connection.execute("UPDATE items SET what = 'x' WHERE order_id = 3")
    assert ear.payloads() == ['{"t":"orders","o":"u","k":[["3"]]}']
    connection.execute("DELETE FROM items WHERE order_id = 3")
    assert ear.payloads() == ['{"t":"orders","o":"u","k":[["3"]]}']


@pytest.mark.parametrize("parents", [1_000, 1_001])
def test_many_parents_become_a_gap(connection: Connection, admin: Connection, parents: int) -> None:
    connection.execute(
        "CREATE TABLE orders (id bigint PRIMARY KEY);"
        f"INSERT INTO orders SELECT generate_series(1, {parents});"
        "CREATE TABLE items (order_id bigint REFERENCES orders)"
    )
    ear = Ear(admin, watch(connection, entry("orders"), entry("items", refreshes="orders")))
    connection.execute("INSERT INTO items SELECT id FROM orders")
    expected = [touched(n) for n in range(1, 1_001)] if parents == 1_000 else [GAP]
    assert sorted(ear.changes()) == sorted(expected)


def test_too_many_children_become_a_gap(connection: Connection, admin: Connection) -> None:
    connection.execute(TABLES)
    ear = Ear(admin, watch(connection, entry("orders"), entry("items", refreshes="orders")))
    connection.execute("INSERT INTO items SELECT i, 3 FROM generate_series(10, 10010) i")
    assert ear.changes() == [GAP]


def test_a_child_without_a_key(connection: Connection, admin: Connection, trigger: str) -> None:
    connection.execute(
        "CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders VALUES (1), (2);"
        "CREATE TABLE items (order_id int REFERENCES orders, what json)"
    )
    entries = [entry("orders"), entry("items", refreshes="orders", trigger=trigger)]
    heard = hearing(connection, Ear(admin, watch(connection, *entries)))
    assert heard("INSERT INTO items VALUES (1, '1'), (1, '2')") == [touched(1)]
    assert heard("UPDATE items SET what = '3' WHERE what::text = '1'") == [touched(1)]
    assert heard("UPDATE items SET what = what WHERE what::text = '3'") == []
    assert set(heard("UPDATE items SET order_id = 2")) == {touched(1), touched(2)}
    assert heard("DELETE FROM items") == [touched(2)]


def test_a_composite_key_in_another_order_and_of_other_types(
    connection: Connection, admin: Connection, trigger: str
) -> None:
    connection.execute(
        "CREATE TABLE orders (day date, tenant char(3), PRIMARY KEY (tenant, day));"
        "CREATE TABLE items (at date, of varchar(3), n int,"
        " FOREIGN KEY (at, of) REFERENCES orders (day, tenant));"
        "INSERT INTO orders VALUES ('2024-05-06', 'a')"
    )
    entries = [entry("orders"), entry("items", refreshes="orders", trigger=trigger)]
    ear = Ear(admin, watch(connection, *entries))
    connection.execute("SET DateStyle = 'German'")
    connection.execute("INSERT INTO items VALUES ('2024-05-06', 'a', 1)")
    assert ear.changes() == [touched("a", "2024-05-06")]
    connection.execute("INSERT INTO items VALUES ('2024-05-06', NULL), (NULL, 'a')")
    assert ear.changes() == []
    connection.execute("UPDATE orders SET tenant = tenant || 'x' WHERE false")
    connection.execute("DELETE FROM items; UPDATE orders SET day = day + 1")
    said = ear.changes()
    assert said[0] == touched("a", "2024-05-06")  # spelled as the parent's own trigger does
    assert {change.key for change in said[1:]} == {("a", "2024-05-06"), ("a", "2024-05-07")}


def test_children_of_children_name_the_next_in_line(
    connection: Connection, admin: Connection
) -> None:
    connection.execute(TABLES + ";CREATE TABLE notes (item int REFERENCES items, text text)")
    entries = [
        entry("notes", refreshes="items"),
        entry("items", refreshes="orders"),
        entry("orders"),
    ]
    heard = hearing(connection, Ear(admin, watch(connection, *entries)))
    assert heard("INSERT INTO notes VALUES (2, 'x')") == [touched(2, table="items")]
    assert heard("UPDATE items SET what = 'x' WHERE id = 2") == [touched(1)]
    assert heard("TRUNCATE notes") == [Gap("items", "many keys changed")]


def test_a_table_that_is_also_served_says_both(
    connection: Connection, admin: Connection, trigger: str
) -> None:
    connection.execute(TABLES)
    items = entry(
        "items",
        topics=("items/{id}", "orders/{order_id}/items"),
        refreshes="orders",
        where="what <> 'secret'",
        trigger=trigger,
    )
    heard = hearing(connection, Ear(admin, watch(connection, entry("orders"), items)))
    own = Change("items", ("1",), Operation.UPDATE, ("1",))
    moved = heard("UPDATE items SET order_id = 5 WHERE id = 1")
    assert Counter(moved) == Counter([touched(1), touched(5), own])
    # The order's document may well hold what is not served by itself.
    assert heard("INSERT INTO items VALUES (9, 3, 'secret')") == [touched(3)]
    both = {GAP, Gap("items", "many keys changed")}
    assert set(heard("TRUNCATE items")) == both


def test_changed_and_operations_hold_for_what_is_refreshed(
    connection: Connection, admin: Connection, trigger: str
) -> None:
    connection.execute(TABLES + ";ALTER TABLE items ADD seen int")
    options = {"changed": ("what",), "operations": ("insert", "update"), "trigger": trigger}
    entries = [entry("orders"), entry("items", refreshes="orders", **options)]
    heard = hearing(connection, Ear(admin, watch(connection, *entries)))
    assert heard("UPDATE items SET seen = 1 WHERE id = 1") == []
    assert heard("UPDATE items SET seen = 2") == []
    assert heard("UPDATE items SET what = 'x' WHERE id = 1") == [touched(1)]
    moved = heard("UPDATE items SET order_id = 5 WHERE id = 1")
    assert Counter(moved) == Counter([touched(1), touched(5)])
    assert heard("DELETE FROM items") == []


def test_a_column_that_is_gone_costs_a_gap_of_the_parent(
    heard: Heard, connection: Connection
) -> None:
    connection.execute("ALTER TABLE items RENAME order_id TO ordr")
    assert heard("INSERT INTO items VALUES (10, 1)") == [GAP]
    assert connection.execute("SELECT count(*) FROM items WHERE id = 10").fetchone() == (1,)


def test_a_parents_key_too_long_for_a_payload(
    connection: Connection, admin: Connection, trigger: str
) -> None:
    connection.execute(
        "CREATE TABLE orders (id text PRIMARY KEY); CREATE TABLE items (o text REFERENCES orders);"
        "INSERT INTO orders VALUES (repeat('é', 1300)), (repeat('x', 2500))"
    )
    entries = [entry("orders"), entry("items", refreshes="orders", trigger=trigger)]
    ear = Ear(admin, watch(connection, *entries))
    connection.execute("INSERT INTO items SELECT id FROM orders WHERE id LIKE 'x%'")
    assert ear.changes() == [touched("x" * 2500)]
    connection.execute("INSERT INTO items SELECT id FROM orders WHERE id LIKE 'é%'")
    connection.execute("INSERT INTO items SELECT id FROM orders")
    said = ear.payloads()
    assert all(json.loads(payload)["o"] in "*u" for payload in said)
    assert '{"t":"orders","o":"*"}' in said


def test_through_columns_without_a_foreign_key(
    connection: Connection, admin: Connection, trigger: str
) -> None:
    connection.execute(
        "CREATE TABLE orders (id uuid PRIMARY KEY); CREATE TABLE log (n int, of text)"
    )
    log = entry("log", refreshes="orders", through={"of": "id"}, trigger=trigger)
    heard = hearing(connection, Ear(admin, watch(connection, entry("orders"), log)))
    upper = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"
    assert heard(f"INSERT INTO log VALUES (1, '{upper}')") == [touched(upper.lower())]
    assert heard("INSERT INTO log VALUES (1, 'not a uuid')") == [GAP]
