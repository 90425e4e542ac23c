"""Each limit over a real socket: N are taken, one more is told so by its code and counted, and
who keeps within it notices nothing."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bridge.gateways.limits import Limits
from tests.support import PATIENCE, http
from tests.support.bridges import configure, running
from tests.support.events import streaming
from tests.support.tokens import SECRET, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import psycopg

    from tests.support.bridges import Running

TABLE = "CREATE TABLE items (id int PRIMARY KEY, n int); INSERT INTO items VALUES (1, 0), (2, 0)"
CONFIG = "  items: {columns: all}\n"
AUTH = f"{{jwt: {{secret: {SECRET}}}, allow: [{{topic: '**'}}]}}"


@pytest.fixture
def limited(database: str, admin: psycopg.Connection) -> Any:
    """A bridge with these limits, and somebody connected who must not notice anything."""

    @asynccontextmanager
    async def start(limits: str, server: str = "", **top: str) -> AsyncIterator[Running]:
        config = configure(database, CONFIG, limits=limits, **top)
        if server:
            config = replaced(config, server)
        async with running(config) as bridge:
            yield bridge

    admin.execute(TABLE)
    return start


@contextmanager
def no_time() -> Iterator[None]:
    """None passes inside for who counts arrivals, however long it takes to answer them."""
    arrive = Limits.arrive
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Limits, "arrive", lambda limits, peer, request, _now: arrive(limits, peer, request, 0.0)
        )
        yield


def replaced(config: Any, proxy: str) -> Any:
    return replace(config, server=replace(config.server, proxies=(proxy,)))


async def counted(bridge: Running) -> float:
    text = (await http.get(bridge.http, "/metrics")).body.decode()
    return float(text.partition("\nrowcast_over_limit_total ")[2].split("\n")[0])


async def ended(connection: ClientConnection) -> int:
    """The code of the close that comes."""
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                await connection.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 1006


async def works(connection: ClientConnection) -> None:
    await connection.send('{"type":"ping"}')
    async with asyncio.timeout(PATIENCE):
        while json.loads(await connection.recv())["type"] != "pong":
            pass


async def test_connections(limited: Any) -> None:
    async with limited("{connections: 3}") as bridge, AsyncExitStack() as stack:
        first = await stack.enter_async_context(connect(bridge.url))
        await stack.enter_async_context(connect(bridge.url))
        stream = await stack.enter_async_context(streaming(bridge.http, "items"))
        await stream.until("snapshot")
        async with connect(bridge.url) as one_more:
            assert await ended(one_more) == 4429
        answer = await http.get(bridge.http, "/state/items")
        assert (answer.status, answer.json()["code"]) == (429, "unavailable")
        assert "retry-after" in answer.headers
        assert (await http.get(bridge.http, "/sse?topic=items")).status == 429
        assert await counted(bridge) == 3
        await works(first)


async def test_connections_of_a_user(limited: Any) -> None:
    async with limited("{user_connections: 2}", auth=AUTH) as bridge, AsyncExitStack() as stack:
        ann = f"?token={token(sub='ann')}"
        first = await stack.enter_async_context(connect(bridge.url + ann))
        async with streaming(bridge.http, "items", token=ann[7:]) as stream:
            await stream.until("snapshot")
            async with connect(bridge.url + ann) as one_more:
                assert await ended(one_more) == 4429
            async with connect(bridge.url) as one_more:
                await one_more.send(json.dumps({"type": "auth", "token": ann[7:]}))
                assert await ended(one_more) == 4429
            for path in ("/state/items", "/sse?topic=items"):
                bearer = {"Authorization": f"Bearer {ann[7:]}"}
                assert (await http.get(bridge.http, path, **bearer)).status == 429
            async with connect(f"{bridge.url}?token={token(sub='bob')}") as other:
                await works(other)
            for _ in range(3):
                nobody = connect(f"{bridge.url}?token={token()}")
                await works(await stack.enter_async_context(nobody))
            assert await counted(bridge) == 4
        while bridge.bridge.hub.subscribers > 4:  # the stream's place is free when it is gone
            await asyncio.sleep(0.01)
        await works(await stack.enter_async_context(connect(bridge.url + ann)))
        await works(first)


async def test_connections_of_an_address_in_a_second(limited: Any) -> None:
    async with limited("{address_rate: 4}") as bridge:
        with no_time():
            for _ in range(4):
                assert (await http.get(bridge.http, "/state/items")).status == 200
            answer = await http.get(bridge.http, "/state/items")
            assert (answer.status, answer.json()["code"]) == (429, "unavailable")
            with pytest.raises(InvalidStatus, match="429"):
                async with connect(bridge.url):
                    pass
            async with streaming(bridge.http, "items") as stream:
                assert stream.status == 200, "an EventSource has to come back"
                assert (await stream.next()).json()["code"] == "unavailable"
            for path in ("/healthz", "/readyz", "/metrics"):
                assert (await http.get(bridge.http, path)).status == 200
            assert await counted(bridge) == 3
        while (await http.get(bridge.http, "/state/items")).status == 429:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("proxy", "forwarded", "last"),
    [
        ("127.0.0.0/8", "192.0.2.{n}", 200),
        ("127.0.0.0/8", "192.0.2.{n}, 192.0.2.1", 429),
        ("127.0.0.0/8", "192.0.2.{n}, 127.0.0.9", 200),
        ("192.0.2.0/24", "192.0.2.{n}", 429),
        ("127.0.0.0/8", ",", 429),
    ],
)
async def test_who_a_proxy_connects_for(
    limited: Any, proxy: str, forwarded: str, last: int
) -> None:
    async with limited("{address_rate: 2}", proxy) as bridge:
        with no_time():
            for n in range(1, 6):
                headers = {"X-Forwarded-For": forwarded.format(n=n)}
                answer = await http.get(bridge.http, "/state/items", **headers)
        assert answer.status == last


async def test_subscriptions(limited: Any) -> None:
    async with limited("{subscriptions: 1}") as bridge, connect(bridge.url) as one:
        for topic in ("items/1", "items/2"):
            await one.send(json.dumps({"type": "subscribe", "topic": topic}))
        messages = [json.loads(await one.recv()) for _ in range(4)]
        assert {m.get("code") for m in messages} == {None, "too_many_subscriptions"}
        await works(one)


@pytest.mark.parametrize("kind", ["command", "ping"])
async def test_commands_in_a_second(limited: Any, kind: str) -> None:
    async with limited("{command_rate: 5, subscriptions: 10}") as bridge, AsyncExitStack() as stack:
        one = await stack.enter_async_context(connect(bridge.url))
        other = await stack.enter_async_context(connect(bridge.url, ping_interval=None))
        for _ in range(15):
            await other.send('{"type":"ping"}')
        await works_for(other, 15)
        for _ in range(40):
            await (other.send('{"type":"ping"}') if kind == "command" else other.ping())
        assert await ended(other) == 4429
        assert await counted(bridge) >= 1
        await works(one)


async def works_for(connection: ClientConnection, pongs: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while pongs:
            pongs -= json.loads(await connection.recv())["type"] == "pong"


async def test_messages(limited: Any) -> None:
    async with limited("{message: 200B}") as bridge, connect(bridge.url) as one:
        await one.send('{"type":"ping"}'.ljust(200))
        await works_for(one, 1)
        await one.send('{"type":"ping"}'.ljust(201))
        assert await ended(one) == 1009


async def test_headers(limited: Any) -> None:
    async with limited("{headers: 1KiB}") as bridge:
        bare = len(f"GET /healthz HTTP/1.1\r\nHost: {bridge.http[7:]}\r\nX: \r\n\r\n")
        fits = await http.get(bridge.http, "/healthz", X="x" * (1024 - bare))
        assert fits.status == 200
        one_more = await http.get(bridge.http, "/healthz", X="x" * (1025 - bare))
        assert one_more.status == 431
        assert await counted(bridge) == 1


async def test_a_head_that_does_not_end_is_not_read_to_its_end(limited: Any) -> None:
    async with limited("{headers: 1KiB, handshake: 300ms}") as bridge:
        reader, writer = await asyncio.open_connection(*bridge.address.result())
        writer.write(b"GET /ws HTTP/1.1\r\n" + b"X: 0123456789\r\n" * 100)
        async with asyncio.timeout(PATIENCE):
            assert b" 431 " in await reader.readline()
            await reader.read()
        writer.close()
        assert await counted(bridge) == 1


async def test_who_never_sends_a_request_keeps_nobody_out(limited: Any) -> None:
    async with (
        # Long enough for all to be here before the first is given up, on a slow machine too.
        limited("{connections: 10, handshake: 3s}") as bridge,
        connect(bridge.url) as one,
        AsyncExitStack() as stack,
    ):
        idle = [await asyncio.open_connection(*bridge.address.result()) for _ in range(140)]
        for _, writer in idle:
            stack.callback(writer.close)
            writer.write(b"GET /ws HT")
        async with asyncio.timeout(PATIENCE):
            for reader, _ in idle:
                with suppress(ConnectionError):
                    assert await reader.read() == b""
        # 109 beside the one that is open; the others were not even waited for.
        assert await counted(bridge) == 31
        await works(one)
        async with connect(bridge.url) as another:
            await works(another)
