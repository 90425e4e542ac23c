"""A condition means the same to the trigger and where rows are read, or is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from bridge import migrate
from bridge.errors import CatalogError
from tests.support.bridges import configure, running
from tests.support.replica import following, rows

if TYPE_CHECKING:
    from psycopg import Connection

# PostgreSQL's own `=` would make a numeric of the integer; this one fits better.
NEARER = """
CREATE TABLE orders (id int PRIMARY KEY, n int, status text);
CREATE FUNCTION nearly(int, numeric) RETURNS bool LANGUAGE sql IMMUTABLE AS
    'SELECT abs($1 - $2) < 2';
CREATE OPERATOR = (FUNCTION = nearly, LEFTARG = int, RIGHTARG = numeric);
CREATE FUNCTION lower(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 - 1';
CREATE SCHEMA app; CREATE FUNCTION app.big(int) RETURNS bool LANGUAGE sql AS 'SELECT $1 > 5';
CREATE DOMAIN app.amount AS int;
"""


@pytest.fixture
def orders(connection: Connection) -> Connection:
    connection.execute(NEARER)
    return connection


def migrated(database: str, where: str) -> None:
    config = configure(database, f'\n  orders: {{where: "{where}"}}\n')
    migrate.apply(config, progress=lambda _line: None)


@pytest.mark.parametrize("where", ["n = 1.0", "status = 'a' AND (n = 1.0 OR n IS NULL)"])
def test_what_means_two_things_is_refused(orders: Connection, database: str, where: str) -> None:
    with pytest.raises(CatalogError) as refused:
        migrated(database, where)
    (problem,) = refused.value.problems
    assert problem.path == "tables.orders.where"
    assert 'means something else where search_path is "$user", public' in problem.message
    assert orders.execute("SELECT to_regnamespace('rowcast')").fetchone() == (None,)


@pytest.mark.parametrize(
    "where",
    [
        "n OPERATOR(public.=) 1.0",
        "n OPERATOR(pg_catalog.=) 1.0",
        "n = 1",
        "app.big(n) AND n::app.amount > 3",
        "status IN ('a', 'b') AND status LIKE 'a%' AND lower(status) = 'a'",
        "id IN (SELECT o.id FROM public.orders AS o WHERE o.n > 1)",
    ],
)
def test_what_means_one_thing_is_not(orders: Connection, database: str, where: str) -> None:
    migrated(database, where)
    temporary = "SELECT count(*) FROM pg_class WHERE relname = 'rowcast_trial'"
    assert orders.execute(temporary).fetchone() == (0,)


async def test_a_type_of_an_extension(connection: Connection, database: str) -> None:
    """Case does not matter to citext, and does to text, which PostgreSQL's own `=` compares."""
    try:
        connection.execute("CREATE EXTENSION citext")
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile):
        pytest.skip("this PostgreSQL comes without citext")
    connection.execute("CREATE TABLE orders (id int PRIMARY KEY, status citext)")
    with pytest.raises(CatalogError, match="means something else"):
        migrated(database, "status = 'PAID'")
    where = "status OPERATOR(public.=) 'PAID'::public.citext"
    config = configure(database, f'\n  orders: {{where: "{where}"}}\n')
    async with running(config) as bridge, following(bridge.url, "orders") as replica:
        connection.execute("INSERT INTO orders VALUES (1, 'paid'), (2, 'new')")
        connection.execute("UPDATE orders SET status = 'Paid' WHERE id = 2")
        await replica.equals({"orders": rows(connection, "SELECT id, status FROM orders")})
