"""Nothing that goes wrong in capture fails the application's write; it costs a gap instead."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest

from bridge.changes import Change, Gap
from tests.support.capture import Ear, entry, watch

if TYPE_CHECKING:
    from psycopg import Connection

GAP = Gap("orders", "many keys changed")


@pytest.fixture
def ear(connection: Connection, admin: Connection) -> Ear:
    connection.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, customer text, note text);"
        "INSERT INTO orders VALUES (1, 'a', 'x'), (2, 'b', 'y')"
    )
    topics = ("orders/{id}", "customers/{customer}")
    return Ear(admin, watch(connection, entry("orders", topics=topics)))


@pytest.mark.parametrize(
    ("change", "write", "reason"),
    [
        ("RENAME id TO number", "INSERT INTO orders VALUES (3)", "42703"),
        ("RENAME id TO number", "UPDATE orders SET note = 'z'", "42703"),
        ("RENAME id TO number", "DELETE FROM orders", "42703"),
        ("DROP id", "INSERT INTO orders VALUES ('c')", "42703"),
        ("DROP customer", "UPDATE orders SET note = 'z' WHERE id = 1", "42703"),
        ("DROP customer", "DELETE FROM orders WHERE id = 1", "42703"),
    ],
)
def test_a_column_that_is_gone(
    ear: Ear, connection: Connection, change: str, write: str, reason: str
) -> None:
    """Also in a session whose plans know the column still."""
    for _ in range(7):
        connection.execute("UPDATE orders SET note = note || '.'")
        connection.execute("INSERT INTO orders VALUES (9); DELETE FROM orders WHERE id = 9")
    ear.payloads()
    connection.execute(f"ALTER TABLE orders {change}")
    connection.execute(write)
    assert [json.loads(payload) for payload in ear.payloads()] == [
        {"t": "orders", "o": "*", "e": reason}
    ]


@pytest.mark.parametrize(
    "change",
    [
        "ADD extra int DEFAULT 7",
        "DROP note",
        "RENAME note TO remark",
        "ALTER note TYPE json USING 'null'",
        "ALTER id TYPE bigint",
        "ALTER customer TYPE varchar(5)",
    ],
)
def test_a_change_of_columns_that_capture_can_follow(
    ear: Ear, connection: Connection, change: str
) -> None:
    connection.execute("UPDATE orders SET note = note || '.'")
    ear.payloads()
    connection.execute(f"ALTER TABLE orders {change}")
    connection.execute("UPDATE orders SET customer = 'c' WHERE id = 1")
    assert ear.changes() == [Change("orders", ("1",), "u", ("a",))]


def test_a_role_without_any_right_on_our_schema(ear: Ear, connection: Connection) -> None:
    connection.execute("DROP ROLE IF EXISTS app; CREATE ROLE app")
    try:
        connection.execute("GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON orders TO app")
        connection.execute("SET ROLE app")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT FROM rowcast.epoch")
        connection.execute("UPDATE orders SET note = 'z' WHERE id = 1")
        connection.execute("DELETE FROM orders WHERE id = 1; TRUNCATE orders")
    finally:
        connection.execute("RESET ROLE; DROP OWNED BY app; DROP ROLE app")
    assert len(ear.changes()) == 3


def test_a_session_with_an_evil_search_path(ear: Ear, connection: Connection) -> None:
    """Operators and functions come from pg_catalog, whatever the writer puts before it."""
    connection.execute(
        "CREATE SCHEMA evil;"
        "CREATE FUNCTION evil.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT 1/0';"
        "CREATE FUNCTION evil.octet_length(text) RETURNS int LANGUAGE sql AS 'SELECT 1/0';"
        "CREATE FUNCTION evil.same(int, int) RETURNS bool LANGUAGE sql AS 'SELECT 1/0 = 1';"
        "CREATE OPERATOR evil.= (leftarg = int, rightarg = int, function = evil.same);"
        "CREATE TEMP TABLE new_rows (id int); CREATE TEMP TABLE old_rows (id int);"
        "SET search_path = evil, pg_temp, pg_catalog, public"
    )
    connection.execute("UPDATE orders SET note = 'z'")
    assert ear.changes() == [Change("orders", ("1",), "u"), Change("orders", ("2",), "u")]


def test_keys_and_topics_too_long_for_a_payload(ear: Ear, connection: Connection) -> None:
    connection.execute("UPDATE orders SET customer = repeat('é', 5000) WHERE id = 1")
    assert ear.changes() == [Change("orders", ("1",), "u", ("a",))]
    connection.execute("UPDATE orders SET customer = 'c' WHERE id = 1")
    assert ear.changes() == [GAP]


def test_a_key_that_is_null_after_all(ear: Ear, connection: Connection) -> None:
    connection.execute(
        "ALTER TABLE orders DROP CONSTRAINT orders_pkey; ALTER TABLE orders ALTER id DROP NOT NULL"
    )
    connection.execute("INSERT INTO orders VALUES (3), (NULL)")
    connection.execute("UPDATE orders SET note = 'z' WHERE id IS NULL")
    connection.execute("DELETE FROM orders WHERE id IS NULL")
    assert ear.changes() == [GAP, GAP, GAP]


def test_duplicate_keys_after_all(ear: Ear, connection: Connection) -> None:
    connection.execute("ALTER TABLE orders DROP CONSTRAINT orders_pkey")
    connection.execute("INSERT INTO orders VALUES (1, 'c')")
    ear.payloads()
    connection.execute("UPDATE orders SET customer = 'd'")
    assert {change.key for change in ear.changes()} == {("1",), ("2",)}


def test_without_the_right_to_notify(ear: Ear, connection: Connection) -> None:
    warnings: list[str] = []
    connection.execute("CREATE ROLE mute; GRANT ALL ON orders TO mute")
    try:
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_notify FROM public")
        connection.execute("SET ROLE mute")
        connection.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))
        connection.execute("UPDATE orders SET note = 'z'")
    finally:
        connection.execute("RESET ROLE; DROP OWNED BY mute; DROP ROLE mute")
    assert connection.execute("SELECT DISTINCT note FROM orders").fetchall() == [("z",)]
    assert ear.changes() == []
    (warning,) = warnings
    assert warning.startswith("rowcast: a change of public.orders was not announced: permission")


def test_our_schema_renamed_away(ear: Ear, connection: Connection) -> None:
    connection.execute("ALTER SCHEMA rowcast RENAME TO elsewhere")
    connection.execute("UPDATE orders SET note = 'z' WHERE id = 1")
    assert ear.changes() == [Change("orders", ("1",), "u")]


def test_under_every_isolation_level_and_read_only_neighbours(
    ear: Ear, connection: Connection
) -> None:
    for level in ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"):
        connection.execute(
            f"BEGIN ISOLATION LEVEL {level}; UPDATE orders SET note = note || '.'; COMMIT"
        )
        assert len(ear.changes()) == 2
