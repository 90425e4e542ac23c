"""`trigger: row`: partitions written directly, replication, and what keeps it in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge import inventory
from bridge.changes import Change, Gap, Operation, parse
from bridge.demo.postgres import Postgres
from bridge.triggers import desired, plan
from tests.support import PATIENCE, connect
from tests.support.capture import Ear, entry, watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from bridge.demo.postgres import Binaries
    from bridge.tables import Table
    from bridge.triggers import Step

INSERT, UPDATE, DELETE = Operation.INSERT, Operation.UPDATE, Operation.DELETE
GAP = Gap("orders", "many keys changed")
PARTITIONED = """
CREATE TABLE orders (id int PRIMARY KEY, customer int) PARTITION BY RANGE (id);
CREATE TABLE low PARTITION OF orders FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id);
CREATE TABLE lowest PARTITION OF low FOR VALUES FROM (0) TO (10);
CREATE TABLE high PARTITION OF orders FOR VALUES FROM (100) TO (200);
"""
TOPICS = ("orders/{id}", "customers/{customer}")


@pytest.fixture
def tables(connection: Connection) -> dict[str, Table]:
    connection.execute(PARTITIONED)
    return watch(connection, entry("orders", topics=TOPICS, trigger="row"))


@pytest.fixture
def ear(tables: dict[str, Table], admin: Connection) -> Ear:
    return Ear(admin, tables)


def planned(connection: Connection, tables: dict[str, Table]) -> list[Step]:
    found = inventory.installed(connection, "rowcast")
    return list(plan(desired(tables.values(), "rowcast"), found, "rowcast"))


def test_writes_straight_to_a_partition(ear: Ear, connection: Connection) -> None:
    connection.execute("INSERT INTO lowest VALUES (1, 10); INSERT INTO orders VALUES (101, 10)")
    assert ear.changes() == [Change("orders", ("1",), INSERT), Change("orders", ("101",), INSERT)]
    connection.execute("UPDATE high SET customer = 11; DELETE FROM low")
    assert ear.changes() == [
        Change("orders", ("101",), UPDATE, ("10",)),
        Change("orders", ("1",), DELETE, ("10",)),
    ]


def test_a_row_that_changes_its_partition(ear: Ear, connection: Connection) -> None:
    connection.execute("INSERT INTO orders VALUES (1, 10)")
    ear.payloads()
    connection.execute("UPDATE orders SET id = 101")
    assert set(ear.changes()) == {
        Change("orders", ("1",), DELETE, ("10",)),
        Change("orders", ("101",), INSERT),
    }


def test_a_column_that_came_later_counts_in_old_sessions(ear: Ear, connection: Connection) -> None:
    """Of `OLD.*` their plans have the columns that there were."""
    connection.execute("INSERT INTO orders VALUES (1, 10)")
    for n in range(7):
        connection.execute("UPDATE orders SET customer = %s", (n,))
    ear.payloads()
    connection.execute("ALTER TABLE orders ADD note text")
    connection.execute("UPDATE orders SET note = 'x'")
    assert ear.changes() == [Change("orders", ("1",), UPDATE)]
    connection.execute("UPDATE orders SET note = note")
    assert ear.changes() == []


def test_truncate_of_the_root(ear: Ear, connection: Connection) -> None:
    connection.execute("TRUNCATE orders")
    assert ear.changes() == [GAP]


def test_attach_and_detach(ear: Ear, connection: Connection, tables: dict[str, Table]) -> None:
    connection.execute(
        "CREATE TABLE later (id int PRIMARY KEY, customer int);"
        "ALTER TABLE orders ATTACH PARTITION later FOR VALUES FROM (200) TO (300);"
        "INSERT INTO later VALUES (201)"
    )
    assert ear.changes() == [Change("orders", ("201",), INSERT)]
    assert planned(connection, tables) == []
    connection.execute("ALTER TABLE orders DETACH PARTITION later; INSERT INTO later VALUES (202)")
    assert ear.changes() == []
    assert planned(connection, tables) == []


def test_the_copies_are_neither_drift_nor_left_behind(
    connection: Connection, tables: dict[str, Table]
) -> None:
    count = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'rowcast%'"
    assert connection.execute(count).fetchone() == (13,)  # three by four tables, and truncate
    assert planned(connection, tables) == []
    watch(connection)
    assert connection.execute(count).fetchone() == (0,)


@pytest.mark.parametrize("table", ["orders", "low", "lowest", "high"])
@pytest.mark.parametrize("how", ["DISABLE", "ENABLE REPLICA", "ENABLE"])
def test_a_trigger_switched_off_on_any_of_them_is_drift(
    connection: Connection, ear: Ear, tables: dict[str, Table], table: str, how: str
) -> None:
    (name,) = connection.execute(
        "SELECT tgname FROM pg_trigger WHERE tgname ~ 'insert' AND tgrelid = 'orders'::regclass"
    ).fetchone() or ("",)
    connection.execute(f"ALTER TABLE {table} {how} TRIGGER {name}")
    (step,) = planned(connection, tables)
    assert step.finding == "insert trigger disabled"
    assert len(step.statements) == 1
    connection.execute(step.statements[0].encode())
    assert planned(connection, tables) == []
    connection.execute("SET session_replication_role = replica")
    connection.execute("INSERT INTO orders VALUES (1), (101)")
    assert len(ear.changes()) == 2


def test_from_statement_to_row_and_back(connection: Connection, admin: Connection) -> None:
    connection.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    for trigger in ("statement", "row", "statement"):
        tables = watch(connection, entry("orders", trigger=trigger))
        assert planned(connection, tables) == []
    ear = Ear(admin, tables)
    connection.execute("INSERT INTO orders SELECT generate_series(1, 1001)")
    assert ear.changes() == [GAP]
    watch(connection, entry("orders", trigger="row"))
    connection.execute("DELETE FROM orders")
    assert len(ear.changes()) == 1001


@pytest.fixture
def replicating(binaries: Binaries) -> Iterator[Postgres]:
    settings = {"wal_level": "logical", "max_connections": "50"}
    with Postgres.start(binaries=binaries, settings=settings) as server:
        yield server


def test_rows_that_logical_replication_applies(replicating: Postgres) -> None:
    """Two databases of one server: a publisher, and a subscriber that is watched."""
    table = "CREATE TABLE orders (id int PRIMARY KEY, customer int)"
    with connect(replicating.url()) as publisher:
        publisher.execute("CREATE DATABASE subscriber")
        publisher.execute(f"{table}; ALTER TABLE orders REPLICA IDENTITY FULL")
        publisher.execute("CREATE PUBLICATION p FOR TABLE orders")
        publisher.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
        with connect(replicating.url("subscriber")) as subscriber:
            subscriber.execute(table)
            tables = watch(subscriber, entry("orders", topics=TOPICS, trigger="row"))
            subscriber.execute(
                f"CREATE SUBSCRIPTION s CONNECTION '{replicating.url()}' PUBLICATION p"
                " WITH (create_slot = false, copy_data = false)"
            )
            try:
                _replicate(publisher, subscriber, tables)
            finally:
                subscriber.execute("DROP SUBSCRIPTION s")


def _replicate(publisher: Connection, subscriber: Connection, tables: dict[str, Table]) -> None:
    expected = {
        "INSERT INTO orders VALUES (1, 10)": Change("orders", ("1",), INSERT),
        "UPDATE orders SET customer = 11": Change("orders", ("1",), UPDATE, ("10",)),
        "DELETE FROM orders": Change("orders", ("1",), DELETE, ("11",)),
        "TRUNCATE orders": GAP,
    }
    widths = {name: table.width for name, table in tables.items()}
    subscriber.execute("LISTEN rowcast")
    for statement, change in expected.items():
        publisher.execute(statement)
        (heard,) = subscriber.notifies(timeout=PATIENCE, stop_after=1)
        parsed = parse(heard.payload, widths)
        assert (parsed if isinstance(parsed, Gap) else parsed[0]) == change
