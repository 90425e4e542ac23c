"""Whatever a key, a row or a name is made of: a subscriber gets what PostgreSQL says, byte by byte.

The measure is `to_jsonb` in a session whose TimeZone is UTC. Each example has a table of
its own; one bridge watches them all.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql
from websockets.asyncio.client import connect as websocket

from bridge.topics import encode
from tests.support import connect, fresh_database
from tests.support.bridges import configure, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from websockets.asyncio.client import ClientConnection

    from tests.support import Server
    from tests.support.bridges import Running

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = [
    "/",
    "a/b",
    "%",
    "%2F",
    '"',
    "\\",
    "\n",
    "\t\x01\x7f",
    "",
    " ",
    ".",
    "..",
    "😀é\u2028",
    "null",
]
KEYS += ["'; --", "{id}", "x" * 2_500]

# Not announced by name. An index takes them, for they can be compressed; 2,704 bytes is its limit.
LONG_KEYS = ["x" * 3_000, "é" * 4_500, "%" * 9_000, "y" * 40_000]

VALUES = {
    "timestamptz": ["infinity", "-infinity", "0044-03-15 12:00:00 BC", "2024-03-31 01:30:00.5+02"],
    "timestamp": ["infinity", "2024-02-29 12:34:56.789012", "294276-12-31 23:59:59"],
    "date": ["-infinity", "0001-01-01 BC", "5874897-12-31"],
    "time": ["24:00:00"],
    "timetz": ["12:00:00.1-15:59"],
    "interval": ["-1 mon +2 days 03:04:05.678", "1 year"],
    "float8": ["NaN", "Infinity", "-0", "1e-307", "0.1", "9007199254740993"],
    "float4": ["-Infinity", "16777217", "3.4028235e38"],
    "numeric": ["NaN", "1.00", "123456789012345678901234567890.123456789", "1e-30", "Infinity"],
    "int8": ["9223372036854775807", "-9223372036854775808", "9007199254740993"],
    "money": ["-1234.5"],
    "bool": ["true", "NULL"],
    "text": ["", "\x01\x7f", "\u2028\ufeff", 'q"\\/', "</script>", "😀", "z" * 200_000],
    "char(5)": ["ab"],
    "bytea": ["\\x00ff", "\\x"],
    "int[]": ["{}", "{{1,2},{3,NULL}}", "[0:1]={1,2}"],
    "text[]": ['{"a,b",NULL,"NULL",""}'],
    "timestamptz[]": ["{infinity,2024-01-01 00:00+05}"],
    "int4range": ["[1,5)", "empty", "(,)"],
    "tstzrange": ["[2024-01-01 00:00+05,infinity)"],
    "int4multirange": ["{[1,2),[5,9)}"],
    "json": ['{"b": 1,  "a": 2,"b":3}', "1e400", '"\\ud83d\\ude00"', "[1.0, 1.00, -0]", "null"],
    "jsonb": ['{"b": 1, "a": 1e400}', '"\\u0001\\""', "[[[[]]]]", "1.10"],
    "inet": ["10.0.0.1/8"],
    "uuid": ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"],
    "point": ["(1,-0.5)"],
    "bit(3)": ["101"],
    "tsvector": ["a:1 'b c':2"],
    "pg_lsn": ["16/B374D848"],
    "pair": ['(1,"x ""y""")'],
    "mood": ["quite ok"],
    "positive": ["1"],
}
TYPES = """
CREATE TYPE pair AS (a int, b text); CREATE TYPE mood AS ENUM ('sad', 'quite ok');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
"""

NAMES = [
    "Orders",
    'quo"ted',
    "dotted.name",
    "with space",
    "ünï😀",
    "é" * 31 + "x",
    "a:b %s",
    "'; --",
]
NAMES += ["$$", "select", "{}", "a/b", "\\", "touched", "operation", "entry", "page", "found"]
NAMES += ["tg_op", "new_rows", "old_rows", "o", "n", "k", "t", "u", "r", "v", "e", "s", "k0", "key"]
NAMES += ["row", "texts", "version", "spelling", "epoch", "sqlstate", "new", "old"]

POISON = '"\\u0000"'
"""A value that `json` keeps and `to_jsonb` refuses to read."""


class Watched:
    """A database of examples: what to create, what to watch, and under which public name."""

    def __init__(self) -> None:
        self.ddl: list[sql.Composable] = [sql.SQL(TYPES)]
        self.tables = ""
        for kind in VALUES:
            self._add(kind, "public", f"of {kind}", sql.SQL("(id int PRIMARY KEY, c {})"), kind)
        for name in NAMES:
            self.ddl.append(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
            self._add(name, name, name, sql.SQL("({} text PRIMARY KEY)"), name)
        self._add("keys", "public", "keys", sql.SQL("(id text PRIMARY KEY, n {})"), "int")
        self._add("poison", "public", "poison", sql.SQL("(id int PRIMARY KEY, c {})"), "json")
        self._add("later", "public", "later", sql.SQL("(id int PRIMARY KEY, c {})"), "json")

    def _add(self, example: str, schema: str, name: str, columns: sql.SQL, part: str) -> None:
        table = sql.Identifier(schema, name)
        filled = sql.Identifier(part) if example in NAMES else sql.SQL(part)
        self.ddl.append(sql.SQL("CREATE TABLE {} ").format(table) + columns.format(filled))
        self.tables += (
            f"  {public(example)}: {{table: {json.dumps([schema, name], ensure_ascii=False)}}}\n"
        )


def public(example: str) -> str:
    """A public name for any example: the examples are not about those."""
    return "p" + sha256(example.encode()).hexdigest()[:12]


@pytest.fixture(scope="module")
def database(server: Server, template: str) -> Iterator[str]:
    yield from fresh_database(server, template)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bridge(database: str) -> AsyncIterator[Running]:
    watched = Watched()
    with connect(database) as connection:
        for statement in watched.ddl:
            connection.execute(statement)
    times = {"debounce": "20ms", "max_wait": "100ms"}
    async with running(configure(database, watched.tables, **times)) as bridge:
        yield bridge


@pytest.fixture
def utc(database: str) -> Iterator[psycopg.Connection]:
    with connect(database) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


class Subscriber:
    """Reads frames as text: to parse one and write it again would hide what is looked for."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def next(self, kind: str) -> str:
        frame = await self.connection.recv()
        assert json.loads(frame)["type"] == kind, frame
        return str(frame)

    async def subscribe(self, *topics: str) -> list[str]:
        """The snapshot of each."""
        snapshots = []
        for topic in topics:
            await self.connection.send(json.dumps({"type": "subscribe", "topic": topic}))
            await self.next("subscribed")
            snapshots.append(await self.next("snapshot"))
        return snapshots


@asynccontextmanager
async def subscribed(bridge: Running) -> AsyncIterator[Subscriber]:
    async with websocket(bridge.url, max_size=None, compression=None) as connection:
        subscriber = Subscriber(connection)
        await subscriber.next("welcome")
        yield subscriber


def said(connection: psycopg.Connection, table: str, where: str, value: object) -> tuple[str, str]:
    """A row's key and the row, as PostgreSQL writes them."""
    query = sql.SQL(
        "SELECT to_jsonb(k)::text, to_jsonb(t)::text FROM {t} t, LATERAL (SELECT t.{c})"
        " k WHERE t.{c} = %s"
    ).format(t=sql.Identifier(table), c=sql.Identifier(where))
    (found,) = connection.execute(query, (value,)).fetchall()
    return found


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in VALUES.items() for value in values]
)
async def test_a_value(bridge: Running, utc: psycopg.Connection, kind: str, value: str) -> None:
    table = sql.Identifier(f"of {kind}")
    number = VALUES[kind].index(value)
    text = None if value == "NULL" else value
    async with subscribed(bridge) as subscriber:
        await subscriber.subscribe(f"{public(kind)}/{number}")
        insert = sql.SQL("INSERT INTO {} VALUES ({}, {}::{})")
        literal, cast = sql.Literal(text), sql.SQL(kind)
        utc.execute(insert.format(table, sql.Literal(number), literal, cast))
        key, row = said(utc, f"of {kind}", "id", number)
        assert f'"key":{key},"row":{row},' in await subscriber.next("change")
        (snapshot,) = await subscriber.subscribe(public(kind))
        assert f'{{"key":{key},"row":{row}}}' in snapshot
        json.loads(row, parse_constant=pytest.fail)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: f"{key[:5]!a}-{len(key)}")
async def test_a_key(bridge: Running, utc: psycopg.Connection, key: str) -> None:
    topic = f"{public('keys')}/{encode(key)}"
    async with subscribed(bridge) as subscriber:
        assert '"rows":[]' in (await subscriber.subscribe(topic))[0]
        for statement in ("INSERT INTO keys VALUES (%s, 1)", "UPDATE keys SET n = 2 WHERE id = %s"):
            utc.execute(statement, (key,))
            told, row = said(utc, "keys", "id", key)
            change = await subscriber.next("change")
            assert f'"key":{told},"row":{row},' in change
            assert json.loads(change)["topic"] == topic
        (whole,) = await subscriber.subscribe(public("keys"))
        assert f'{{"key":{told},"row":{row}}}' in whole
        utc.execute("DELETE FROM keys WHERE id = %s", (key,))
        for _ in range(2):
            assert f'"op":"delete","key":{told},"row":null,' in await subscriber.next("change")


@pytest.mark.parametrize("key", LONG_KEYS, ids=len)
async def test_a_key_too_long_for_a_notification(
    bridge: Running, utc: psycopg.Connection, key: str
) -> None:
    """Its topics are read anew, whatever happened to it."""
    async with subscribed(bridge) as subscriber:
        await subscriber.subscribe(f"{public('keys')}/{encode(key)}")
        for statement in ("INSERT INTO keys VALUES (%s, 1)", "UPDATE keys SET n = 2 WHERE id = %s"):
            utc.execute(statement, (key,))
            told, row = said(utc, "keys", "id", key)
            assert f'{{"key":{told},"row":{row}}}' in await subscriber.next("snapshot")
        utc.execute("DELETE FROM keys WHERE id = %s", (key,))
        assert '"rows":[]' in await subscriber.next("snapshot")


@pytest.mark.parametrize("name", NAMES)
async def test_a_name(bridge: Running, utc: psycopg.Connection, name: str) -> None:
    table, column = sql.Identifier(name, name), sql.Identifier(name)
    async with subscribed(bridge) as subscriber:
        await subscriber.subscribe(f"{public(name)}/1", f"{public(name)}/2")
        utc.execute(sql.SQL("INSERT INTO {} VALUES (1)").format(table))
        assert json.loads(await subscriber.next("change"))["row"] == {name: "1"}
        utc.execute(sql.SQL("UPDATE {} SET {} = 2").format(table, column))
        changes = [json.loads(await subscriber.next("change")) for _ in range(2)]
        assert {(c["key"][name], c["op"]) for c in changes} == {("1", "delete"), ("2", "insert")}


async def test_a_row_that_cannot_be_read_keeps_no_other_from_its_subscribers(
    bridge: Running, utc: psycopg.Connection
) -> None:
    utc.execute("INSERT INTO poison SELECT n, '{}' FROM generate_series(1, 5) n")
    topics = [f"{public('poison')}/{n}" for n in range(1, 6)]
    async with subscribed(bridge) as subscriber:
        await subscriber.subscribe(*topics)
        utc.execute("UPDATE poison SET c = CASE id WHEN 3 THEN %s ELSE '[7]' END::json", (POISON,))
        told = [json.loads(await subscriber.connection.recv()) for _ in topics]
        changed = {m["topic"]: m["row"] for m in told if m["type"] == "change"}
        assert changed == {t: {"id": int(t[-1]), "c": [7]} for t in topics if t != topics[2]}
        (error,) = (m for m in told if m["type"] == "error")
        assert error["topic"] == topics[2]
        utc.execute("UPDATE poison SET c = '[8]'")
        healed = [json.loads(await subscriber.next("change")) for _ in topics]
        assert {m["topic"]: m["row"]["c"] for m in healed} == {topic: [8] for topic in topics}


async def test_a_row_that_cannot_be_read_leaves_a_topic_its_snapshot(
    bridge: Running, utc: psycopg.Connection
) -> None:
    utc.execute("INSERT INTO later VALUES (1, '{}'), (2, %s), (3, '{}')", (POISON,))
    async with subscribed(bridge) as subscriber:
        (snapshot,) = await subscriber.subscribe(public("later"))
        assert [entry["key"]["id"] for entry in json.loads(snapshot)["rows"]] == [1, 3]
