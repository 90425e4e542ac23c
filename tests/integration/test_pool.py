"""The sessions that reads run in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
import pytest

from bridge import link
from bridge.pool import SIZE, bump_epoch, open_pool
from tests.support.bridges import configure
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def proxy(database: str) -> AsyncIterator[Proxy]:
    parts = urlsplit(database)
    async with Proxy(parts.hostname or "127.0.0.1", parts.port or 5432) as proxy:
        yield proxy


async def test_a_read_is_not_compiled(database: str) -> None:
    """Where PostgreSQL has a compiler, it would cost a small read hundreds of milliseconds."""
    config = configure(database, "  items:\n")
    async with open_pool(config) as pool, pool.connection() as connection:
        cursor = await connection.execute("SELECT current_setting('jit')")
        assert await cursor.fetchone() == ("off",)


async def test_a_read_fails_that_nobody_answers(
    database: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "PATIENCE", 1.0)
    async with open_pool(configure(proxy.url_for(database), "  items:\n")) as pool:
        await pool.wait()
        async with pool.connection() as connection:
            await connection.execute("SELECT 1")
            proxy.strand()
            with pytest.raises(psycopg.OperationalError):
                await connection.execute("SELECT 1")
        async with pool.connection() as connection:
            await connection.execute("SELECT 1")


async def test_a_read_that_is_cancelled_asks_nobody(
    database: str, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """On a dead link the request to cancel would hang as well, and psycopg logs that it failed."""
    async with open_pool(configure(proxy.url_for(database), "  items:\n")) as pool:
        await pool.wait()
        async with pool.connection() as connection:
            proxy.freeze()
            reading = asyncio.ensure_future(connection.execute("SELECT 1"))
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait({reading})
            assert reading.cancelled()
            assert connection.closed
            assert not caplog.records
        proxy.thaw()


async def test_a_look_at_the_catalog_fails_that_nobody_answers(
    database: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "BRIEF", 1.0)

    def look() -> None:
        with link.brief(proxy.url_for(database)) as connection:
            loop.call_soon_threadsafe(proxy.strand)
            while True:
                connection.execute("SELECT 1")

    loop = asyncio.get_running_loop()
    with pytest.raises(psycopg.OperationalError):
        await asyncio.to_thread(look)


async def test_a_new_epoch_begins_with_new_connections(
    database: str, admin: psycopg.Connection
) -> None:
    admin.execute("CREATE SCHEMA rowcast; CREATE TABLE rowcast.epoch AS SELECT 1::bigint epoch")
    async with open_pool(configure(database, "  items:\n")) as pool:
        async with pool.connection() as before:
            old = before.info.backend_pid
        await bump_epoch(pool, "rowcast")
        async with pool.connection() as after:
            assert after.info.backend_pid != old


async def test_who_is_cancelled_as_a_connection_comes_is_cancelled(database: str) -> None:
    """Whichever turn of the loop it happens in; and the connection goes back."""
    cancelled = 0
    async with open_pool(configure(database, "  items:\n")) as pool:
        for turns in range(12):
            held = [await pool.getconn() for _ in range(SIZE)]
            waiting = asyncio.ensure_future(pool.getconn())
            await asyncio.sleep(0.01)
            giving = asyncio.ensure_future(pool.putconn(held.pop()))
            for _ in range(turns):
                await asyncio.sleep(0)
            if waiting.cancel():
                await asyncio.wait({waiting})
                assert waiting.cancelled()
                cancelled += 1
            else:
                held.append(waiting.result())
            await giving
            for connection in held:
                await pool.putconn(connection)
    assert 0 < cancelled < 12


@pytest.mark.parametrize("turns", [1, 2, 3, 5])
async def test_a_pool_is_closed_whole_by_who_is_cancelled_meanwhile(
    database: str, turns: int
) -> None:
    async with open_pool(configure(database, "  items:\n")) as pool:
        async with pool.connection() as connection:
            pass
        closing = asyncio.ensure_future(pool.close())
        for _ in range(turns):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({closing})
        assert closing.cancelled()
        assert connection.closed
