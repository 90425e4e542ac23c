"""`exclude` is frozen by a migration, and `where` is tried before anything is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge import catalog, migrate
from bridge.drift import Drift
from bridge.drift import drift as found_drift
from bridge.errors import CatalogError
from bridge.inspection import inspect
from tests.support.capture import config, entry

if TYPE_CHECKING:
    from psycopg import Connection

    from bridge.config import Config

TABLE = "CREATE TABLE orders (id int PRIMARY KEY, note text, secret text)"


def settle(settings: Config) -> None:
    migrate.apply(settings, progress=lambda _: None)


def sent(connection: Connection, settings: Config) -> tuple[str, ...]:
    return catalog.resolved(connection, settings)["orders"].columns


def drift(connection: Connection, settings: Config) -> list[Drift]:
    return found_drift(connection, settings, catalog.resolved(connection, settings))


def excluding(database: str, *names: str) -> Config:
    return config(entry("orders", exclude=names), database=database)


def test_a_column_added_later_is_not_sent(connection: Connection, database: str) -> None:
    connection.execute(TABLE)
    settings = excluding(database, "secret")
    assert sent(connection, settings) == ("id", "note")  # before the first migration
    settle(settings)
    connection.execute("ALTER TABLE orders ADD password text")
    assert sent(connection, settings) == ("id", "note")
    assert drift(connection, settings) == []
    (finding,) = inspect(settings)
    assert finding.about == "orders"
    assert "password was added later and is not sent" in finding.message
    assert not finding.grave
    assert [step.summary for step in migrate.plan(settings)] == ["replace the trigger function"]
    settle(settings)
    assert sent(connection, settings) == ("id", "note", "password")
    assert list(inspect(settings)) == []


def test_a_column_that_is_dropped_is_no_drift(connection: Connection, database: str) -> None:
    connection.execute(TABLE)
    settings = excluding(database, "secret")
    settle(settings)
    connection.execute("ALTER TABLE orders DROP note")
    assert sent(connection, settings) == ("id",)
    assert drift(connection, settings) == []


def test_what_is_excluded_now_is_not_sent_whatever_was_noted_down(
    connection: Connection, database: str
) -> None:
    connection.execute(TABLE)
    settle(excluding(database, "secret"))
    settings = excluding(database, "note")
    assert sent(connection, settings) == ("id",)  # and secret not before the next migration
    assert drift(connection, settings) == []


def test_exclude_without_a_migration_is_advice(connection: Connection, database: str) -> None:
    connection.execute(TABLE)
    settle(config(entry("orders"), database=database))
    settings = excluding(database, "secret")
    assert sent(connection, settings) == ("id", "note")
    assert drift(connection, settings) == []
    (finding,) = inspect(settings)
    assert "would be sent at the next start" in finding.message


@pytest.mark.parametrize("options", [{}, {"columns": ("id", "note")}])
def test_without_exclude_nothing_is_frozen(
    connection: Connection, database: str, options: dict[str, Any]
) -> None:
    connection.execute(TABLE)
    settings = config(entry("orders", **options), database=database)
    settle(settings)
    connection.execute("ALTER TABLE orders ADD later text")
    assert sent(connection, settings) == options.get("columns", ("id", "note", "secret", "later"))
    assert list(inspect(settings)) == []


def test_a_documents_columns_are_frozen_as_well(connection: Connection, database: str) -> None:
    connection.execute(f"{TABLE}; CREATE VIEW docs AS SELECT id, note, secret FROM orders")
    settings = config(
        entry("orders", exclude=("secret",), document=(None, "docs")), database=database
    )
    settle(settings)
    connection.execute("CREATE OR REPLACE VIEW docs AS SELECT id, note, secret, 1 AS n FROM orders")
    assert sent(connection, settings) == ("id", "note")


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ("nope = 1", 'column "nope" does not exist'),
        ("id", "argument of WHERE must be type boolean"),
        ("mine(id)", "function mine(integer) does not exist; it is SQL about the row: qualify"),
        ("id = 1; SELECT 2", "syntax error"),
        ("id = 1)) AS t; DROP TABLE orders; SELECT ((1 = 1", "cannot insert multiple commands"),
        ("id = $1", "bind message supplies 0 parameters"),
        ("count(*) > 1", "aggregate functions are not allowed in WHERE"),
        ("id = 1 /*", "unterminated"),
        ("note < '03/31/2024'::date", "date/time field value out of range"),
    ],
)
def test_a_condition_that_postgresql_refuses(
    connection: Connection, database: str, where: str, complaint: str
) -> None:
    connection.execute(TABLE)
    connection.execute(
        "CREATE FUNCTION mine(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'"
    )
    settings = config(entry("orders", where=where), database=database)
    with pytest.raises(CatalogError) as raised:
        settle(settings)
    (problem,) = raised.value.problems
    assert problem.path == "tables.orders.where"
    assert complaint in problem.message
    assert connection.execute("SELECT count(*) FROM pg_trigger").fetchone() == (0,)


def test_a_condition_with_a_qualified_function(connection: Connection, database: str) -> None:
    connection.execute(TABLE)
    connection.execute(
        "CREATE FUNCTION mine(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'"
    )
    settle(config(entry("orders", where="public.mine(id)"), database=database))


def test_a_changed_condition_is_drift_even_if_only_white_space_changed(
    connection: Connection, database: str
) -> None:
    connection.execute(TABLE)
    settle(config(entry("orders", where="note = 'a  b'"), database=database))
    settings = config(entry("orders", where="note = 'a b'"), database=database)
    assert [found.table for found in drift(connection, settings)] == ["orders"]


def test_through_to_a_type_that_does_not_fit(connection: Connection, database: str) -> None:
    connection.execute(f"{TABLE}; CREATE TABLE items (order_id int[])")
    items = entry("items", refreshes="orders", through={"order_id": "id"})
    with pytest.raises(CatalogError, match=r"cannot cast type integer\[\] to integer"):
        settle(config(entry("orders"), items, database=database))
