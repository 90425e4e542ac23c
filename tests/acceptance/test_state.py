"""A topic's snapshot over plain HTTP: what SELECT returns, and a tag that says if it is news."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from bridge.gateways import state
from tests.support import PATIENCE, http
from tests.support.bridges import configure, running
from tests.support.events import streaming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psycopg

    from tests.support.bridges import Running

ORDERS = """
CREATE TABLE orders (id int PRIMARY KEY, shelf text, price numeric, note text);
INSERT INTO orders VALUES
    (1, 'a/b', 12.50, E'two\\nlines'),
    (2, 'c', 9007199254740993.1, '],"x":[');
CREATE TABLE big (id int PRIMARY KEY, note text);
"""
CONFIG = """
  orders:
    topics: [orders, "orders/{id}", "shelves/{shelf}/orders"]
  big:
"""


@pytest.fixture
async def bridge(database: str, admin: psycopg.Connection) -> AsyncIterator[Running]:
    admin.execute(ORDERS)
    async with running(configure(database, CONFIG, limits="{snapshot_rows: 3000}")) as bridge:
        yield bridge


def held(body: bytes) -> list[dict]:
    found = json.loads(body, parse_float=Decimal)
    assert set(found) == {"topic", "rows", "version"}
    return found["rows"]


def selected(connection: psycopg.Connection, where: str = "true") -> list[dict]:
    query = f"SELECT id, to_jsonb(o)::text FROM orders o WHERE {where} ORDER BY id"
    found = connection.execute(query.encode()).fetchall()
    return [{"key": {"id": key}, "row": json.loads(row, parse_float=Decimal)} for key, row in found]


async def test_the_state_is_what_select_returns(bridge: Running, admin: psycopg.Connection) -> None:
    answer = await http.get(bridge.http, "/state/orders")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert held(answer.body) == selected(admin)
    assert b"12.50" in answer.body
    assert b"9007199254740993.1" in answer.body
    one = await http.get(bridge.http, "/state/orders/2?x=1")
    assert held(one.body) == selected(admin, "id = 2")
    # In a path a topic stands as it is written.
    slash = await http.get(bridge.http, "/state/shelves/a%2Fb/orders")
    assert slash.json()["topic"] == "shelves/a%2Fb/orders"
    assert held(slash.body) == selected(admin, "shelf = 'a/b'")
    empty = await http.get(bridge.http, "/state/orders/77")
    assert (empty.status, held(empty.body)) == (200, [])


async def test_many_pages_are_one_document(bridge: Running, admin: psycopg.Connection) -> None:
    admin.execute("INSERT INTO big SELECT n, repeat('ü', 200) FROM generate_series(1, 3000) n")
    answer = await http.get(bridge.http, "/state/big")
    ids = [entry["row"]["id"] for entry in held(answer.body)]
    assert sorted(ids) == list(range(1, 3001))
    admin.execute("INSERT INTO big VALUES (0, 'one too many')")
    refused = await http.get(bridge.http, "/state/big")
    assert (refused.status, refused.json()["code"]) == (413, "snapshot_too_large")


@pytest.mark.parametrize("topic", ["nothing", "", "orders/x", "orders/01", "orders%2F1"])
async def test_an_unknown_topic(bridge: Running, topic: str) -> None:
    answer = await http.get(bridge.http, f"/state/{topic}")
    assert (answer.status, answer.json()["code"]) == (404, "unknown_topic")
    assert bridge.bridge.hub.subscribers == 0


async def test_equal_rows_have_one_tag_on_all_instances(
    bridge: Running, database: str, admin: psycopg.Connection
) -> None:
    first = await http.get(bridge.http, "/state/orders")
    # The same rows, in another order in the table.
    admin.execute("UPDATE orders SET note = note WHERE id = 1")
    async with running(configure(database, CONFIG)) as other:
        second = await http.get(other.http, "/state/orders")
        assert second.json()["version"] > first.json()["version"]
        assert second.headers["etag"] == first.headers["etag"]
        unchanged = await http.get(other.http, "/state/orders", If_None_Match=first.headers["etag"])
        assert (unchanged.status, unchanged.body) == (304, b"")
        assert unchanged.headers["etag"] == first.headers["etag"]
        assert "content-length" not in unchanged.headers
    one = await http.get(bridge.http, "/state/orders/1")
    assert one.headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize(
    ("header", "status"), [("{}", 304), ('"x", {}', 304), ("*", 304), ('"x"', 200), ("", 200)]
)
async def test_if_none_match(bridge: Running, header: str, status: int) -> None:
    tag = (await http.get(bridge.http, "/state/orders")).headers["etag"]
    for spelled in (tag, tag.removeprefix("W/")):
        answer = await http.get(bridge.http, "/state/orders", If_None_Match=header.format(spelled))
        assert answer.status == status


async def test_news_have_another_tag(bridge: Running, admin: psycopg.Connection) -> None:
    before = (await http.get(bridge.http, "/state/orders")).headers["etag"]
    admin.execute("UPDATE orders SET note = 'new' WHERE id = 1")
    answer = await http.get(bridge.http, "/state/orders", If_None_Match=before)
    assert (answer.status, held(answer.body)) == (200, selected(admin))


async def test_head_has_the_headers_of_get(bridge: Running) -> None:
    get = await http.get(bridge.http, "/state/orders")
    head = await http.get(bridge.http, "/state/orders", "HEAD")
    assert head.body == b""
    assert head.headers == get.headers
    assert int(head.headers["content-length"]) == len(get.body)


async def test_many_at_once_share_reads(bridge: Running, admin: psycopg.Connection) -> None:
    reads = bridge.bridge.metrics.snapshots._value
    before = reads.get()
    with admin.transaction():
        admin.execute("LOCK TABLE orders")
        asking = [asyncio.create_task(http.get(bridge.http, "/state/orders")) for _ in range(50)]
        async with asyncio.timeout(PATIENCE):
            while bridge.bridge.hub.subscribers < 50:
                await asyncio.sleep(0.01)
    answers = await asyncio.gather(*asking)
    assert {answer.status for answer in answers} == {200}
    # The one that was waiting for the lock, and one for all who came meanwhile.
    assert reads.get() - before <= 2
    assert bridge.bridge.hub.subscribers == 0


async def test_a_read_that_does_not_end_is_not_waited_for(
    bridge: Running, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "READING", 0.2)
    with admin.transaction():
        admin.execute("LOCK TABLE orders")
        answer = await http.get(bridge.http, "/state/orders")
    assert (answer.status, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert bridge.bridge.hub.subscribers == 0
    async with asyncio.timeout(PATIENCE):
        while (await http.get(bridge.http, "/state/orders")).status != 200:
            pass


async def test_without_the_database_there_is_none(
    bridge: Running, admin: psycopg.Connection
) -> None:
    async with streaming(bridge.http, "orders") as stream:
        await stream.until("snapshot")
        bridge.bridge.hub.stale()
        assert (await stream.next()).json() == {"type": "status", "state": "stale"}
        answer = await http.get(bridge.http, "/state/orders")
        assert (answer.status, answer.json()["code"]) == (503, "unavailable")
        assert "out of reach" in answer.json()["message"]
        bridge.bridge.hub.resume()
        assert (await http.get(bridge.http, "/state/orders")).status == 200


async def test_at_the_end_those_who_wait_are_answered(
    database: str, admin: psycopg.Connection
) -> None:
    admin.execute(ORDERS)
    with admin.transaction():
        async with running(configure(database, CONFIG)) as bridge:
            admin.execute("LOCK TABLE orders")
            asking = asyncio.create_task(http.get(bridge.http, "/state/orders"))
            async with asyncio.timeout(PATIENCE):
                while bridge.bridge.hub.subscribers < 1:
                    await asyncio.sleep(0.01)
    answer = await asking
    assert answer.status == 503
    assert "restarting" in answer.json()["message"]
