"""What a log table's trigger writes down: each inserted row, in order, and never a failure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest

from bridge.errors import CatalogError
from tests.support.capture import Ear, entry, watch

if TYPE_CHECKING:
    from psycopg import Connection

PAYMENTS = "CREATE TABLE payments (id bigint PRIMARY KEY, account int, note text)"


@pytest.fixture
def payments(connection: Connection) -> Connection:
    connection.execute(PAYMENTS)
    watch(connection, entry("payments", mode="log"))
    return connection


def logged(connection: Connection, source: str = "payments") -> list[str]:
    rows = connection.execute(
        "SELECT key FROM rowcast.log WHERE source = %s ORDER BY seq", [source]
    )
    return [key for (key,) in rows]


def keys(connection: Connection) -> list[str]:
    return [",".join(json.loads(key)) for key in logged(connection)]


def test_only_inserted_rows_count(payments: Connection) -> None:
    payments.execute("INSERT INTO payments VALUES (1), (2)")
    payments.execute("UPDATE payments SET account = 1")
    payments.execute(
        "INSERT INTO payments VALUES (2), (3) ON CONFLICT (id) DO UPDATE SET note = ''"
    )
    payments.execute("DELETE FROM payments; TRUNCATE payments")
    payments.execute("INSERT INTO payments SELECT 9 WHERE false")
    assert keys(payments) == ["1", "2", "3"]


def test_rows_of_a_statement_are_numbered_by_position(payments: Connection) -> None:
    payments.execute("INSERT INTO payments VALUES (10), (9), (100), (1)")
    assert keys(payments) == ["1", "9", "10", "100"]


def test_a_large_copy_is_logged_row_by_row(payments: Connection, admin: Connection) -> None:
    ear = Ear(admin, {})
    with payments.cursor().copy("COPY payments (id) FROM STDIN") as copy:
        for n in range(100_000):
            copy.write_row((n,))
    found = payments.execute("SELECT count(*), min(seq), max(seq) FROM rowcast.log").fetchone()
    assert found == (100_000, 1, 100_000)
    assert ear.payloads() == ['{"ring": "log"}']


def test_no_subtransaction_has_a_number_of_its_own(payments: Connection) -> None:
    """Past 64 of those in one transaction every other session slows down."""
    payments.execute("BEGIN")
    for n in range(3):
        payments.execute("INSERT INTO payments VALUES (%s)", [n])
    found = payments.execute("SELECT count(DISTINCT xmin::text) FROM rowcast.log").fetchone()
    payments.execute("ROLLBACK")
    assert found == (1,)


def test_a_condition_decides(connection: Connection) -> None:
    connection.execute(PAYMENTS)
    watch(connection, entry("payments", mode="log", where="account > 5"))
    connection.execute("INSERT INTO payments VALUES (1, 5), (2, 6), (3, NULL)")
    assert keys(connection) == ["2"]


def test_a_position_beside_the_key(connection: Connection) -> None:
    connection.execute(
        "CREATE TABLE payments (a text, b int, at timestamptz NOT NULL, PRIMARY KEY (a, b))"
    )
    watch(connection, entry("payments", mode="log", position="at"))
    connection.execute(
        "INSERT INTO payments VALUES ('x', 1, '2024-01-02'), ('y\"', 2, '2024-01-01')"
    )
    assert [json.loads(key) for key in logged(connection)] == [['y"', "2"], ["x", "1"]]


def test_a_table_without_a_key_has_its_position(connection: Connection) -> None:
    connection.execute("CREATE TABLE payments (n int NOT NULL UNIQUE, note text)")
    tables = watch(connection, entry("payments", mode="log", position="n"))
    assert [column.name for column in tables["payments"].key] == ["n"]


def test_with_a_trigger_for_each_row(connection: Connection) -> None:
    connection.execute(
        "CREATE TABLE payments (id int, p int, PRIMARY KEY (id, p)) PARTITION BY LIST (p)"
    )
    connection.execute("CREATE TABLE payments_1 PARTITION OF payments FOR VALUES IN (1)")
    watch(connection, entry("payments", mode="log", position="id", trigger="row"))
    connection.execute("INSERT INTO payments_1 VALUES (2, 1), (1, 1)")
    assert keys(connection) == ["2,1", "1,1"]


@pytest.mark.parametrize(
    "harm",
    [
        "ALTER TABLE payments RENAME id TO number",
        "ALTER TABLE payments RENAME id TO number; ALTER TABLE payments ADD id xml",
        "ALTER TABLE payments DROP CONSTRAINT payments_pkey; ALTER TABLE payments"
        " ALTER id DROP NOT NULL, ALTER id SET DEFAULT NULL",
    ],
)
def test_a_row_that_cannot_be_named_is_still_written(payments: Connection, harm: str) -> None:
    payments.execute("INSERT INTO payments (id) VALUES (1)")
    payments.execute(harm)
    value = "" if "number" in harm else "NULL"
    payments.execute(f"INSERT INTO payments VALUES ({value or 2})")
    assert logged(payments)[1:] == ["*"]


def test_a_key_too_long_for_an_index_is_still_written(connection: Connection) -> None:
    connection.execute("CREATE TABLE payments (id text PRIMARY KEY)")
    watch(connection, entry("payments", mode="log"))
    for length in (1_000, 2_500):
        connection.execute(
            "INSERT INTO payments SELECT substr(string_agg(md5(n::text), ''), 1, %s)"
            " FROM generate_series(1, 200) n",
            [length],
        )
    short, long = logged(connection)
    assert (len(json.loads(short)[0]), long) == (1_000, "*")


def test_a_writer_needs_no_right_on_the_log(payments: Connection) -> None:
    role = "writer_of_logs"
    payments.execute(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role}")
    payments.execute(f"GRANT INSERT ON payments TO {role}; SET ROLE {role}")
    payments.execute("INSERT INTO payments VALUES (1)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        payments.execute("SELECT FROM rowcast.log")
    payments.execute("RESET ROLE")
    assert keys(payments) == ["1"]
    payments.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_without_its_log_a_row_is_still_written(payments: Connection) -> None:
    payments.execute("DROP TABLE rowcast.log")
    payments.execute("INSERT INTO payments VALUES (1)")


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ("a int, b int, PRIMARY KEY (a, b)", {}, "say in `position` which column orders rows"),
        ("id int PRIMARY KEY, at date", {"position": "at"}, "'at' may be NULL"),
        ("id int PRIMARY KEY", {"position": "idd"}, "has no column 'idd' (did you mean id?)"),
        ("id int PRIMARY KEY, at json NOT NULL", {"position": "at"}, "'at' has no order"),
        ("n int NOT NULL", {"position": "n"}, "has no primary key"),
    ],
)
def test_what_gives_no_order_is_refused(
    connection: Connection, table: str, options: dict, message: str
) -> None:
    connection.execute(f"CREATE TABLE payments ({table})")
    with pytest.raises(CatalogError) as caught:
        watch(connection, entry("payments", mode="log", **options))
    assert message in str(caught.value)
