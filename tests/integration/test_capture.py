"""What each kind of statement announces: exactly the keys it changed, and nothing of the rest."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from psycopg.errors import RaiseException

from bridge.changes import Change, Gap, Operation
from tests.support.capture import Ear, entry, watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    Heard = Callable[[str], list[Change | Gap]]

TOPICS = ("orders", "orders/{id}", "customers/{customer}/orders")
INSERT, UPDATE, DELETE = Operation.INSERT, Operation.UPDATE, Operation.DELETE
GAP = Gap("orders", "many keys changed")


def inserted(key: int) -> Change:
    return Change("orders", (str(key),), INSERT)


def updated(key: int, was: int | None = None) -> Change:
    return Change("orders", (str(key),), UPDATE, None if was is None else (str(was),))


def deleted(key: int, was: int | str | None) -> Change:
    return Change("orders", (str(key),), DELETE, (None if was is None else str(was),))


@pytest.fixture
def heard(connection: Connection, admin: Connection) -> Heard:
    """Runs SQL beside a watched table, and gives what the changes it announced were."""
    connection.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, customer int, status text, data json)"
    )
    connection.execute("INSERT INTO orders VALUES (1, 10, 'new', '{}'), (2, 20, 'new', '{}')")
    ear = Ear(admin, watch(connection, entry("orders", topics=TOPICS)))

    def hear(statements: str) -> list[Change | Gap]:
        connection.execute(statements)
        return ear.changes()

    return hear


CASES = {
    "insert": ("INSERT INTO orders VALUES (3, 30)", [inserted(3)]),
    "insert of several": (
        "INSERT INTO orders VALUES (3, 30), (4, 40)",
        [inserted(3), inserted(4)],
    ),
    "insert of none": ("INSERT INTO orders SELECT 3 WHERE false", []),
    "update": ("UPDATE orders SET status = 'paid' WHERE id = 1", [updated(1)]),
    "update of several": ("UPDATE orders SET status = 'paid'", [updated(1), updated(2)]),
    "update of none": ("UPDATE orders SET status = 'paid' WHERE id = 9", []),
    "update that changes nothing": ("UPDATE orders SET status = status WHERE id = 1", []),
    "update that changes one of two": (
        "UPDATE orders SET status = CASE id WHEN 1 THEN 'paid' ELSE status END",
        [updated(1)],
    ),
    "update of json, which has no =": (
        "UPDATE orders SET data = '[]' WHERE id = 1",
        [updated(1)],
    ),
    "update to NULL": ("UPDATE orders SET status = NULL WHERE id = 1", [updated(1)]),
    "move": ("UPDATE orders SET customer = 11 WHERE id = 1", [updated(1, 10)]),
    "move of one of two": (
        "UPDATE orders SET status = 'x', customer = CASE id WHEN 1 THEN 11 ELSE customer END",
        [updated(1, 10), updated(2)],
    ),
    "change of the key": (
        "UPDATE orders SET id = 3 WHERE id = 1",
        [inserted(3), deleted(1, 10)],
    ),
    "swap of keys": (
        "ALTER TABLE orders DROP CONSTRAINT orders_pkey;UPDATE orders SET id = 3 - id",
        [updated(1, 10), updated(2, 20)],
    ),
    "delete": ("DELETE FROM orders WHERE id = 1", [deleted(1, 10)]),
    "delete of several": ("DELETE FROM orders", [deleted(1, 10), deleted(2, 20)]),
    "delete of none": ("DELETE FROM orders WHERE id = 9", []),
    "truncate": ("TRUNCATE orders", [GAP]),
    "upsert": (
        "INSERT INTO orders VALUES (1, 10, 'paid'), (3, 30, 'new')"
        " ON CONFLICT (id) DO UPDATE SET status = excluded.status",
        [inserted(3), updated(1)],
    ),
    "upsert that does nothing": (
        "INSERT INTO orders VALUES (1) ON CONFLICT DO NOTHING",
        [],
    ),
    "merge": (
        "MERGE INTO orders o USING (VALUES (1), (2), (3)) v(id) ON o.id = v.id"
        " WHEN MATCHED AND o.id = 1 THEN DELETE"
        " WHEN MATCHED THEN UPDATE SET status = 'paid'"
        " WHEN NOT MATCHED THEN INSERT (id) VALUES (v.id)",
        [inserted(3), updated(2), deleted(1, 10)],
    ),
    "common table expressions": (
        "WITH a AS (UPDATE orders SET status = 'paid' WHERE id = 1),"
        " b AS (DELETE FROM orders WHERE id = 2) INSERT INTO orders VALUES (3, 30)",
        [inserted(3), updated(1), deleted(2, 20)],
    ),
    "rollback": ("BEGIN; DELETE FROM orders; ROLLBACK", []),
    "savepoint rolled back": (
        "BEGIN; DELETE FROM orders WHERE id = 1; SAVEPOINT s;"
        " DELETE FROM orders; ROLLBACK TO s; COMMIT",
        [deleted(1, 10)],
    ),
    "savepoint released": (
        "BEGIN; SAVEPOINT s; DELETE FROM orders WHERE id = 1; RELEASE s; COMMIT",
        [deleted(1, 10)],
    ),
    "the same row ten thousand times": (
        "DO $$ BEGIN FOR i IN 1..10000 LOOP"
        " UPDATE orders SET status = i::text WHERE id = 1; END LOOP; END $$",
        [updated(1)],
    ),
    "a thousand rows": (
        "INSERT INTO orders SELECT generate_series(1001, 2000)",
        [inserted(key) for key in range(1001, 2001)],
    ),
    "more than a thousand rows": (
        "INSERT INTO orders SELECT generate_series(1001, 2001)",
        [GAP],
    ),
    "update of more than a thousand rows": (
        "ALTER TABLE orders DISABLE TRIGGER USER;"
        "INSERT INTO orders SELECT generate_series(1001, 2001);"
        "ALTER TABLE orders ENABLE TRIGGER USER;"
        "UPDATE orders SET status = 'paid'",
        [GAP],
    ),
    "delete of more than a thousand rows": (
        "ALTER TABLE orders DISABLE TRIGGER USER;"
        "INSERT INTO orders SELECT generate_series(1001, 2001);"
        "ALTER TABLE orders ENABLE TRIGGER USER;"
        "DELETE FROM orders",
        [GAP],
    ),
    "suppressed by a BEFORE trigger": (
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER a BEFORE INSERT OR UPDATE OR DELETE ON orders"
        " FOR EACH ROW EXECUTE FUNCTION no();"
        "INSERT INTO orders VALUES (3); UPDATE orders SET status = 'x'; DELETE FROM orders",
        [],
    ),
    "changed by a BEFORE trigger": (
        "CREATE FUNCTION up() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN NEW.id := NEW.id + 100; RETURN NEW; END';"
        "CREATE TRIGGER a BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION up();"
        "INSERT INTO orders VALUES (3)",
        [inserted(103)],
    ),
    "renamed table": (
        "ALTER TABLE orders RENAME TO bookings; DELETE FROM bookings WHERE id = 1",
        [deleted(1, 10)],
    ),
    "moved to another schema": (
        "CREATE SCHEMA old; ALTER TABLE orders SET SCHEMA old; DELETE FROM old.orders WHERE id = 1",
        [deleted(1, 10)],
    ),
    "a NULL topic column": (
        "INSERT INTO orders VALUES (3); DELETE FROM orders WHERE id = 3",
        [inserted(3), deleted(3, None)],
    ),
}


@pytest.mark.parametrize(("statements", "expected"), CASES.values(), ids=CASES.keys())
def test_statement(heard: Heard, statements: str, expected: list[Change | Gap]) -> None:
    assert Counter(heard(statements)) == Counter(expected)


def test_copy(heard: Heard, connection: Connection) -> None:
    with connection.cursor().copy("COPY orders (id, customer) FROM STDIN") as copy:
        copy.write("3\t30\n4\t40\n")
    assert heard("SELECT") == [inserted(3), inserted(4)]


def test_cascade(connection: Connection, admin: Connection) -> None:
    connection.execute(
        "CREATE TABLE parent (id int PRIMARY KEY);"
        "CREATE TABLE child (id int PRIMARY KEY,"
        " parent int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);"
        "INSERT INTO parent VALUES (1), (2), (3);"
        "INSERT INTO child SELECT i, (i + 1) / 2 FROM generate_series(1, 6) i"
    )
    ear = Ear(admin, watch(connection, entry("child")))
    connection.execute("UPDATE parent SET id = 9 WHERE id = 1")
    assert {change.key for change in ear.changes()} == {("1",), ("2",)}
    connection.execute("DELETE FROM parent WHERE id IN (2, 3)")
    assert {change.key for change in ear.changes()} == {("3",), ("4",), ("5",), ("6",)}
    connection.execute("TRUNCATE parent CASCADE")
    assert ear.changes() == [Gap("child", "many keys changed")]


def test_partitioned_table_through_its_root(connection: Connection, admin: Connection) -> None:
    connection.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, customer int) PARTITION BY RANGE (id);"
        "CREATE TABLE low PARTITION OF orders FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE high PARTITION OF orders FOR VALUES FROM (10) TO (20)"
    )
    ear = Ear(admin, watch(connection, entry("orders")))
    connection.execute("INSERT INTO orders VALUES (1, 1), (11, 1)")
    assert set(ear.changes()) == {inserted(1), inserted(11)}
    connection.execute("UPDATE orders SET id = 12 WHERE id = 1")
    assert {(change.key, change.operation) for change in ear.changes()} == {
        (("12",), INSERT),
        (("1",), DELETE),
    }


def test_inherited_rows_through_their_parent(connection: Connection, admin: Connection) -> None:
    connection.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, customer int);"
        "CREATE TABLE special (bonus int) INHERITS (orders);"
        "INSERT INTO special VALUES (1, 1, 1)"
    )
    ear = Ear(admin, watch(connection, entry("orders")))
    connection.execute("UPDATE orders SET customer = 2")
    assert ear.changes() == [updated(1)]


def test_one_table_under_two_names(connection: Connection, admin: Connection) -> None:
    connection.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    ear = Ear(
        admin,
        watch(
            connection, entry("a", table=(None, "orders")), entry("b", table=("public", "orders"))
        ),
    )
    connection.execute("INSERT INTO orders VALUES (1)")
    assert {change.table for change in ear.changes()} == {"a", "b"}


def test_two_bridges_on_one_table_hear_their_own(connection: Connection, admin: Connection) -> None:
    connection.execute("CREATE TABLE orders (id int PRIMARY KEY, customer int)")
    first = Ear(admin, watch(connection, entry("orders")))
    watch(connection, entry("orders", key=("id",)), schema="second")
    count = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'rowcast%'"
    assert connection.execute(count).fetchone() == (8,)
    watch(connection, schema="second")  # which takes its own away, and no other's
    assert connection.execute(count).fetchone() == (4,)
    connection.execute("INSERT INTO orders VALUES (1)")
    assert first.changes() == [inserted(1)]


NAMES = [
    "Orders",
    'quo"ted',
    "dotted.name",
    "with space",
    "ünï😀",
    "o" * 63,
    "a:b %s {x}",
    "'; --",
    "$$",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_all_kinds(connection: Connection, admin: Connection, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    connection.execute(
        f"CREATE SCHEMA {quoted}; CREATE TABLE {quoted}.{quoted} ({quoted} int PRIMARY KEY)"
    )
    tables = watch(connection, entry(name, table=(name, name)))
    ear = Ear(admin, tables)
    connection.execute(f"INSERT INTO {quoted}.{quoted} VALUES (1), (2)")
    connection.execute(f"UPDATE {quoted}.{quoted} SET {quoted} = 3 WHERE {quoted} = 1")
    assert [change[:3] for change in ear.changes()] == [
        (name, ("1",), INSERT),
        (name, ("2",), INSERT),
        (name, ("3",), INSERT),
        (name, ("1",), DELETE),
    ]


ONE_ROW = {
    "INSERT INTO orders VALUES (3, 30)": '{"t":"orders","o":"i","k":[["3"]]}',
    "UPDATE orders SET status = 'paid' WHERE id = 1": '{"t":"orders","o":"u","k":[["1"]]}',
    "UPDATE orders SET customer = 11 WHERE id = 1": '{"t":"orders","o":"u","k":[["1","10"]]}',
    "DELETE FROM orders WHERE id = 2": '{"t":"orders","o":"d","k":[["2","20"]]}',
}


@pytest.mark.parametrize("trigger", ["statement", "row"])
@pytest.mark.parametrize("durable", [False, True], ids=["notified", "kept"])
def test_one_row_never_goes_the_general_way(
    durable: bool, trigger: str, connection: Connection, admin: Connection
) -> None:
    """That way would do as well, and cost the application more: so it is taken away here."""
    connection.execute("CREATE TABLE orders (id int PRIMARY KEY, customer int, status text)")
    connection.execute("INSERT INTO orders VALUES (1, 10, 'new'), (2, 20, 'new')")
    options = {"topics": TOPICS, "trigger": trigger, "durable": durable}
    ear = Ear(admin, watch(connection, entry("orders", **options)))
    remove_the_general_way(connection)
    with pytest.raises(RaiseException, match="the general way"):
        connection.execute("TRUNCATE orders")
    for statement, payload in ONE_ROW.items():
        connection.execute(statement)
        kept = connection.execute("SELECT payload FROM rowcast.changes") if durable else None
        heard = [text for (text,) in kept] if kept else ear.payloads()
        assert heard[-1] == payload
    connection.execute("UPDATE orders SET status = status WHERE id = 1")


def remove_the_general_way(connection: Connection) -> None:
    """Whoever comes there fails; outside its guard, which would hide that."""
    (definition,) = connection.execute(_DEFINITION).fetchone() or ("",)
    begin = definition.rindex("BEGIN", 0, definition.rindex("IF TG_OP = 'INSERT'"))
    label = definition.find("<<capture>>")
    start = begin if label < 0 else label
    raising = f"{definition[:start]}RAISE EXCEPTION 'the general way';{definition[start:]}"
    connection.execute(raising.encode())


_DEFINITION = """
SELECT pg_get_functiondef(oid) FROM pg_proc
WHERE pronamespace = 'rowcast'::regnamespace AND prorettype = 'trigger'::regtype
"""
