"""Which changes count: `where`, `operations`, `changed`, by statement and by row alike."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from bridge.changes import Change, Gap, Operation
from tests.support.capture import Ear, entry, watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    Heard = Callable[[str], list[Change | Gap]]

TOPICS = ("orders/{id}", "customers/{customer}/orders")
INSERT, UPDATE, DELETE = Operation.INSERT, Operation.UPDATE, Operation.DELETE
GAP = Gap("orders", "many keys changed")

# 1 and 2 meet the condition, 3 does not, 4 is NULL, which is as good as not.
ROWS = (
    "CREATE TABLE orders (id int PRIMARY KEY, customer int, status text, seen int, data json);"
    "INSERT INTO orders VALUES (1, 10, 'paid'), (2, 20, 'sent'), (3, 30, 'draft'), (4, 40, NULL)"
)


def inserted(key: int) -> Change:
    return Change("orders", (str(key),), INSERT)


def updated(key: int, was: int | None = None) -> Change:
    return Change("orders", (str(key),), UPDATE, None if was is None else (str(was),))


def deleted(key: int, was: int | str | None) -> Change:
    return Change("orders", (str(key),), DELETE, (None if was is None else str(was),))


@pytest.fixture(params=["statement", "row"])
def trigger(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def listen(connection: Connection, admin: Connection, trigger: str) -> Callable[..., Heard]:
    """Watches `orders` with these options; what it gives runs SQL and tells the changes."""

    def listening(**options: object) -> Heard:
        connection.execute(ROWS)
        ear = Ear(
            admin, watch(connection, entry("orders", topics=TOPICS, trigger=trigger, **options))
        )

        def hear(statements: str) -> list[Change | Gap]:
            connection.execute(statements)
            return ear.changes()

        return hear

    return listening


WHERE = {
    "inserts": ("INSERT INTO orders VALUES (5, 50, 'paid'), (6, 60, 'draft')", [inserted(5)]),
    "one that meets it": ("INSERT INTO orders VALUES (5, 50, 'paid')", [inserted(5)]),
    "one that does not": ("INSERT INTO orders VALUES (6, 60, 'draft')", []),
    "one that is NULL": ("INSERT INTO orders VALUES (6, 60, NULL)", []),
    "update within": ("UPDATE orders SET customer = 11 WHERE id = 1", [updated(1, 10)]),
    "update without": ("UPDATE orders SET customer = 31 WHERE id IN (3, 4)", []),
    "update that begins to meet it": (
        "UPDATE orders SET status = 'paid' WHERE id = 3",
        [inserted(3)],
    ),
    "update from NULL": ("UPDATE orders SET status = 'paid' WHERE id = 4", [inserted(4)]),
    "update that ceases to meet it": (
        "UPDATE orders SET status = 'draft', customer = 11 WHERE id = 1",
        [deleted(1, 10)],
    ),
    "update to NULL": ("UPDATE orders SET status = NULL WHERE id = 1", [deleted(1, 10)]),
    "update both ways": (
        "UPDATE orders SET status = CASE WHEN id = 1 THEN 'draft' ELSE 'paid' END WHERE id <> 2",
        [deleted(1, 10), inserted(3), inserted(4)],
    ),
    "update that changes nothing": ("UPDATE orders SET status = status", []),
    "change of the key": (
        "UPDATE orders SET id = id + 10 WHERE id IN (1, 3)",
        [deleted(1, 10), inserted(11)],
    ),
    "deletes": ("DELETE FROM orders", [deleted(1, 10), deleted(2, 20)]),
    "delete of one that does not": ("DELETE FROM orders WHERE id = 3", []),
    "truncate": ("TRUNCATE orders", [GAP]),
    "upsert": (
        "INSERT INTO orders VALUES (1, 10, 'draft'), (3, 30, 'paid'), (5, 50, 'draft'),"
        " (6, 60, 'paid') ON CONFLICT (id) DO UPDATE SET status = excluded.status",
        [deleted(1, 10), inserted(3), inserted(6)],
    ),
    "merge": (
        "MERGE INTO orders o USING (VALUES (1), (2), (3), (5)) v(id) ON o.id = v.id"
        " WHEN MATCHED AND o.id = 1 THEN DELETE"
        " WHEN MATCHED THEN UPDATE SET status = CASE o.id WHEN 2 THEN 'draft' ELSE 'paid' END"
        " WHEN NOT MATCHED THEN INSERT VALUES (v.id, 50, 'draft')",
        [deleted(1, 10), deleted(2, 20), inserted(3)],
    ),
    "many that do not": (
        "INSERT INTO orders SELECT i, i, 'draft' FROM generate_series(1001, 3001) i",
        [],
    ),
}


@pytest.mark.parametrize(("statements", "expected"), WHERE.values(), ids=WHERE.keys())
def test_where(listen: Callable[..., Heard], statements: str, expected: list[Change | Gap]) -> None:
    heard = listen(where="orders.status <> 'draft'")
    assert Counter(heard(statements)) == Counter(expected)


@pytest.mark.parametrize(
    "where",
    [
        "status <> 'draft' -- and what is said of it",
        "/* ) */ status <> 'draft'",
        "EXISTS (SELECT FROM (VALUES ('draft')) d(x) WHERE d.x <> status)",
        "status LIKE '%ai%' AND status <> '{x}$$'",
    ],
)
def test_where_is_sql_as_it_is_written(listen: Callable[..., Heard], where: str) -> None:
    heard = listen(where=where)
    assert heard("UPDATE orders SET customer = 0 WHERE id IN (1, 3)") == [updated(1, 10)]


def test_where_may_name_columns_that_plpgsql_has_variables_of(
    connection: Connection, admin: Connection, trigger: str
) -> None:
    connection.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, touched int, found bool, tg_op text)"
    )
    where = "touched = 1 AND found AND tg_op = 'x'"
    ear = Ear(admin, watch(connection, entry("orders", where=where, trigger=trigger)))
    connection.execute("INSERT INTO orders VALUES (1, 1, true, 'x'), (2, 1, true, 'y')")
    assert ear.changes() == [inserted(1)]


def test_where_that_fails_costs_a_gap_and_no_write(
    listen: Callable[..., Heard], connection: Connection
) -> None:
    heard = listen(where="1 / (id - 7) <> 5")
    assert heard("INSERT INTO orders VALUES (7)") == [GAP]
    assert connection.execute("SELECT count(*) FROM orders").fetchone() == (5,)


def test_where_means_the_same_in_every_session(
    connection: Connection, admin: Connection, trigger: str
) -> None:
    connection.execute("CREATE TABLE orders (id int PRIMARY KEY, at timestamptz)")
    ear = Ear(admin, watch(connection, entry("orders", where="at < '2024-02-01'", trigger=trigger)))
    connection.execute("SET TimeZone = 'Asia/Tokyo'")
    connection.execute("INSERT INTO orders VALUES (1, '2024-01-31 20:00+00')")
    assert ear.changes() == [inserted(1)]


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        (("insert",), [inserted(5)]),
        (("update",), [updated(1)]),
        (("delete",), [deleted(2, 20), GAP]),
        (("insert", "delete"), [inserted(5), deleted(2, 20), GAP]),
    ],
)
def test_operations(
    listen: Callable[..., Heard], operations: tuple[str, ...], expected: list[Change | Gap]
) -> None:
    heard = listen(operations=operations)
    statements = (
        "INSERT INTO orders VALUES (5, 50); UPDATE orders SET status = 'x' WHERE id = 1;"
        " DELETE FROM orders WHERE id = 2; TRUNCATE orders"
    )
    assert Counter(heard(statements)) == Counter(expected)


CHANGED = {
    "one of them": ("UPDATE orders SET status = 'x' WHERE id = 1", [updated(1)]),
    "one of them in several rows": (
        "UPDATE orders SET status = 'sent', seen = 1 WHERE id < 3",
        [updated(1)],
    ),
    "another": ("UPDATE orders SET seen = 1 WHERE id = 1", []),
    "another in several rows": ("UPDATE orders SET seen = 1", []),
    "a topic column": ("UPDATE orders SET customer = 11 WHERE id = 1", [updated(1, 10)]),
    "the key": ("UPDATE orders SET id = 9 WHERE id = 1", [deleted(1, 10), inserted(9)]),
    "json": ("UPDATE orders SET data = '1' WHERE id = 1", [updated(1)]),
    "to NULL": ("UPDATE orders SET status = NULL WHERE id = 1", [updated(1)]),
    "an insert": ("INSERT INTO orders (id) VALUES (9)", [inserted(9)]),
}


@pytest.mark.parametrize(("statements", "expected"), CHANGED.values(), ids=CHANGED.keys())
def test_changed(
    listen: Callable[..., Heard], statements: str, expected: list[Change | Gap]
) -> None:
    heard = listen(changed=("status", "data"))
    assert Counter(heard(statements)) == Counter(expected)


def test_changed_does_not_hide_that_a_row_begins_to_meet_the_condition(
    listen: Callable[..., Heard],
) -> None:
    heard = listen(changed=("data",), where="seen = 1")
    assert heard("UPDATE orders SET seen = 1 WHERE id = 1") == [inserted(1)]
    assert heard("UPDATE orders SET status = 'x' WHERE id = 1") == []
    assert heard("UPDATE orders SET seen = 2 WHERE id = 1") == [deleted(1, 10)]


def test_two_names_for_one_table_count_apart(connection: Connection, admin: Connection) -> None:
    connection.execute(ROWS)
    paid = entry("paid", table=(None, "orders"), where="status = 'paid'")
    rest = entry("rest", table=(None, "orders"), operations=("delete",), trigger="row")
    ear = Ear(admin, watch(connection, paid, rest))
    connection.execute("UPDATE orders SET status = 'paid' WHERE id = 2")
    assert ear.changes() == [Change("paid", ("2",), INSERT)]
    connection.execute("DELETE FROM orders WHERE id = 3")
    assert ear.changes() == [Change("rest", ("3",), DELETE)]
