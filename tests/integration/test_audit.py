"""Who did what to an audited table, written down in the writer's own transaction."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest

from bridge import catalog, migrate, storage
from bridge import config as config_file
from bridge.drift import drift
from bridge.inspection import inspect
from bridge.retention import Retention
from tests.support import connect
from tests.support.capture import watch
from tests.support.differential import application_role
from tests.support.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from bridge.config import Config

TABLES = """
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TABLE orders (id int PRIMARY KEY, status text, total numeric, mood mood DEFAULT 'glad');
INSERT INTO orders VALUES (1, 'new', 1.50), (2, 'new', 2);
CREATE TABLE lines (order_id int REFERENCES orders ON DELETE CASCADE ON UPDATE CASCADE, n int);
"""


@contextmanager
def clerk(connection: Connection) -> Iterator[str]:
    """A role that has what it is granted meanwhile."""
    with application_role(connection) as name:
        try:
            yield name
        finally:
            connection.execute(f"RESET ROLE; DROP OWNED BY {name}")


class Entry(NamedTuple):
    """One row of the trail, without when and who."""

    op: str
    key: str | None
    changed: list[str] | None = None
    old: Any = None
    new: Any = None
    fault: str | None = None


def configured(database: str, audit: str, more: str = "", orders: str = "") -> Config:
    text = f"audit_retention: 30d\ntables:\n  orders: {{audit: {audit}{orders}}}\n{more}"
    return config_file.loads(text, env={"DATABASE_URL": database})


def watched(database: str, audit: str = "true", more: str = "", orders: str = "") -> Config:
    """Capture and audit as this says, without the history that a migration keeps."""
    config = configured(database, audit, more, orders)
    with connect(database) as connection:
        watch(connection, *config.tables.values())
    return config


def migrated(database: str, audit: str = "true") -> Config:
    config = configured(database, audit)
    migrate.apply(config, progress=lambda _line: None)
    return config


@pytest.fixture
def tables(connection: Connection) -> Connection:
    connection.execute(TABLES)
    return connection


def trail(connection: Connection, source: str = "orders") -> list[Entry]:
    """What was written down since the last look."""
    statement = "SELECT op, key, changed, old, new, fault FROM rowcast.audit WHERE source = %s"
    found = connection.execute(f"{statement} ORDER BY seq", (source,)).fetchall()
    connection.execute("TRUNCATE rowcast.audit")
    return [Entry(*row) for row in found]


@pytest.mark.parametrize("mode", ["statement", "row"])
def test_what_each_operation_leaves(tables: Connection, database: str, mode: str) -> None:
    watched(database, orders=f", trigger: {mode}")
    tables.execute("INSERT INTO orders VALUES (3, 'new')")
    tables.execute("UPDATE orders SET status = 'paid', total = 9 WHERE id = 1")
    tables.execute("UPDATE orders SET status = status")
    tables.execute("UPDATE orders SET id = 9, status = 'moved' WHERE id = 2")
    tables.execute("DELETE FROM orders WHERE id = 3; DELETE FROM orders WHERE id = 99")
    tables.execute("TRUNCATE orders CASCADE")
    found = trail(tables)
    assert found[:2] == [
        Entry("insert", '["3"]'),
        Entry("update", '["1"]', ["status", "total"]),
    ]
    moved = {entry.key: entry.changed for entry in found[2:4]}
    assert moved == {'["2"]': ["id", "status"], '["9"]': ["id", "status"]}
    assert found[4:] == [Entry("delete", '["3"]'), Entry("truncate", None)]


@pytest.mark.parametrize("mode", ["statement", "row"])
def test_values_of_the_columns_that_were_asked_for(
    tables: Connection, database: str, mode: str
) -> None:
    watched(database, "{values: [status, mood]}", orders=f", trigger: {mode}")
    tables.execute("INSERT INTO orders VALUES (3, 'new', 5)")
    tables.execute("UPDATE orders SET status = 'paid', total = 7 WHERE id = 3")
    tables.execute("UPDATE orders SET total = 8 WHERE id = 3")
    tables.execute("DELETE FROM orders WHERE id = 3")
    assert trail(tables) == [
        Entry("insert", '["3"]', None, None, {"status": "new", "mood": "glad"}),
        Entry("update", '["3"]', ["status", "total"], {"status": "new"}, {"status": "paid"}),
        Entry("update", '["3"]', ["total"], {}, {}),
        Entry("delete", '["3"]', None, {"status": "paid", "mood": "glad"}),
    ]


def test_many_rows_at_once(tables: Connection, database: str) -> None:
    """Below and above what is worked out in memory."""
    watched(database, "{values: true}")
    for rows in (300, 2500):
        tables.execute("TRUNCATE orders CASCADE")
        trail(tables)
        tables.execute(
            "INSERT INTO orders SELECT n, 'new', n FROM generate_series(1, %s) n", (rows,)
        )
        tables.execute("UPDATE orders SET total = -total WHERE id % 2 = 0")
        tables.execute("UPDATE orders SET id = id + 1000000 WHERE id > %s", (rows - 10,))
        tables.execute("DELETE FROM orders")
        found = trail(tables)
        by_operation = {
            op: [e for e in found if e.op == op] for op in ("insert", "update", "delete")
        }
        assert [len(entries) for entries in by_operation.values()] == [rows, rows // 2 + 20, rows]
        assert not any(entry.fault for entry in found)
        first = by_operation["update"][0]
        assert first.key is not None
        (key,) = json.loads(first.key)
        assert first[2:5] == (["total"], {"total": int(key)}, {"total": -int(key)})
        moved = [entry for entry in by_operation["update"] if entry.changed == ["id"]]
        assert sum(entry.old is None for entry in moved) == 10
        assert sum(entry.new is None for entry in moved) == 10


def test_who_and_when(tables: Connection, database: str) -> None:
    watched(database)
    with clerk(tables) as role:
        tables.execute(f"GRANT SELECT, INSERT ON orders TO {role}")
        with connect(database) as session:
            session.execute("SET application_name = 'shop'")
            session.execute("INSERT INTO orders VALUES (10)")
            session.execute(f"BEGIN; SET LOCAL ROLE {role}; SET LOCAL rowcast.actor = 'alice'")
            session.execute("INSERT INTO orders VALUES (11)")
            began = session.execute("SELECT now(), pg_current_xact_id()::text").fetchone()
            session.execute("INSERT INTO orders VALUES (12); COMMIT")
            session.execute("INSERT INTO orders VALUES (13)")
        login = tables.info.user
        found = tables.execute(
            "SELECT key, login, role, actor, application, at, xid::text FROM rowcast.audit"
            " ORDER BY seq"
        ).fetchall()
        who = [row[:5] for row in found]
        assert who == [
            ('["10"]', login, login, None, "shop"),
            ('["11"]', login, role, "alice", "shop"),
            ('["12"]', login, role, "alice", "shop"),
            ('["13"]', login, login, None, "shop"),
        ]
        assert found[1][5:] == found[2][5:] == began


def test_a_role_without_any_right_writes_and_cannot_look(tables: Connection, database: str) -> None:
    watched(database, "{values: true}")
    with clerk(tables) as role:
        tables.execute(f"GRANT SELECT, UPDATE ON orders TO {role}")
        tables.execute(f"SET ROLE {role}")
        tables.execute("UPDATE orders SET status = 'paid' WHERE id = 1")
        ((name,),) = tables.execute(
            "SELECT proname FROM pg_proc WHERE proname LIKE 'audit\\_%'"
        ).fetchall()
        for forbidden in (
            "SELECT FROM rowcast.audit",
            "DELETE FROM rowcast.audit",
            "INSERT INTO rowcast.audit (slot, source, op) VALUES (0, 'orders', 'insert')",
            f"CREATE TEMP TABLE t (); CREATE TRIGGER t AFTER INSERT ON t"
            f" EXECUTE FUNCTION rowcast.{name}()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                tables.execute(forbidden)
        tables.execute("RESET ROLE")
    assert [entry.changed for entry in trail(tables)] == [["status"]]


def test_what_is_rolled_back_leaves_nothing(tables: Connection, database: str) -> None:
    watched(database)
    tables.execute("BEGIN; UPDATE orders SET status = 'x'; ROLLBACK")
    tables.execute("BEGIN; SAVEPOINT s; DELETE FROM orders; ROLLBACK TO s")
    tables.execute("INSERT INTO orders VALUES (5); COMMIT")
    assert trail(tables) == [Entry("insert", '["5"]')]


def test_it_minds_no_where_and_no_operations_and_no_mode(tables: Connection, database: str) -> None:
    """Children without a key, cascades and logs among them."""
    watched(
        database,
        "{values: [n]}".replace("[n]", "[status]"),
        "  lines: {refreshes: orders, audit: {values: true}}\n"
        "  log: {table: orders, mode: log, audit: true}\n",
        orders=", where: status = 'paid', operations: [insert], durable: true",
    )
    tables.execute("UPDATE orders SET status = 'sent' WHERE id = 1")
    assert [entry.changed for entry in trail(tables, "log")] == [["status"]]
    tables.execute("DELETE FROM orders WHERE id = 2")
    assert trail(tables) == [Entry("delete", '["2"]', None, {"status": "new"})]
    tables.execute("INSERT INTO lines VALUES (1, 1), (1, 2); UPDATE lines SET n = 7 WHERE n = 1")
    one, other = {"order_id": 1, "n": 1}, {"order_id": 1, "n": 2}
    assert trail(tables, "lines") == [
        Entry("insert", None, None, None, one),
        Entry("insert", None, None, None, other),
        Entry("update", None, ["n"], {"n": 1}, {"n": 7}),
    ]
    tables.execute("UPDATE orders SET id = 8 WHERE id = 1")
    many = trail(tables, "lines")
    assert [(entry.op, entry.key, entry.changed) for entry in many] == [("update", None, None)] * 4
    tables.execute("DELETE FROM orders")
    assert [entry.op for entry in trail(tables, "lines")] == ["delete", "delete"]


@pytest.mark.parametrize("mode", ["statement", "row"])
@pytest.mark.parametrize(
    ("change", "write", "expected"),
    [
        (
            "ALTER TABLE orders RENAME total TO sum",
            "UPDATE orders SET status = 'x' WHERE id = 1",
            Entry("update", '["1"]', fault="42703"),
        ),
        (
            "ALTER TABLE orders DROP status",
            "DELETE FROM orders WHERE id = 1",
            Entry("delete", '["1"]', fault="42703"),
        ),
        (
            "ALTER TABLE orders RENAME id TO number",
            "INSERT INTO orders VALUES (7)",
            Entry("insert", "*", fault="42703"),
        ),
        (
            "ALTER TABLE orders ADD note json",
            "UPDATE orders SET note = '1' WHERE id = 1",
            Entry("update", '["1"]', [], {}, {}),
        ),
        (
            "ALTER TABLE orders ALTER total TYPE json USING '1'",
            """UPDATE orders SET total = '"\\u0000"' WHERE id = 1""",
            Entry("update", '["1"]', ["total"], fault="22P05"),
        ),
        (
            "ALTER TABLE orders ALTER total TYPE timestamptz USING now()",
            "UPDATE orders SET total = 'infinity' WHERE id = 1",
            Entry("update", '["1"]', ["total"], {"total": None}, {"total": "infinity"}),
        ),
        (
            "ALTER TABLE lines DROP CONSTRAINT lines_order_id_fkey;"
            "ALTER TABLE orders ALTER id TYPE text",
            "UPDATE orders SET id = repeat('é', 3000), status = 'x' WHERE id = '1'",
            Entry("update", "*", ["id", "status"], {"status": "new"}, {"status": "x"}),
        ),
    ],
)
def test_no_fault_fails_a_write(
    tables: Connection, database: str, mode: str, change: str, write: str, expected: Entry
) -> None:
    """Nor in a session whose plans know the columns as they were; there it may say less."""
    watched(database, "{values: [status, total]}", orders=f", trigger: {mode}")
    with connect(database) as old, connect(database) as fresh:
        for _ in range(7):
            old.execute("UPDATE orders SET status = status || '' WHERE id = 2")
        tables.execute(change)
        old.execute(f"BEGIN; {write}")
        told = old.execute("SELECT op FROM rowcast.audit WHERE xid = pg_current_xact_id()")
        assert set(told.fetchall()) == {(expected.op,)}
        old.execute("ROLLBACK")
        trail(tables)
        fresh.execute(write)
    found = trail(tables)
    if isinstance(expected.old, dict) and "total" in expected.old:
        found = [entry._replace(old=dict.fromkeys(entry.old)) for entry in found]
    assert expected in found
    assert len(found) == (2 if expected.key == "*" and expected.op == "update" else 1)


def test_many_rows_that_cannot_be_told(tables: Connection, database: str) -> None:
    watched(database)
    tables.execute("ALTER TABLE orders RENAME id TO number")
    tables.execute("INSERT INTO orders SELECT n FROM generate_series(10, 3000) n")
    assert trail(tables) == [Entry("insert", "*", fault="42703")]


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE rowcast.audit",
        "ALTER SCHEMA rowcast RENAME TO elsewhere",
        "CREATE SCHEMA evil; CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE sql"
        " AS 'SELECT (1/0)::text'; SET search_path = evil, pg_catalog, public",
    ],
)
def test_what_is_done_around_it_fails_no_write(
    tables: Connection, database: str, damage: str
) -> None:
    watched(database, "{values: true}")
    tables.execute(damage)
    tables.execute("UPDATE orders SET status = 'x'; INSERT INTO orders VALUES (5)")
    tables.execute("DELETE FROM orders; TRUNCATE orders CASCADE")


def test_more_columns_than_a_function_takes(tables: Connection, database: str) -> None:
    columns = ", ".join(f"c{n} int" for n in range(150))
    tables.execute(f"CREATE TABLE wide (id int PRIMARY KEY, {columns})")
    watched(database, more="  wide: {audit: {values: true}}\n")
    tables.execute("INSERT INTO wide (id, c149) VALUES (1, 7); UPDATE wide SET c0 = 1")
    inserted, updated = trail(tables, "wide")
    assert (inserted.new["c149"], len(inserted.new)) == (7, 151)
    assert updated == Entry("update", '["1"]', ["c0"], {"c0": None}, {"c0": 1})


def test_no_function_of_a_types_owner_runs_as_ours(tables: Connection, database: str) -> None:
    """A cast to json may be anybody's who owns the type."""
    tables.execute(
        "CREATE FUNCTION thief(mood) RETURNS json LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'stolen'; END $$; CREATE CAST (mood AS json) WITH FUNCTION thief(mood)"
    )
    watched(database, "{values: [mood]}")
    tables.execute("UPDATE orders SET mood = 'sad' WHERE id = 1")
    assert trail(tables) == [Entry("update", '["1"]', ["mood"], {"mood": "glad"}, {"mood": "sad"})]


def test_a_column_that_came_later_is_no_reason_not_to_serve(
    tables: Connection, database: str
) -> None:
    config = migrated(database, "{values: true}")
    tables.execute("ALTER TABLE orders ADD note text")
    resolved = catalog.resolved(tables, config)
    found = drift(tables, config, resolved)
    assert [(one.message, one.grave) for one in found] == [
        ("audit function as another version of the bridge wrote it", False)
    ]
    said = [finding for finding in inspect(config) if finding.about == "orders"]
    assert [finding.grave for finding in said] == [False]
    migrate.apply(config, progress=lambda _line: None)
    tables.execute("UPDATE orders SET note = 'x' WHERE id = 1")
    assert trail(tables)[0].new == {"note": "x"}


def test_a_trigger_that_is_missing_is_one(tables: Connection, database: str) -> None:
    config = migrated(database)
    ((name,),) = tables.execute(
        "SELECT tgname FROM pg_trigger WHERE tgname LIKE 'rowcast\\_audit\\_update\\_%'"
    ).fetchall()
    tables.execute(f"ALTER TABLE orders DISABLE TRIGGER {name}")
    found = drift(tables, config, catalog.resolved(tables, config))
    assert [(one.message, one.grave) for one in found] == [("audit update trigger disabled", True)]


def test_taking_it_out_drops_no_trail(tables: Connection, database: str) -> None:
    before = fingerprint(tables)
    plain = configured(database, "false")
    config = migrated(database)
    tables.execute("UPDATE orders SET status = 'x' WHERE id = 1")
    lines: list[str] = []
    migrate.apply(plain, progress=lines.append)
    assert "rowcast.audit stays" in lines[-1]
    assert migrate.left(plain)
    tables.execute("UPDATE orders SET status = 'y' WHERE id = 1")
    lines.clear()
    migrate.remove(plain, progress=lines.append)
    assert any("rowcast.audit stays" in line for line in lines)
    assert trail(tables) == [Entry("update", '["1"]', ["status"])]
    migrate.apply(config, progress=lambda _line: None)
    migrate.remove(config, progress=lambda _line: None)
    assert fingerprint(tables) == before


def test_a_dropped_store_that_is_written_to_meanwhile_stays(
    tables: Connection, database: str
) -> None:
    watched(database)
    tables.execute("UPDATE orders SET status = 'x' WHERE id = 1")
    tables.execute(storage.drop("rowcast", "audit").encode())
    assert len(trail(tables)) == 1


@pytest.fixture
def kept(tables: Connection, database: str) -> Connection:
    migrated(database)
    return tables


async def test_it_is_kept_for_its_time_and_no_longer(kept: Connection, database: str) -> None:
    """By the role that serves, with the rights that are printed."""
    config = configured(database, "true")
    retention = Retention("rowcast", "audit", 7 * 86_400.0, None)
    with clerk(kept) as role:
        kept.execute(migrate.grants(config, role).encode())
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as session:
            await session.execute(f"SET ROLE {role}".encode())
            held = []
            for day in range(20):
                kept.execute("UPDATE orders SET total = %s WHERE id = 1", (100 + day,))
                kept.execute("UPDATE rowcast.audit_about SET began = began - interval '1 day'")
                size = await retention.look(session)
                assert size is not None
                if retention.due(size):
                    assert await retention.turn(session, size)
                ((count,),) = kept.execute("SELECT count(*) FROM rowcast.audit").fetchall()
                held.append(count)
            assert held[:7] == [1, 2, 3, 4, 5, 6, 7]
            assert held[7:] == [7] * 13
            for forbidden in (
                "SELECT FROM rowcast.audit",
                "INSERT INTO rowcast.audit_0 (slot, source, op) VALUES (0, 'orders', 'x')",
                "UPDATE rowcast.audit SET role = 'somebody else'",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    await session.execute(forbidden.encode())
