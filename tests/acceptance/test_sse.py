"""Server-Sent Events over a real socket: the messages of the WebSocket, and how a stream ends."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bridge.gateways import connection as connections
from bridge.gateways import sse
from tests.support import PATIENCE, http
from tests.support.bridges import configure, running
from tests.support.commands import Rowcast
from tests.support.events import Stream, streaming
from tests.support.replica import following, rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import psycopg

    from tests.support.bridges import Running

ORDERS = """
CREATE TABLE orders (id int PRIMARY KEY, shelf text, note text);
INSERT INTO orders VALUES (1, 'a/b', E'two\\nlines'), (2, 'c', 'x');
"""
CONFIG = """
  orders:
    topics: [orders, "orders/{id}", "shelves/{shelf}/orders"]
"""
APP = "https://app.example.com"


@pytest.fixture
async def bridge(database: str, admin: psycopg.Connection) -> AsyncIterator[Running]:
    admin.execute(ORDERS)
    async with running(configure(database, CONFIG, limits="{subscriptions: 3}")) as bridge:
        yield bridge


async def begun(stream: Stream) -> list[dict]:
    """Everything up to the end of the first snapshot."""
    messages = [(await stream.next()).json()]
    while messages[-1]["type"] != "snapshot" or not messages[-1]["last"]:
        messages.append((await stream.next()).json())
    return messages


async def test_a_stream_has_the_messages_of_the_websocket(
    bridge: Running, admin: psycopg.Connection
) -> None:
    async with streaming(bridge.http, "orders/1") as stream:
        assert stream.status == 200
        welcome, subscribed, snapshot = await begun(stream)
        assert welcome["type"] == "welcome"
        assert subscribed == {"type": "subscribed", "topic": "orders/1", "resumed": False}
        row = {"id": 1, "shelf": "a/b", "note": "two\nlines"}
        assert snapshot["rows"] == [{"key": {"id": 1}, "row": row}]
        admin.execute("UPDATE orders SET note = E'\\r\\n\\n' WHERE id = 1")
        event = await stream.next()
        assert event.type == "change"
        change = event.json()
        assert change.pop("version") > snapshot["version"]
        assert change == {
            "type": "change",
            "topic": "orders/1",
            "table": "orders",
            "op": "update",
            "key": {"id": 1},
            "row": row | {"note": "\r\n\n"},
        }


async def test_the_head_keeps_proxies_from_waiting_and_caches_from_keeping(
    bridge: Running,
) -> None:
    async with streaming(bridge.http, "orders") as stream:
        await begun(stream)
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"
        assert "content-length" not in stream.headers
        assert stream.parser.retry is not None
        assert 1000 <= stream.parser.retry <= 5000


async def test_several_topics_and_a_value_with_a_slash(
    bridge: Running, admin: psycopg.Connection
) -> None:
    async with streaming(bridge.http, "shelves/a%2Fb/orders", "orders/2") as stream:
        await begun(stream)
        await begun(stream)
        admin.execute("UPDATE orders SET note = 'new'")
        changes = [(await stream.next()).json() for _ in range(2)]
        assert {c["topic"] for c in changes} == {"shelves/a%2Fb/orders", "orders/2"}


async def test_one_unknown_topic_among_others_is_an_event(bridge: Running) -> None:
    async with streaming(bridge.http, "orders/1", "nothing", "orders/x") as stream:
        refusals = {(await stream.until("error")).json()["topic"] for _ in range(2)}
        assert refusals == {"nothing", "orders/x"}


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "bad_message"),
        ("?topic=%ff", 400, "bad_message"),
        ("?topic=nothing", 400, "unknown_topic"),
        ("?topic=nothing&topic=orders/1/2", 400, "unknown_topic"),
        ("?topic=orders&last_event_id=a%0Ab", 400, "bad_message"),
        (
            "?topic=orders&topic=orders/1&topic=orders/2&topic=orders/3",
            429,
            "too_many_subscriptions",
        ),
    ],
)
async def test_what_could_never_be_followed_is_refused(
    bridge: Running, query: str, status: int, code: str
) -> None:
    answer = await http.get(bridge.http, f"/sse{query}", Accept="text/event-stream")
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert answer.json()["message"]
    assert "retry-after" not in answer.headers


async def test_head_and_options_and_the_rest(bridge: Running) -> None:
    head = await http.get(bridge.http, "/sse?topic=orders", "HEAD", Origin=bridge.http)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-type"] == "text/event-stream"
    assert head.headers["access-control-allow-origin"] == bridge.http
    options = await http.get(bridge.http, "/sse", "OPTIONS")
    assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    post = await http.get(bridge.http, "/sse?topic=orders", "POST")
    assert (post.status, post.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    twice = await http.get(bridge.http, "/sse?topic=orders", Origin="x\r\nOrigin: y")
    assert twice.status == 400


async def test_it_is_one_request_whatever_is_sent_after_it(
    bridge: Running, admin: psycopg.Connection
) -> None:
    async with streaming(bridge.http, "orders/1", protocol="HTTP/1.0") as stream:
        await begun(stream)
        assert stream.headers["connection"] == "close"
        stream.writer.write(b"GET /sse?topic=orders HTTP/1.1\r\nHost: x\r\n\r\n\x88\x00" * 50)
        await stream.writer.drain()
        admin.execute("UPDATE orders SET note = 'new' WHERE id = 1")
        assert (await stream.next()).type == "change"


@pytest.mark.parametrize("path", ["/sse?topic=orders", "/state/orders", "/healthz"])
async def test_more_than_a_request_at_once_harms_nobody(
    bridge: Running, admin: psycopg.Connection, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """The library gives such a connection up, and writing to it would raise."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection(*bridge.address.result())
    writer.write(request + b"\xff" * 100)
    async with asyncio.timeout(PATIENCE):
        while await reader.read(1000):
            pass
    writer.close()
    async with following(bridge.url, "orders") as replica:
        admin.execute("UPDATE orders SET note = 'new'")
        await replica.equals({"orders": rows(admin, "SELECT * FROM orders")})
    await _subscribers(bridge, 0)
    assert caplog.records == []


async def test_one_who_says_no_more_is_gone(
    bridge: Running, admin: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async with streaming(bridge.http, "orders") as stream:
        await begun(stream)
        stream.writer.write_eof()
        admin.execute("UPDATE orders SET note = 'new'")
        async with asyncio.timeout(PATIENCE):
            await stream.reader.read()
    await _subscribers(bridge, 0)
    assert caplog.records == []


# Who may read.


@pytest.fixture
async def shared(database: str, admin: psycopg.Connection) -> AsyncIterator[Running]:
    admin.execute(ORDERS)
    config = configure(database, CONFIG)
    server = replace(config.server, allowed_origins=(APP,))
    async with running(replace(config, server=server)) as bridge:
        yield bridge


async def test_an_allowed_page_may_read(shared: Running) -> None:
    async with streaming(shared.http, "orders", headers={"Origin": APP}) as stream:
        assert stream.headers["access-control-allow-origin"] == APP
        assert stream.headers["vary"] == "Origin"
        await begun(stream)
    for path in ("/sse?topic=orders", "/state/orders"):
        asked = "authorization,last-event-id"
        preflight = await http.get(
            shared.http, path, "OPTIONS", Origin=APP, Access_Control_Request_Headers=asked
        )
        assert preflight.status == 204
        assert preflight.headers["access-control-allow-origin"] == APP
        allowed = preflight.headers["access-control-allow-headers"].lower()
        assert {"authorization", "last-event-id"} <= set(allowed.split(", "))
    refused = await http.get(shared.http, "/sse?topic=nothing", Origin=APP)
    assert refused.headers["access-control-allow-origin"] == APP


@pytest.mark.parametrize("path", ["/sse?topic=orders", "/state/orders"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_another_page_may_not(shared: Running, path: str, method: str) -> None:
    answer = await http.get(shared.http, path, method, Origin="https://evil.example.com")
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/sse?topic=orders", "/state/orders"])
async def test_a_foreign_name_for_this_machine_is_no_origin_of_ours(
    shared: Running, path: str
) -> None:
    """A page of that name sends no Origin with a GET to its own host."""
    host, port = shared.address.result()
    answers = []
    for name in (f"evil.example.com:{port}", "app.example.com"):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"HEAD {path} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        answers.append((await reader.read()).split(b" ", 2)[1])
        writer.close()
    assert answers == [b"403", b"200"]


# Limits, and those who do not read.


async def test_a_stream_counts_as_a_connection(database: str, admin: psycopg.Connection) -> None:
    admin.execute(ORDERS)
    async with running(configure(database, CONFIG, limits="{connections: 1}")) as bridge:
        async with streaming(bridge.http, "orders") as first:
            await begun(first)
            assert bridge.bridge.hub.subscribers == 1
            for path in ("/sse?topic=orders", "/state/orders"):
                answer = await http.get(bridge.http, path)
                assert (answer.status, answer.json()["code"]) == (429, "unavailable")
                assert 5 <= int(answer.headers["retry-after"]) <= 30
            async with streaming(bridge.http, "orders") as second:
                # An EventSource would never come back after a 429.
                assert second.status == 200
                assert "too many" in (await second.next()).json()["message"]
                assert 5000 <= (second.parser.retry or 0) <= 30000
                with pytest.raises(EOFError):
                    await second.next()
        await _subscribers(bridge, 0)
        async with streaming(bridge.http, "orders") as third:
            await begun(third)


async def test_before_the_database_is_reached(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"database: ${{DATABASE_URL}}\ntables:\n{CONFIG}")
    rowcast = Rowcast(tmp_path, "postgresql://nobody@127.0.0.1:1/nothing")
    async with rowcast.serving(ready=False) as serving:
        for path in ("/sse?topic=orders", "/state/orders"):
            answer = await http.get(serving.address, path)
            assert (answer.status, answer.json()["code"]) == (503, "unavailable")
            assert 1 <= int(answer.headers["retry-after"]) <= 5
        async with streaming(serving.address, "orders") as stream:
            assert (stream.status, (await stream.next()).type) == (200, "error")
            with pytest.raises(EOFError):
                await stream.next()


async def _subscribers(bridge: Running, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while bridge.bridge.hub.subscribers != count:
            await asyncio.sleep(0.01)


async def test_those_who_never_read_are_closed_and_the_others_hear_everything(
    bridge: Running, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        silent = [deaf(bridge, "orders/2") for _ in range(50)]
        for one in silent:
            await stack.enter_async_context(one)
        await _subscribers(bridge, 50)
        async with following(bridge.url, "orders/1") as reader, asyncio.timeout(PATIENCE):
            for _ in range(20):
                admin.execute("UPDATE orders SET note = repeat(md5(random()::text), 20000)")
                expected = rows(admin, "SELECT * FROM orders WHERE id = 1")
                await reader.equals({"orders/1": expected})
            # What the kernel takes, it takes; of 13 MB, two messages wait here at most.
            assert max(_buffered(bridge)) < 2 * 700_000
            # Half of them say that they are done, too: nothing can be written to those.
            for one in silent[:25]:
                one.socket.shutdown(socket.SHUT_WR)
            while sum(_closing(bridge)) < 25:
                await asyncio.sleep(0.01)
            monkeypatch.setattr("bridge.pipeline.STALLED", 0.0)
            await _subscribers(bridge, 1)
            assert bridge.bridge.metrics.stalled._value.get() == 50


def _buffered(bridge: Running) -> list[int]:
    return [line.get_write_buffer_size() for line in _lines(bridge)]


def _closing(bridge: Running) -> list[bool]:
    return [line.is_closing() for line in _lines(bridge)]


def _lines(bridge: Running) -> list[asyncio.WriteTransport]:
    sinks = [mailbox.sink for mailbox in bridge.bridge.hub.mailboxes]
    return [sink._connection.transport for sink in sinks if isinstance(sink, sse.EventStream)]


class deaf:  # noqa: N801
    """A client that asks for a stream and reads none of it."""

    def __init__(self, bridge: Running, topic: str) -> None:
        self.socket = socket.create_connection(bridge.address.result())
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = f"GET /sse?topic={topic} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        self.socket.sendall(request.encode())

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None:
        self.socket.close()


async def test_one_who_goes_is_forgotten(bridge: Running) -> None:
    async with streaming(bridge.http, "orders") as stream:
        await begun(stream)
        assert bridge.bridge.hub.topics == 1
    await _subscribers(bridge, 0)
    assert bridge.bridge.hub.topics == 0


async def test_a_silent_stream_has_comments(
    bridge: Running, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "COMMENT", 0.01)
    async with streaming(bridge.http, "orders/1") as stream:
        await begun(stream)
        async with asyncio.timeout(PATIENCE):
            while len(stream.parser.comments) < 3:
                admin.execute("UPDATE orders SET note = random()::text WHERE id = 1")
                await stream.next()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system has none")
async def test_a_link_that_died_is_given_up_by_the_system(bridge: Running) -> None:
    async with streaming(bridge.http, "orders") as stream:
        await begun(stream)
        (mailbox,) = bridge.bridge.hub.mailboxes
        assert isinstance(mailbox.sink, sse.EventStream)
        line = mailbox.sink._connection.transport.get_extra_info("socket")
        patience = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert patience == connections.VANISHED * 1000


async def test_a_request_that_never_comes_is_not_waited_for(
    database: str, admin: psycopg.Connection
) -> None:
    admin.execute(ORDERS)
    async with running(configure(database, CONFIG, limits="{handshake: 100ms}")) as bridge:
        reader, writer = await asyncio.open_connection(*bridge.address.result())
        writer.write(b"GET /sse?topic=orders HTTP/1.1\r\n")
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
        writer.close()


async def test_a_stream_outlives_the_time_for_opening(
    database: str, admin: psycopg.Connection
) -> None:
    admin.execute(ORDERS)
    async with (
        running(configure(database, CONFIG, limits="{handshake: 300ms}")) as bridge,
        streaming(bridge.http, "orders/1") as stream,
        streaming(bridge.http) as refused,
    ):
        await begun(stream)
        # The refused one's time is over after that of the stream's would have been.
        assert refused.status == 400
        while await refused.reader.read(1000):
            pass
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await stream.next()
        admin.execute("UPDATE orders SET note = 'late' WHERE id = 1")
        assert (await stream.next()).type == "change"


async def test_at_the_end_streams_end_and_nobody_is_waited_for(
    database: str, admin: psycopg.Connection
) -> None:
    admin.execute(ORDERS)
    async with AsyncExitStack() as stack:
        async with running(configure(database, CONFIG)) as bridge:
            stream = await stack.enter_async_context(streaming(bridge.http, "orders"))
            await begun(stream)
            for _ in range(50):
                await stack.enter_async_context(deaf(bridge, "orders"))
            await _subscribers(bridge, 51)
            admin.execute("UPDATE orders SET note = repeat(md5(random()::text), 200000)")
            await stream.until("change")
        with pytest.raises(EOFError):
            await stream.until("anything else")
        assert stream.parser.comments[-1] == " 1012 restarting"
