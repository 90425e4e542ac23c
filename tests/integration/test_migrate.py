"""A database is brought to what the config says, again and again, and back to what it was."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

import psycopg
import pytest

from bridge import catalog, migrate
from bridge.drift import Drift
from bridge.drift import drift as found_drift
from bridge.errors import CatalogError, DatabaseError
from tests.support.capture import config, entry
from tests.support.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    from bridge.config import Config


@pytest.fixture
def shop(database: str, connection: Connection) -> Config:
    connection.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, customer int); COMMENT ON TABLE orders IS 'o';"
        'CREATE TABLE "Odd :name. %s""$$" ("the key" text PRIMARY KEY)'
    )
    topics = ("orders/{id}", "customers/{customer}")
    odd = entry("Ödd':x%s$$", table=("public", 'Odd :name. %s"$$'))
    return config(entry("orders", topics=topics), odd, database=database)


def told(run: Callable[..., None], shop: Config) -> list[str]:
    lines: list[str] = []
    run(shop, progress=lines.append)
    return lines


def tables(connection: Connection, shop: Config) -> list[Drift]:
    return found_drift(connection, shop, catalog.resolved(connection, shop))


def test_a_restore_of_definitions_alone_is_no_installation(
    shop: Config, connection: Connection
) -> None:
    """As of `pg_dump --schema-only`, or a framework's structure.sql."""
    told(migrate.apply, shop)
    connection.execute("DELETE FROM rowcast.epoch; DELETE FROM rowcast.alembic_version")
    assert [drift.message for drift in tables(connection, shop)] == [
        "the schema rowcast is missing or not complete"
    ]
    for attempt in (migrate.plan, lambda shop: told(migrate.apply, shop)):
        with pytest.raises(DatabaseError, match="DROP SCHEMA rowcast CASCADE, then"):
            attempt(shop)
    connection.execute("DROP SCHEMA rowcast CASCADE")
    told(migrate.apply, shop)
    assert not tables(connection, shop)


def test_apply_then_again_then_remove(shop: Config, connection: Connection) -> None:
    before = fingerprint(connection)
    assert [step.table for step in migrate.plan(shop)] == ["rowcast", "orders", "Ödd':x%s$$"]
    assert told(migrate.apply, shop) == [
        "applied revision 0001: the epoch",
        "orders: set up triggers",
        "Ödd':x%s$$: set up triggers",
    ]
    after = fingerprint(connection)
    assert not migrate.plan(shop)
    assert told(migrate.apply, shop) == ["nothing to do: 2 tables are captured"]
    assert fingerprint(connection) == after
    assert connection.execute("SELECT epoch FROM rowcast.epoch").fetchall() == [(0,)]
    told(migrate.remove, shop)
    assert fingerprint(connection) == before
    assert told(migrate.remove, shop) == ["nothing to remove"]
    assert fingerprint(connection) == before


def test_the_epoch_is_one_row(shop: Config, connection: Connection) -> None:
    told(migrate.apply, shop)
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("INSERT INTO rowcast.epoch VALUES (1)")
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("INSERT INTO rowcast.epoch VALUES (1, false)")


@pytest.mark.parametrize(
    ("damage", "table", "message"),
    [
        (
            "ALTER TABLE orders DISABLE TRIGGER USER",
            "orders",
            "insert trigger, update trigger, delete trigger, truncate trigger disabled",
        ),
        (
            "DROP TRIGGER {update} ON orders",
            "orders",
            "update trigger missing",
        ),
        (
            "DROP TRIGGER {update} ON orders; CREATE TRIGGER {update} AFTER UPDATE ON orders"
            " FOR EACH ROW EXECUTE FUNCTION rowcast.{function}()",
            "orders",
            "update trigger not what the config asks for",
        ),
        (
            "CREATE OR REPLACE FUNCTION rowcast.{function}() RETURNS trigger LANGUAGE plpgsql"
            " SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN NULL; END'",
            "orders",
            "function not what the config asks for",
        ),
        (
            "ALTER FUNCTION rowcast.{function}() SECURITY DEFINER",
            "orders",
            "function not what the config asks for",
        ),
        (
            "ALTER FUNCTION rowcast.{function}() RESET ALL",
            "orders",
            "function not what the config asks for",
        ),
        (
            "DROP FUNCTION rowcast.{function}() CASCADE",
            "orders",
            "function, insert trigger, update trigger, delete trigger, truncate trigger missing",
        ),
        (
            "ALTER TABLE orders RENAME TO orders_old;"
            "CREATE TABLE orders (LIKE orders_old INCLUDING ALL)",
            "orders",
            "insert trigger, update trigger, delete trigger, truncate trigger missing",
        ),
        (
            "CREATE TRIGGER rowcast_other AFTER INSERT ON orders"
            " FOR EACH STATEMENT EXECUTE FUNCTION rowcast.{function}()",
            "public.orders",
            "has triggers that the config does not ask for",
        ),
        ("DROP TABLE rowcast.epoch", "", "the schema rowcast is missing or not complete"),
    ],
)
def test_drift_is_found_and_mended(
    shop: Config, connection: Connection, damage: str, table: str, message: str
) -> None:
    told(migrate.apply, shop)
    assert tables(connection, shop) == []
    whole = fingerprint(connection)
    ((_, update),) = connection.execute(
        "SELECT 1, tgname FROM pg_trigger WHERE tgname ~ 'update' AND tgrelid = 'orders'::regclass"
    ).fetchall()
    names = {"update": update, "function": update.replace("rowcast_update", "capture")}
    connection.execute(damage.format(**names))
    assert tables(connection, shop)[0] == Drift(table, message)
    if table:
        told(migrate.apply, shop)
        assert tables(connection, shop) == []
    if "RENAME" not in damage and table:
        assert fingerprint(connection) == whole


def test_enabled_always_is_no_drift(shop: Config, connection: Connection) -> None:
    told(migrate.apply, shop)
    ((name,),) = connection.execute(
        "SELECT tgname FROM pg_trigger WHERE tgname ~ 'insert' AND tgrelid = 'orders'::regclass"
    ).fetchall()
    connection.execute(f"ALTER TABLE orders ENABLE ALWAYS TRIGGER {name}")
    assert tables(connection, shop) == []


def test_only_the_function_is_replaced_when_only_topics_change(shop: Config, database: str) -> None:
    told(migrate.apply, shop)
    odd = shop.tables["Ödd':x%s$$"]
    (step,) = migrate.plan(config(entry("orders"), odd, database=database))
    assert (step.table, step.summary, step.lock) == ("orders", "replace the trigger function", "")


def test_a_table_taken_out_of_the_config(
    shop: Config, connection: Connection, database: str
) -> None:
    told(migrate.apply, shop)
    fewer = config(shop.tables["orders"], database=database)
    assert [step.summary.split()[0] for step in migrate.plan(fewer)] == ["drop", "drop"]
    told(migrate.apply, fewer)
    assert tables(connection, fewer) == []
    assert connection.execute("SELECT count(*) FROM pg_trigger").fetchone() == (4,)


def test_a_missing_table_changes_nothing(
    shop: Config, connection: Connection, database: str
) -> None:
    before = fingerprint(connection)
    with pytest.raises(CatalogError, match="no table 'nowhere'"):
        told(migrate.apply, config(*shop.tables.values(), entry("nowhere"), database=database))
    assert fingerprint(connection) == before


def test_it_waits_for_a_writer_without_making_others_wait_long(
    shop: Config, connection: Connection, admin: Connection
) -> None:
    admin.execute("BEGIN; INSERT INTO orders VALUES (1)")
    connection.execute("SET lock_timeout = '30s'")
    busy = Event()

    def progress(line: str) -> None:
        if "in use" in line:
            busy.set()

    with ThreadPoolExecutor() as pool:
        run = pool.submit(migrate.apply, shop, progress=progress)
        try:
            assert busy.wait(30)
            connection.execute("INSERT INTO orders VALUES (2)")  # not stuck behind the migration
        finally:
            admin.execute("COMMIT")
        run.result(60)
    assert tables(connection, shop) == []


def test_it_gives_up_in_the_end_and_can_be_run_again(
    shop: Config, connection: Connection, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "TRIES", 1)
    admin.execute('BEGIN; LOCK "Odd :name. %s""$$"')
    with pytest.raises(DatabaseError, match="run it again"):
        told(migrate.apply, shop)
    admin.execute("ROLLBACK")
    assert told(migrate.apply, shop) == ["Ödd':x%s$$: set up triggers"]
    assert tables(connection, shop) == []


def test_killed_midway(shop: Config, connection: Connection) -> None:
    class KilledError(Exception):
        pass

    def die(line: str) -> None:
        if line.startswith("Ödd"):
            raise KilledError

    with pytest.raises(KilledError):
        migrate.apply(shop, progress=die)
    assert [drift.table for drift in tables(connection, shop)] == ["Ödd':x%s$$"]
    told(migrate.apply, shop)
    assert tables(connection, shop) == []


def test_not_the_owner(shop: Config, connection: Connection, database: str) -> None:
    connection.execute("CREATE ROLE stranger LOGIN; GRANT CREATE ON SCHEMA public TO stranger")
    connection.execute("CREATE SCHEMA rowcast AUTHORIZATION stranger")
    try:
        url = psycopg.conninfo.make_conninfo(database, user="stranger")
        with pytest.raises(DatabaseError, match=r"must be owner|permission denied"):
            told(migrate.apply, config(entry("orders"), database=url))
    finally:
        connection.execute("DROP OWNED BY stranger; DROP ROLE stranger")


def test_a_schema_that_is_not_ours_alone_stays(shop: Config, connection: Connection) -> None:
    told(migrate.apply, shop)
    connection.execute("CREATE TABLE rowcast.notes ()")
    assert told(migrate.remove, shop)[-1].startswith("rowcast: the schema stays")
    assert connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'rowcast'::regnamespace"
    ).fetchall() == [("notes",)]


def test_a_schema_made_by_somebody_else_stays(shop: Config, connection: Connection) -> None:
    connection.execute("CREATE SCHEMA rowcast; COMMENT ON SCHEMA rowcast IS 'the DBA made this'")
    before = fingerprint(connection)
    told(migrate.apply, shop)
    told(migrate.remove, shop)
    assert fingerprint(connection) == before


def test_another_schema_is_another_bridge(
    shop: Config, connection: Connection, database: str
) -> None:
    told(migrate.apply, shop)
    one = fingerprint(connection)
    other = config(*shop.tables.values(), schema="other", database=database)
    told(migrate.apply, other)
    assert tables(connection, shop) == tables(connection, other) == []
    told(migrate.remove, other)
    assert fingerprint(connection) == one


def test_conninfo_as_key_and_value(shop: Config, connection: Connection, database: str) -> None:
    spelled = psycopg.conninfo.make_conninfo(database)
    told(migrate.apply, config(*shop.tables.values(), database=spelled))
    assert tables(connection, shop) == []


def test_an_unreachable_database_is_named_without_its_password() -> None:
    url = "postgresql://someone:s3cret@127.0.0.1:1/nowhere"
    with pytest.raises(DatabaseError, match="cannot connect") as raised:
        migrate.plan(config(entry("orders"), database=url))
    assert "s3cret" not in str(raised.value)
