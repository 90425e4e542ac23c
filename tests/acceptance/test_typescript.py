"""`rowcast types`, and the client's own types, as a TypeScript compiler sees them."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from bridge import config, migrate
from tests.support import connect, fresh_database
from tests.support.commands import Rowcast
from tests.support.javascript import CLIENT, NODE, compiled, package

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.support import Server

pytestmark = pytest.mark.skipif(
    NODE is None or package("typescript") is None or package("@types/react") is None,
    reason="no TypeScript, or no types of React; `apt install node-typescript node-react`, or"
    " `npm install` in clients/js",
)

# Every way in which to_jsonb writes a value, and what JavaScript makes of it.
TABLES = """
CREATE TYPE mood AS ENUM ('ok', 'it''s "odd"');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE "all Types" (
    id bigint PRIMARY KEY, i int, s smallint NOT NULL, n numeric, f float8, r real, b boolean,
    t text, c char(3), u uuid, d date, ts timestamptz, iv interval, j json, jb jsonb NOT NULL,
    m mood, ms mood[], p pair, ps pair[], pos positive NOT NULL, xs int[], ys text[][],
    rg int4range, ba bytea, ip inet, mo money, o oid, "odd name" int
);
INSERT INTO "all Types" (id, s, jb, pos) VALUES (1, 1, 'null', 1);
INSERT INTO "all Types" VALUES (
    9007199254740993, 1, 2, 12345678901234567890, 'NaN', '-Infinity', true,
    't', 'c', gen_random_uuid(), 'infinity', now(), '1 day', '[1,{"a":null}]', '{"a": [true]}',
    'it''s "odd"', '{ok,NULL}', (1, 'x'), ARRAY[(1, NULL)::pair], 3, '{1,NULL}', '{{a,b},{c,d}}',
    '[1,2)', 'abc', '10.0.0.1', 1, 5, 9);
INSERT INTO "all Types" VALUES (
    3, 1, 2, 'NaN', 1e20, 1.5, false, 't', 'c', gen_random_uuid(), '2024-02-29', '-infinity',
    '1 day', '1', '"x"', 'ok', '{}', (NULL, NULL), '{}', 3, '{}', '{}', 'empty', '', '::1', 1, 5, 9
);
CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, secret text);
CREATE TABLE lines (order_id int REFERENCES orders, line int, PRIMARY KEY (order_id, line));
CREATE TABLE payments (id bigint PRIMARY KEY, account int NOT NULL, note text);
CREATE VIEW documents AS SELECT id, customer, (SELECT count(*) FROM lines) AS lines FROM orders;
"""
CONFIG = """
events: true
tables:
  payments: {mode: log, topics: [payments, "payments/{account}"]}
  everything: {table: '"all Types"', topics: [everything, "everything/{id}"]}
  orders: {topics: ["orders/{id}", "customers/{customer}/orders"], columns: [id, customer]}
  documents: {table: orders, document: documents}
  lines: {refreshes: documents}
"""


@pytest.fixture(scope="module")
def database(server: Server, template: str) -> Iterator[str]:
    """One for all these tests, which only read it."""
    for url in fresh_database(server, template):
        with connect(url) as connection:
            connection.execute(TABLES)
        yield url


@pytest.fixture(scope="module")
def rowcast(database: str, tmp_path_factory: pytest.TempPathFactory) -> Rowcast:
    directory = tmp_path_factory.mktemp("types")
    (directory / "config.yaml").write_text(CONFIG)
    return Rowcast(directory, database)


async def generated(rowcast: Rowcast, *options: str) -> str:
    done = await rowcast.run("types", *options)
    assert done.status == 0, done.err
    return done.out


@pytest.fixture(scope="module")
def published(rowcast: Rowcast, database: str) -> None:
    """The database has a table of events."""
    read = config.loads(CONFIG, env={"DATABASE_URL": database})
    migrate.apply(read, progress=lambda _line: None)


def received(text: str) -> Any:
    """A row as the client for JavaScript makes it of what the bridge sends."""
    return json.loads(text, parse_int=lambda n: n if abs(int(n)) >= 2**53 else int(n))


WRONG = """
import {connect} from "rowcast";
import type {Documents, Everything, Schema} from "./schema.js";
const live = connect<Schema>("/");
live.rows("customers/7/orders").subscribe(([order]) => order.customer.toFixed());
live.row("documents/{id}", {id: 1}).subscribe((row) => row!.lines === 1 && row!.id.toFixed());
// @ts-expect-error: a table that only refreshes another has no topics
live.rows("lines");
// @ts-expect-error: a column that is not sent
live.row("orders/1").subscribe((row) => row!.secret);
// @ts-expect-error: a log has no rows
live.rows("payments");
// @ts-expect-error: rows are no log
live.events("everything");
async function read() {
  for await (const {row} of live.events("payments/7", {since: "start"})) row.account.toFixed();
  for await (const {row} of live.events("events")) row.channel.trim();
  for await (const {row} of live.events(`events/${"a"}`)) {
    row.channel.trim();
    // @ts-expect-error: may be anything
    row.data.total;
  }
}
const some = {} as Everything;
// @ts-expect-error: may be a string
some.id.toFixed();
// @ts-expect-error: may be null
some.i.toFixed();
// @ts-expect-error: not one of the labels
some.m = "bad";
// @ts-expect-error: of a view, all that is not the key may be null
({} as Documents).customer.toFixed();
"""


async def test_before_there_is_a_table_of_events_it_says_so(rowcast: Rowcast) -> None:
    (rowcast.directory / "other.yaml").write_text(f"schema: other{CONFIG}")
    done = await rowcast.run("types", "-c", "other.yaml")
    assert (done.status, done.out) == (1, "")
    assert done.err == "rowcast: other.events is not there yet; run `rowcast migrate`\n"


async def test_every_row_is_of_its_type_and_nothing_else_is(
    rowcast: Rowcast, published: None, admin: psycopg.Connection
) -> None:
    """And the client allows what there is, and nothing else; a compiler is slow to start."""
    (rowcast.directory / "schema.ts").write_text(await generated(rowcast))
    found = admin.execute('SELECT to_jsonb(one)::text FROM "all Types" AS one').fetchall()
    rows = [received(text) for (text,) in found]
    assert len(rows) == 3
    lines = [f"rows.push({json.dumps(row)});" for row in rows]
    source = "\n".join([WRONG, "const rows: Everything[] = [];", *lines])
    (rowcast.directory / "main.ts").write_text(source)
    shutil.copy(CLIENT / "test" / "types.ts", rowcast.directory)
    complaints = await asyncio.to_thread(compiled, rowcast.directory, "main.ts", "types.ts")
    assert complaints == ""


async def test_numbers_may_be_plain(rowcast: Rowcast, published: None) -> None:
    written = await generated(rowcast)
    plain = await generated(rowcast, "--numbers")
    changed = set(plain.splitlines()) - set(written.splitlines())
    assert changed == {f"export type {name} = number;" for name in ("Bigint", "Numeric", "Float")}


async def test_it_writes_a_file_and_says_where_it_cannot(rowcast: Rowcast, published: None) -> None:
    assert await generated(rowcast, "-o", "schema.d.ts") == ""
    assert "export interface Schema" in (rowcast.directory / "schema.d.ts").read_text()
    done = await rowcast.run("types", "-o", "nowhere/schema.d.ts")
    assert (done.status, done.err) == (
        1, "rowcast: cannot write nowhere/schema.d.ts: No such file or directory\n"
    )  # fmt: skip
