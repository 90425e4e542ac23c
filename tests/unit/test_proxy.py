"""The proxy breaks connections in the way it says; other tests build on that."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """In front of a server that says back each line, and `end` when there is no more."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line)
            writer.write(b"end\n")
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Proxy(*server.sockets[0].getsockname()) as proxy:
        yield proxy


@asynccontextmanager
async def dial(proxy: Proxy) -> AsyncIterator[Ends]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def say(ends: Ends, line: bytes) -> bytes:
    ends[1].write(line)
    return await ends[0].readline()


async def hears_nothing(ends: Ends) -> bool:
    """Whether nothing comes while a connection that was not frozen would have answered."""
    try:
        async with asyncio.timeout(0.05):
            return not await ends[0].readline()
    except TimeoutError:
        return True


async def test_passes_both_ways(proxy: Proxy) -> None:
    async with dial(proxy) as ends:
        assert await say(ends, b"a\n") == b"a\n"
        assert proxy.connections == 1


async def test_passes_on_that_one_side_has_ended(proxy: Proxy) -> None:
    async with dial(proxy) as (reader, writer):
        writer.write(b"a\n")
        writer.write_eof()
        assert await reader.read() == b"a\nend\n"


async def test_cut_resets_and_the_next_connection_works(proxy: Proxy) -> None:
    async with dial(proxy) as ends:
        await say(ends, b"a\n")
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await ends[0].read()
    async with dial(proxy) as ends:
        assert await say(ends, b"b\n") == b"b\n"


async def test_freeze_is_silent_and_thaw_delivers_what_waited(proxy: Proxy) -> None:
    async with dial(proxy) as ends:
        await say(ends, b"a\n")
        proxy.freeze()
        ends[1].write(b"b\n")
        assert await hears_nothing(ends)
        proxy.thaw()
        assert await ends[0].readline() == b"b\n"


async def test_frozen_accepts_new_connections_and_swallows(proxy: Proxy) -> None:
    proxy.freeze()
    async with dial(proxy) as ends:
        ends[1].write(b"a\n")
        assert await hears_nothing(ends)


async def test_cut_ends_a_frozen_connection(proxy: Proxy) -> None:
    async with dial(proxy) as ends:
        await say(ends, b"a\n")
        proxy.freeze()
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await ends[0].read()


async def test_refuse_turns_new_ones_away_and_keeps_the_old(proxy: Proxy) -> None:
    async with dial(proxy) as ends:
        await say(ends, b"a\n")
        await proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await say(ends, b"b\n") == b"b\n"
        await proxy.accept()
        async with dial(proxy) as more:
            assert await say(more, b"c\n") == b"c\n"


async def test_an_upstream_that_is_gone_resets(proxy: Proxy) -> None:
    async with Proxy("127.0.0.1", proxy.port) as outer:
        await proxy.refuse()
        async with dial(outer) as ends:
            with pytest.raises(ConnectionResetError):
                await ends[0].read()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://postgres@127.0.0.1:5432/shop", "postgresql://postgres@127.0.0.1:{}/shop"),
        ("ws://localhost:8765/ws?token=a", "ws://127.0.0.1:{}/ws?token=a"),
    ],
)
async def test_url_for_changes_only_the_address(proxy: Proxy, url: str, expected: str) -> None:
    assert proxy.url_for(url) == expected.format(proxy.port)


async def test_leaving_ends_open_connections(proxy: Proxy) -> None:
    async with Proxy("127.0.0.1", proxy.port) as outer:
        reader, writer = await asyncio.open_connection("127.0.0.1", outer.port)
        writer.write(b"a\n")
        await reader.readline()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    assert outer.connections == 0
    writer.transport.abort()
