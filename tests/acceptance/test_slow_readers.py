"""Who reads slowly gets fewer and newer states; who does not read costs a bounded amount.

The bridges of these tests have rows of twenty kilobytes, so that buffers fill.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect as websocket

from tests.support.bridges import configure, running
from tests.support.commands import Rowcast
from tests.support.replica import following, rows
from tests.support.silent import Measured, narrow, silent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    import psycopg

    from tests.support.replica import Replica

CELLS = """
CREATE TABLE cells (id int PRIMARY KEY, n int NOT NULL, note text NOT NULL);
INSERT INTO cells SELECT id, 0, repeat('x', 20000) FROM generate_series(1, 20) id;
"""
CONFIG = "  cells:\n    debounce: 5ms\n    max_wait: 10ms\n"

READING, SILENT = 50, 20


@asynccontextmanager
async def over_websocket(address: str) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    url = address.replace("http", "ws", 1) + "/ws"
    async with websocket(url, sock=narrow(address), max_queue=1, compression=None) as line:
        await line.send('{"type":"subscribe","topic":"cells/1"}')

        async def read() -> Any:
            return json.loads(await line.recv())

        yield read


@asynccontextmanager
async def over_sse(address: str) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    reader, writer = await asyncio.open_connection(sock=narrow(address), limit=32_768)
    writer.write(b"GET /sse?topic=cells/1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

    async def read() -> Any:
        while not (line := await reader.readline()).startswith(b"data: "):
            assert line
        return json.loads(line[6:])

    yield read
    writer.close()


@pytest.mark.parametrize("over", [over_websocket, over_sse])
async def test_one_who_reads_slowly_always_gets_the_newest_states(
    database: str, admin: psycopg.Connection, over: Any
) -> None:
    """One message for every twenty that could be sent: what is under way stays little."""
    admin.execute(CELLS)
    sent = 0

    def write() -> None:
        nonlocal sent
        for _ in range(20):
            sent += 1
            admin.execute("UPDATE cells SET n = %s WHERE id = 1", (sent,))

    async with (
        running(configure(database, CONFIG)) as bridge,
        following(bridge.url, "cells/1") as quick,
        over(bridge.http) as read,
    ):
        while (await read())["type"] != "snapshot":
            pass
        heard = [0]
        for _ in range(60):
            await asyncio.to_thread(write)
            await quick.equals({"cells/1": rows(admin, "SELECT * FROM cells WHERE id = 1")})
            heard.append((await read())["row"]["n"])
        behind = len(heard)
        while heard[-1] < sent:
            heard.append((await read())["row"]["n"])
        assert heard == sorted(heard)
        # What one has to read to be up to date: 1,200 states were written.
        assert (len(heard) - behind) * 20_000 < 600_000


async def test_those_who_never_read_cost_a_bounded_amount_and_delay_nobody(
    database: str, admin: psycopg.Connection, tmp_path: Path
) -> None:
    """Two for five who read, over WebSocket and SSE; of 100 MB for each, each may keep one."""
    admin.execute(CELLS)
    (tmp_path / "config.yaml").write_text(f"tables:\n{CONFIG}")
    rowcast = Rowcast(tmp_path, database)
    await rowcast.migrate()
    async with AsyncExitStack() as stack:
        serving = await stack.enter_async_context(rowcast.serving())
        bridge = Measured(serving)
        topics = [f"cells/{n}" for n in range(1, 21)]
        url = serving.address.replace("http", "ws", 1) + "/ws"
        readers = [
            await stack.enter_async_context(following(url, *topics[n % 20 :][:2]))
            for n in range(READING)
        ]
        before = bridge.memory()
        for n in range(SILENT):
            stack.callback((await asyncio.to_thread(silent, serving.address, n, "cells")).close)
        await bridge.until("rowcast_subscribers", READING + SILENT)
        for n in range(1, 251):
            await asyncio.to_thread(admin.execute, "UPDATE cells SET n = %s", (n,))
            await _all_hold(readers, n)
            assert bridge.memory() - before < SILENT * 1_000_000 + 20_000_000
        await bridge.until("rowcast_stalled_total", SILENT)
        await bridge.until("rowcast_subscribers", READING)
        await asyncio.to_thread(admin.execute, "UPDATE cells SET n = 0")
        await _all_hold(readers, 0)


async def _all_hold(readers: list[Replica], n: int) -> None:
    for reader in readers:
        await reader.until(
            lambda reader=reader: all(
                row["n"] == n for held in reader.held.values() for row in held.rows.values()
            )
        )
