"""Reading states and snapshots from a real PostgreSQL."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from bridge import catalog
from bridge.changes import Snapshot
from bridge.errors import DatabaseError, ProtocolError
from bridge.loader import Loader
from bridge.parameters import array
from bridge.refusals import TRIES, RefusedError
from bridge.topics import Template
from tests.support import Server, connect
from tests.support.capture import config, entry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from bridge.tables import Table

EPOCH = "CREATE SCHEMA rowcast; CREATE TABLE rowcast.epoch (epoch bigint NOT NULL);"
ORDERS = "CREATE TABLE orders (id int PRIMARY KEY, customer text, total numeric(10,2));"
WHOLE, KEYED, ROUTED = "orders", "orders/{id}", "by/{customer}"


@pytest.fixture
def admin(admin: psycopg.Connection) -> psycopg.Connection:
    admin.execute(EPOCH + "INSERT INTO rowcast.epoch VALUES (7)")
    return admin


@pytest.fixture
async def pool(database: str) -> AsyncIterator[AsyncConnectionPool[Any]]:
    settings = {"autocommit": True, "options": "-c timezone=UTC"}
    async with AsyncConnectionPool(database, min_size=1, max_size=2, kwargs=settings) as pool:
        yield pool


@pytest.fixture
def loader(pool: AsyncConnectionPool[Any]) -> Loader:
    return Loader(pool, "rowcast", snapshot_rows=5)


def table(admin: psycopg.Connection, name: str = "orders", *topics: str, **options: Any) -> Table:
    """The table as the catalog has it, with these topics, or the default ones."""
    return catalog.resolved(admin, config(entry(name, topics=topics or None, **options)))[name]


def orders(admin: psycopg.Connection, *rows: tuple[int, str | None, str]) -> Table:
    admin.execute(ORDERS)
    with admin.cursor() as cursor:
        cursor.executemany("INSERT INTO orders VALUES (%s, %s, %s)", rows)
    return table(admin, "orders", WHOLE, KEYED, ROUTED)


def written(admin: psycopg.Connection, name: str) -> list[str]:
    """Each row as PostgreSQL itself writes it."""
    query = sql.SQL("SELECT to_jsonb(t.*)::text FROM {} t").format(sql.Identifier(name))
    return sorted(row for (row,) in admin.execute(query).fetchall())


async def snapshot(loader: Loader, table: Table, text: str, *values: str) -> Any:
    (answer,) = await loader.snapshots(table, Template.parse(text), [values])
    return answer


# Keys.


async def test_a_read_is_planned_once_however_many_keys_it_is_of(
    admin: psycopg.Connection, loader: Loader, pool: AsyncConnectionPool[Any]
) -> None:
    watched = orders(admin, *((n, "a", "1") for n in range(100)))
    for n in range(1, 60):
        await loader.load(watched, [(str(n + m),) for m in range(n % 3 + 1)])
    async with pool.connection() as connection:
        found = await connection.execute(
            "SELECT generic_plans, custom_plans FROM pg_prepared_statements"
        )
        plans = await found.fetchall()
    ((generic, custom),) = plans
    # PostgreSQL makes five for the values that it is given, and then compares.
    assert (generic > 0, custom) == (True, 5)


async def test_a_key_is_read_whatever_becomes_of_other_rows(
    admin: psycopg.Connection, loader: Loader
) -> None:
    orders(admin, (1, "a", "1"), (2, "a", "2"), (3, "a", "3"))
    admin.execute("CREATE VIEW shares AS SELECT id, 10 / (id - 2) AS share FROM orders")
    admin.execute("ANALYZE orders")  # so small that PostgreSQL reads all of it
    watched = table(admin, document=(None, "shares"))
    states, refused = await loader.load(watched, [("1",), ("3",)])
    assert sorted(state.row or "" for state in states) == [
        '{"id": 1, "share": -10}',
        '{"id": 3, "share": 10}',
    ]
    assert refused == []
    # One read, so nothing was bisected.
    assert loader.reads == 1


async def test_keys_that_are_there_and_keys_that_are_not(
    admin: psycopg.Connection, loader: Loader
) -> None:
    watched = orders(admin, (1, "a", "1.50"), (2, None, "2"))
    states, poisoned = await loader.load(watched, [("2",), ("3",), ("1",)])
    found = {state.key: state for state in states}
    assert not poisoned
    assert found["1",].values == ("1", "a")
    assert found["1",].row == written(admin, "orders")[0]
    assert found["2",].values == ("2", None)
    assert (found["3",].row, found["3",].values) == (None, ("3",))
    assert [found[key].key_json for key in [("1",), ("3",)]] == ['{"id": 1}', '{"id": 3}']
    assert len({state.version for state in states}) == 1
    assert loader.reads == 1


async def test_a_row_that_is_too_large_stays_there(
    admin: psycopg.Connection, pool: AsyncConnectionPool[Any]
) -> None:
    """Measured in bytes, and by the JSON that would be sent."""
    watched = orders(admin, (1, "a", "1.50"), (2, "é", "1.50"))
    small = Loader(pool, "rowcast", row_size=len(written(admin, "orders")[0]))
    states, refused = await small.load(watched, [("1",), ("2",)])
    assert [(state.key, state.row is None) for state in states] == [(("1",), False), (("2",), True)]
    assert refused == [("2",)]
    answer = await snapshot(small, watched, WHOLE)
    assert [key for key, _ in answer.rows] == ['{"id": 1}']
    assert answer.refused == (("2",),)


async def test_rows_left_out_count_towards_the_limit(
    admin: psycopg.Connection, pool: AsyncConnectionPool[Any]
) -> None:
    """Or a snapshot that was cut off would pass for a whole one."""
    watched = orders(admin, (1, "é" * 99, "1.50"), *((n, "a", "1.50") for n in range(2, 8)))
    narrow, wide = (Loader(pool, "rowcast", snapshot_rows=n, row_size=150) for n in (5, 7))
    refused = await snapshot(narrow, watched, WHOLE)
    assert isinstance(refused, ProtocolError)
    assert refused.code == "snapshot_too_large"
    whole = await snapshot(wide, watched, WHOLE)
    assert (len(whole.rows), whole.refused) == (6, (("1",),))


async def test_only_the_columns_of_the_config_leave(
    admin: psycopg.Connection, loader: Loader
) -> None:
    orders(admin, (1, "secret", "1"))
    watched = table(admin, "orders", KEYED, ROUTED, columns=("id", "total"))
    (state,), _ = await loader.load(watched, [("1",)])
    assert state.row == '{"id": 1, "total": 1.00}'
    assert state.values == ("1", "secret")
    answer = await snapshot(loader, watched, ROUTED, "secret")
    assert list(answer.rows) == [('{"id": 1}', '{"id": 1, "total": 1.00}')]


TEXTS = ["", " ", "a'b", 'a"b', "a\\b", "a\nb", "🛒", "{x,y}", "NULL", "%s", "%", "e\u0301", "é"]


async def test_composite_keys_of_any_text(admin: psycopg.Connection, loader: Loader) -> None:
    admin.execute("CREATE TABLE items (shop text, name text, PRIMARY KEY (name, shop))")
    with admin.cursor() as cursor:
        cursor.executemany("INSERT INTO items VALUES ('s', %s)", [(text,) for text in TEXTS])
    watched = table(admin, "items", "items/{shop}/{name}")
    keys = [(text, "s") for text in TEXTS]
    states, poisoned = await loader.load(watched, keys)
    assert not poisoned
    assert [state.key for state in states] == keys
    assert [json.loads(state.row or "null") for state in states] == [
        {"shop": "s", "name": text} for text in TEXTS
    ]
    assert [json.loads(state.key_json) for state in states] == [
        {"shop": "s", "name": text} for text in TEXTS
    ]
    assert sorted(state.row or "" for state in states) == written(admin, "items")
    template = Template.parse("items/{shop}/{name}")
    answers = await loader.snapshots(watched, template, [("s", text) for text in TEXTS])
    assert [len(a.rows) if isinstance(a, Snapshot) else a for a in answers] == [1] * len(TEXTS)


async def test_names_of_any_kind(admin: psycopg.Connection, loader: Loader) -> None:
    names = ["r", "t", "k", "key", "row", "n", "100%", "%s", 'a"b', "Größe", "select", "k0", "v"]
    columns = [sql.SQL("{} int DEFAULT 1").format(sql.Identifier(name)) for name in names]
    create = sql.SQL('CREATE TABLE "T % {{}}" ({}, PRIMARY KEY ("r", "100%"))')
    admin.execute(create.format(sql.SQL(", ").join(columns)))
    admin.execute('INSERT INTO "T % {}" DEFAULT VALUES')
    watched = table(admin, "T % {}", "t/{t}", "p/{%s}/{r}/{100%}")
    (state,), _ = await loader.load(watched, [("1", "1")])
    assert [state.row] == written(admin, "T % {}")
    assert json.loads(state.key_json) == {"r": 1, "100%": 1}
    answer = await snapshot(loader, watched, "p/{%s}/{r}/{100%}", "1", "1", "1")
    assert list(answer.rows) == [(state.key_json, state.row)]


@pytest.mark.parametrize(
    ("type_", "value", "spelled", "other"),
    [
        ("uuid", "a0ee-bc999c0b4ef8bb6d6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", ""),
        ("numeric", "1.00", "1.00", "1.0"),
        ("numeric", "NaN", "NaN", "nan"),
        ("int8", "9223372036854775807", "9223372036854775807", "0009"),
        ("bool", "t", "true", "t"),
        ("char(5)", "ab", "ab", "ab "),
        ("varchar(5)", "ab ", "ab ", "ab"),
        ("timestamptz", "2024-05-01 12:00+02", "2024-05-01T10:00:00+00:00", "2024-05-01 12:00+02"),
        ("timestamptz", "infinity", "infinity", "Infinity"),
        ("timestamp", "2024-05-01 12:00", "2024-05-01T12:00:00", "2024-05-01 12:00:00"),
        ("date", "2024-05-01", "2024-05-01", "2024-5-1"),
        ("bytea", "\\x00ff", "\\x00ff", "\\x00FF"),
    ],
)
async def test_a_key_is_found_by_its_canonical_text_alone(
    admin: psycopg.Connection, loader: Loader, type_: str, value: str, spelled: str, other: str
) -> None:
    value = spelled if type_ == "uuid" else value
    admin.execute(f"CREATE TABLE t (id {type_} PRIMARY KEY)")  # type: ignore[arg-type]
    admin.execute("INSERT INTO t VALUES (%s)", (value,))
    watched = table(admin, "t")
    (state,), _ = await loader.load(watched, [(spelled,)])
    assert [state.row] == written(admin, "t")
    assert state.values == (spelled,)
    answer = await snapshot(loader, watched, "t/{id}", spelled)
    assert list(answer.rows) == [(state.key_json, state.row)]
    states, _ = await loader.load(watched, [(other,)])
    assert [state.row for state in states if state.row] == []
    refused = await snapshot(loader, watched, "t/{id}", other)
    if type_ == "varchar(5)" or (type_, other) == ("numeric", "1.0"):
        assert list(refused.rows) == []
    else:
        assert refused.code == "unknown_topic"


async def test_a_key_and_its_snapshot_spell_alike_under_any_collation(
    admin: psycopg.Connection, loader: Loader
) -> None:
    try:
        admin.execute(
            "CREATE COLLATION blind (provider=icu, locale='und-u-ks-level1', deterministic=false)"
        )
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this PostgreSQL was built without ICU")
    admin.execute("CREATE TABLE t (id text COLLATE blind PRIMARY KEY)")
    admin.execute("INSERT INTO t VALUES ('Ä')")
    watched = table(admin, "t")
    (state,), _ = await loader.load(watched, [("a",)])
    assert state.row is None
    assert list((await snapshot(loader, watched, "t/{id}", "a")).rows) == []
    assert len((await snapshot(loader, watched, "t/{id}", "Ä")).rows) == 1


# Rows.


async def test_rows_are_what_postgresql_writes(admin: psycopg.Connection, loader: Loader) -> None:
    admin.execute("CREATE TYPE pair AS (x int, y text)")
    admin.execute(
        "CREATE TABLE t AS SELECT 1 AS id, 'infinity'::timestamptz AS a, '-infinity'::date AS b,"
        " 'NaN'::numeric AS c, 'NaN'::float8 AS d, '-Infinity'::float8 AS e,"
        " '0044-03-15 BC'::date AS f, 9223372036854775807 AS g, 1.10::numeric AS h,"
        " '{1,NULL}'::int[] AS i, '[1,5)'::int4range AS j, '\\xdead'::bytea AS k,"
        " '1 mon -2 days'::interval AS l, (1, 'é')::pair AS m, '{\"b\": 1,  \"a\": 2}'::json AS n,"
        ' \'{"b": 1,  "a": 2}\'::jsonb AS o, E\'\\u0007"\\\\\' AS p, NULL::text AS q'
    )
    admin.execute("ALTER TABLE t ADD PRIMARY KEY (id)")
    watched = table(admin, "t")
    (state,), _ = await loader.load(watched, [("1",)])
    assert [state.row] == written(admin, "t")
    assert json.loads(state.row or "", parse_constant=pytest.fail)
    answer = await snapshot(loader, watched, "t")
    assert [row for _, row in answer.rows] == [state.row]


# What cannot be read.


async def test_one_bad_key_of_a_thousand(admin: psycopg.Connection, loader: Loader) -> None:
    admin.execute("CREATE TABLE t (id uuid PRIMARY KEY DEFAULT gen_random_uuid())")
    found = admin.execute("INSERT INTO t SELECT FROM generate_series(1, 999) RETURNING id::text")
    keys = [(id_,) for (id_,) in found.fetchall()]
    keys.insert(333, ("not a uuid",))
    states, poisoned = await loader.load(table(admin, "t"), keys)
    assert poisoned == [("not a uuid",)]
    assert [state.key for state in states] == [*keys[:333], *keys[334:]]
    assert all(state.row for state in states)


async def test_a_batch_of_bad_keys_is_given_up(admin: psycopg.Connection, loader: Loader) -> None:
    admin.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    keys = [("1",), *((f"x{n}",) for n in range(999))]
    with pytest.raises(RefusedError):
        await loader.load(table(admin, "t"), keys)
    assert loader.reads <= 2 * TRIES
    found = await loader.load(table(admin, "t"), keys[:3])
    assert [state.key for state in found[0]] == [("1",)]


@pytest.mark.parametrize("bad", ["x", "", "99999999999", "1.5", "NaN", "\0", "\ud800", "-1"])
async def test_keys_postgresql_refuses(admin: psycopg.Connection, loader: Loader, bad: str) -> None:
    admin.execute("CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
    admin.execute("CREATE TABLE t (id positive PRIMARY KEY); INSERT INTO t VALUES (1)")
    watched = table(admin, "t")
    states, poisoned = await loader.load(watched, [("1",), (bad,)])
    assert ([state.key for state in states], poisoned) == ([("1",)], [(bad,)])
    good, refused = await loader.snapshots(watched, Template.parse("t/{id}"), [("1",), (bad,)])
    assert isinstance(good, Snapshot)
    assert isinstance(refused, ProtocolError)
    assert refused.code == "unknown_topic"


async def test_a_failure_of_the_database_is_nobodys_key(
    admin: psycopg.Connection, loader: Loader
) -> None:
    watched = orders(admin)
    admin.execute("DROP TABLE orders")
    with pytest.raises(psycopg.errors.UndefinedTable):
        await loader.load(watched, [("1",), ("2",)])
    with pytest.raises(psycopg.errors.UndefinedTable):
        await snapshot(loader, watched, WHOLE)
    assert loader.reads == 2


async def test_without_an_epoch_there_is_no_version(
    admin: psycopg.Connection, loader: Loader
) -> None:
    watched = orders(admin, (1, "a", "1"))
    admin.execute("DELETE FROM rowcast.epoch")
    with pytest.raises(DatabaseError, match="rowcast migrate"):
        await loader.load(watched, [("1",)])
    with pytest.raises(DatabaseError, match="rowcast migrate"):
        await snapshot(loader, watched, WHOLE)


@pytest.fixture
def latin(server: Server, database: str) -> Iterator[str]:
    name = database.rsplit("/", 1)[1].split("?")[0] + "_latin"
    create = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
    with connect(server.url()) as connection:
        connection.execute(sql.SQL(create).format(sql.Identifier(name)))  # type: ignore[arg-type]
        yield server.url(name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


async def test_a_character_that_the_database_does_not_have(latin: str) -> None:
    with connect(latin) as admin:
        admin.execute(EPOCH + "INSERT INTO rowcast.epoch VALUES (7)")
        admin.execute("CREATE TABLE t (id text PRIMARY KEY); INSERT INTO t VALUES ('é')")
        watched = table(admin, "t")
    async with AsyncConnectionPool(latin, min_size=1, kwargs={"autocommit": True}) as pool:
        loader = Loader(pool, "rowcast")
        states, poisoned = await loader.load(watched, [("🛒",), ("é",)])
        assert ([state.row for state in states], poisoned) == (['{"id": "é"}'], [("🛒",)])
        refused = await snapshot(loader, watched, "t/{id}", "🛒")
        assert refused.code == "unknown_topic"


# Versions.


async def test_a_version_grows_with_every_commit(admin: psycopg.Connection, loader: Loader) -> None:
    watched = orders(admin, (1, "a", "1"))
    versions = []
    for n in range(20):
        (state,), _ = await loader.load(watched, [("1",)])
        answer = await snapshot(loader, watched, WHOLE)
        versions += [state.version, answer.version]
        assert state.row is not None
        assert json.loads(state.row)["total"] == n + 1
        admin.execute("UPDATE orders SET total = total + 1")
    assert versions == sorted(versions)
    assert len(set(versions)) >= 20
    assert all(re.fullmatch("[0-9a-f]{16}[.][0-9a-f]{16}", version) for version in versions)
    assert {version.split(".")[0] for version in versions} == {f"{7:016x}"}


async def test_a_later_epoch_wins(admin: psycopg.Connection, loader: Loader) -> None:
    watched = orders(admin)
    (before,), _ = await loader.load(watched, [("1",)])
    admin.execute("UPDATE rowcast.epoch SET epoch = 1753000000000")
    (after,), _ = await loader.load(watched, [("1",)])
    assert after.version > before.version
    assert after.version.startswith(f"{1753000000000:016x}.")


async def test_a_transaction_that_is_open_is_not_counted(
    admin: psycopg.Connection, connection: psycopg.Connection, loader: Loader
) -> None:
    watched = orders(admin, (1, "a", "1"))
    with connection.transaction():
        connection.execute("UPDATE orders SET total = 2")
        admin.execute("INSERT INTO orders VALUES (2, 'b', 1)")
        (during,), _ = await loader.load(watched, [("1",)])
    (after,), _ = await loader.load(watched, [("1",)])
    assert during.row is not None
    assert '"total": 1.00' in during.row
    assert after.version > during.version


# Snapshots.


async def test_snapshots_by_template(admin: psycopg.Connection, loader: Loader) -> None:
    watched = orders(admin, (1, "a", "1"), (2, "b", "1"), (3, "a", "1"), (4, None, "1"))

    def ids(answer: Snapshot | ProtocolError) -> list[int]:
        assert isinstance(answer, Snapshot)
        assert all(json.loads(row)["id"] == json.loads(key)["id"] for key, row in answer.rows)
        return sorted(json.loads(key)["id"] for key, _ in answer.rows)

    assert ids(await snapshot(loader, watched, WHOLE)) == [1, 2, 3, 4]
    assert ids(await snapshot(loader, watched, KEYED, "2")) == [2]
    asked = [("b",), ("nobody",), ("a",)]
    answers = await loader.snapshots(watched, Template.parse(ROUTED), asked)
    assert [ids(answer) for answer in answers] == [[2], [], [1, 3]]
    assert len({answer.version for answer in answers if isinstance(answer, Snapshot)}) == 1
    assert loader.reads == 3


async def test_a_snapshot_has_a_limit(admin: psycopg.Connection, loader: Loader) -> None:
    watched = orders(admin, *[(n, "a" if n < 6 else "b", "1") for n in range(1, 9)])
    refused = await snapshot(loader, watched, WHOLE)
    assert (refused.code, "5 rows" in str(refused)) == ("snapshot_too_large", True)
    full, small = await loader.snapshots(watched, Template.parse(ROUTED), [("a",), ("b",)])
    assert isinstance(full, Snapshot)
    assert isinstance(small, Snapshot)
    assert (len(full.rows), len(small.rows)) == (5, 3)


async def test_there_is_one_spelling(admin: psycopg.Connection, loader: Loader) -> None:
    watched = orders(admin, (42, "a", "1"))
    asked = [("042",), ("42",), ("x",), (" 42",), ("43",)]
    answers = await loader.snapshots(watched, Template.parse(KEYED), asked)
    assert [getattr(answer, "code", "") for answer in answers] == [
        "unknown_topic",
        "",
        "unknown_topic",
        "unknown_topic",
        "",
    ]
    assert "orders/42" in str(answers[0])
    assert "integer" in str(answers[2])
    assert [len(a.rows) for a in answers if isinstance(a, Snapshot)] == [1, 0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
@example(["", " ", "NULL", "null", "{}", "a,b", '"', "\\", '\\"', "\n", "'", "🛒"])
def test_an_array_is_read_as_it_was_written(admin: psycopg.Connection, texts: list[str]) -> None:
    assert admin.execute("SELECT %s::text[]", (array(texts),)).fetchone() == (texts,)
